from __future__ import annotations

import torch

from models.losses import CURVATURE, multinomial, multinomial_gradient

OUTPUTS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 3, 1, 1, 2, 0])


def test_loss_is_eq_2_written_out() -> None:
    expected = [-o[y] + o.exp().sum().log() for o, y in zip(OUTPUTS, TARGETS, strict=True)]
    torch.testing.assert_close(multinomial(OUTPUTS, TARGETS), torch.stack(expected), rtol=1e-12, atol=0)


def test_gradient_is_that_of_autograd() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(multinomial(outputs, TARGETS).sum(), outputs)
    torch.testing.assert_close(multinomial_gradient(OUTPUTS, TARGETS), expected, rtol=1e-12, atol=1e-15)


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
    assert max(torch.linalg.eigvalsh(hessian)[-1].item() for hessian in hessians) <= CURVATURE
    even = torch.tensor([0.5, 0.5])
    assert torch.linalg.eigvalsh(torch.diag(even) - torch.outer(even, even))[-1].item() == CURVATURE
