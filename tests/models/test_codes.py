from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from models import Architecture
from models.activations import RELU
from models.codes import CodeDescent, Problem, gradient_of, update_codes
from models.layers import append_one, squared_spectral_norm
from models.losses import multinomial
from models.network import encode_input, sigmas_of

MU = 0.3
DRAW = torch.Generator().manual_seed(0)
W = tuple(torch.randn(*shape, generator=DRAW, dtype=torch.float64) for shape in ((6, 5), (7, 7), (5, 8), (3, 6)))
X = torch.randn(16, 4, generator=DRAW, dtype=torch.float64)
Y = torch.randint(3, (16,), generator=DRAW)
NET = Architecture(4, (6, 7, 5), 3)
SIGMAS = sigmas_of(NET.layers)
FORWARD = encode_input(X, W[:-1], NET.layers, SIGMAS)


def top_objective(code: Tensor) -> Tensor:
    """(4), per sample."""
    outputs = append_one(RELU(code)) @ W[-1].T
    return multinomial(outputs, Y) + MU * (code - FORWARD[-1]).square().sum(dim=1)


def hidden_objective(code: Tensor, layer: int, above: Tensor) -> Tensor:
    """(5) over μ, per sample, for c^{layer + 1}."""
    explained = append_one(RELU(code)) @ W[layer + 1].T
    return (above - explained).square().sum(dim=1) + (code - FORWARD[layer]).square().sum(dim=1)


def updated(iterations: int, momentum: float = 0.9, samples: slice = slice(None), mu: float = MU) -> list[Tensor]:
    codes = [code[samples] for code in FORWARD]
    descent = CodeDescent(iterations=iterations, momentum=momentum)
    return update_codes(codes, X[samples], Y[samples], W, NET, SIGMAS, descent, mu=mu)


def finite_differences(objective: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    h = 1e-6
    unit = torch.eye(at.shape[1], dtype=at.dtype)
    return torch.stack([(objective(at + h * e) - objective(at - h * e)) / (2 * h) for e in unit], dim=1)


def autograd(objective: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    return torch.autograd.grad(objective(at).sum(), at)[0]


def problem_of(depth: int, *, stay: float) -> Problem:
    layer, above = NET.layers[depth : depth + 2]
    return Problem(layer, W[depth], X, FORWARD[depth], above, W[depth + 1], SIGMAS[depth], fit=1.0, stay=stay)


@pytest.mark.parametrize("oracle", [autograd, finite_differences])
def test_gradients_are_those_of_the_objectives(oracle: Callable[..., Tensor]) -> None:
    at = [code + torch.randn(code.shape, generator=DRAW, dtype=code.dtype) for code in FORWARD]
    problem = problem_of(2, stay=MU)
    top = gradient_of(problem.to_targets(Y, NET), at[2])
    torch.testing.assert_close(top, oracle(top_objective, at[2]), rtol=1e-6, atol=1e-7)
    for layer in (0, 1):
        gradient = gradient_of(problem_of(layer, stay=1.0).to_code(at[layer + 1]), at[layer])
        expected = oracle(partial(hidden_objective, layer=layer, above=at[layer + 1]), at[layer])
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7)


def test_no_iterations_leave_the_codes_as_they_are() -> None:
    assert all(torch.equal(new, old) for new, old in zip(updated(0), FORWARD, strict=True))


def top_curvature() -> Tensor:
    return 0.5 * squared_spectral_norm(W[-1][:, :-1]) + 2 * MU


@pytest.mark.parametrize(("iterations", "momentum"), [(1, 0.0), (5, 0.0), (5, 0.9), (50, 0.9)])
def test_the_objectives_fall_for_every_sample(iterations: int, momentum: float) -> None:
    new = updated(iterations, momentum)
    pairs = [(top_objective(FORWARD[2]), top_objective(new[2]))]
    for layer in (1, 0):  # against the code above as updated
        above = new[layer + 1]
        pairs.append((hidden_objective(FORWARD[layer], layer, above), hidden_objective(new[layer], layer, above)))
    for before, after in pairs:
        assert (after <= before + 1e-12).all()  # one sample's loss is 0 to begin with
        assert (after < before).sum() >= len(X) - 1


def test_codes_go_from_the_top_down_each_given_the_updated_code_above() -> None:
    new = updated(3)
    alone = CodeDescent(iterations=3).descend(FORWARD[2], top_objective, top_curvature())
    torch.testing.assert_close(new[2], alone, rtol=1e-12, atol=1e-12)
    frozen_top = updated(3, mu=1e12)  # (4) does not move c^3 then, so neither does (5) move c^2 and c^1
    for code, anchor in zip(frozen_top, FORWARD, strict=True):
        torch.testing.assert_close(code, anchor, rtol=0, atol=1e-9)


def test_a_block_of_samples_gives_what_each_sample_gives_alone() -> None:
    together = updated(5)
    for sample in range(len(X)):
        alone = updated(5, samples=slice(sample, sample + 1))
        for code, one in zip(together, alone, strict=True):
            torch.testing.assert_close(code[sample : sample + 1], one, rtol=1e-12, atol=1e-12)


def test_many_iterations_reach_the_minimiser_that_lbfgs_finds() -> None:
    many = updated(4000)
    objectives: list[tuple[Tensor, Callable[[Tensor], Tensor]]] = [(many[2], top_objective)]
    objectives += [(many[k], partial(hidden_objective, layer=k, above=many[k + 1])) for k in (1, 0)]
    for reached, objective in objectives:
        smooth = autograd(objective, reached).abs().amax(dim=1) < 1e-9  # the others end in a kink of ReLU
        assert smooth.sum() > 0.7 * len(X)
        found = reached + 1e-3 * torch.randn(reached.shape, generator=DRAW, dtype=reached.dtype)
        found.requires_grad_()
        optimiser = torch.optim.LBFGS([found], max_iter=300, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def loss(
            found: Tensor = found,
            objective: Callable[[Tensor], Tensor] = objective,
            smooth: Tensor = smooth,
            optimiser: torch.optim.Optimizer = optimiser,
        ) -> Tensor:
            optimiser.zero_grad()
            total = objective(found)[smooth].sum()
            total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return total

        optimiser.step(loss)  # type: ignore[no-untyped-call]  # the same
        torch.testing.assert_close(found.detach()[smooth], reached[smooth], rtol=0, atol=5e-5)
