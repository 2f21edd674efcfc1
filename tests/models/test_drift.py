from __future__ import annotations

import doctest
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift
from torch import Tensor

from models import drift as module
from models.drift import Change, DriftState, PageHinkley
from tests.models.test_learner_contract import NO_WAITING, frozen, stored_and_loaded

CPU = torch.device("cpu")


def cut(stream: Tensor, sizes: list[int]) -> list[Tensor]:
    """Into blocks of these sizes, again and again."""
    ends = [0]
    while ends[-1] < len(stream):
        ends.append(ends[-1] + sizes[len(ends) % len(sizes)])
    return [stream[start:end] for start, end in pairwise(ends)]


def detections(test: PageHinkley, stream: Tensor, sizes: list[int], device: torch.device = CPU) -> list[int]:
    state, found = DriftState.fresh(device), []
    for block in cut(stream.to(device), sizes):
        state, drifted = test.updated(state, block)
        found.append(drifted)
    return torch.cat(found).nonzero().flatten().tolist()


def detections_of_river(test: PageHinkley, stream: Tensor) -> list[int]:
    river = drift.PageHinkley(test.min_samples, test.delta, test.threshold, test.alpha, test.change.value)
    found = []
    for i, error in enumerate(stream.tolist()):
        river.update(error)
        if river.drift_detected:
            found.append(i)
    return found


def segments(seed: int) -> Tensor:
    """Errors whose mean jumps: 0 and 1 for odd seeds, losses for even ones."""
    draw = random.Random(seed)
    errors: list[float] = []
    for _ in range(5):
        p, n = draw.random(), draw.randint(50, 150)
        errors += [float(draw.random() < p) if seed % 2 else draw.gauss(p, 0.3) for _ in range(n)]
    return torch.tensor(errors, dtype=torch.float64)


TESTS = [
    PageHinkley(threshold=3.3, alpha=1.0),
    PageHinkley(threshold=10.1),
    PageHinkley(delta=0.05, threshold=1.7, min_samples=3, alpha=0.9),
    PageHinkley(delta=0.0, threshold=5.1, min_samples=5, alpha=0.99),
]


@pytest.mark.parametrize("change", Change)
@pytest.mark.parametrize("hyperparameters", TESTS, ids=lambda test: f"threshold {test.threshold}")
@pytest.mark.parametrize("seed", range(4))
def test_drift_is_detected_exactly_where_river_detects_it_however_the_stream_is_cut(
    hyperparameters: PageHinkley, change: Change, seed: int, device: torch.device
) -> None:
    test = PageHinkley(**vars(hyperparameters) | {"change": change})
    stream = segments(seed)
    expected = detections_of_river(test, stream)
    for sizes in ([1], [1, 64, 7]):
        assert detections(test, stream, sizes, device) == expected


def test_there_is_something_to_detect() -> None:
    for change in Change:
        for test in TESTS:
            assert any(
                detections_of_river(PageHinkley(**vars(test) | {"change": change}), segments(s)) for s in range(4)
            )


@settings(max_examples=40, deadline=None)
@given(
    errors=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60),
    threshold=st.floats(0.1, 3),
    delta=st.floats(0, 0.1),
    alpha=st.floats(0.5, 1),
    min_samples=st.integers(1, 10),
    change=st.sampled_from(list(Change)),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
)
def test_cutting_changes_no_state_beyond_rounding(
    errors: list[float],
    threshold: float,
    delta: float,
    alpha: float,
    min_samples: int,
    change: Change,
    sizes: list[int],
) -> None:
    test = PageHinkley(delta, threshold + np.pi / 1e4, min_samples, alpha, change)
    stream = torch.tensor(errors)
    whole, _ = test.updated(DriftState.fresh(CPU), stream)
    state = DriftState.fresh(CPU)
    for block in cut(stream, sizes):
        state, _ = test.updated(state, block)
    for name, tensor in whole.tensors().items():
        torch.testing.assert_close(state.tensors()[name], tensor, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), at=st.integers(0, 20))
