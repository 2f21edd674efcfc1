"""state = fold(apply, entries of the stream, initial state): what the learner runs live, and what any replay runs again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from models import AnchoredAMMem, ArgumentError, Label, LabelIndex, Learner, Predictor, UnknownLabel
from models.blocks import checked_state, part_of
from models.growth import grown_state
from models.merging import unlearned
from models.prequential import ClassificationMetrics
from models.prequential_values import RegressionMetrics
from models.scaling import Moments
from models.target_scale import TargetScale
from service import entries
from service.entries import EARLIEST, LATEST, Adopt, Command, Samples, Set, UndecodableEntry
from service.entry_id import ORIGIN, EntryId
from service.problems import Invalid
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.state import DamagedState, FoldState

START = Position(ORIGIN, 0, 0)
METRICS, TARGET = "metrics.", "target."
"""Prefixes of tensors that are not the learner's."""
IN_FORCE = ("learner", "hyperparameters", "hidden", "activation", "image", "scale")
"""Fields of the spec that a stored state brings along: `set` and `adopt` may change them."""


LoadState = Callable[[str], FoldState]
ReadLog = Callable[[EntryId, EntryId], Iterable[tuple[EntryId, bytes]]]


class LogTrimmed(Exception):
    """The log does not reach back as far as is asked; `oldest` is its first entry, None when it is empty."""

    def __init__(self, after: EntryId, oldest: EntryId | None) -> None:
        super().__init__(f"the log does not hold all entries after {after}; its oldest is {oldest or 'none'}")
        self.oldest = oldest


class CommandRefused(Exception):
    """A command that cannot be applied, now or on any replay; the stream goes on past it."""

    def __init__(self, command: Command, reason: str) -> None:
        super().__init__(reason)
        self.command = command


Metrics = ClassificationMetrics | RegressionMetrics


@dataclass(frozen=True)
class Version:
    """One immutable version of a model, as predictions use it. `model_version` counts the entries applied.

    Args:
        labels: of the classes, in the order of probabilities; none for regression.
        target_scale: of a regression's values.
        in_force: the spec as commands have changed it.
        newest_time: when the latest of the samples learned happened, seconds since 1970; None where none said when.
    """

    model_version: int
    applied_entry: EntryId
    samples_learned: int
    predictor: Predictor
    labels: tuple[Label, ...]
    target_scale: TargetScale | None
    metrics: Metrics
    in_force: ModelSpec
    newest_time: float | None = None


@dataclass(frozen=True)
class DeadLetter:
    entry: EntryId
    payload: bytes
    cause: str


@dataclass(frozen=True)
class _Learned:
    """One block, what was predicted of it before it was learned, and what only the device knows yet: was the update finite?"""

    entry: EntryId
    payload: bytes
    predicted: Tensor | None
    targets: Tensor
    weight: Tensor
    newest_time: float | None
    finite: Tensor


