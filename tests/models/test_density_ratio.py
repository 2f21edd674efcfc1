"""Older inputs are told from those of late, and predicted by what has not forgotten them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from models import Architecture, PooledScale, RunningScale, create_learner
from models.anchored import AnchoredAMMem
from models.density_ratio import DensityRatio
from models.growth import grown_state
from models.predictor import Past, Predictor
from models.scaling import InputScale

CPU = torch.device("cpu")
NET, SCALE = Architecture(64, (60,), 10), PooledScale()
RECENT = 200.0
DIGITS, LABELS = (torch.tensor(array) for array in load_digits(return_X_y=True))


def digits(order: int, start: int, end: int) -> tuple[Tensor, Tensor]:
    """Digits under one of many orders of their pixels."""
    pixels = torch.randperm(64, generator=torch.Generator().manual_seed(order))
    chosen = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))[start:end]
    return DIGITS[chosen][:, pixels].float(), LABELS[chosen]


def learner(net: Architecture = NET, *, scale: InputScale = SCALE, longest: float = 32768) -> AnchoredAMMem:
    hyperparameters = {"recent": RECENT, "horizons": (8, 128, longest)}
    made = create_learner("am-mem", net, hyperparameters=hyperparameters, scale=scale, seed=0, device=CPU)
    assert isinstance(made, AnchoredAMMem)
    return made


def learn(learner: AnchoredAMMem, x: Tensor, y: Tensor, block: int = 20) -> None:
    for inputs, targets in zip(torch.split(x, block), torch.split(y, block), strict=True):
        assert learner.learn(inputs, targets)


def contrast(learner: AnchoredAMMem) -> float:
    ratio = DensityRatio.from_tensors(learner.state.slots)
    return float(ratio.ratios / ratio.mass)


def past_of(learner: AnchoredAMMem) -> Past | None:
    return learner.predictor().past


def accuracy(predictor: Predictor, x: Tensor, y: Tensor) -> float:
    return float((predictor(x).argmax(dim=1) == y).double().mean())


@pytest.fixture(scope="module")
def shifted() -> AnchoredAMMem:
    """After 700 digits in one order of the pixels and 700 in another."""
    made = learner()
    for order in (1, 2):
        learn(made, *digits(order, 0, 700))
    return made


def test_where_nothing_shifts_the_ratio_is_1_and_nothing_is_left_to_the_past() -> None:
    made = learner()
    for start in range(0, 1400, 200):
        learn(made, *digits(1, start, start + 200))
        assert past_of(made) is None
    assert contrast(made) == pytest.approx(1, abs=0.05)


def test_shifted_inputs_are_told_from_older_ones(shifted: AnchoredAMMem) -> None:
    predictor = shifted.predictor()
    past = predictor.past
    assert past is not None
    assert contrast(shifted) > 1.5
    older, late = (past.is_meant(predictor.scaling(digits(order, 1400, 1797)[0])).double().mean() for order in (1, 2))
    assert older > 0.9
    assert late < 0.02


def test_older_inputs_are_predicted_better_and_those_of_late_no_worse(shifted: AnchoredAMMem) -> None:
    predictor = shifted.predictor()
    without = replace(predictor, past=None)
    older, late = digits(1, 1400, 1797), digits(2, 1400, 1797)
    assert accuracy(predictor, *older) > accuracy(without, *older) + 0.1
    assert accuracy(predictor, *late) > accuracy(without, *late) - 0.01


def test_older_inputs_that_the_longest_memory_errs_on_are_not_left_to_it(shifted: AnchoredAMMem) -> None:
    made = learner()
    made.load_state_dict(shifted.state_dict())
    assert past_of(made) is not None
    x, y = digits(1, 700, 1100)
    learn(made, x, (y + 1) % 10)  # what they mean has changed, too
    assert past_of(made) is None


def test_a_memory_that_knows_no_more_than_what_came_of_late_is_left_nothing() -> None:
    made = learner(longest=RECENT)
    for order in (1, 2):
        learn(made, *digits(order, 0, 700))
    assert contrast(made) > 1.5
    assert past_of(made) is None


@pytest.mark.parametrize("block", [1, 20, 350])
def test_how_a_stream_is_cut_changes_nothing_in_what_counts_as_late(block: int) -> None:
    made = learner()
    x, y = digits(1, 0, 700)
    learn(made, x, y, block=block)
    q = torch.exp(-torch.arange(699, -1, -1, dtype=torch.float64) / RECENT)
    late = made.state.slots["ratio.late"][0]
    assert late[-1] == pytest.approx(float(q.sum()))
    assert torch.allclose(late[:-1] / late[-1] + made.state.slots["shift"], (q @ x.double()) / q.sum(), atol=1e-4)


def test_the_past_travels_with_the_predictor(shifted: AnchoredAMMem) -> None:
    predictor = shifted.predictor()
    again = Predictor.from_tensors(predictor.tensors(), predictor.net)
    for order in (1, 2):
        x, _ = digits(order, 1400, 1797)
        assert torch.equal(again(x), predictor(x))


def test_a_net_that_grows_predicts_older_inputs_as_before(shifted: AnchoredAMMem) -> None:
    larger = learner(Architecture(66, (60,), 11))
    larger.load_state_dict(grown_state(shifted.state_dict(), larger.state_dict()))
    assert past_of(larger) is not None
    x, _ = digits(1, 1400, 1797)
    wider = torch.cat([x, torch.full((len(x), 2), torch.nan)], dim=1)
    before, after = shifted.predict(x), larger.predict(wider)
    assert torch.equal(after.argmax(dim=1), before.argmax(dim=1))


def test_a_state_from_before_there_was_a_density_ratio_is_taken_over(shifted: AnchoredAMMem) -> None:
    new = ("ratio.", "served")
    old = {name: tensor for name, tensor in shifted.state_dict().items() if not name.startswith(new)}
    made = learner()
    made.load_state_dict(old)
    assert past_of(made) is None
    learn(made, *digits(2, 700, 800))


def test_values_are_left_to_the_past_as_well() -> None:
    generator = torch.Generator().manual_seed(0)
    made = learner(Architecture(8, (20,), 1, loss_name="squared"), scale=RunningScale())
    x = torch.randn(1600, 8, generator=generator)
    x[800:, :4] += 6
    y = torch.where(x[:, :1] > 3, x[:, 4:5], -x[:, 4:5])
    learn(made, x, y)
    predictor = made.predictor()
    assert predictor.past is not None
    older = predictor.past.is_meant(predictor.scaling(x))
    assert older[:800].double().mean() > 0.9
    assert older[800:].double().mean() < 0.05

    def error(predictor: Predictor) -> float:
        return float((predictor(x[:800]) - y[:800]).square().mean())

    assert error(predictor) < 0.8 * error(replace(predictor, past=None))
