"""Every layer is a product with rows, and its bounds hold."""

from __future__ import annotations

import pytest
import torch

from models.layers import squared_spectral_norm

DRAW = torch.Generator().manual_seed(0)


MATRICES = {
    **{f"random {m}x{n}": torch.randn(m, n, generator=DRAW) for m, n in ((10, 100), (100, 100), (100, 10), (1, 7))},
    "rank one": torch.outer(torch.randn(9, generator=DRAW), torch.randn(20, generator=DRAW)),
    "zero": torch.zeros(5, 8),
    "longest row orthogonal to the rest": torch.tensor([[1.01] + 19 * [0.0]] + 10 * [[0.0, 1.0] + 18 * [0.0]]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_squared_spectral_norm_is_the_svds_from_below_within_a_tenth(name: str) -> None:
    exact = torch.linalg.matrix_norm(MATRICES[name].double(), 2).square().item()
    estimate = squared_spectral_norm(MATRICES[name]).item()
    assert 0.9 * exact <= estimate <= exact * (1 + 1e-5)
