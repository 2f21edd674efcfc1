"""Theorem 3.1's recursion on e^t = E[Σ_d ‖θ_d^t − θ_d*‖²], its expansion (A.3), and closed forms (Theorem 3.2).

Everywhere element t speaks of iteration t+1: e^1 comes first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import ArgumentError
from models.theory.rates import Rate


def recursion_step(rate: Rate, error: float, eta: float, sigma2: float) -> float:
    """e^{t+1} ≤ (1 − q^t) e^t + β^t σ².

    Args:
        error: e^t ≥ 0, or a bound on it.
        eta: η^t, with 0 < η < 1/((K−1)γ) and q^t ≤ 1.
        sigma2: σ² = Σ_d σ_d² ≥ 0, the supremum over the balls of a sample's squared gradient norm.
    Raises: ArgumentError; for q^t > 1 because then a bound on e^t gives none on e^{t+1}.
    Source: Theorem 3.1, eq. 9.
    Differs from the paper: nothing, given a `Rate` with ξ = min λ_d.
    """
    _require_non_negative(error, sigma2)
    q = rate.q(eta)
    if q > 1:
        raise ArgumentError("eta", "small enough for q = η·A/(1 − (K−1)ηγ) ≤ 1", eta)
    return (1 - q) * error + rate.beta(eta) * sigma2


def roll_out(rate: Rate, error: float, sigma2: float, *, steps: int) -> Tensor:
    """Bounds on e^1 … e^steps by repeating `recursion_step` from e^0 with Theorem 3.2's step sizes: (steps,) float64."""
    _require_steps(steps)
    errors = []
    for t in range(steps):
        error = recursion_step(rate, error, rate.eta(t), sigma2)
        errors.append(error)
    return torch.tensor(errors, dtype=torch.float64)


def expand(rate: Rate, error: float, sigma2: float, *, steps: int) -> Tensor:
    """e^{t+1} ≤ e^0 ∏_{i≤t}(1 − q^i) + σ² Σ_{i≤t} β^i ∏_{i<j≤t}(1 − q^j), which equals `roll_out`: (steps,) float64.

    Source: A.3, "We end up with the following"; in its form with products from i = 2, 1 − (3/2)/i is meant.
    Differs from the paper: 3/i in those products, which would make them 0 from i = 3 on.
    """
    _require_non_negative(error, sigma2)
    _require_steps(steps)
    etas = rate.eta(torch.arange(steps, dtype=torch.float64))
    products = (1 - rate.q(etas)).cumprod(0)  # about t^(−3/2), from 1/4: nothing underflows
    return products * (error + sigma2 * (rate.beta(etas) / products).cumsum(0))


def bound(rate: Rate, error: float, sigma2: float, *, steps: int) -> Tensor:
    """e^{t+1} ≤ e^0 (2/(t+3))^{3/2} + 9σ² / (A²(t+3)), A = 2ξ − 3γ(K−1): (steps,) float64.

    From `expand`, with n = t+2 and β ≤ (9/4)/(A i)² at i = t+2:
        ∏_{i=m+1}^{n} (1 − (3/2)/i) ≤ exp(−(3/2) Σ 1/i) ≤ ((m+1)/(n+1))^{3/2}, as Σ_{i=m+1}^{n} 1/i ≥ ln((n+1)/(m+1));
        (i+1)^{3/2} ≤ (3/2)^{3/2} i^{3/2} ≤ 2 i^{3/2} for i ≥ 2;
        Σ_{i=2}^{n} (9/4)/(A i)² ((i+1)/(n+1))^{3/2} ≤ (9/2)/(A²(n+1)^{3/2}) Σ i^{−1/2} and Σ_{i=2}^{n} i^{−1/2} ≤ 2(n+1)^{1/2}.
    So the constant is (9/4)·2·2 = 9.

    Source: Theorem 3.2, eq. 10; A.3.
    Differs from the paper: the formula does not. A.3's 3/i and (i+1)^{3/2} ≤ 2i (false for every i) are misprints
        of the above and leave the constant alone. What must be corrected is ξ in `rate`.
    """
    return _closed_form(rate, error, 9 * sigma2, steps)


def bound_by_induction(rate: Rate, error: float, sigma2: float, *, steps: int) -> Tensor:
    """e^{t+1} ≤ e^0 (2/(t+3))^{3/2} + (9/2)σ² / (A²(t+3)): half of eq. 10's noise term; nothing below 9/2 bounds `expand`.

    The recursion is linear: the part from e^0 is as in `bound`. The part from σ², with n = t+2 and b = (9/4)σ²/A², obeys
    s_{n+1} ≤ (1 − (3/2)/n) s_n + b/n² from s_2 = 0. If s_n ≤ 2b/n then s_{n+1} ≤ 2b/n − 2b/n² ≤ 2b/(n+1). The limit of
    n·s_n is 2b, because β^t A²(t+2)² → 9/4 for any γ.

    Source: none; the paper's recursion, solved without its integral bound.
    """
    return _closed_form(rate, error, 4.5 * sigma2, steps)


def _closed_form(rate: Rate, error: float, noise: float, steps: int) -> Tensor:
    _require_non_negative(error, noise)
    _require_steps(steps)
    shifted = torch.arange(steps, dtype=torch.float64) + 3
    return error * (2 / shifted) ** 1.5 + noise / (rate.margin**2 * shifted)


def _require_non_negative(error: float, sigma2: float) -> None:
    if not error >= 0:
        raise ArgumentError("error", "non-negative", error)
    if not sigma2 >= 0:
        raise ArgumentError("sigma2", "non-negative", sigma2)


def _require_steps(steps: int) -> None:
    if steps < 1:
        raise ArgumentError("steps", "at least 1", steps)
