"""The step size, the recursion and its closed forms, by themselves; and the paper's slips, shown to be slips."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ArgumentError
from models.theory import (
    Assumptions,
    Rate,
    bound,
    bound_by_induction,
    contraction,
    contraction_printed,
    expand,
    recursion_step,
    roll_out,
)

AMOUNTS = st.just(0.0) | st.floats(1e-6, 1e6)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    """Any ξ, K and admissible γ, also close to its limit."""
    xi, blocks = 10 ** draw(st.floats(-4, 4)), draw(st.integers(1, 12))
    share = draw(st.floats(0, 0.999))
    return Rate(xi, share * 2 * xi / (3 * (blocks - 1)) if blocks > 1 else share, blocks)


@settings(deadline=None)
@given(rate=rates(), t=st.integers(0, 10**6))
def test_the_step_size_solves_q_equals_three_halves_over_t_plus_two(rate: Rate, t: int) -> None:
    eta = rate.eta(t)
    assert rate.q(eta) == pytest.approx(1.5 / (t + 2), rel=1e-9)
    printed = 1 - (1 - 2 * eta * rate.xi + 2 * eta * rate.coupling) / (1 - rate.coupling * eta)
    assert printed == pytest.approx(1.5 / (t + 2), rel=1e-9, abs=1e-12)
    A, B = rate.margin, 1.5 * rate.coupling
    assert rate.beta(eta) == pytest.approx(9 / 4 / (A * (t + 2) * (A * (t + 2) + B)), rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(rate=rates(), error=AMOUNTS, sigma2=AMOUNTS)
def test_the_closed_forms_dominate_the_recursion_for_all_t_up_to_1e5(rate: Rate, error: float, sigma2: float) -> None:
    exact = expand(rate, error, sigma2, steps=100_000)
    induction, printed = (form(rate, error, sigma2, steps=100_000) for form in (bound_by_induction, bound))
    assert (exact <= induction).all()
    assert (induction <= printed).all()


@settings(max_examples=15, deadline=None)
@given(rate=rates(), error=AMOUNTS, sigma2=AMOUNTS)
def test_the_expansion_is_the_recursion_rolled_out(rate: Rate, error: float, sigma2: float) -> None:
    rolled = roll_out(rate, error, sigma2, steps=100)
    assert ((expand(rate, error, sigma2, steps=100) - rolled).abs() <= 1e-10 * rolled).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_nine_halves_is_the_limit_of_the_noise_term_so_eq_10_is_loose_by_two(gamma: float) -> None:
    rate, steps = Rate(1.0, gamma, 3), 100_000
    noise = expand(rate, 0.0, 1.0, steps=steps)[-1].item() * rate.margin**2 * (steps + 2)
    assert 4.4 < noise < 4.5


def test_the_inequalities_of_the_derivation_hold_and_those_misprinted_in_a_3_do_not() -> None:
    i = torch.arange(2, 100_000, dtype=torch.float64)
    assert ((i + 1) ** 1.5 <= 2 * i**1.5).all()
    assert not ((i + 1) ** 1.5 <= 2 * i).any()
    assert ((1 - 1.5 / i).cumprod(0) <= (2 / (i + 1)) ** 1.5).all()
    assert ((1 / i.sqrt()).cumsum(0) <= 2 * (i + 1).sqrt()).all()
    assert ((1 - 3 / i).cumprod(0)[1:] == 0).all()  # with 3/i there would be no error left from e^0 after two steps


def test_a_gradient_step_contracts_by_one_minus_eta_lambda_and_the_printed_factor_is_its_squares() -> None:
    """λ = 1, μ = 10, η = 1/11: along the flat axis the distance shrinks to 10/11 of it, not to 0.835."""
    eta, theta = 1 / 11, torch.tensor([1.0, 0.0], dtype=torch.float64)
    stepped = theta - eta * torch.tensor([1.0, 10.0], dtype=torch.float64) * theta
    assert stepped.norm().item() == pytest.approx(contraction(1, 10, eta)) == pytest.approx(0.909, abs=1e-3)
    assert contraction_printed(1, 10, eta) == pytest.approx(0.835, abs=1e-3)
    assert stepped.norm() > contraction_printed(1, 10, eta)
    assert stepped.square().sum() <= contraction_printed(1, 10, eta)


@settings(max_examples=50, deadline=None)
@given(
    low=st.floats(0.01, 10),
    condition=st.floats(1, 100),
    share=st.floats(0.01, 1),
    between=st.lists(st.floats(0, 1), max_size=3),
    seed=st.integers(0, 10**6),
)
def test_the_corrected_factor_bounds_norms_and_the_printed_one_squared_norms(
    low: float, condition: float, share: float, between: list[float], seed: int
) -> None:
    high = low * condition
    curvature = torch.tensor([low, high, *(low + x * (high - low) for x in between)], dtype=torch.float64)
    eta = share * 2 / (high + low)
    theta = torch.randn(50, len(curvature), generator=torch.Generator().manual_seed(seed)).double()
    ratio = (theta * (1 - eta * curvature)).norm(dim=1) / theta.norm(dim=1)
    assert (ratio <= contraction(low, high, eta * (1 - 1e-12)) + 1e-9).all()
    assert (ratio**2 <= contraction_printed(low, high, eta * (1 - 1e-12)) + 1e-9).all()


def test_xi_is_the_least_concavity_and_both_xi_agree_on_isotropic_blocks() -> None:
    assumed = Assumptions((1.0, 2.0), (10.0, 4.0), (0.1, 0.2))
    assert (assumed.xi, assumed.gamma, assumed.blocks) == (1.0, 0.2, 2)
    assert assumed.xi_printed == pytest.approx(20 / 11)
    assert assumed.largest_step == pytest.approx(2 / 11)
    isotropic = Assumptions((2.0, 3.0), (2.0, 3.0), (0.1, 0.2))
    assert isotropic.rate() == isotropic.rate_printed() == Rate(2.0, 0.2, 2)


@pytest.mark.parametrize(
    ("attempt", "argument", "value"),
    [
        (lambda: Rate(1.0, 0.0, 0), "blocks", 0),
        (lambda: Rate(0.0, 0.0, 2), "xi", 0.0),
        (lambda: Rate(float("nan"), 0.0, 2), "xi", None),
        (lambda: Rate(1.0, -0.1, 2), "gamma", -0.1),
        (lambda: Rate(3.0, 1.0, 3), "gamma", 1.0),  # the limit itself
        (lambda: Rate(1.0, 0.0, 2).eta(-1), "t", -1),
        (lambda: Rate(1.0, 0.5, 2).q(0.0), "eta", 0.0),
        (lambda: Rate(1.0, 0.5, 2).beta(2.0), "eta", 2.0),
        (lambda: Assumptions((), (), ()), "concavity", ()),
        (lambda: Assumptions((0.0,), (1.0,), (0.0,)), "concavity", (0.0,)),
        (lambda: Assumptions((2.0,), (1.0,), (0.0,)), "smoothness", (1.0,)),
        (lambda: Assumptions((2.0,), (), (0.0,)), "smoothness", ()),
        (lambda: Assumptions((2.0,), (2.0,), (2.0,)), "stability", (2.0,)),
        (lambda: Assumptions((2.0,), (2.0,), (-1.0,)), "stability", (-1.0,)),
        (lambda: Assumptions((2.0,), (2.0,), (0.0, 0.0)), "stability", (0.0, 0.0)),
        (lambda: Assumptions((1.0, 1.0), (1.0, 1.0), (0.0, 0.7)).rate(), "gamma", 0.7),
        (lambda: Assumptions((1.0,), (10.0,), (0.0,)).rate(), "eta^0", 0.375),
        (lambda: Assumptions((1.0,), (10.0,), (0.0,)).rate_printed(), "eta^0", 0.375 * 11 / 20),
        (lambda: contraction(1.0, 10.0, 0.2), "eta", 0.2),
        (lambda: contraction_printed(1.0, 10.0, 0.0), "eta", 0.0),
        (lambda: recursion_step(Rate(1.0, 0.0, 2), -1.0, 0.1, 1.0), "error", -1.0),
        (lambda: recursion_step(Rate(1.0, 0.0, 2), 1.0, 0.1, -1.0), "sigma2", -1.0),
        (lambda: recursion_step(Rate(1.0, 0.0, 2), 1.0, 0.6, 1.0), "eta", 0.6),  # q = 1.2
        (lambda: roll_out(Rate(1.0, 0.0, 2), 1.0, 1.0, steps=0), "steps", 0),
        (lambda: expand(Rate(1.0, 0.0, 2), 1.0, -1.0, steps=1), "sigma2", -1.0),
        (lambda: bound(Rate(1.0, 0.0, 2), float("nan"), 1.0, steps=1), "error", None),
        (lambda: bound_by_induction(Rate(1.0, 0.0, 2), 1.0, 1.0, steps=0), "steps", 0),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name_and_value(
    attempt: Callable[[], object], argument: str, value: object
) -> None:
    with pytest.raises(ArgumentError) as error:
        attempt()
    assert error.value.argument == argument
    if value is not None:
        assert error.value.value == (pytest.approx(value) if isinstance(value, float) else value)
