"""Memories of the output layer, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.top_memory import TopMemory, View, no_top_memory

CPU = torch.device("cpu")
FOREVER, BRIEF = math.inf, 10.0


def stream(n: int, width: int = 4, outputs: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    rows = torch.cat([torch.randn(n, width - 1, generator=draw), torch.ones(n, 1)], dim=1)
    return rows, torch.randn(n, outputs, generator=draw), torch.rand(n, generator=draw)


def keep(n: int, horizon: float) -> Tensor:
    return torch.exp(-torch.arange(n, -1, -1, dtype=torch.float64) / horizon)


def learned(
    memory: TopMemory, block: int, horizon: float, *, renew_every: int = 1, stream: tuple[Tensor, Tensor, Tensor]
) -> TopMemory:
    parts = zip(*(torch.split(tensor, block) for tensor in stream), strict=True)
    for number, (rows, y, w) in enumerate(parts):
        renew = number * block % renew_every < block
        memory = memory.updated(rows, y, w, keep(len(w), horizon), ridge=0.3, renew=renew)
    return memory


def empty(width: int = 4, outputs: int = 3, *, multinomial: bool = False, low_rank: bool = False) -> TopMemory:
    return no_top_memory(width, outputs, CPU, multinomial=multinomial, low_rank=low_rank)


@pytest.mark.parametrize("horizon", [FOREVER, BRIEF])
@pytest.mark.parametrize("block", [1, 7, 30])
def test_weights_are_the_ridge_regression_of_the_discounted_stream_however_it_is_cut(
    horizon: float, block: int
) -> None:
    rows, y, w = stream(30)
    memory = learned(empty(), block, horizon, stream=(rows, y, w))
    q = (w.double() * torch.exp(-torch.arange(29, -1, -1, dtype=torch.float64) / horizon)).unsqueeze(1)
    r = rows.double()
    A, B = r.T @ (q * r), (q * y.double()).T @ r
    mass = sum(math.exp(-age / horizon) for age in range(30))
    expected = torch.linalg.solve(A + 0.3 * A.diagonal().mean() / mass * torch.eye(4), B.T).T
    torch.testing.assert_close(memory.V.double(), expected, rtol=1e-4, atol=1e-5)
    assert memory.mass.item() == pytest.approx(mass)


@pytest.mark.parametrize("multinomial", [False, True])
@pytest.mark.parametrize("horizon", [FOREVER, BRIEF])
def test_low_rank_updates_lead_to_the_same_weights_as_full_solves(horizon: float, multinomial: bool) -> None:
    """With the ridge renewed at the same samples, every 16, in both forms."""
    rows, y, w = stream(64, width=20)
    y = y.softmax(dim=1) if multinomial else y
    full, low = (
        learned(empty(20, multinomial=multinomial, low_rank=low_rank), 1, horizon, renew_every=16, stream=(rows, y, w))
        for low_rank in (False, True)
    )
    torch.testing.assert_close(low.V, full.V, rtol=1e-4, atol=1e-5)
    assert low.P is not None
    assert torch.equal(low.P, low.P.T)
    torch.testing.assert_close(low.P @ (low.A + low.ridge * torch.eye(20)), torch.eye(20).double(), rtol=0, atol=1e-5)


def test_multinomial_weights_approach_the_least_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    rows, true = stream(3000)[0], torch.randn(3, 4, generator=draw)
    labels = torch.distributions.Categorical(logits=rows @ true.T).sample()  # type: ignore[no-untyped-call]  # untyped
    targets, ones = torch.nn.functional.one_hot(labels, 3).float(), torch.ones(3000)
    memory = learned(empty(multinomial=True), 10, 1000.0, stream=(rows, targets, ones))
    loss = torch.nn.functional.cross_entropy
    assert loss(rows @ memory.V.T, labels) < loss(rows @ true.T, labels) + 0.02


def test_a_past_that_counts_more_leaves_the_weights_and_carries_its_ridge_along() -> None:
    memory = learned(empty(low_rank=True), 5, BRIEF, stream=stream(30))
    scaled = memory.scaled(torch.tensor(3.0).double())
    assert torch.equal(scaled.V, memory.V)
    again = scaled.updated(
        torch.zeros(1, 4), torch.zeros(1, 3), torch.zeros(1), torch.ones(2).double(), ridge=1, renew=False
    )
    torch.testing.assert_close(again.V, memory.V, rtol=1e-4, atol=1e-5)


def test_a_memory_that_is_not_finite_says_so_in_its_weights() -> None:
    rows, y, w = stream(3)
    assert empty().updated(rows, y, w, keep(3, BRIEF), ridge=-2.0, renew=True).V.isnan().all()


def test_what_a_view_sees_and_where_its_weights_belong() -> None:
    a, z = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[7.0, 8.0]])
    whole = torch.cat([a, z, torch.ones(1, 1)], dim=1)
    for view in (View(8.0, 2, 2, False), View(8.0, 0, 2, False), View(8.0, 3, 0, True), View(8.0, 3, 2, False)):
        V = torch.arange(1.0, view.width + 1).unsqueeze(0)
        rows = view.rows(a, z)
        assert rows.shape == (1, view.width)
        torch.testing.assert_close(whole @ view.placed(V, 3, 2).T, rows @ V.T)
