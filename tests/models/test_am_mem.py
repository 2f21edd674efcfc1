from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from models import (
    AMMem,
    AMMemHyperparameters,
    Architecture,
    ArgumentError,
    InputScale,
    NoScale,
    PooledScale,
    RunningScale,
)
from models.activations import RELU
from models.am import MOST_ITERATIONS
from models.layers import append_one, squared_spectral_norm
from models.losses import MULTINOMIAL, multinomial
from models.network import encode_input, sigmas_of
from models.solvers import Solver, solve_proximal_ridge, solve_ridge, sweep_columns

MakeBlocks = Callable[..., list[tuple[Tensor, Tensor, Tensor]]]

CPU = torch.device("cpu")
NET = Architecture(5, (8, 6), 3)


def am_mem(scale: InputScale, net: Architecture = NET, seed: int = 0, **hyperparameters: Any) -> AMMem:
    return AMMem(net, AMMemHyperparameters(**hyperparameters), scale=scale, seed=seed, device=CPU)


def descend(code: Tensor, objective: Callable[[Tensor], Tensor], step: float, hyper: AMMemHyperparameters) -> Tensor:
    velocity = torch.zeros_like(code)
    for _ in range(hyper.code_iterations):
        at = code.clone().requires_grad_()
        velocity = hyper.code_momentum * velocity - step * torch.autograd.grad(objective(at), at)[0]
        code = code + velocity
    return code


def with_one(a: Tensor) -> Tensor:
    return torch.cat([a, a.new_ones(1)])


def paper_step(
    x: Tensor, y: Tensor, w: Tensor, W: list[Tensor], A: list[Tensor], B: list[Tensor], hyper: AMMemHyperparameters
) -> None:
    """Algorithm 2.1 on one block, sample by sample and column by column, in float64; replaces W, A, B."""
    L = len(A)
    gradient = torch.zeros_like(W[L])
    A[:] = [math.exp(-len(x) / hyper.horizon) * a for a in A] if hyper.horizon else A
    B[:] = [math.exp(-len(x) / hyper.horizon) * b for b in B] if hyper.horizon else B
    lipschitz = [2 * squared_spectral_norm(M[:, :-1]).item() + 2 for M in W]
    top_lipschitz = MULTINOMIAL.curvature * squared_spectral_norm(W[L][:, :-1]).item() + 2 * hyper.mu
    for i in range(len(x)):
        anchors = [code[0] for code in encode_input(x[i : i + 1], W[:L], NET.layers, sigmas_of(NET.layers))]
        c = list(anchors)

        def top(at: Tensor, c: list[Tensor] = anchors, i: int = i) -> Tensor:  # eq. 4
            outputs = W[L] @ with_one(at.clamp(min=0))
            return multinomial(outputs.unsqueeze(0), y[i : i + 1])[0] + hyper.mu * (at - c[L - 1]).square().sum()

        c[L - 1] = descend(c[L - 1], top, 1 / top_lipschitz, hyper)
        for k in range(L - 2, -1, -1):

            def hidden(at: Tensor, k: int = k, above: Tensor = c[k + 1], anchor: Tensor = anchors[k]) -> Tensor:
                # eq. 5 over μ
                return (above - W[k + 1] @ with_one(at.clamp(min=0))).square().sum() + (at - anchor).square().sum()

            c[k] = descend(c[k], hidden, 1 / lipschitz[k + 1], hyper)

        below = [with_one(x[i]), *(with_one(code.clamp(min=0)) for code in c)]
        probabilities = (W[L] @ below[L]).softmax(dim=0)
        probabilities[y[i]] -= 1
        gradient += w[i] * torch.outer(probabilities, below[L]) / len(x)
        for k in range(L):
            A[k] = A[k] + w[i] * torch.outer(below[k], below[k])
            B[k] = B[k] + w[i] * torch.outer(c[k], below[k])
    W[L] = W[L] - hyper.eta * gradient
    for k in range(L):
        W[k] = W[k].clone()
        for j in range(W[k].shape[1]):
            if A[k][j, j] > 1e-6 * A[k].diagonal().max():
                W[k][:, j] += (B[k][:, j] - W[k] @ A[k][:, j]) / A[k][j, j]