def test_a_stored_and_loaded_state_goes_on_bit_for_bit(seed: int, at: int) -> None:
    test, state = PageHinkley(threshold=3.3, change=Change.BOTH), DriftState.fresh(CPU)
    restored = state
    for number, block in enumerate(cut(segments(seed), [16, 1, 40])):
        if number == at:
            restored = DriftState.from_tensors(stored_and_loaded(state.tensors()))
        state, drifted = test.updated(state, block)
        if number >= at:
            restored, again = test.updated(restored, block)
            assert frozen(restored.tensors()) == frozen(state.tensors())
            assert torch.equal(again, drifted)


def test_samples_that_do_not_count_are_as_if_they_had_not_been() -> None:
    stream = segments(1)
    counted = torch.rand(len(stream), generator=torch.Generator().manual_seed(0)) < 0.7
    poisoned = torch.where(counted, stream, torch.nan)
    for test in TESTS:
        state, drifted = test.updated(DriftState.fresh(CPU), poisoned, counted)
        alone, expected = test.updated(DriftState.fresh(CPU), stream[counted])
        assert torch.equal(drifted[counted], expected)
        assert not drifted[~counted].any()
        for name, tensor in alone.tensors().items():
            torch.testing.assert_close(state.tensors()[name], tensor, rtol=1e-9, atol=1e-9)


def test_what_is_not_finite_shows_in_the_state() -> None:
    state, _ = PageHinkley().updated(DriftState.fresh(CPU), torch.tensor([0.0, torch.nan, 1.0]))
    assert not state.total.isfinite()


@pytest.mark.parametrize("p", [0.1, 0.3])
def test_stationary_errors_raise_at_most_one_alarm_in_100000_samples(p: float) -> None:
    """Twenty streams of 5,000 samples by the default test."""
    errors = torch.rand(20, 5000, generator=torch.Generator().manual_seed(0)) < p
    assert sum(len(detections(PageHinkley(), stream, [250])) for stream in errors.double()) <= 1


def test_a_whole_stream_in_one_block_is_tested_sample_by_sample() -> None:
    stream = torch.cat([segments(seed) for seed in range(4)])
    expected = detections_of_river(TESTS[0], stream)
    assert len(expected) >= 4
    assert detections(TESTS[0], stream, [len(stream)]) == expected


def test_an_abrupt_change_is_detected_after_threshold_by_jump_samples() -> None:
    """From 0.1 to 0.5: 50/(0.4 − δ) ≈ 127 samples, and no second time."""
    draw = torch.Generator().manual_seed(0)
    delays = []
    for _ in range(10):
        errors = torch.rand(3000, generator=draw) < torch.where(torch.arange(3000) < 2000, 0.1, 0.5)
        [found] = detections(PageHinkley(), errors.double(), [500])
        delays.append(found - 2000)
    assert all(80 < delay < 180 for delay in delays)
    assert 115 < sum(delays) / 10 < 145


def test_falling_errors_are_no_drift_unless_asked_for() -> None:
    errors = torch.cat([torch.ones(500), torch.zeros(500)])
    assert detections(PageHinkley(), errors, [64]) == []
    assert len(detections(PageHinkley(change=Change.DOWN), errors, [64])) == 1


def test_testing_never_waits_for_the_device(device: torch.device) -> None:
    errors = segments(1).to(device)
    with NO_WAITING:
        state, drifted = PageHinkley(threshold=3.3).updated(DriftState.fresh(device), errors, errors > -1)
    assert drifted.any()
    assert all(tensor.device.type == device.type for tensor in state.tensors().values())


@pytest.mark.parametrize(
    ("argument", "value"), [("delta", -0.1), ("threshold", 0.0), ("min_samples", 0), ("alpha", 0.0), ("alpha", 1.1)]
)
def test_hyperparameters_out_of_range_are_refused_by_name(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be .*, not {value}$"):
        PageHinkley(**{argument: value})  # type: ignore[arg-type]  # an int for min_samples


def test_the_example_is_true() -> None:
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=3)
