"""One block of samples: predicted first, then learned; what was learned with a label that is now corrected is taken out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import AnchoredAMMem, ArgumentError, Label, LabelIndex, UnknownLabel
from models.growth import grown_state
from models.merging import unlearned
from service.entries import Samples, UndecodableEntry
from service.knowledge import Knowledge


@dataclass(frozen=True)
class Learned:
    """What was predicted of a block before it was learned, and what only the device knows yet: was the update finite?"""

    predicted: Tensor | None
    targets: Tensor
    weight: Tensor
    newest_time: float | None
    finite: Tensor


def learn(known: Knowledge, samples: Samples) -> Learned:
    """Predicts, then learns; the first block is only learned where no class, or no value, is known before it.

    Raises: UndecodableEntry for samples that cannot be the model's, and nothing is learned then.
    """
    x, weight = torch.tensor(samples.x), torch.tensor(samples.weights())
    asked = known.labels or known.target_scale is not None
    said = None if samples.said is None or not asked else torch.tensor(samples.said)
    learn_block = _learn_values if known.spec.targets else _learn_classes
    predicted, targets, finite = learn_block(known, x, samples, weight, said)
    if samples.was is not None:  # what is corrected was counted when it came
        weight = weight * torch.tensor([label is None for label in samples.was])
    known.predictor = known.learner.predictor()
    return Learned(predicted, targets, weight, samples.newest_time(), finite)


def count(known: Knowledge, block: Learned) -> None:
    """What the predictions of a block that stays learned were worth."""
    known.newest_time = max((t for t in (known.newest_time, block.newest_time) if t is not None), default=None)
    if block.predicted is not None:
        known.metrics = known.metrics.updated(block.predicted.cpu(), block.targets, block.weight)


def _learn_classes(
    known: Knowledge, x: Tensor, samples: Samples, weight: Tensor, said: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor]:
    spec = known.spec
    labels = LabelIndex(known.labels, spec.label_type)
    y: Any = samples.y
    try:
        labels = labels.extended(y) if spec.open else labels
        targets = torch.tensor(labels.encode(y))
    except UnknownLabel as error:
        raise UndecodableEntry(str(error)) from error
    if len(labels) > (spec.max_classes or 0):
        raise UndecodableEntry(
            f"with its labels there would be {len(labels)} classes; max_classes is {spec.max_classes}"
        )
    if said is not None and said.shape[1] > len(known.labels):
        said = None  # by a version whose classes a restore took away
    predicted = said if said is not None else known.predictor.on_device(x) if known.labels else None
    _grow(known, labels.classes)
    if samples.was is not None:
        _unlearn(known, x, samples.was, weight, labels)
    return predicted, targets, known.learner.learn(x, targets, weight)


def _grow(known: Knowledge, labels: tuple[Label, ...]) -> None:
    """A net for so many classes that knows what this one does."""
    before = known.spec.outputs(len(known.labels))
    known.labels = labels
    if known.spec.outputs(len(labels)) == before:
        return
    larger = known.in_force.create_learner(known.device, len(labels))
    larger.load_state_dict(grown_state(known.learner.state_dict(), larger.state_dict()))
    known.use(larger)


def _unlearn(known: Knowledge, x: Tensor, was: Sequence[Any], weight: Tensor, labels: LabelIndex) -> None:
    """Takes out what was learned with labels that are now corrected, where the learner can do so exactly."""
    corrected = [i for i, label in enumerate(was) if label is not None]
    if not isinstance(known.learner, AnchoredAMMem):
        return
    with contextlib.suppress(ArgumentError, UnknownLabel):
        old = torch.tensor(labels.encode([was[i] for i in corrected]))
        known.learner.load_state_dict(unlearned(known.learner, x[corrected], old, weight[corrected]))


def _learn_values(
    known: Knowledge, x: Tensor, samples: Samples, weight: Tensor, said: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor]:
    """An update that is not finite leaves the targets' scale as it was, too, so it is asked for at once."""
    assert known.target_scale is not None
    assert known.spec.targets is not None
    values = _values(samples.y, known.spec.targets)
    if said is None and bool(known.target_scale.moments.count.any()):
        said = known.target_scale.restored(known.predictor(x))
    state, moved = known.learner.state_dict(), known.target_scale.with_block(values, weight)
    moved.carry(known.learner, known.target_scale)
    finite = known.learner.learn(x, moved.standardised(values), weight)
    if bool(finite):
        known.target_scale = moved
    else:
        known.learner.load_state_dict(state)
    return said, values, finite


def _values(y: Sequence[Any], targets: int) -> Tensor:
    """(n, targets) float64. Raises: UndecodableEntry."""
    try:
        values = torch.tensor(y, dtype=torch.float64).reshape(len(y), -1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UndecodableEntry(f"targets must be numbers: {error}") from error
    if values.shape[1] != targets or not values.isfinite().all():
        raise UndecodableEntry(f"targets must be {targets} finite numbers a sample")
    return values
