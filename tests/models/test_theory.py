"""Eq. 8 on problems whose optimum and constants are known, held against Theorems 3.1 and 3.2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import ArgumentError
from models.theory import (
    Assumptions,
    MeanQuadratic,
    Rate,
    Scheme,
    bound,
    bound_by_induction,
    project,
    recursion_step,
    roll_out,
)

RADIUS_PER_DISTANCE = 2.2  # the theorems want the optimum within r/2 of the start


def regression(
    curvatures: Sequence[Sequence[float]], *, coupling: float, samples: int = 12, noise: float = 0.5, seed: int = 0
) -> MeanQuadratic:
    """Least squares whose H has diagonal blocks diag(curvatures_d) and small blocks beside them, exactly."""
    draw = torch.Generator().manual_seed(seed)
    flat = torch.tensor([value for block in curvatures for value in block], dtype=torch.float64)
    D = len(flat)
    orthonormal = torch.linalg.qr(torch.randn(samples, D, generator=draw).double()).Q * samples**0.5
    mixed = torch.randn(D, D, generator=draw).double()
    block_of = torch.tensor([d for d, block in enumerate(curvatures) for _ in block])
    mixed = torch.where(block_of == block_of.unsqueeze(1), 0, mixed + mixed.T)
    hessian = flat.diag() + coupling * mixed / torch.linalg.matrix_norm(mixed, 2)
    features = orthonormal @ torch.linalg.cholesky(hessian).T
    targets = features @ torch.randn(D, generator=draw).double() + noise * torch.randn(samples, generator=draw).double()
    return MeanQuadratic.regression(features, targets, tuple(len(block) for block in curvatures))


ISOTROPIC = [[1.0, 1.0], [1.0, 1.0]]
PROBLEMS = {
    "two isotropic blocks": regression(ISOTROPIC, coupling=0.1),
    "three isotropic blocks": regression([*ISOTROPIC, [1.0, 1.0]], coupling=0.1, seed=1),
    "two blocks of unequal curvatures": regression([[1.0, 3.0], [1.0, 2.0]], coupling=0.1, seed=2),
    "two blocks far from isotropic": regression([[1.0, 20.0], [2.0, 5.0]], coupling=0.2, seed=3),  # η⁰ > 2/(μ+λ)
}


def rate_of(problem: MeanQuadratic) -> Rate:
    assumed = problem.assumptions()
    return Rate(assumed.xi, assumed.gamma, assumed.blocks)


def scheme_of(problem: MeanQuadratic, *, distance: float, repetitions: int, seed: int = 0) -> Scheme[Tensor]:
    """Starts at that distance from θ_d*, the same in every repetition."""
    draw = torch.Generator().manual_seed(seed)
    starts = []
    for optimum in problem.optimum:
        direction = torch.randn(len(optimum), generator=draw).double()
        starts.append((optimum + distance * direction / direction.norm()).expand(repetitions, -1))
    return Scheme(starts, [RADIUS_PER_DISTANCE * distance] * len(starts), problem.gradient)


def draws(problem: MeanQuadratic, *, repetitions: int, steps: int, seed: int = 0) -> Iterator[list[Tensor]]:
    """A fresh sample a block, iteration and repetition."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield list(torch.randint(len(problem.linears), (len(problem.sizes), repetitions), generator=draw))


def squared_error(thetas: Sequence[Tensor], optimum: Sequence[Tensor]) -> Tensor:
    """Σ_d ‖θ_d − θ_d*‖², (R,)."""
    return torch.stack([(theta - best).square().sum(1) for theta, best in zip(thetas, optimum, strict=True)]).sum(0)


def simulate(problem: MeanQuadratic, *, distance: float, steps: int, repetitions: int) -> tuple[Scheme[Tensor], Tensor]:
    """The scheme with Theorem 3.2's steps, and its mean error at iterations 1 … steps."""
    scheme = scheme_of(problem, distance=distance, repetitions=repetitions)
    samples = draws(problem, repetitions=repetitions, steps=steps)
    runs = scheme.run(rate_of(problem).eta, samples)
    return scheme, torch.stack([squared_error(thetas, problem.optimum).mean() for thetas in runs])


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_mean_error_stays_below_the_recursion_and_that_below_the_closed_forms(name: str) -> None:
    problem = PROBLEMS[name]
    scheme, errors = simulate(problem, distance=1.0, steps=150, repetitions=500)
    rate, sigma2, start = rate_of(problem), problem.sigma2(scheme.radii), float(len(problem.sizes))
    recursion = roll_out(rate, start, sigma2, steps=150)
    assert (errors <= recursion).all()
    assert (recursion <= bound_by_induction(rate, start, sigma2, steps=150)).all()
    assert (recursion <= bound(rate, start, sigma2, steps=150)).all()


