from __future__ import annotations

import pytest
import torch

from models.activations import ACTIVATIONS


def test_the_only_activation_so_far_is_relu() -> None:
    assert list(ACTIVATIONS) == ["relu"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_the_one_autograd_finds_also_at_zero(name: str) -> None:
    sigma = ACTIVATIONS[name]
    codes = torch.tensor([[-2.0, -1e-30, 0.0, 1e-30, 3.0]], requires_grad=True)
    (expected,) = torch.autograd.grad(sigma(codes).sum(), codes)
    assert torch.equal(sigma.derivative(codes.detach()), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_keeps_shape_and_dtype(name: str) -> None:
    codes = torch.randn(2, 3, dtype=torch.float64)
    assert ACTIVATIONS[name].derivative(codes).shape == (2, 3)
    assert ACTIVATIONS[name].derivative(codes).dtype == torch.float64
