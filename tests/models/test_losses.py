from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from models.losses import LOSSES, MULTINOMIAL, Loss, multinomial

OUTPUTS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 3, 1, 1, 2, 0])


def test_loss_is_eq_2_written_out() -> None:
    expected = [-o[y] + o.exp().sum().log() for o, y in zip(OUTPUTS, TARGETS, strict=True)]
    torch.testing.assert_close(multinomial(OUTPUTS, TARGETS), torch.stack(expected), rtol=1e-12, atol=0)


def test_gradient_is_softmax_minus_one_hot() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(multinomial(outputs, TARGETS).sum(), outputs)
    expected = OUTPUTS.softmax(dim=1) - torch.eye(4, dtype=torch.float64)[TARGETS]
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


def test_these_are_the_losses() -> None:
    assert list(LOSSES) == ["multinomial", "squared", "binary"]


def first_loss(loss: Loss, target: Tensor, output: Tensor) -> Tensor:
    return loss(output.unsqueeze(0), target)[0]


@pytest.mark.parametrize("name", LOSSES)
def test_curvature_bounds_the_hessian_of_every_loss(name: str) -> None:
    loss = LOSSES[name]
    for output in 3 * torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)):
        target = TARGETS[:1] if loss.classes else torch.tensor([[0.0, 1.0, 0.3, 1.0]], dtype=torch.float64)
        hessian = torch.autograd.functional.hessian(partial(first_loss, loss, target), output)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        eigenvalues = torch.linalg.eigvalsh(hessian)
        assert eigenvalues[0] >= -1e-12
        assert eigenvalues[-1] <= loss.curvature + 1e-12


def test_values_are_compared_by_squared_distance_and_by_bernoulli_likelihood() -> None:
    o, y = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    assert LOSSES["squared"](o, y).item() == 5
    p = o.sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(dim=1)
    torch.testing.assert_close(LOSSES["binary"](o, y), expected)


def test_loss_and_gradient_stay_finite_for_huge_outputs() -> None:
    outputs = torch.tensor([[1e30, -1e30, 0.0]], requires_grad=True)
    loss = multinomial(outputs, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss.sum(), outputs)
    assert loss.item() == 0
    assert torch.equal(gradient, torch.zeros(1, 3))
    assert multinomial(outputs.detach(), torch.tensor([1])).item() == torch.tensor(2e30).item()


def test_curvature_bounds_every_hessian_and_is_attained() -> None:
    draw = torch.Generator().manual_seed(2)
    hessians = [torch.diag(p) - torch.outer(p, p) for p in (3 * torch.randn(50, 5, generator=draw)).softmax(dim=1)]
    assert max(torch.linalg.eigvalsh(hessian)[-1].item() for hessian in hessians) <= MULTINOMIAL.curvature
    even = torch.tensor([0.5, 0.5])
    assert torch.linalg.eigvalsh(torch.diag(even) - torch.outer(even, even))[-1].item() == MULTINOMIAL.curvature
