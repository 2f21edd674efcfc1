"""The constants of Assumptions 3.1 to 3.3, and what Theorems 3.1 and 3.2 make of them: ξ, γ, η^t, q^t, β^t."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from models.errors import ArgumentError

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True)
class Rate:
    """η^t = (3/2) / ([2ξ − 3γ(K−1)](t+2) + (3/2)(K−1)γ), which makes q^t = (3/2)/(t+2).

    Args:
        xi: ξ > 0, the curvature that counts; `Assumptions` says which.
        gamma: γ ≥ 0, below 2ξ/(3(K−1)).
        blocks: K ≥ 1.
    Raises: ArgumentError.
    Source: Theorems 3.1 and 3.2, appendix A.3.
    Differs from the paper: nothing; γ = 0 and K = 1 are allowed (A.3 says B > 0, but B ≥ 0 is enough).
    """

    xi: float
    gamma: float
    blocks: int

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ArgumentError("blocks", "at least 1", self.blocks)
        if not 0 < self.xi < math.inf:
            raise ArgumentError("xi", "positive and finite", self.xi)
        if not 0 <= self.gamma < math.inf:
            raise ArgumentError("gamma", "non-negative and finite", self.gamma)
        if not self.margin > 0:
            limit = 2 * self.xi / (3 * (self.blocks - 1))
            raise ArgumentError("gamma", f"below 2ξ/(3(K−1)) = {limit:.6g}", self.gamma)

    @property
    def coupling(self) -> float:
        """(K−1)γ."""
        return (self.blocks - 1) * self.gamma

    @property
    def margin(self) -> float:
        """A = 2ξ − 3γ(K−1) of A.3, positive."""
        return 2 * self.xi - 3 * self.coupling

    def eta(self, t: Number) -> Number:
        """Theorem 3.2's step size η^t. Raises: ArgumentError for t < 0."""
        _require("t", "non-negative", t, t >= 0)
        return 1.5 / (self.margin * (t + 2) + 1.5 * self.coupling)

    def q(self, eta: Number) -> Number:
        """q^t = η[2ξ − 3γ(K−1)] / (1 − (K−1)ηγ), for any step size. Raises: ArgumentError unless 0 < η < 1/((K−1)γ)."""
        self._require_eta(eta)
        return eta * self.margin / (1 - self.coupling * eta)

    def beta(self, eta: Number) -> Number:
        """β^t = η² / (1 − (K−1)ηγ), for any step size. Raises: ArgumentError unless 0 < η < 1/((K−1)γ)."""
        self._require_eta(eta)
        return eta * eta / (1 - self.coupling * eta)

    def _require_eta(self, eta: Number) -> None:
        _require("eta", "positive and below 1/((K−1)γ)", eta, (eta > 0) & (self.coupling * eta < 1))


