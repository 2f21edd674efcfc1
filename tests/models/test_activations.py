from __future__ import annotations

import pytest
import torch

from models.activations import ACTIVATIONS


def test_these_are_the_activations() -> None:
    assert list(ACTIVATIONS) == ["relu", "tanh", "sigmoid", "identity", "sign", "hard-sigmoid"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_shape_and_dtype_are_kept_and_slope_bounds_the_derivative(name: str) -> None:
    sigma = ACTIVATIONS[name]
    codes = (3 * torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    activations = sigma(codes)
    (derivative,) = torch.autograd.grad(activations.sum(), codes)
    assert (activations.shape, activations.dtype) == (codes.shape, codes.dtype)
    assert 0.8 * sigma.slope <= derivative.abs().max() <= sigma.slope


def test_sign_is_plus_or_minus_one_with_the_derivative_of_tanh() -> None:
    codes = torch.tensor([-2.0, -1e-30, 0.0, 0.5], requires_grad=True)
    activations = ACTIVATIONS["sign"](codes)
    (derivative,) = torch.autograd.grad(activations.sum(), codes)
    assert activations.tolist() == [-1, -1, 1, 1]
    torch.testing.assert_close(derivative, 1 - codes.detach().tanh().square())
