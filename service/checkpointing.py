"""Writing checkpoints: one transaction each, from an immutable state, beside the learning that goes on."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from service import state as states
from service.database import Sessions
from service.entries import Command, Snapshot
from service.entry_id import EntryId
from service.fold import describe
from service.meters import LearnerMeter
from service.repositories import checkpoints, leases, models
from service.repositories.checkpoints import Position
from service.settings import Settings
from service.state import FoldState
from service.stream import ModelStream


class LeaseLost(Exception):
    """Another learner took the model; whatever this one still holds in memory is worthless."""


@dataclass(frozen=True)
class Due:
    """A checkpoint to be written; with a command, what became of it: `error` is None when it was applied."""

    state: FoldState
    position: Position
    command: Command | None = None
    error: str | None = None


class Checkpointer:
    """Writes under one epoch of one model, at most one checkpoint at a time.

    Args: retain_s: how long the log is kept beyond what recovery needs.
    """

    def __init__(
        self,
        model_id: str,
        epoch: int,
        *,
        settings: Settings,
        sessions: Sessions,
        stream: ModelStream,
        retain_s: float,
        written: Position,
        meter: LearnerMeter,
    ) -> None:
        self._model_id = model_id
        self._epoch = epoch
        self._settings = settings
        self._sessions = sessions
        self._stream = stream
        self._retain_s = retain_s
        self._written = written
        self._meter = meter
        self._clean_at = time.monotonic()
        self._trimmed_at = time.monotonic()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"checkpoint-{model_id[:8]}")
        self._writing: Future[Position] | None = None

    def is_due(self, position: Position) -> bool:
        """Whether so many samples, or so much time, lie between the last checkpoint and `position`, and none is on its way.

        Raises: what the one before raised.
        """
        if self._writing is not None:
            if not self._writing.done():
                return False
            self._collect()
        if position == self._written:
            self._clean_at = time.monotonic()
            return False
        late = time.monotonic() - self._clean_at >= self._settings.checkpoint_s
        samples = position.samples_learned - self._written.samples_learned
        return late or samples >= self._settings.checkpoint_samples

    def begin(self, due: Due) -> None:
        """Starts writing; `is_due` or `finish` tell how it went. None may be on its way."""
        self._clean_at = time.monotonic()
        self._writing = self._writer.submit(self._timed, due)

    def finish(self, due: Due) -> None:
        """Writes after the one that may be on its way, and returns once it is committed. Raises: LeaseLost, DBAPIError."""
        self._collect()
        if due.command is not None or due.position != self._written:
            self.begin(due)
            self._collect()

    def trim_when_due(self) -> None:
        """As after a checkpoint: time alone makes entries superfluous, too. Raises: RedisError, DBAPIError."""
        if time.monotonic() - self._trimmed_at >= self._settings.checkpoint_s:
            with self._sessions() as session:
                oldest = checkpoints.oldest(session, self._model_id)
            self._trim(oldest)

    def close(self) -> None:
        self._writer.shutdown()

    def _collect(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._written = writing.result()

    def _timed(self, due: Due) -> Position:
        with self._meter.checkpoint.time():
            return self._write(due)

    def _write(self, due: Due) -> Position:
        """State, position and a command's outcome in one transaction; then the log is trimmed.

        1. renew the lease under this epoch: nothing else is written unless that succeeds
        2. insert the state, the checkpoint and its offset; the snapshot, when the command asked for one
        3. record what became of the command
        4. delete checkpoints and states that are no longer needed; commit
        5. trim the log up to the oldest checkpoint left, also of shadows, or to `retain_s` ago if that is earlier
        """
        stored = states.store(due.state)
        with self._sessions.begin() as session:
            if not leases.hold(session, self._model_id, self._epoch, lease_s=self._settings.lease_s):
                raise LeaseLost
            state_id = checkpoints.add_state(session, self._model_id, stored)
            checkpoints.add_checkpoint(session, self._model_id, state_id, due.position, epoch=self._epoch)
            error = due.error
            if isinstance(due.command, Snapshot):
                taken = checkpoints.snapshot(session, self._model_id, due.command.name)
                if taken is None:
                    checkpoints.add_snapshot(session, self._model_id, due.command.name, state_id, due.position)
                elif taken[0].entry != str(due.position.entry):  # the same entry: a replay from an older checkpoint
                    error = f"there is a snapshot {due.command.name!r} already"
            if due.command is not None:
                kind, detail = describe(due.command)
                entry = due.position.entry
                models.record_command(session, self._model_id, entry, kind=kind, detail=detail, error=error)
            checkpoints.prune(session, self._model_id, keep=self._settings.checkpoints_kept)
            oldest = checkpoints.oldest(session, self._model_id)
        self._trim(oldest)
        self._stream.events.say("checkpoint", entry=str(due.position.entry), model_version=due.position.entries_applied)
        return due.position

    def _trim(self, oldest: EntryId) -> None:
        """Forgets what came before `oldest`, unless it came within `retain_s`, and what is kept for a time of its own."""
        retained_from = EntryId(int(max(0.0, time.time() - self._retain_s) * 1000), 0)
        self._stream.trim(min(oldest, retained_from), epoch=self._epoch)
        self._stream.forget_expired()
        self._trimmed_at = time.monotonic()
