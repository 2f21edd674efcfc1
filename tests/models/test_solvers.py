from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from models.solvers import (
    DEAD,
    Solver,
    dead_columns,
    solve_proximal_ridge,
    solve_ridge,
    sweep_columns,
    sweep_columns_sparsely,
)

SOLVERS: dict[str, Solver] = {
    "columns": partial(sweep_columns, sweeps=1),
    "ridge": partial(solve_ridge, ridge=1e-3),
    "proximal-ridge": partial(solve_proximal_ridge, ridge=1e-3),
}


def problem(n_in: int, n_out: int, samples: int, *, dead: tuple[int, ...] = (), seed: int = 0) -> list[Tensor]:
    """W, A, B of `samples` pairs (a, c), float64; some columns dead."""
    draw = torch.Generator().manual_seed(seed)
    a, c, W = (torch.randn(*s, generator=draw).double() for s in ((samples, n_in), (samples, n_out), (n_out, n_in)))
    for column in dead:
        a[:, column] *= 1e-4
    return [W, a.T @ a, c.T @ a]


def objective(W: Tensor, A: Tensor, B: Tensor) -> float:
    return (torch.trace(W.T @ W @ A) - 2 * torch.trace(W.T @ B)).item()


def column_loop(W: Tensor, A: Tensor, B: Tensor, sweeps: int) -> Tensor:
    """Mairal et al. 2009, Algorithm 2, without its projection; dead columns are left out."""
    W = W.clone()
    for _ in range(sweeps):
        for j in range(A.shape[0]):
            if A[j, j] > DEAD * A.diagonal().max():
                W[:, j] += (B[:, j] - W @ A[:, j]) / A[j, j]
    return W


@pytest.mark.parametrize("dead", [(), (0,), (2, 5), (8,)])
@pytest.mark.parametrize("sweeps", [1, 2, 5])
@pytest.mark.parametrize("samples", [4, 40])
def test_sweeps_equal_a_loop_over_columns(dead: tuple[int, ...], sweeps: int, samples: int) -> None:
    W, A, B = problem(9, 4, samples, dead=dead)
    expected = column_loop(W, A, B, sweeps)
    torch.testing.assert_close(sweep_columns(W, A, B, sweeps=sweeps), expected, rtol=1e-9, atol=1e-9)


def test_the_objective_falls_with_every_sweep_also_with_fewer_samples_than_columns() -> None:
    for samples in (3, 30):
        W, A, B = problem(12, 5, samples)
        values = [objective(sweep_columns(W, A, B, sweeps=s) if s else W, A, B) for s in range(8)]
        assert all(after < before for before, after in pairwise(values))


def test_sweeps_converge_to_the_normal_equations() -> None:
    W, A, B = problem(9, 4, 500)
    torch.testing.assert_close(sweep_columns(W, A, B, sweeps=50), torch.linalg.solve(A, B.T).T, rtol=1e-9, atol=1e-9)


def test_ten_thousand_sweeps_over_a_singular_float32_memory_do_not_explode() -> None:
    """Two columns are constants, hence collinear with the bias, as dead pixels are under a pooled scale."""
    a = torch.rand(500, 12, generator=torch.Generator().manual_seed(0))
    a[:, 3], a[:, 7], a[:, 11] = -0.6, 0.3, 1.0
    c = a @ torch.ones(12, 4) + 0.1
    A, B = (a.T @ a).double(), (c.T @ a).double()
    A = (A + A.T) / 2
    early = sweep_columns(torch.zeros(4, 12), A, B, sweeps=500)
    late = sweep_columns(early, A, B, sweeps=10_000)
    torch.testing.assert_close(a @ late.T, c, rtol=0, atol=1e-3)
    assert (late - early).abs().max() < 0.05 * early.abs().max()


