"""The small regression that combines memories, against a closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.stacking import RIDGE, Stack
from tests.models.test_learner_contract import NO_WAITING

CPU = torch.device("cpu")


def stream(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (3, n, 2), targets that are 0.7 of the first and 0.3 of the second but for noise, weights."""
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, n, 2, generator=draw)
    targets = 0.7 * scores[0] + 0.3 * scores[1] + 0.1 * torch.randn(n, 2, generator=draw)
    return scores, targets, torch.rand(n, generator=draw)


def test_shares_are_the_ridge_regression_towards_equal_ones() -> None:
    scores, targets, weight = stream(60)
    stack = Stack.unknown(3, CPU)
    for at in (slice(0, 40), slice(40, 60)):
        stack = stack.updated(scores[:, at], targets[at], weight[at], tau=50.0)
    kept = weight.double() * torch.tensor([math.exp(-20 / 50)] * 40 + [1.0] * 20)
    s, y, q = scores.double().flatten(1), targets.double().flatten(), kept.repeat_interleave(2)
    A = (s * q) @ s.T
    ridge = RIDGE * A.diagonal().mean()
    expected = torch.linalg.solve(A + ridge * torch.eye(3), s @ (q * y) + ridge / 3)
    torch.testing.assert_close(stack.shares().double(), expected, rtol=1e-5, atol=1e-6)


def test_what_combines_best_is_found_and_nothing_waits_for_the_device(device: torch.device) -> None:
    scores, targets, weight = (tensor.to(device) for tensor in stream(4000))
    with NO_WAITING:
        shares = Stack.unknown(3, device).updated(scores, targets, weight, tau=math.inf).shares()
    torch.testing.assert_close(shares.cpu(), torch.tensor([0.7, 0.3, 0.0]), rtol=0, atol=0.02)


def test_at_first_shares_are_equal_and_samples_of_weight_zero_change_none() -> None:
    stack = Stack.unknown(4, CPU)
    torch.testing.assert_close(stack.shares(), torch.full((4,), 0.25))
    ignored = stack.updated(torch.full((4, 2, 3), torch.nan), torch.ones(2, 3), torch.zeros(2), tau=10.0)
    torch.testing.assert_close(ignored.shares(), torch.full((4,), 0.25))