def test_the_error_falls_at_least_as_fast_as_one_over_t() -> None:
    _, errors = simulate(PROBLEMS["two isotropic blocks"], distance=1.0, steps=1000, repetitions=400)
    late = torch.arange(100, 1000)
    logs = torch.stack([late.double().log(), torch.ones(900, dtype=torch.float64)], dim=1)
    slope = torch.linalg.lstsq(logs, errors[late].log().unsqueeze(1)).solution[0].item()
    assert -1.5 < slope < -0.95


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(PROBLEMS)),
    seed=st.integers(0, 10**6),
    distance=st.floats(0.01, 2.2),
    shorter=st.floats(0.01, 1),
)
def test_one_step_from_anywhere_in_the_balls_obeys_theorem_3_1_in_exact_expectation(
    name: str, seed: int, distance: float, shorter: float
) -> None:
    """All K-tuples of samples, each once: no error of simulation. The step is Theorem 3.2's first one, or shorter."""
    problem = PROBLEMS[name]
    tuples = torch.cartesian_prod(*[torch.arange(len(problem.linears))] * len(problem.sizes))
    scheme = scheme_of(problem, distance=1.0, repetitions=len(tuples), seed=seed)
    thetas = scheme_of(problem, distance=distance, repetitions=len(tuples), seed=seed + 1).starts
    rate = rate_of(problem)
    eta = shorter * rate.eta(0)
    before = squared_error(thetas, problem.optimum).mean().item()
    after = squared_error(scheme.step(thetas, list(tuples.T), eta), problem.optimum).mean().item()
    assert after <= recursion_step(rate, before, eta, problem.sigma2(scheme.radii))


@pytest.mark.parametrize("eta", [0.1, 100.0])
def test_iterates_stay_within_half_a_radius_of_the_start_and_a_radius_of_the_optimum(eta: float) -> None:
    problem = PROBLEMS["three isotropic blocks"]
    scheme = scheme_of(problem, distance=0.5, repetitions=50)
    moved = 0.0
    for thetas in scheme.run(lambda t: eta, draws(problem, repetitions=50, steps=40)):
        for theta, start, best, radius in zip(thetas, scheme.starts, problem.optimum, scheme.radii, strict=True):
            moved = max(moved, ((theta - start).norm(dim=1) / radius).max().item())
            assert ((theta - best).norm(dim=1) <= radius).all()
    assert moved == pytest.approx(0.5, rel=1e-12)  # the balls were reached


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.floats(0.01, 10))
def test_projecting_finds_the_nearest_point_of_the_ball_and_leaves_its_points_alone(seed: int, radius: float) -> None:
    points, others, center = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(seed)).double()
    projected = project(points, center, radius)
    inside = (points - center).norm(dim=1) <= radius
    assert torch.equal(projected[inside], points[inside])
    assert ((projected - center).norm(dim=1) <= radius * (1 + 1e-12)).all()
    elsewhere = project(others, center, radius)
    assert ((points - projected).norm(dim=1) <= (points - elsewhere).norm(dim=1) + 1e-12).all()


def test_a_block_sees_the_new_values_of_those_before_it_and_the_old_of_those_after() -> None:
    seen: list[list[float]] = []

    def gradient(d: int, thetas: Sequence[Tensor], sample: str) -> Tensor:
        seen.append([theta.item() for theta in thetas])
        assert sample == "abc"[d]
        return torch.tensor([-1.0], dtype=torch.float64)

    starts = [torch.tensor([value], dtype=torch.float64) for value in (0.0, 10.0, 20.0)]
    new = Scheme(starts, [100.0] * 3, gradient).step(starts, "abc", 1.0)
    assert seen == [[0, 10, 20], [1, 10, 20], [1, 11, 20]]
    assert [theta.item() for theta in new] == [1, 11, 21]
    assert [start.item() for start in starts] == [0, 10, 20]


