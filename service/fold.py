"""state = fold(apply, entries of the stream, initial state): what the learner runs live, and what any replay runs again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import Learner, Predictor, UnknownLabel
from service import entries
from service.entries import Adopt, Command, Samples, Snapshot, UndecodableEntry
from service.entry_id import ORIGIN, EntryId
from service.repositories.checkpoints import Position
from service.spec import ModelSpec, default_hyperparameters
from service.state import DamagedState, FoldState

START = Position(ORIGIN, 0, 0)


class CommandRefused(Exception):
    """A command that cannot be applied, now or on any replay; the stream goes on past it."""

    def __init__(self, command: Command, reason: str) -> None:
        super().__init__(reason)
        self.command = command


@dataclass(frozen=True)
class Version:
    """One immutable version of a model, as predictions use it. `model_version` counts the entries applied."""

    model_version: int
    applied_entry: EntryId
    samples_learned: int
    predictor: Predictor


@dataclass(frozen=True)
class DeadLetter:
    entry: EntryId
    payload: bytes
    cause: str


class Fold:
    """The state of one model and how to move it past the next entry.

    Whether an update was finite stays on the learner's device until `settle` reads it.

    Args:
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, spec: ModelSpec, *, device: str) -> None:
        self.spec = spec
        self._labels = spec.labels
        self._learner: Learner = spec.create_learner(device)
        self._position = START
        self._unsettled: list[tuple[EntryId, bytes, int, Tensor]] = []

    @property
    def entry(self) -> EntryId:
        """The last entry passed."""
        return self._position.entry

    @property
    def position(self) -> Position:
        """Settled: `samples_learned` counts no sample of a discarded update. Call `settle` before."""
        assert not self._unsettled
        return self._position

    def apply(self, entry_id: EntryId, payload: bytes, *, load_state: Callable[[str], FoldState]) -> Command | None:
        """Moves past one entry.

        Args:
            load_state: the stored state of an ID, for `adopt`. Raises KeyError when there is none.
        Returns: the command that was applied, if the entry was one.
        Raises: UndecodableEntry or CommandRefused when the entry was passed without being applied.
        """
        position = self._position
        self._position = Position(entry_id, position.entries_applied + 1, position.samples_learned)
        entry = entries.decode(payload, inputs=self.spec.inputs)
        if isinstance(entry, Samples):
            self._learn(entry_id, payload, entry)
            return None
        if isinstance(entry, Adopt):
            self._adopt(entry, load_state)
        return entry

    def _learn(self, entry_id: EntryId, payload: bytes, samples: Samples) -> None:
        try:
            targets = self._labels.encode(samples.y)
        except UnknownLabel as error:
            raise UndecodableEntry(str(error)) from error
        weight = None if samples.weight is None else torch.tensor(samples.weight)
        finite = self._learner.learn(torch.tensor(samples.x), torch.tensor(targets), weight)
        self._unsettled.append((entry_id, payload, len(samples), finite))

    def _adopt(self, entry: Adopt, load_state: Callable[[str], FoldState]) -> None:
        try:
            self.restore(load_state(entry.state))
        except KeyError as error:
            raise CommandRefused(entry, f"there is no stored state {entry.state}") from error
        except (ValueError, DamagedState) as error:
            raise CommandRefused(entry, f"the state of {entry.source} cannot be adopted: {error}") from error

    def settle(self) -> list[DeadLetter]:
        """Reads which updates were finite since the last call, counts their samples, and returns the others."""
        dead = []
        learned = 0
        for entry_id, payload, samples, finite in self._unsettled:
            if bool(finite):
                learned += samples
            else:
                dead.append(DeadLetter(entry_id, payload, "the update was not finite"))
        self._unsettled.clear()
        position = self._position
        self._position = Position(position.entry, position.entries_applied, position.samples_learned + learned)
        return dead

    def state(self) -> FoldState:
        header: dict[str, Any] = {
            "learner": self.spec.learner,
            "hyperparameters": self.spec.hyperparameters,
            "classes": list(self._labels.classes),
        }
        return FoldState(header, self._learner.state_dict())

    def restore(self, state: FoldState, position: Position | None = None) -> None:
        """Takes over a state, and with `position` the place in the stream that it belongs to.

        Raises: ValueError naming what does not fit.
        """
        own = self.state().header
        for name in ("learner", "classes", "hyperparameters"):
            stored = state.header.get(name)
            if name == "hyperparameters" and isinstance(stored, dict):
                stored = default_hyperparameters(self.spec.learner) | stored  # an older version had fewer
            if stored != own[name]:
                raise ValueError(f"{name} is {stored!r}, not {own[name]!r}")
        self._learner.load_state_dict(state.tensors)
        if position is not None:
            self._position = position

    def version(self) -> Version:
        position = self.position
        return Version(position.entries_applied, position.entry, position.samples_learned, self._learner.predictor())


def describe(command: Command) -> tuple[str, Mapping[str, Any]]:
    """(kind, detail) of a command, for the record of what became of it."""
    kind = "snapshot" if isinstance(command, Snapshot) else "adopt" if isinstance(command, Adopt) else "resume"
    return kind, vars(command)
