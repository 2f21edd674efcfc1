"""Snapshots and restoring them: commands in the log, done once the learner has applied them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from anyio.to_thread import run_sync

from service.catalog import Model
from service.database import Sessions
from service.entries import Adopt, Command
from service.entries import Snapshot as SnapshotCommand
from service.entry_id import EntryId
from service.ingest import Ingest
from service.problems import Conflict, FieldError, Invalid, Unavailable, UnknownSnapshot
from service.publications import Publications
from service.repositories import checkpoints, models
from service.spec import NAME
from service.tables import SnapshotRow, StateRow


@dataclass(frozen=True)
class Snapshot:
    """A named state of a model, pinned in the database, and where in the stream it was taken."""

    name: str
    state_id: str
    entry: str
    model_version: int
    samples_learned: int
    created_at: float
    size_bytes: int
    digest: str


class Snapshots:
    """Args: wait_s: longest wait for a command to be applied."""

    def __init__(self, sessions: Sessions, ingest: Ingest, publications: Publications, *, wait_s: float) -> None:
        self._sessions = sessions
        self._ingest = ingest
        self._publications = publications
        self._wait_s = wait_s

    async def create(self, model: Model, name: str, *, by: str) -> Snapshot:
        """Raises: Invalid for a bad name, Conflict for one that is taken, Unavailable."""
        if not NAME.fullmatch(name):
            raise Invalid(FieldError("name", name, f"must match {NAME.pattern}"))
        if await run_sync(partial(self.list, model, name)):
            raise Conflict(f"there is a snapshot {name!r} already", errors=[FieldError("name", name, "is taken")])
        await self._apply(model, SnapshotCommand(name, by))
        return await run_sync(self.get, model, name)

    async def restore(self, model: Model, name: str, *, by: str) -> EntryId:
        """The entry with which the model took over the snapshot's state.

        Raises: UnknownSnapshot; Conflict when it cannot be adopted; Unavailable.
        """
        snapshot = await run_sync(self.get, model, name)
        return await self._apply(model, Adopt(snapshot.state_id, f"snapshot {name}", by))

    def get(self, model: Model, name: str) -> Snapshot:
        """Raises: UnknownSnapshot."""
        found = self.list(model, name) if NAME.fullmatch(name) else []
        if not found:
            raise UnknownSnapshot(model.name, name)
        return found[0]

    def list(self, model: Model, name: str | None = None) -> Sequence[Snapshot]:
        with self._sessions() as session:
            return [_snapshot(*rows) for rows in checkpoints.snapshots(session, model.id, name)]

    async def _apply(self, model: Model, command: Command) -> EntryId:
        """Appends a command and waits until the learner has applied it.

        Raises: Conflict with the learner's reason when it was refused; Unavailable when it took too long.
        """
        entry = await self._ingest.command(model, command)
        if not await self._publications.wait_for(model.id, entry, timeout_s=self._wait_s):
            raise Unavailable(
                f"the command is in the stream as entry {entry}, but was not applied within {self._wait_s:g} s; "
                f"it will be when the learner gets there",
                kind="not-applied-yet",
                retry_after_s=5,
            )
        error = await run_sync(self._error_of, model, entry)
        if error is not None:
            raise Conflict(error)
        return entry

    def _error_of(self, model: Model, entry: EntryId) -> str | None:
        with self._sessions() as session:
            row = models.command(session, model.id, entry)
        return None if row is None else row.error


def _snapshot(row: SnapshotRow, state: StateRow) -> Snapshot:
    return Snapshot(
        name=row.name,
        state_id=row.state_id,
        entry=row.entry,
        model_version=row.entries_applied,
        samples_learned=row.samples_learned,
        created_at=row.created_at,
        size_bytes=state.size_bytes,
        digest=state.digest,
    )
