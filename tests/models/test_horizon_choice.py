from __future__ import annotations

import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import horizon_choice as module
from models.horizon_choice import ErrorRates
from tests.models.test_learner_contract import NO_WAITING, frozen, stored_and_loaded

CPU = torch.device("cpu")
HORIZONS = torch.tensor([250.0, 4000.0, math.inf])


def predictions(p: list[float], n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Whether candidates that err with these probabilities were wrong, (n, K), and weights."""
    draw = torch.Generator().manual_seed(seed)
    wrong = torch.rand(n, len(p), generator=draw) < torch.tensor(p)
    return wrong, 0.5 + torch.rand(n, generator=draw)


def folded(rates: ErrorRates, wrong: Tensor, weight: Tensor, block: int, *, tau: float) -> ErrorRates:
    for some_wrong, some_weight in zip(torch.split(wrong, block), torch.split(weight, block), strict=True):
        rates = rates.updated(some_wrong, some_weight, tau=tau)
    return rates


def unknown(device: torch.device = CPU) -> ErrorRates:
    return ErrorRates.unknown(3, device)


@pytest.mark.parametrize("tau", [10.0, 1000.0, math.inf])
def test_rates_are_a_loop_over_samples_however_the_stream_is_cut(tau: float) -> None:
    wrong, weight = predictions([0.1, 0.3, 0.5], 128, seed=0)
    errors, mass = torch.zeros(3, dtype=torch.float64), 0.0
    for one, share in zip(wrong, weight.double(), strict=True):
        errors = math.exp(-1 / tau) * errors + share * one
        mass = math.exp(-1 / tau) * mass + share.item()
    for block in (1, 8, 64, 128):
        rates = folded(unknown(), wrong, weight, block, tau=tau)
        torch.testing.assert_close(rates.errors, errors, rtol=1e-13, atol=0)
        assert rates.mass.item() == pytest.approx(mass, rel=1e-13)


def test_what_a_sample_of_weight_zero_holds_does_not_matter_and_it_decides_nothing() -> None:
    wrong, weight = predictions([0.1, 0.3, 0.5], 64, seed=0)
    weight = weight.masked_fill(torch.arange(64) % 3 == 0, 0.0)
    other = torch.where((weight == 0).unsqueeze(1), torch.nan, wrong.double())
    rates = folded(unknown(), wrong, weight, 8, tau=100.0)
    assert frozen(folded(unknown(), other, weight, 8, tau=100.0).tensors()) == frozen(rates.tensors())
    later = folded(rates, torch.ones(500, 3, dtype=torch.bool), torch.zeros(500), 8, tau=100.0)
    torch.testing.assert_close(later.rates(), rates.rates(), rtol=1e-12, atol=0)


def test_losses_and_errors_are_averaged_alike() -> None:
    rates = unknown().updated(torch.tensor([[0.5, 1.0, 0.0], [0.1, 3.0, 0.0]]), torch.tensor([1.0, 3.0]), tau=math.inf)
    torch.testing.assert_close(rates.rates(), torch.tensor([0.2, 2.5, 0.0], dtype=torch.float64))


def chosen(p: list[float], *, tolerance: float) -> int:
    wrong, weight = predictions(p, 5000, seed=0)
    rates = folded(unknown(), wrong, weight, 500, tau=1000.0)
    return int(rates.choice(HORIZONS, tolerance=tolerance))


def test_the_longest_horizon_within_the_tolerance_of_the_best_serves() -> None:
    assert chosen([0.2, 0.4, 0.6], tolerance=0.0) == 0
    assert chosen([0.6, 0.2, 0.4], tolerance=0.0) == 1
    assert chosen([0.2, 0.3, 0.6], tolerance=0.15) == 1
    assert chosen([0.2, 0.3, 0.6], tolerance=1.0) == 2


def test_candidates_may_stand_in_any_order_and_ties_go_to_the_longest() -> None:
    wrong, weight = predictions([0.3], 640, seed=0)
    for block in (1, 64):
        rates = folded(unknown(), wrong.expand(-1, 3), weight, block, tau=100.0)
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
            assert HORIZONS[order][rates.choice(HORIZONS[order], tolerance=0.0)] == math.inf


def test_before_anything_counted_the_longest_serves() -> None:
    assert unknown().choice(HORIZONS, tolerance=0.0) == 2
    nothing = unknown().updated(torch.ones(4, 3, dtype=torch.bool), torch.zeros(4), tau=100.0)
    assert nothing.choice(HORIZONS, tolerance=0.0) == 2


def test_the_choice_follows_a_change_within_a_few_tau() -> None:
    before, after = predictions([0.3, 0.2, 0.1], 2000, seed=0), predictions([0.1, 0.2, 0.5], 2000, seed=1)
    rates = folded(unknown(), *before, 8, tau=200.0)
    assert rates.choice(HORIZONS, tolerance=0.01) == 2
    assert folded(rates, *after, 8, tau=200.0).choice(HORIZONS, tolerance=0.01) == 0


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    tau=st.floats(1.0, 1e6),
    tolerance=st.floats(0.0, 0.2),
    seed=st.integers(0, 2**32),
    at=st.integers(0, 7),
)
def test_a_stored_and_loaded_state_goes_on_bit_for_bit_and_the_choice_is_eligible(
    sizes: list[int], tau: float, tolerance: float, seed: int, at: int
) -> None:
    rates = restored = unknown()
    for number, n in enumerate(sizes):
        if number == at:
            restored = ErrorRates.from_tensors(stored_and_loaded(rates.tensors()))
        block = predictions([0.2, 0.3, 0.4], n, seed + number)
        rates = rates.updated(*block, tau=tau)
        if number >= at:
            restored = restored.updated(*block, tau=tau)
            assert frozen(restored.tensors()) == frozen(rates.tensors())
        found, choice = rates.rates(), int(rates.choice(HORIZONS, tolerance=tolerance))
        assert found[choice] <= found.min() + tolerance + 1e-8
        assert (found[choice + 1 :] > found.min() + tolerance).all()


def test_choosing_never_waits_for_the_device(device: torch.device) -> None:
    wrong, weight, horizons = (t.to(device) for t in (*predictions([0.2, 0.4, 0.6], 64, seed=0), HORIZONS))
    with NO_WAITING:
        choice = unknown(device).updated(wrong, weight, tau=100.0).choice(horizons, tolerance=0.0)
    assert (choice.device.type, choice.dtype, choice.item()) == (device.type, torch.int64, 0)


def test_the_example_is_true() -> None:
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=3)