class Fold:
    """The state of one model and how to move it past the next entry.

    Whether an update was finite stays on the learner's device until `settle` reads it.

    Args:
        spec: as created; what of it is in force may have been changed by commands.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, spec: ModelSpec, *, device: str) -> None:
        self.spec = spec
        self._device = device
        self._position = START
        self._unsettled: list[_Learned] = []
        self._dead: list[DeadLetter] = []
        self._labels = () if spec.targets else spec.labels.classes
        self._target_scale = TargetScale.unknown(spec.targets) if spec.targets else None
        self._in_force = spec
        self._newest_time: float | None = None
        self._start(spec.create_learner(device))
        self._metrics: Metrics = self._no_metrics()

    def _start(self, learner: Learner) -> None:
        self._learner = learner
        self._predictor = learner.predictor()

    def _no_metrics(self) -> Metrics:
        if self.spec.targets:
            return RegressionMetrics.unknown(self.spec.targets)
        return ClassificationMetrics.unknown(self.spec.outputs(len(self._labels)))

    @property
    def entry(self) -> EntryId:
        """The last entry passed."""
        return self._position.entry

    @property
    def labels(self) -> tuple[Label, ...]:
        return self._labels

    @property
    def metrics(self) -> Metrics:
        """Of what was settled."""
        return self._metrics

    @property
    def position(self) -> Position:
        """Settled: `samples_learned` counts no sample of a discarded update. Call `settle` before."""
        assert not self._unsettled
        return self._position

    def apply(
        self, entry_id: EntryId, payload: bytes, *, load_state: LoadState, read_log: ReadLog | None = None
    ) -> Command | None:
        """Moves past one entry.

        Args:
            load_state: the stored state of an ID, for `adopt`. Raises KeyError when there is none.
            read_log: the entries after one up to before another, for an `adopt` that wants them learned on top; raises
                LogTrimmed. None refuses such commands.
        Returns: the command that was applied, if the entry was one.
        Raises: UndecodableEntry or CommandRefused when the entry was passed without being applied.
        """
        position = self._position
        self._position = Position(entry_id, position.entries_applied + 1, position.samples_learned)
        entry = entries.decode(payload, inputs=self.spec.inputs)
        if isinstance(entry, Samples):
            self._learn(entry_id, payload, entry)
            return None
        if self.spec.shadow_of is not None:
            return None  # commands are for the model whose log this is
        self._read()
        if isinstance(entry, Adopt):
            self._adopt(entry_id, entry, load_state, read_log)
        if isinstance(entry, Set):
            self._set(entry)
        return entry

    def _learn(self, entry_id: EntryId, payload: bytes, samples: Samples) -> None:
        """Predicts, then learns; the first block is only learned where no class, or no value, is known before it."""
        x, weight = torch.tensor(samples.x), torch.tensor(samples.weights())
        known = self._labels or self._target_scale is not None
        said = None if samples.said is None or not known else torch.tensor(samples.said)
        learn = self._learn_values if self.spec.targets else self._learn_classes
        predicted, targets, finite = learn(x, samples, weight, said)
        if samples.was is not None:  # what is corrected was counted when it came
            weight = weight * torch.tensor([label is None for label in samples.was])
        newest_time = samples.newest_time()
        self._unsettled.append(_Learned(entry_id, payload, predicted, targets, weight, newest_time, finite))
        self._predictor = self._learner.predictor()

    def _learn_classes(
        self, x: Tensor, samples: Samples, weight: Tensor, said: Tensor | None
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        labels = LabelIndex(self._labels, self.spec.label_type)
        y: Any = samples.y
        try:
            labels = labels.extended(y) if self.spec.open else labels
            targets = torch.tensor(labels.encode(y))
        except UnknownLabel as error:
            raise UndecodableEntry(str(error)) from error
        if len(labels) > (self.spec.max_classes or 0):
            raise UndecodableEntry(
                f"with its labels there would be {len(labels)} classes; max_classes is {self.spec.max_classes}"
            )
        if said is not None and said.shape[1] > len(self._labels):
            said = None  # by a version whose classes a restore took away
        predicted = said if said is not None else self._predictor.on_device(x) if self._labels else None
        self._grow(labels.classes)
        if samples.was is not None:
            self._unlearn(x, samples.was, weight, labels)
        return predicted, targets, self._learner.learn(x, targets, weight)

    def _unlearn(self, x: Tensor, was: Sequence[Any], weight: Tensor, labels: LabelIndex) -> None:
        """Takes out what was learned with labels that are now corrected, where the learner can do so exactly."""
        corrected = [i for i, label in enumerate(was) if label is not None]
        if not isinstance(self._learner, AnchoredAMMem):
            return
        with contextlib.suppress(ArgumentError, UnknownLabel):
            old = torch.tensor(labels.encode([was[i] for i in corrected]))
            self._learner.load_state_dict(unlearned(self._learner, x[corrected], old, weight[corrected]))

    def _grow(self, labels: tuple[Label, ...]) -> None:
        """A net for so many classes that knows what this one does."""
        before = self.spec.outputs(len(self._labels))
        self._labels = labels
        if self.spec.outputs(len(labels)) == before:
            return
        larger = self._in_force.create_learner(self._device, len(labels))
        larger.load_state_dict(grown_state(self._learner.state_dict(), larger.state_dict()))
        self._start(larger)

    def _learn_values(
        self, x: Tensor, samples: Samples, weight: Tensor, said: Tensor | None
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """An update that is not finite leaves the targets' scale as it was, too, so it is asked for at once."""
        assert self._target_scale is not None
        assert self.spec.targets is not None
        values = _values(samples.y, self.spec.targets)
        known = bool(self._target_scale.moments.count.any())
        if said is None and known:
            said = self._target_scale.restored(self._predictor(x))
        state, moved = self._learner.state_dict(), self._target_scale.with_block(values, weight)
        moved.carry(self._learner, self._target_scale)
        finite = self._learner.learn(x, moved.standardised(values), weight)
        if bool(finite):
            self._target_scale = moved
        else:
            self._learner.load_state_dict(state)
        return said, values, finite

    def pass_over(self, entry_id: EntryId) -> None:
        """Moves past an entry without applying it."""
        position = self._position
        self._position = Position(entry_id, position.entries_applied + 1, position.samples_learned)

    def _adopt(self, entry_id: EntryId, entry: Adopt, load_state: LoadState, read_log: ReadLog | None) -> None:
        """Takes the state over, and, where the command says after which entry it was taken, learns what came since."""
        try:
            state = load_state(entry.state)
            if not entry.after:
                self.restore(state)
                return
            aside = Fold(self.spec, device=self._device)
            after = EntryId.parse(entry.after)
            aside.restore(state, Position(after, 0, 0))
            for one, payload in read_log(after, entry_id) if read_log else ():
                with contextlib.suppress(UndecodableEntry, CommandRefused):  # as the first time
                    aside.apply(one, payload, load_state=load_state, read_log=read_log)
            aside.settle()
            self._take_over(aside)
        except KeyError as error:
            raise CommandRefused(entry, f"there is no stored state {entry.state}") from error
        except (ValueError, DamagedState, LogTrimmed) as error:
            raise CommandRefused(entry, f"the state of {entry.source} cannot be adopted: {error}") from error

    def _set(self, entry: Set) -> None:
        """The same state under other hyper-parameters."""
        try:
            changes = json.loads(entry.hyperparameters)
            changed = self._in_force.changed(hyperparameters={**self._in_force.hyperparameters, **changes})
            learner = changed.create_learner(self._device, len(self._labels))
            learner.load_state_dict(self._learner.state_dict())
        except (ValueError, TypeError, Invalid) as error:
            raise CommandRefused(entry, f"hyperparameters cannot be set to {entry.hyperparameters}: {error}") from error
        self._in_force = changed
        self._start(learner)

    def settle(self) -> list[DeadLetter]:
        """Reads which updates were finite since the last call, counts their samples and errors, and returns the others."""
        self._read()
        dead, self._dead = self._dead, []
        return dead

    def _read(self) -> None:
        learned = 0
        if isinstance(self._metrics, ClassificationMetrics):
            self._metrics = self._metrics.grown(self.spec.outputs(len(self._labels)))
        for block in self._unsettled:
            if not bool(block.finite):
                self._dead.append(DeadLetter(block.entry, block.payload, "the update was not finite"))
                continue
            learned += len(block.targets)
            self._newest_time = max((t for t in (self._newest_time, block.newest_time) if t is not None), default=None)
            if block.predicted is not None:
                self._metrics = self._metrics.updated(block.predicted.cpu(), block.targets, block.weight)
        self._unsettled.clear()
        position = self._position
        self._position = Position(position.entry, position.entries_applied, position.samples_learned + learned)

    def state(self) -> FoldState:
        """Settled. Tensors of the learner by their names, metrics and the scale of values under prefixes."""
        assert not self._unsettled
        header = self._in_force.model_dump(mode="json", include=set(IN_FORCE))
        header |= {"classes": list(self._labels), "newest_time": self._newest_time}
        tensors = dict(self._learner.state_dict())
        tensors |= {METRICS + name: tensor for name, tensor in self._metrics.tensors().items()}
        if self._target_scale is not None:
            tensors |= {TARGET + name: tensor for name, tensor in vars(self._target_scale.moments).items()}
        return FoldState(header, tensors)

    def empty_like(self, header: Mapping[str, Any]) -> FoldState:
        """A state of the shapes that a stored one with this header has. Raises: ValueError naming what does not fit."""
        fold = Fold(self.spec, device="cpu")
        fold._take_header(header)
        return fold.state()

    def bytes_like(self, header: Mapping[str, Any]) -> int:
        """Size of the learner's part of such a state, without making one. Raises: ValueError naming what does not fit."""
        in_force, labels = self._of_header(header)
        return in_force.state_bytes(len(labels))

    def restore(self, state: FoldState, position: Position | None = None) -> None:
        """Takes over a state, and with `position` the place in the stream that it belongs to.

        Raises: ValueError naming what does not fit, and changes nothing then.
        """
        fold = Fold(self.spec, device=self._device)
        fold._take_header(state.header)
        parts = {prefix: part_of(state.tensors, prefix) for prefix in (METRICS, TARGET)}
        rest = {name: t for name, t in state.tensors.items() if not name.startswith((METRICS, TARGET))}
        fold._learner.load_state_dict(rest)
        checked_state(parts[METRICS], fold._metrics.tensors())
        fold._metrics = type(fold._metrics).from_tensors(parts[METRICS])
        if fold._target_scale is not None:
            fold._target_scale = TargetScale(Moments(**checked_state(parts[TARGET], vars(fold._target_scale.moments))))
        self._take_over(fold)
        if position is not None:
            self._position = position

    def _take_over(self, other: Fold) -> None:
        """Everything but the position."""
        self._labels, self._in_force, self._newest_time = other._labels, other._in_force, other._newest_time
        self._metrics, self._target_scale = other._metrics, other._target_scale
        self._start(other._learner)

    def _take_header(self, header: Mapping[str, Any]) -> None:
        """Becomes as large as a state with this header. Raises: ValueError naming what does not fit."""
        self._in_force, self._labels = self._of_header(header)
        newest_time = header.get("newest_time")
        if newest_time is not None and not (isinstance(newest_time, float) and EARLIEST <= newest_time <= LATEST):
            raise ValueError(f"newest_time is {newest_time!r}, and must be seconds since 1970")
        self._newest_time = newest_time
        self._start(self._in_force.create_learner(self._device, len(self._labels)))
        self._metrics = self._no_metrics()

    def _of_header(self, header: Mapping[str, Any]) -> tuple[ModelSpec, tuple[Label, ...]]:
        """The spec in force and the classes. Raises: ValueError naming what does not fit."""
        try:
            in_force = self.spec.changed(**{field: header[field] for field in IN_FORCE if field in header})
        except (Invalid, ValidationError, TypeError) as error:
            raise ValueError(str(error)) from error
        classes, declared = header.get("classes"), list(self._labels)
        if not isinstance(classes, list) or classes[: len(declared)] != declared:
            raise ValueError(f"classes is {classes!r}, and must begin with {declared!r}")
        most = 0 if self.spec.targets else self.spec.max_classes or 0
        if len(classes) > most:
            raise ValueError(f"classes are {len(classes)}, and may be {most}")
        if classes == declared:
            return in_force, self._labels
        return in_force, LabelIndex(classes, self.spec.label_type).classes

    def version(self) -> Version:
        position = self.position
        return Version(
            position.entries_applied,
            position.entry,
            position.samples_learned,
            self._predictor,
            self._labels,
            self._target_scale,
            self._metrics,
            self._in_force,
            self._newest_time,
        )


def _values(y: Sequence[Any], targets: int) -> Tensor:
    """(n, targets) float64. Raises: UndecodableEntry."""
    try:
        values = torch.tensor(y, dtype=torch.float64).reshape(len(y), -1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UndecodableEntry(f"targets must be numbers: {error}") from error
    if values.shape[1] != targets or not values.isfinite().all():
        raise UndecodableEntry(f"targets must be {targets} finite numbers a sample")
    return values


def describe(command: Command) -> tuple[str, Mapping[str, Any]]:
    """(kind, detail) of a command, for the record of what became of it."""
    return entries.kind_of(command), vars(command)