def test_one_sample_for_all_blocks_biases_the_later_gradients_and_can_break_one_step_of_theorem_3_1() -> None:
    """f_± = ½‖θ‖² ± (aθ₁θ₂ + bθ₁): no coupling in the mean, so γ = 0, λ = μ = 1 and σ² is known exactly."""
    a, b, eta, r = 1.0, 2.0, 0.05, 1.0
    hessians = torch.tensor([[[1, sign * a], [sign * a, 1]] for sign in (1, -1)], dtype=torch.float64)
    problem = MeanQuadratic(hessians, torch.tensor([[-b, 0], [b, 0]], dtype=torch.float64), (1, 1))
    assert problem.assumptions() == Assumptions((1.0, 1.0), (1.0, 1.0), (0.0, 0.0))
    sigma2 = (r**2 + (a * r + b) ** 2) + (r**2 + a**2 * r**2)
    assert problem.sigma2([r, r]) == pytest.approx(sigma2)
    at = [torch.full((4, 1), r, dtype=torch.float64)] * 2
    scheme = Scheme(at, [100.0, 100.0], problem.gradient)
    fresh, shared = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    independent = scheme.step(at, [fresh, shared], eta)
    same = scheme.step(at, [shared, shared], eta)
    assert independent[1].mean().item() == pytest.approx((1 - eta) * r)
    assert same[1].mean().item() == pytest.approx((1 - eta) * r + eta**2 * a * (a * r + b))
    allowed = (1 - 2 * eta) * 2 * r**2 + eta**2 * sigma2
    assert squared_error(independent, problem.optimum).mean().item() <= allowed + 1e-12
    assert squared_error(same, problem.optimum).mean().item() > allowed


def test_theorem_3_2_as_printed_fails_where_all_its_assumptions_hold() -> None:
    """Slope 1 up to 0.99, slope 8 up to r = 1, exact gradients, K = 2 uncoupled blocks; so is Theorem A.1's on η⁰."""
    assumed = Assumptions((1.0, 1.0), (8.0, 8.0), (0.0, 0.0))
    printed, corrected = assumed.rate_printed(), Rate(assumed.xi, assumed.gamma, assumed.blocks)
    sigma2, zero = 2 * (0.99 + 8 * 0.01) ** 2, torch.zeros(1, dtype=torch.float64)

    def gradient(d: int, thetas: Sequence[Tensor], sample: None) -> Tensor:
        return thetas[d] + 7 * thetas[d].sign() * (thetas[d].abs() - 0.99).clamp_min(0)

    scheme: Scheme[None] = Scheme([torch.full((1, 1), 0.5, dtype=torch.float64)] * 2, [1.0, 1.0], gradient)
    for rate, holds in ((printed, False), (corrected, True)):
        runs = scheme.run(rate.eta, [[None, None]] * 700)
        errors = torch.stack([squared_error(thetas, [zero, zero]).mean() for thetas in runs])
        assert bool((errors <= bound(rate, 0.5, sigma2, steps=700)).all()) is holds
        assert bool((errors <= bound_by_induction(rate, 0.5, sigma2, steps=700)).all()) is holds


