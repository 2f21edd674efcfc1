from __future__ import annotations

import torch

from models.noise import BITS, first_key, gaussian, next_key

CPU = torch.device("cpu")


def draws(blocks: int, *, seed: int = 0, stream: int = 0) -> torch.Tensor:
    key, drawn = first_key(seed, CPU), []
    for _ in range(blocks):
        key = next_key(key)
        drawn.append(gaussian(key, (100, 20), stream=stream).flatten())
    return torch.stack(drawn)


def test_it_is_normal(device: torch.device) -> None:
    x = gaussian(first_key(1, device), (400, 500), stream=0).double().cpu().flatten()
    for power, moment, deviation in ((1, 0, 1.0), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs(x.pow(power).mean() - moment) < 4 * deviation / len(x) ** 0.5
    ordered = x.sort().values
    assert (ordered.diff() > 0).float().mean() > 0.9
    distance = (torch.special.ndtr(ordered) - torch.arange(len(x)) / len(x)).abs().max()
    assert distance < 1.95 / len(x) ** 0.5  # Kolmogorov's 0.1 % bound


def test_places_blocks_seeds_and_streams_are_independent() -> None:
    x = draws(30)
    others = torch.cat([x, draws(30, seed=1), draws(30, stream=1)])
    correlations = torch.corrcoef(others).fill_diagonal_(0)
    assert correlations.abs().max() < 5.5 / x.shape[1] ** 0.5
    flat = x.flatten()
    for lag in (1, 2, 20, 2000):
        assert (flat[:-lag] * flat[lag:]).mean().abs() < 4.5 / len(flat) ** 0.5


def test_keys_stay_within_their_bits_and_any_seed_has_one() -> None:
    for seed in (0, -1, 2**32 - 1, 2**64 - 1, -(2**63)):
        key = first_key(seed, CPU)
        for _ in range(5):
            assert 0 <= key < 2**BITS
            assert gaussian(key, (50,), stream=7).isfinite().all()
            key = next_key(key)


def test_a_key_repeats_its_numbers() -> None:
    assert torch.equal(draws(3), draws(3))
