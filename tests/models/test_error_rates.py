from __future__ import annotations

import doctest
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import error_rates as module
from models.error_rates import ErrorRates
from tests.models.test_learner_contract import NO_WAITING, frozen, stored_and_loaded

CPU = torch.device("cpu")


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


def rates_of(p: list[float]) -> ErrorRates:
    wrong, weight = predictions(p, 5000, seed=0)
    return folded(unknown(), wrong, weight, 500, tau=1000.0)


def test_the_mixture_is_of_those_that_err_least() -> None:
    clear = rates_of([0.6, 0.2, 0.4]).mixture(3)
    torch.testing.assert_close(clear, torch.tensor([0.0, 1.0, 0.0]), rtol=0, atol=1e-6)
    rates = ErrorRates(torch.tensor([0.100, 0.100, 0.103]).double(), torch.tensor(1.0).double())
    ratio = 2 + math.exp(-1)
    torch.testing.assert_close(rates.mixture(3), torch.tensor([1 / ratio, 1 / ratio, math.exp(-1) / ratio]))
    torch.testing.assert_close(rates.mixture(2), torch.tensor([0.5, 0.5]))


def test_before_anything_counted_all_have_equal_shares_and_are_close() -> None:
    nothing = unknown().updated(torch.ones(4, 3, dtype=torch.bool), torch.zeros(4), tau=100.0)
    for rates in (unknown(), nothing):
        torch.testing.assert_close(rates.mixture(3), torch.full((3,), 1 / 3))
        assert rates.is_close(0, 2, 0.0)


def test_close_is_within_the_tolerance_however_the_stream_was_cut() -> None:
    wrong, weight = predictions([0.3], 640, seed=0)
    for block in (1, 64):
        assert folded(unknown(), wrong.expand(-1, 3), weight, block, tau=100.0).is_close(0, 2, 0.0)
    rates = rates_of([0.2, 0.3, 0.6])
    assert [bool(rates.is_close(0, 1, tolerance)) for tolerance in (0.0, 0.05, 0.15)] == [False, False, True]
    assert rates.is_close(1, 0, 0.0)


def test_the_mixture_follows_a_change_within_a_few_tau() -> None:
    before, after = predictions([0.3, 0.2, 0.1], 2000, seed=0), predictions([0.1, 0.2, 0.5], 2000, seed=1)
    rates = folded(unknown(), *before, 8, tau=200.0)
    assert rates.mixture(3)[2] > 0.9
    assert folded(rates, *after, 8, tau=200.0).mixture(3)[0] > 0.9


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    tau=st.floats(1.0, 1e6),
    seed=st.integers(0, 2**32),
    at=st.integers(0, 7),
)
def test_a_stored_and_loaded_state_goes_on_bit_for_bit_and_shares_sum_to_one(
    sizes: list[int], tau: float, seed: int, at: int
) -> None:
    rates = restored = unknown()
    for number, n in enumerate(sizes):
        if number == at:
            restored = ErrorRates(**stored_and_loaded(rates.tensors()))
        block = predictions([0.2, 0.3, 0.4], n, seed + number)
        rates = rates.updated(*block, tau=tau)
        if number >= at:
            restored = restored.updated(*block, tau=tau)
            assert frozen(restored.tensors()) == frozen(rates.tensors())
        shares = rates.mixture(3)
        assert shares.sum().item() == pytest.approx(1)
        assert shares.argmax() == rates.rates().argmin()


def test_nothing_waits_for_the_device(device: torch.device) -> None:
    wrong, weight = (t.to(device) for t in predictions([0.2, 0.4, 0.6], 64, seed=0))
    with NO_WAITING:
        rates = unknown(device).updated(wrong, weight, tau=100.0)
        shares, close = rates.mixture(3), rates.is_close(0, 1, 0.0)
    assert (shares.device.type, shares.argmax().item(), bool(close)) == (device.type, 0, False)


def test_the_example_is_true() -> None:
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=2)