@dataclass(frozen=True)
class Assumptions:
    """(λ_d, μ_d, γ_d), d = 1 … K: each block alone is λ_d-strongly concave and μ_d-smooth, others shift its gradient by γ_d.

    Args:
        concavity: λ_d > 0, Assumption 3.1.
        smoothness: μ_d ≥ λ_d, Assumption 3.2.
        stability: γ_d in [0, λ_d), Assumption 3.3.
    Raises: ArgumentError.
    Source: section 3; Theorem A.1 for γ_d < λ_d ≤ μ_d.
    Differs from the paper: ξ, see `xi` and `rate`.
    """

    concavity: tuple[float, ...]
    smoothness: tuple[float, ...]
    stability: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.concavity or not all(0 < value < math.inf for value in self.concavity):
            raise ArgumentError("concavity", "one or more positive, finite numbers", self.concavity)
        for argument, values in (("smoothness", self.smoothness), ("stability", self.stability)):
            if len(values) != len(self.concavity):
                raise ArgumentError(argument, f"{len(self.concavity)} numbers", values)
        if not all(low <= high < math.inf for low, high in zip(self.concavity, self.smoothness, strict=True)):
            raise ArgumentError("smoothness", "finite and nowhere below concavity", self.smoothness)
        if not all(0 <= shift < low for shift, low in zip(self.stability, self.concavity, strict=True)):
            raise ArgumentError("stability", "non-negative and everywhere below concavity", self.stability)

    @property
    def blocks(self) -> int:
        """K."""
        return len(self.concavity)

    @property
    def gamma(self) -> float:
        """γ = max γ_d."""
        return max(self.stability)

    @property
    def xi(self) -> float:
        """ξ = min λ_d, with which (11), (12) and both theorems hold.

        (11): for η ≤ 2/(μ_d + λ_d) a gradient step shrinks ‖θ_d − θ_d*‖ to max(|1−ηλ_d|, |1−ημ_d|) = 1 − ηλ_d of it.
        """
        return min(self.concavity)

    @property
    def xi_printed(self) -> float:
        """ξ = min 2μ_dλ_d/(μ_d + λ_d) as printed; in (11) it is right for *squared* norms only."""
        return min(2 * high * low / (high + low) for low, high in zip(self.concavity, self.smoothness, strict=True))

    @property
    def largest_step(self) -> float:
        """min 2/(μ_d + λ_d), up to which Lemma A.1 and Theorem A.1 take η."""
        return min(2 / (high + low) for low, high in zip(self.concavity, self.smoothness, strict=True))

    def rate(self) -> Rate:
        """Theorem 3.2 with ξ = min λ_d, on Theorem A.1's condition η⁰ ≤ min 2/(μ_d + λ_d).

        Raises: ArgumentError for that condition or for γ ≥ 2ξ/(3(K−1)).
        Differs from the paper: ξ. The condition goes unsaid in the theorems, and the corrected ones do not need it:
            strong concavity alone gives ⟨∇_d L*(θ_d), Δ_d⟩ ≤ −λ_d‖Δ_d‖², hence what A.2 takes from (12),
            η⟨W_d − W_d*, Δ_d⟩ ≤ −ηλ_d‖Δ_d‖² + ηγ Σ‖Δ_i‖‖Δ_d‖, for every η. So `Rate(xi, gamma, blocks)` is fine too.
        """
        return self._checked(self.xi)

    def rate_printed(self) -> Rate:
        """Theorem 3.2 as printed, with `xi_printed`: false for blocks that are not isotropic. Raises: as `rate`."""
        return self._checked(self.xi_printed)

    def _checked(self, xi: float) -> Rate:
        rate = Rate(xi, self.gamma, self.blocks)
        if rate.eta(0) > self.largest_step:
            raise ArgumentError("eta^0", f"at most min 2/(μ_d + λ_d) = {self.largest_step:.6g}", rate.eta(0))
        return rate


def contraction(concavity: float, smoothness: float, eta: float) -> float:
    """Largest ‖G_d(θ_d) − θ_d*‖ / ‖θ_d − θ_d*‖ of a gradient step with the other blocks at their optimum: 1 − ηλ.

    Args:
        eta: in (0, 2/(μ + λ)].
    Raises: ArgumentError.
    Source: Lemma A.1, (11).
    Differs from the paper: 1 − 2ημλ/(μ+λ) there, which bounds the *square* of this factor.
    """
    _require_step(concavity, smoothness, eta)
    return 1 - eta * concavity


def contraction_printed(concavity: float, smoothness: float, eta: float) -> float:
    """1 − 2ημλ/(μ+λ): (11) as printed, true of squared norms. Raises: as `contraction`."""
    _require_step(concavity, smoothness, eta)
    return 1 - 2 * eta * smoothness * concavity / (smoothness + concavity)


def _require_step(concavity: float, smoothness: float, eta: float) -> None:
    assumed = Assumptions((concavity,), (smoothness,), (0.0,))
    _require("eta", f"in (0, {assumed.largest_step:.6g}]", eta, 0 < eta <= assumed.largest_step)


def _require(argument: str, rule: str, value: object, holds: Tensor | bool) -> None:
    if not (holds.all() if isinstance(holds, Tensor) else holds):
        raise ArgumentError(argument, rule, value)