@pytest.mark.parametrize("horizon", [None, 30.0])
def test_learning_is_the_papers_algorithm_written_out_sample_by_sample(
    horizon: float | None, make_blocks: MakeBlocks
) -> None:
    learner = am_mem(NoScale(), horizon=horizon)
    W = [matrix.double() for matrix in learner.state.weights]
    A = [torch.zeros(s + 1, s + 1, dtype=torch.float64) for s in NET.sizes[:2]]
    B = [torch.zeros(n, s + 1, dtype=torch.float64) for s, n in zip(NET.sizes[:2], NET.sizes[1:], strict=False)]
    for x, y, w in make_blocks([12, 3, 1, 8], seed=0, missing=0.0):
        learner.learn(x, y, w)
        paper_step(x.double(), y, w.double(), W, A, B, learner.hyperparameters)
    for memory, a, b in zip(learner.state.memories, A, B, strict=True):
        torch.testing.assert_close(memory.A, a, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(memory.B, b, rtol=1e-3, atol=1e-3)
    for matrix, expected in zip(learner.state.weights, W, strict=True):
        torch.testing.assert_close(matrix.double(), expected, rtol=1e-3, atol=1e-3)


def test_the_top_layer_takes_one_sgd_step_on_the_block_mean_of_the_weighted_loss(make_blocks: MakeBlocks) -> None:
    learner = am_mem(NoScale(), code_iterations=0, eta=0.7)  # the codes stay those of the forward pass
    before = learner.state.weights
    [(x, y, w)] = make_blocks([9], seed=1, missing=0.0)
    learner.learn(x, y, w)
    top = before[-1].clone().requires_grad_()
    codes = encode_input(x, before[:-1], NET.layers, sigmas_of(NET.layers))
    loss = (multinomial(append_one(RELU(codes[-1])) @ top.T, y) * w).mean()
    expected = before[-1] - 0.7 * torch.autograd.grad(loss, top)[0]
    torch.testing.assert_close(learner.state.weights[-1], expected, rtol=1e-5, atol=1e-6)


ANSWERS: list[tuple[dict[str, Any], Solver]] = [
    ({"solver": "columns", "sweeps": 3}, partial(sweep_columns, sweeps=3)),
    ({"solver": "ridge", "ridge": 0.1}, partial(solve_ridge, ridge=0.1)),
    ({"solver": "proximal-ridge", "ridge": 0.2}, partial(solve_proximal_ridge, ridge=0.2)),
]


@pytest.mark.parametrize(("chosen", "solve"), ANSWERS)
def test_hidden_weights_are_the_chosen_solvers_answer_to_the_memories(
    chosen: dict[str, Any], solve: Solver, make_blocks: MakeBlocks
) -> None:
    learner = am_mem(NoScale(), **chosen)
    first, second = make_blocks([20, 20], seed=1)
    learner.learn(*first)
    before = learner.state.weights
    learner.learn(*second)
    for layer, memory in enumerate(learner.state.memories):
        assert torch.equal(learner.state.weights[layer], solve(before[layer], memory.A, memory.B))


def test_a_sample_of_weight_zero_only_dilutes_the_block_mean_and_takes_its_time(make_blocks: MakeBlocks) -> None:
    with_zero, without = am_mem(RunningScale(), eta=0.2), am_mem(RunningScale(), eta=0.2 * 3 / 4)
    [(x, y, w)] = make_blocks([4], seed=0)
    with_zero.learn(x, y, w * torch.tensor([1, 1, 1, 0]))
    without.learn(x[:3], y[:3], w[:3])
    assert (with_zero.state_dict()["samples"].item(), without.state_dict()["samples"].item()) == (4, 3)
    for name in without.state_dict().keys() - {"samples"}:
        torch.testing.assert_close(with_zero.state_dict()[name], without.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_mu_grows_with_samples_however_blocks_are_cut(make_blocks: MakeBlocks) -> None:
    hyper = AMMemHyperparameters(mu=0.1, mu_increment=0.01, mu_max=0.5)
    counts = (0, 10, 39, 41, 10**9)
    assert [hyper.mu_after(torch.tensor(n)).item() for n in counts] == pytest.approx([0.1, 0.2, 0.49, 0.5, 0.5])
    for n in (1, 8, 64):
        learner = am_mem(RunningScale())
        for block in make_blocks([n] * (64 // n), seed=0):
            learner.learn(*block)
        assert learner.state.samples.item() == 64


def test_a_step_uses_the_mu_that_its_first_sample_finds(make_blocks: MakeBlocks) -> None:
    scheduled, constant = am_mem(RunningScale(), mu=0.1, mu_increment=0.02), am_mem(RunningScale(), mu=0.5)
    scheduled.load_state_dict(scheduled.state_dict() | {"samples": torch.tensor(20)})
    constant.load_state_dict(constant.state_dict() | {"samples": torch.tensor(20)})
    [block] = make_blocks([8], seed=0)
    scheduled.learn(*block)
    constant.learn(*block)
    for name, tensor in constant.state_dict().items():
        torch.testing.assert_close(scheduled.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_horizon_forgets_old_contributions_by_samples_however_blocks_are_cut(make_blocks: MakeBlocks) -> None:
    """64 samples of weight 0 pass; the moments of the inputs, which have no horizon, stay."""
    [old, passing] = make_blocks([20, 64], seed=0)
    for n in (1, 8, 64):
        learner = am_mem(RunningScale(), horizon=100.0)
        learner.learn(*old)
        before = learner.state
        for start in range(0, 64, n):
            x, y, w = (part[start : start + n] for part in passing)
            learner.learn(x, y, torch.zeros_like(w))
        for now, then in zip(learner.state.memories, before.memories, strict=True):
            torch.testing.assert_close(now.A, math.exp(-0.64) * then.A, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(now.B, math.exp(-0.64) * then.B, rtol=1e-12, atol=1e-12)
        assert torch.equal(learner.state.moments.squares, before.moments.squares)


def test_layer_1_memory_equals_that_of_all_raw_samples_under_the_final_scale(make_blocks: MakeBlocks) -> None:
    learner = am_mem(RunningScale())
    blocks = make_blocks([30] + [7] * 40, seed=0, missing=0.0)
    for block in blocks:
        learner.learn(*block)
    last = RunningScale().scaling(learner.state.moments)
    z = torch.cat([append_one((x.double() - last.center) / last.deviation) for x, _, _ in blocks])
    w = torch.cat([w for _, _, w in blocks]).double()
    seen = learner.state.memories[0].mapped(last.from_fixed(learner.state.slots["shift"]))
    torch.testing.assert_close(seen.A, z.T @ (z * w.unsqueeze(1)), rtol=1e-5, atol=1e-3)


def test_a_moving_scale_leaves_the_net_the_same_function_until_the_solve(make_blocks: MakeBlocks) -> None:
    """A sample of hardly any weight but of enormous size moves the scale; memories and top layer hardly notice it."""
    (x, y, w), _ = make_blocks([40, 1], seed=0, missing=0.0)
    learner = am_mem(RunningScale(), solver="proximal-ridge", ridge=1e9)
    learner.learn(x, y, w)
    before, probabilities = learner.state, learner.predict(x)
    assert learner.learn(torch.full((1, 5), 1e6), y[:1], torch.tensor([1e-9]))
    deviations = [RunningScale().scaling(moments).deviation for moments in (before.moments, learner.state.moments)]
    assert (deviations[1] > 1.5 * deviations[0]).all()
    assert not torch.allclose(learner.state.weights[0], before.weights[0], atol=0.1)
    torch.testing.assert_close(learner.predict(x), probabilities, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_large_offsets_lose_no_accuracy(offset: float, make_blocks: MakeBlocks) -> None:
    near, far = am_mem(RunningScale()), am_mem(RunningScale())
    blocks = make_blocks([16] * 30, seed=0)
    for x, y, w in blocks:
        near.learn(x.double(), y, w)
        far.learn(x.double() + offset, y, w)
    x = torch.cat([x for x, _, _ in blocks]).double()
    torch.testing.assert_close(far.predict(x + offset), near.predict(x), rtol=0, atol=5e-3)


@pytest.mark.parametrize("scale", [RunningScale(), PooledScale()])
def test_a_feature_that_was_missing_at_first_is_no_outlier_there(scale: InputScale, make_blocks: MakeBlocks) -> None:
    learner = am_mem(scale)
    for t, (x, y, w) in enumerate(make_blocks([8] * 12, seed=0, missing=0.0)):
        x[:, 2] = torch.nan if t < 4 else x[:, 2] + 1e6
        assert learner.learn(x, y, w)
    seen = learner.state.memories[0].mapped(
        scale.scaling(learner.state.moments).from_fixed(learner.state.slots["shift"])
    )
    assert (seen.A.diagonal() < 10 * seen.A[-1, -1]).all()  # mean z² stays of order 1


def test_a_first_block_of_weight_zero_fixes_no_coordinates(make_blocks: MakeBlocks) -> None:
    learner = am_mem(RunningScale())
    (x, y, w), (later, _, _) = make_blocks([8, 8], seed=0)
    assert learner.learn(x, y, torch.zeros_like(w))
    assert learner.learn(later + 1e6, y, w)
    assert torch.equal(learner.state.slots["shift"], learner.state.moments.mean)


def test_constant_features_then_varying_ones_are_learned(make_blocks: MakeBlocks) -> None:
    learner = am_mem(RunningScale(), Architecture(5, (30, 30), 3))
    for t, (x, y, w) in enumerate(make_blocks([1] * 3 + [8] * 60, seed=0, missing=0.0)):
        assert learner.learn(torch.full_like(x, 7.0) if t < 10 else x, y, w)
    x, y, _ = make_blocks([300], seed=9, missing=0.0)[0]
    assert (learner.predict(x).argmax(dim=1) == y).float().mean() > 0.8
    assert max(W.abs().max().item() for W in learner.state.weights) < 30


def digits() -> tuple[Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]


def test_one_pass_over_digits_in_blocks_of_8_predicts_each_block_before_it_is_learned() -> None:
    """0.895 ± 0.005 over five seeds."""
    x, y = digits()
    learner = am_mem(PooledScale(), Architecture(64, (100, 100), 10))
    correct = 0
    for start in range(0, len(x), 8):
        block = slice(start, start + 8)
        correct += int((learner.predict(x[block]).argmax(dim=1) == y[block]).sum())
        assert learner.learn(x[block], y[block])
    most_frequent = y.bincount().max().item() / len(y)
    assert correct / len(y) >= max(0.87, 5 * most_frequent)
    assert max(W.abs().max().item() for W in learner.state.weights) < 20  # no column exploded


@pytest.mark.parametrize("name", ["sweeps", "code_iterations"])
def test_more_iterations_than_a_learner_could_ever_finish_are_refused(name: str) -> None:
    most: Any = {name: MOST_ITERATIONS}
    too_many: Any = {name: MOST_ITERATIONS + 1}
    assert getattr(AMMemHyperparameters(**most), name) == MOST_ITERATIONS
    with pytest.raises(ArgumentError, match=f"{name} must be an integer"):
        AMMemHyperparameters(**too_many)


def test_a_window_remembers_the_last_blocks_alone(make_blocks: MakeBlocks) -> None:
    """Eq. 6 with t′ = t − 2: A and B are those of the last three blocks, at the codes that were found then."""
    windowed, endless = am_mem(RunningScale(), window=3), am_mem(RunningScale())
    blocks = make_blocks([8] * 7, seed=0)
    for block in blocks:
        windowed.learn(*block)
        endless.learn(*block)
    for layer, memory in enumerate(windowed.state.memories, start=1):
        last = windowed.state_dict()[f"window.A.{layer}"]
        assert last.shape[0] == 3
        assert torch.equal(memory.A, last.sum(dim=0))
        weight = sum(w.sum().item() for _, _, w in blocks[-3:])
        assert memory.A[-1, -1].item() == pytest.approx(weight)
    assert endless.state.memories[0].A[-1, -1].item() == pytest.approx(sum(w.sum().item() for _, _, w in blocks))


def test_a_window_longer_than_the_stream_learns_like_none(make_blocks: MakeBlocks) -> None:
    windowed, endless = am_mem(RunningScale(), window=20), am_mem(RunningScale())
    for block in make_blocks([8] * 7, seed=0):
        windowed.learn(*block)
        endless.learn(*block)
    for W, expected in zip(windowed.state.weights, endless.state.weights, strict=True):
        torch.testing.assert_close(W, expected, rtol=1e-4, atol=1e-5)


def test_memories_take_every_block_while_solves_wait_for_their_turn(make_blocks: MakeBlocks) -> None:
    learner = am_mem(RunningScale(), solve_every=20)
    hidden, counts = [learner.state.weights[1]], []
    for block in make_blocks([8] * 6, seed=0):
        learner.learn(*block)
        hidden.append(learner.state.weights[1])
        counts.append(learner.state.memories[1].A[-1, -1].item())
    solved = [not torch.equal(new, old) for old, new in pairwise(hidden)]
    assert solved == [False, False, True, False, False, True]  # after 24 and 48 samples
    assert counts == sorted(counts)
    assert len(set(counts)) == 6


def test_an_earlier_runs_memories_are_where_a_new_one_starts(make_blocks: MakeBlocks) -> None:
    """A_0 and B_0 of Algorithm 2.1: with old weights too, the new run goes on as the old one would have."""
    old, blocks = am_mem(NoScale()), make_blocks([8] * 6, seed=0, missing=0.0)
    for block in blocks[:3]:
        old.learn(*block)
    hyper = old.hyperparameters
    new = AMMem(NET, hyper, scale=NoScale(), seed=0, device=CPU, initial=old.state.memories)
    weights = {name: tensor for name, tensor in old.state_dict().items() if name.startswith("W.")}
    new.load_state_dict(new.state_dict() | weights)
    for block in blocks[3:]:
        old.learn(*block)
        new.learn(*block)
    for name in (name for name in old.state_dict() if name.startswith(("W.", "A.", "B."))):
        torch.testing.assert_close(new.state_dict()[name], old.state_dict()[name])
    with pytest.raises(ArgumentError, match="initial must be memories of shapes"):
        AMMem(NET, hyper, scale=NoScale(), seed=0, device=CPU, initial=old.state.memories[:1])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"solver": "ridge", "lambda_w": 0.1}, "solver must be 'columns' when lambda_w is positive, not 'ridge'"),
        ({"horizon": 5.0, "window": 3}, "horizon must be None when there is a rescaling or a window"),
        ({"window": 0}, "window must be from 1 to 1000, or None, not 0"),
        ({"rescaling": "half"}, "rescaling must be one of none, minibatch, power, not 'half'"),
        ({"solve_every": 0}, "solve_every must be an integer of at least 1, not 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused_by_name(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        AMMemHyperparameters(**chosen)


def test_dead_and_nearly_dead_pixels_stay_harmless() -> None:
    """Unscaled pixels from 0 to 16: three are always 0, others hardly ever not."""
    x, y = digits()
    assert ((x == 0).float().mean(dim=0) > 0.99).sum() >= 10
    learner = am_mem(NoScale(), Architecture(64, (50,), 10), eta=0.02, top_gain=0.1)
    for start in range(0, 1700, 20):
        assert learner.learn(x[start : start + 20], y[start : start + 20])
    fresh = am_mem(NoScale(), Architecture(64, (50,), 10))
    dead = (x[:1700] == 0).all(dim=0)
    assert torch.equal(learner.state.weights[0][:, :-1][:, dead], fresh.state.weights[0][:, :-1][:, dead])
    assert learner.state.weights[0].abs().max() < 20
    assert (learner.predict(x[1700:]).argmax(dim=1) == y[1700:]).float().mean() > 0.7
