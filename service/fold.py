"""state = fold(apply, entries of the stream, initial state): what the learner runs live, and what any replay runs again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models import Label
from service import entries
from service.entries import Adopt, Command, Samples, Set, UndecodableEntry
from service.entry_id import ORIGIN, EntryId
from service.knowledge import Knowledge
from service.learning import Learned, count, learn
from service.problems import Invalid
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.state import DamagedState, FoldState
from service.version import Metrics, Version

START = Position(ORIGIN, 0, 0)

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


@dataclass(frozen=True)
class DeadLetter:
    entry: EntryId
    payload: bytes
    cause: str


class Fold:
    """What one model knows, its place in the stream, and how to move both past the next entry.

    Whether an update was finite stays on the learner's device until `settle` reads it.

    Args:
        spec: as created; what of it is in force may have been changed by commands.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, spec: ModelSpec, *, device: str) -> None:
        self.spec = spec
        self._device = device
        self._known = Knowledge(spec, device=device)
        self._position = START
        self._unsettled: list[tuple[EntryId, bytes, Learned]] = []
        self._dead: list[DeadLetter] = []

    @property
    def entry(self) -> EntryId:
        """The last entry passed."""
        return self._position.entry

    @property
    def labels(self) -> tuple[Label, ...]:
        return self._known.labels

    @property
    def metrics(self) -> Metrics:
        """Of what was settled."""
        return self._known.metrics

    @property
    def position(self) -> Position:
        """Settled: `samples_learned` counts no sample of a discarded update. Call `settle` before."""
        assert not self._unsettled
        return self._position

    # Past an entry

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
        self.pass_over(entry_id)
        entry = entries.decode(payload, inputs=self.spec.inputs)
        if isinstance(entry, Samples):
            self._unsettled.append((entry_id, payload, learn(self._known, entry)))
            return None
        if self.spec.shadow_of is not None:
            return None  # commands are for the model whose log this is
        self._read()
        if isinstance(entry, Adopt):
            self._adopt(entry_id, entry, load_state, read_log)
        if isinstance(entry, Set):
            self._set(entry)
        return entry

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
            self._known = aside._known
        except KeyError as error:
            raise CommandRefused(entry, f"there is no stored state {entry.state}") from error
        except (ValueError, DamagedState, LogTrimmed) as error:
            raise CommandRefused(entry, f"the state of {entry.source} cannot be adopted: {error}") from error

    def _set(self, entry: Set) -> None:
        try:
            self._known.set(json.loads(entry.hyperparameters))
        except (ValueError, TypeError, Invalid) as error:
            raise CommandRefused(entry, f"hyperparameters cannot be set to {entry.hyperparameters}: {error}") from error

    def settle(self) -> list[DeadLetter]:
        """Reads which updates were finite since the last call, counts their samples and errors, and returns the others."""
        self._read()
        dead, self._dead = self._dead, []
        return dead

    def _read(self) -> None:
        learned = 0
        self._known.grow_metrics()
        for entry_id, payload, block in self._unsettled:
            if not bool(block.finite):
                self._dead.append(DeadLetter(entry_id, payload, "the update was not finite"))
                continue
            learned += len(block.targets)
            count(self._known, block)
        self._unsettled.clear()
        position = self._position
        self._position = Position(position.entry, position.entries_applied, position.samples_learned + learned)

    # What it has come to

    def state(self) -> FoldState:
        """Settled."""
        assert not self._unsettled
        return self._known.state()

    def restore(self, state: FoldState, position: Position | None = None) -> None:
        """Takes over a state, and with `position` the place in the stream that it belongs to.

        Raises: ValueError naming what does not fit, and changes nothing then.
        """
        self._known = Knowledge.of_state(self.spec, state, device=self._device)
        if position is not None:
            self._position = position

    def version(self) -> Version:
        position, known = self.position, self._known
        return Version(
            position.entries_applied,
            position.entry,
            position.samples_learned,
            known.predictor,
            known.labels,
            known.target_scale,
            known.metrics,
            known.in_force,
            known.newest_time,
        )


def describe(command: Command) -> tuple[str, Mapping[str, Any]]:
    """(kind, detail) of a command, for the record of what became of it."""
    return entries.kind_of(command), vars(command)