def test_a_column_just_above_the_threshold_is_solved_as_exactly_as_the_others() -> None:
    draw = torch.Generator().manual_seed(0)
    a, true = torch.randn(300, 6, generator=draw), torch.randn(3, 6, generator=draw)
    a[:, 2] *= 1.2e-3  # A_jj = 1.44e-6 of the others'
    memory_A, memory_B = (a.T @ a).double(), ((a @ true.T).T @ a).double()
    assert not dead_columns(memory_A).any()
    torch.testing.assert_close(sweep_columns(torch.zeros(3, 6), memory_A, memory_B, sweeps=30), true, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dead", [(), (2, 5)])
@pytest.mark.parametrize("samples", [4, 40])
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_ridges_satisfy_their_equations_on_live_columns(dead: tuple[int, ...], samples: int, ridge: float) -> None:
    W, A, B = problem(9, 4, samples, dead=dead)
    strength = ridge * A.diagonal().mean()
    live = ~dead_columns(A)
    for solve, towards in ((solve_ridge, torch.zeros_like(W)), (solve_proximal_ridge, W)):
        solved = solve(W, A, B, ridge=ridge)
        residual = (solved @ A - B + strength * (solved - towards))[:, live]
        assert residual.norm() <= 1e-8 * B[:, live].norm()


@pytest.mark.parametrize("name", SOLVERS)
def test_dead_columns_keep_their_weights_bit_for_bit(name: str) -> None:
    W, A, B = problem(9, 4, 40, dead=(0, 4, 8))
    for weights in (W, W.float()):
        solved = SOLVERS[name](weights, A, B)
        assert torch.equal(solved[:, [0, 4, 8]], weights[:, [0, 4, 8]])
        assert not torch.isclose(solved, weights)[:, [1, 2, 3, 5, 6, 7]].any()
        assert solved.dtype == weights.dtype


@pytest.mark.parametrize("name", SOLVERS)
def test_an_empty_memory_changes_nothing(name: str) -> None:
    W, A, B = problem(5, 3, 10)
    assert torch.equal(SOLVERS[name](W, torch.zeros_like(A), torch.zeros_like(B)), W)


@pytest.mark.parametrize("name", SOLVERS)
def test_weights_that_already_solve_the_problem_stay(name: str) -> None:
    W, A, _ = problem(9, 4, 100)
    if name == "ridge":
        A_regularised = A + 1e-3 * A.diagonal().mean() * torch.eye(9)
        torch.testing.assert_close(SOLVERS[name](W, A, W @ A_regularised), W, rtol=1e-9, atol=1e-9)
    else:
        torch.testing.assert_close(SOLVERS[name](W, A, W @ A), W, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solve", [SOLVERS["ridge"], SOLVERS["proximal-ridge"]])
def test_a_failed_factorisation_gives_nan_never_finite_nonsense(solve: Solver) -> None:
    indefinite = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    solved = solve(torch.zeros(1, 2), indefinite, torch.ones(1, 2, dtype=torch.float64))
    assert solved.isnan().all()


def test_a_column_is_dead_up_to_the_threshold() -> None:
    assert dead_columns(torch.diag(torch.tensor([1.0, 2e-6, 1e-6, 0.0]))).tolist() == [False, False, True, True]


def test_sparse_sweeps_reach_the_lasso_that_scikit_learn_finds() -> None:
    draw = torch.Generator().manual_seed(0)
    a = torch.cat([torch.randn(200, 6, generator=draw), torch.ones(200, 1)], dim=1).double()
    truth = torch.tensor([[2.0, 0.0, 0.0, -1.0, 0.0, 0.5, 0.3]]).double()
    c = a @ truth.T + 0.1 * torch.randn(200, 1, generator=draw).double()
    lambda_w = 40.0
    W = sweep_columns_sparsely(torch.zeros(1, 7), a.T @ a, c.T @ a, sweeps=200, lambda_w=lambda_w)
    oracle = Lasso(alpha=lambda_w / (2 * 200), tol=1e-10).fit(a[:, :-1].numpy(), c[:, 0].numpy())
    torch.testing.assert_close(W[0, :-1].double(), torch.tensor(oracle.coef_), rtol=1e-4, atol=1e-5)
    assert W[0, -1].item() == pytest.approx(oracle.intercept_, abs=1e-5)
    assert (W[0, :-1] == 0).tolist() == (truth[0, :-1] == 0).tolist()


def test_sparse_sweeps_without_a_penalty_are_the_plain_ones() -> None:
    draw = torch.Generator().manual_seed(0)
    a, c = torch.randn(50, 7, generator=draw).double(), torch.randn(50, 3, generator=draw).double()
    W = torch.randn(3, 7, generator=draw).double()
    sparse = sweep_columns_sparsely(W, a.T @ a, c.T @ a, sweeps=2, lambda_w=0.0)
    torch.testing.assert_close(sparse, sweep_columns(W, a.T @ a, c.T @ a, sweeps=2))
