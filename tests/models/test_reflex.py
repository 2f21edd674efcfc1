"""The gradient step beside the memories, against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.reflex import DAMPING, STEPS, Reflex
from models.top_memory import BOUND

Block = tuple[Tensor, Tensor, Tensor]


def block(n: int, seed: int = 0) -> Block:
    draw = torch.Generator().manual_seed(seed)
    targets = torch.nn.functional.one_hot(torch.randint(3, (n,), generator=draw), 3).float()
    return torch.randn(n, 5, generator=draw), targets, torch.rand(n, generator=draw)


def step(V: Tensor, rows: Tensor, y: Tensor, w: Tensor, size: float, classes: bool) -> Tensor:
    """The closed form."""
    outputs = rows @ V.T
    residuals = (y - (outputs.softmax(dim=1) if classes else outputs)) * w.unsqueeze(1)
    gram = rows.T @ (rows * w.unsqueeze(1)) + DAMPING * size * torch.eye(5)
    moved: Tensor = V + (BOUND if classes else 1) * residuals.T @ rows @ torch.linalg.inv(gram)
    return moved


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("n", [1, 7, STEPS, 3 * STEPS, 10 * STEPS])
def test_a_block_is_taken_in_part_by_part_each_by_the_closed_form(n: int, classes: bool) -> None:
    rows, y, w = block(n)
    V = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    found = Reflex(V).updated(rows, y, w, torch.tensor(4.0), classes=classes).V
    parts = max(1, n // STEPS)
    for at in range(0, n, parts):
        V = step(V, rows[at : at + parts], y[at : at + parts], w[at : at + parts], 4.0, classes)
    torch.testing.assert_close(found, V, rtol=1e-3, atol=1e-3)


def test_it_follows_at_once_what_just_came_and_a_sample_of_weight_zero_moves_nothing() -> None:
    reflex, ones = Reflex(torch.zeros(3, 5)), torch.ones(1)
    for seed in range(50):
        rows, y, _ = block(1, seed)
        before, reflex = rows @ reflex.V.T, reflex.updated(rows, y, ones, torch.tensor(5.0), classes=True)
        assert (rows @ reflex.V.T - before).argmax() == y.argmax()
    assert torch.equal(reflex.updated(rows, 1 - y, 0 * ones, torch.tensor(5.0), classes=True).V, reflex.V)
