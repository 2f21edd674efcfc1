"""What the fold makes of entries: classes that appear, values, metrics; and whose states it takes over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from models.prequential import ClassificationMetrics
from models.prequential_values import RegressionMetrics
from service import entries
from service.entries import Samples, Set, UndecodableEntry
from service.entry_id import EntryId
from service.fold import CommandRefused, Fold
from service.spec import ModelSpec
from service.state import FoldState, load, store
from tests.models.test_learner_contract import frozen

SPEC = ModelSpec(inputs=3, hidden=[4], classes=["a", "b"])


def stored(**hyperparameters: Any) -> FoldState:
    state = Fold(SPEC, device="cpu").state()
    kept = {name: value for name, value in state.header["hyperparameters"].items() if name != "tolerance"}
    return FoldState(dict(state.header) | {"hyperparameters": kept | hyperparameters}, state.tensors)


def test_a_state_of_a_version_with_fewer_hyperparameters_is_one_with_their_defaults() -> None:
    fold = Fold(SPEC, device="cpu")
    fold.restore(stored())
    assert fold.version().in_force.hyperparameters == SPEC.hyperparameters


def test_a_state_brings_its_hyperparameters_and_its_net_along() -> None:
    other = Fold(ModelSpec(inputs=3, hidden=[5, 7], classes=["a", "b"], scale="pooled"), device="cpu")
    for state in (stored(mu=7.0), other.state()):
        fold = Fold(SPEC, device="cpu")
        fold.restore(state)
        assert fold.state().header["hyperparameters"]["mu"] == state.header["hyperparameters"]["mu"]
        assert frozen(fold.state().tensors) == frozen(state.tensors)
    assert fold.state().header["hidden"] == [5, 7]
    again = Fold(SPEC, device="cpu")
    again.restore(fold.state())
    assert again.state().header == fold.state().header


@pytest.mark.parametrize("differing", [{"mu": -7.0}, {"surprise": 1}])
def test_a_state_under_hyperparameters_that_cannot_be_is_refused(differing: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hyperparameters"):
        Fold(SPEC, device="cpu").restore(stored(**differing))


def test_hyperparameters_are_set_and_stay_set_and_what_would_change_the_state_s_shape_is_refused() -> None:
    fold = Fold(SPEC, device="cpu")
    before = frozen(fold.state().tensors)

    def set_to(hyperparameters: Any) -> None:
        payload = entries.encode(Set(json.dumps(hyperparameters), "somebody"))
        fold.apply(EntryId(fold.entry.ms + 1, 0), payload, load_state=no_state)

    set_to({"share": 0.5})
    assert fold.version().in_force.hyperparameters == SPEC.hyperparameters | {"share": 0.5}
    assert frozen(fold.state().tensors) == before
    other = Fold(SPEC, device="cpu")
    other.restore(fold.state())
    assert other.version().in_force.hyperparameters["share"] == 0.5
    for refused in ({"share": -1}, {"horizons": [8, 16]}, {"surprise": 1}, 5, None):
        with pytest.raises(CommandRefused, match="hyperparameters cannot be set to"):
            set_to(refused)
    assert fold.version().in_force.hyperparameters == SPEC.hyperparameters | {"share": 0.5}


OPEN = ModelSpec(inputs=2, hidden=[8], label_type="string", max_classes=3)
VALUES = ModelSpec(inputs=2, hidden=[8], task="regression")
CENTRES = {"a": (3.0, 0.0), "b": (-3.0, 0.0), "c": (0.0, 3.0)}


def apply(fold: Fold, x: Any, y: Sequence[Any], weight: Any = None) -> None:
    position = fold.entry
    samples = Samples(np.asarray(x, np.float32), list(y), None if weight is None else np.asarray(weight, np.float32))
    fold.apply(EntryId(position.ms + 1, 0), entries.encode(samples), load_state=no_state)


def no_state(state: str) -> FoldState:
    raise KeyError(state)


def around(labels: str, n: int, seed: int) -> tuple[Any, list[str]]:
    draw = np.random.default_rng(seed)
    y = [labels[i] for i in draw.integers(len(labels), size=n)]
    return draw.normal(size=(n, 2)) + [CENTRES[label] for label in y], y


def test_classes_that_appear_are_learned_and_no_old_prediction_changes() -> None:
    fold = Fold(OPEN, device="cpu")
    assert fold.version().labels == ()
    for seed in range(20):
        apply(fold, *around("ab", 8, seed))
    fold.settle()
    assert set(fold.version().labels) == {"a", "b"}
    x, y = around("ab", 200, 99)
    before = fold.version().predictor(torch.tensor(x)).argmax(dim=1)
    labels = fold.version().labels
    assert np.mean([labels[i] == label for i, label in zip(before.tolist(), y, strict=True)]) > 0.95
    apply(fold, [CENTRES["c"]], ["c"], weight=[0.0])  # it is there, but nothing was learned of it
    fold.settle()
    version = fold.version()
    assert version.labels[2] == "c"
    assert torch.equal(version.predictor(torch.tensor(x)).argmax(dim=1), before)
    for seed in range(20):
        apply(fold, *around("abc", 8, 100 + seed))
    fold.settle()
    x, y = around("abc", 300, 999)
    version = fold.version()
    predicted = [version.labels[i] for i in version.predictor(torch.tensor(x)).argmax(dim=1)]
    assert np.mean([one == other for one, other in zip(predicted, y, strict=True)]) > 0.95


def test_a_class_too_many_is_a_dead_letter_and_changes_nothing() -> None:
    fold = Fold(OPEN, device="cpu")
    apply(fold, *around("abc", 16, 0))
    fold.settle()
    before = frozen(fold.state().tensors)
    with pytest.raises(UndecodableEntry, match="there would be 4 classes; max_classes is 3"):
        apply(fold, [[0, 0]], ["d"])
    with pytest.raises(UndecodableEntry, match="label 5"):
        apply(fold, [[0, 0]], [5])
    fold.settle()
    assert frozen(fold.state().tensors) == before


@pytest.mark.parametrize("spec", [OPEN, VALUES], ids=["open", "values"])
def test_a_state_that_grew_is_stored_taken_over_and_learns_on_bit_for_bit(spec: ModelSpec) -> None:
    def block(seed: int) -> tuple[Any, Sequence[Any]]:
        x, y = around("ab" if seed < 3 else "abc", 8, seed)
        return x, y if spec.targets is None else x.sum(axis=1).tolist()

    fold = Fold(spec, device="cpu")
    for seed in range(5):
        apply(fold, *block(seed))
    fold.settle()
    other = Fold(spec, device="cpu")
    other.restore(load(store(fold.state())), fold.position)
    for seed in range(5, 8):
        for one in (fold, other):
            apply(one, *block(seed))
            one.settle()
    assert frozen(other.state().tensors) == frozen(fold.state().tensors)
    assert other.state().header == fold.state().header


def test_classes_in_another_order_are_another_model() -> None:
    state = Fold(ModelSpec(inputs=3, hidden=[4], classes=["b", "a"]), device="cpu").state()
    with pytest.raises(ValueError, match="classes is"):
        Fold(SPEC, device="cpu").restore(state)
    grown = Fold(ModelSpec(inputs=3, hidden=[4], classes=["a", "b", "c"]), device="cpu").state()
    with pytest.raises(ValueError, match="classes are 3, and may be 2"):
        Fold(SPEC, device="cpu").restore(grown)


def test_values_are_learned_in_their_own_units() -> None:
    fold, draw = Fold(VALUES, device="cpu"), np.random.default_rng(0)
    for _ in range(60):
        x = draw.normal(size=(8, 2))
        apply(fold, x, (1e6 + 50 * x[:, 0] - 20 * x[:, 1]).tolist())
    fold.settle()
    version = fold.version()
    assert version.target_scale is not None
    x = draw.normal(size=(100, 2))
    values = version.target_scale.restored(version.predictor(torch.tensor(x))).squeeze(1).numpy()
    assert np.abs(values - (1e6 + 50 * x[:, 0] - 20 * x[:, 1])).max() < 25
    assert isinstance(version.metrics, RegressionMetrics)
    figures = version.metrics.recent.figures()
    assert figures["r2"] is not None
    assert figures["r2"] > 0.95
    with pytest.raises(UndecodableEntry, match="targets must be"):
        apply(fold, [[0, 0]], ["a"])
    with pytest.raises(UndecodableEntry, match="targets must be 1 finite"):
        apply(fold, [[0, 0]], [[1.0, 2.0]])


def test_an_update_that_is_not_finite_leaves_no_trace_in_metrics_or_scale() -> None:
    for spec, y in ((OPEN, ["a", "b"]), (VALUES, [1.0, 2.0])):
        fold = Fold(spec, device="cpu")
        apply(fold, [[0, 1], [1, 0]], y)
        fold.settle()
        before = frozen(fold.state().tensors)
        apply(fold, [[np.inf, 1], [1, 0]], y)
        assert len(fold.settle()) == 1
        assert frozen(fold.state().tensors) == before


def test_metrics_are_of_predictions_made_before_learning() -> None:
    fold = Fold(ModelSpec(inputs=2, hidden=[8], classes=["a", "b"]), device="cpu")
    right = []
    for seed in range(30):
        x, y = around("ab", 4, seed)
        version = fold.version()
        predicted = version.predictor(torch.tensor(x, dtype=torch.float32)).argmax(dim=1).tolist()
        right += [version.labels[i] == label for i, label in zip(predicted, y, strict=True)]
        apply(fold, x, y)
        fold.settle()
    metrics = fold.version().metrics
    assert isinstance(metrics, ClassificationMetrics)
    assert metrics.ever.figures()["accuracy"] == pytest.approx(np.mean(right))