def test_eq_3_with_linear_activations_is_an_instance_with_weights_and_codes_as_its_blocks() -> None:
    """½‖y − V c‖² + μ‖c − W x‖², V fixed: θ_1 = W, θ_2 = all codes over √S, whose scale keeps γ free of S."""
    S, mu, V = 4, 0.1, 1.2 * torch.eye(2, dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    x = 2 * S**0.5 * torch.linalg.qr(torch.randn(S, 2, generator=draw).double()).Q  # whitened: mean xxᵀ = 4I
    y = torch.randn(S, 2, generator=draw).double()

    J = torch.zeros(S, 4, 4 + 2 * S, dtype=torch.float64)  # a sample's objective is ½‖J_s θ − (y_s, 0)‖²
    for s in range(S):
        code = slice(4 + 2 * s, 6 + 2 * s)
        J[s, :2, code] = S**0.5 * V
        J[s, 2:, code] = (2 * mu * S) ** 0.5 * torch.eye(2)
        J[s, 2:, :4] = -((2 * mu) ** 0.5) * torch.kron(torch.eye(2), x[s : s + 1])
    linears = torch.einsum("sij,si->sj", J[:, :2], y)
    problem = MeanQuadratic(J.transpose(1, 2) @ J, linears, (4, 2 * S))
    assumed = problem.assumptions()
    assert assumed.concavity == pytest.approx((2 * mu * 4, 1.44 + 2 * mu))
    assert assumed.gamma == pytest.approx(2 * mu * 2)
    scheme, errors = simulate(problem, distance=1.0, steps=200, repetitions=300)
    assert (errors <= roll_out(rate_of(problem), 2.0, problem.sigma2(scheme.radii), steps=200)).all()
    assert errors[-1] < 0.2 * errors[0]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_constants_of_a_quadratic_are_what_the_assumptions_ask_for(name: str) -> None:
    """At random points of the spheres of radius r around the optimum."""
    problem, radius = PROBLEMS[name], 1.5
    assumed, moments = problem.assumptions(), []
    for seed in range(60):
        thetas = scheme_of(problem, distance=radius, repetitions=1, seed=seed).starts
        moments.append(problem.second_moment(thetas).item())
        for d, best in enumerate(problem.optimum):
            alone = [best.unsqueeze(0) for best in problem.optimum]
            alone[d] = thetas[d]
            gradient = population(problem, d, alone)
            slope = (gradient @ (thetas[d][0] - best)).item() / radius**2
            assert assumed.concavity[d] - 1e-9 <= slope <= assumed.smoothness[d] + 1e-9
            shift = (population(problem, d, thetas) - gradient).norm().item()
            assert shift <= assumed.stability[d] * radius * (assumed.blocks - 1) + 1e-12
    sigma2 = problem.sigma2([radius] * assumed.blocks)
    assert 0.3 * sigma2 <= max(moments) <= sigma2


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_of_the_mean_vanishes_at_the_optimum(name: str) -> None:
    problem = PROBLEMS[name]
    for d in range(len(problem.sizes)):
        assert population(problem, d, [best.unsqueeze(0) for best in problem.optimum]).norm() < 1e-9


def population(problem: MeanQuadratic, d: int, thetas: Sequence[Tensor]) -> Tensor:
    """∇_d f, (n_d,), at θ (1, n_d) each: the mean over all samples."""
    every = torch.arange(len(problem.linears))
    return problem.gradient(d, [theta.expand(len(every), -1) for theta in thetas], every).mean(0)


def test_what_a_scheme_or_a_quadratic_cannot_work_with_is_refused_by_name() -> None:
    start, eye = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64).unsqueeze(0)
    scheme: Scheme[None] = Scheme([start], [1.0], lambda d, thetas, sample: thetas[d])
    problem = MeanQuadratic(eye, start.unsqueeze(0), (1, 1))
    refused: dict[str, list[Callable[[], object]]] = {
        "starts": [lambda: Scheme([], [], scheme.gradient), lambda: Scheme([start.float()], [1.0], scheme.gradient)],
        "radii": [
            lambda: Scheme([start], [0.0], scheme.gradient),
            lambda: Scheme([start], [1.0, 1.0], scheme.gradient),
            lambda: problem.sigma2([1.0]),
            lambda: problem.sigma2([1.0, -1.0]),
        ],
        "thetas": [lambda: scheme.step([start, start], [None], 0.1)],
        "samples": [lambda: scheme.step([start], [None, None], 0.1)],
        "eta": [lambda: scheme.step([start], [None], 0.0), lambda: scheme.step([start], [None], float("nan"))],
        "radius": [lambda: project(start, start, -1.0)],
        "linears": [lambda: MeanQuadratic(eye, start, (2,)), lambda: MeanQuadratic(eye[:0], eye[:0, 0], (2,))],
        "hessians": [
            lambda: MeanQuadratic(eye[0], start.unsqueeze(0), (2,)),
            lambda: MeanQuadratic(-eye, start.unsqueeze(0), (2,)),
        ],
        "sizes": [partial(MeanQuadratic, eye, start.unsqueeze(0), sizes) for sizes in ((), (1,), (2, 0))],
    }
    for argument, attempts in refused.items():
        for attempt in attempts:
            with pytest.raises(ArgumentError, match=rf"^{argument} must be .*, not ") as error:
                attempt()
            assert error.value.argument == argument
