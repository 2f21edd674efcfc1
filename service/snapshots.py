"""Snapshots and restoring them. Taking and adopting one are commands in the log, done once the learner has applied them.

Who did what stands in the log of the process, on lines named `audit`; commands also in the database, with what became of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import redis
from anyio import from_thread
from anyio.to_thread import run_sync
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service import entries, exchange
from service.aside import stored_state
from service.catalog import Model
from service.commands import Commands, audit
from service.database import Sessions
from service.entries import Adopt, UndecodableEntry
from service.entries import Snapshot as SnapshotCommand
from service.entry_id import ORIGIN, EntryId
from service.idempotency import Once
from service.keyring import Caller
from service.problems import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    PreconditionFailed,
    UnknownModel,
    UnknownSnapshot,
)
from service.repositories import checkpoints, models
from service.repositories.checkpoints import Position
from service.spec_fields import NAME
from service.state import DamagedState
from service.stream import ModelStream
from service.tables import SnapshotRow, StateRow


@dataclass(frozen=True)
class Snapshot:
    """A named state of a model, pinned in the database, and where in the stream it was taken. place: in lists, ascending."""

    place: int
    name: str
    state_id: str
    entry: str
    model_version: int
    samples_learned: int
    created_at: float
    size_bytes: int
    digest: str

    @property
    def position(self) -> Position:
        return Position(EntryId.parse(self.entry), self.model_version, self.samples_learned)


class Snapshots:
    def __init__(self, sessions: Sessions, client: redis.Redis, commands: Commands) -> None:
        self._sessions = sessions
        self._client = client
        self._commands = commands

    # Looking

    def get(self, model: Model, name: str) -> Snapshot:
        """Raises: UnknownSnapshot."""
        found = self.list(model, name) if NAME.fullmatch(name) else []
        if not found:
            raise UnknownSnapshot(model.name, name)
        return found[0]

    def list(
        self, model: Model, name: str | None = None, *, after: int = 0, most: int | None = None
    ) -> Sequence[Snapshot]:
        """Oldest first. Args: after: place of one."""
        with self._sessions() as session:
            found = checkpoints.snapshots(session, model.id, name, after=after, most=most)
            return [_snapshot(*rows) for rows in found]

    # Commands

    async def create(self, model: Model, name: str, *, by: Caller, once: Once | None = None) -> Snapshot:
        """Raises: Invalid for a bad name, Conflict for one that is taken, Unavailable."""
        entry = await self._commands.earlier(model, once)
        if entry is None:
            await run_sync(self._check_free, model, name)
            entry = await self._commands.append(model, SnapshotCommand(name, by.key_id), once)
            audit("snapshot", model, by, snapshot=name, entry=str(entry))
        await self._commands.applied(model, entry)
        return await run_sync(self.get, model, name)

    async def restore(
        self,
        model: Model,
        name: str,
        *,
        by: Caller,
        only_digests: Collection[str] | None = None,
        once: Once | None = None,
    ) -> EntryId:
        """The entry with which the model took over the snapshot's state.

        Args: only_digests: nothing happens unless the snapshot has one of these; None for any.
        Raises: UnknownSnapshot; PreconditionFailed; Conflict when it cannot be adopted; Unavailable.
        """
        entry = await self._commands.earlier(model, once)
        if entry is None:
            entry = await run_sync(partial(self._adopt, model, name, by=by, only_digests=only_digests, once=once))
        await self._commands.applied(model, entry)
        return entry

    def _adopt(
        self, model: Model, name: str, *, by: Caller, only_digests: Collection[str] | None, once: Once | None
    ) -> EntryId:
        """Appends under the snapshot's lock, so that who deletes it afterwards finds the entry in the log."""
        with self._sessions.begin() as session:
            snapshot = _snapshot(*self._locked(session, model, name))
            if only_digests is not None and snapshot.digest not in only_digests:
                given = ", ".join(f'"{digest}"' for digest in only_digests)
                raise PreconditionFailed(
                    f'If-Match is {given}, the snapshot {name!r} has the digest "{snapshot.digest}"',
                    errors=[FieldError("If-Match", given, "must be the digest of the snapshot")],
                )
            command = Adopt(snapshot.state_id, f"snapshot {name}", by.key_id)
            entry = from_thread.run(self._commands.append, model, command, once)
        audit("restore", model, by, snapshot=name, digest=snapshot.digest, state=snapshot.state_id, entry=str(entry))
        return entry

    # Files

    def export(self, model: Model, name: str, *, by: Caller) -> tuple[Snapshot, bytes]:
        """The snapshot as a file for `import_`, here or elsewhere. Raises: UnknownSnapshot; Conflict when it is damaged."""
        snapshot = self.get(model, name)
        try:
            state = stored_state(self._sessions, model.id, snapshot.state_id)
        except KeyError:  # deleted meanwhile
            raise UnknownSnapshot(model.name, name) from None
        except DamagedState as error:
            raise Conflict(f"snapshot {name!r} is damaged: {error}") from error
        content = exchange.write(
            model.spec, state, digest=snapshot.digest, position=snapshot.position, created_at=snapshot.created_at
        )
        audit("export", model, by, snapshot=name, digest=snapshot.digest)
        return snapshot, content

    def import_(self, model: Model, name: str, content: bytes, *, by: Caller) -> Snapshot:
        """A snapshot from a file; the model itself does not change until it is restored. The same file again changes nothing.

        Raises: Invalid for a bad name, or naming what is wrong with the file; Conflict when the name is taken; UnknownModel;
            Forbidden when the state brings what only `admin` may set.
        """
        _check_name(name)
        imported = exchange.read(content, model.spec)
        if imported.other and not by.has("admin"):
            raise Forbidden(
                f"the state brings another {', '.join(imported.other)} than model {model.name!r} was created with: "
                f"only a key with the scope 'admin' may import it"
            )
        if (earlier := self._imported(model, name, imported)) is not None:
            return earlier
        try:
            with self._sessions.begin() as session:
                state_id = checkpoints.add_state(session, model.id, imported.stored)
                checkpoints.add_snapshot(session, model.id, name, state_id, imported.position)
        except IntegrityError as error:  # somebody took the name, or deleted the model
            with self._sessions() as session:
                if models.by_id(session, model.id) is None:
                    raise UnknownModel(model.name) from error
            if (earlier := self._imported(model, name, imported)) is not None:
                return earlier
            raise _taken(name) from error  # and deleted since
        audit("import", model, by, snapshot=name, digest=imported.stored.digest, file_bytes=len(content))
        return self.get(model, name)

    def _imported(self, model: Model, name: str, imported: exchange.Imported) -> Snapshot | None:
        """The snapshot of that name, if there is one. Raises: Conflict when it is another than the imported one."""
        found = self.list(model, name)
        if not found:
            return None
        if (found[0].digest, found[0].position) != (imported.stored.digest, imported.position):
            raise _taken(name)
        return found[0]

    # Deleting

    def delete(self, model: Model, name: str, *, by: Caller) -> None:
        """Deletes the snapshot, and its state unless a checkpoint refers to that.

        Raises: UnknownSnapshot; Conflict while the log holds an entry that adopts the state: a replay would need it.
        """
        snapshot, stream = self.get(model, name), ModelStream(self._client, model.id)
        with self._sessions() as session:
            checkpoint = checkpoints.newest(session, model.id)
        # What a checkpoint includes is in the table of commands; beyond it, the log itself must be read, most of it before
        # the lock is taken.
        seen = self._read_on(stream, model, snapshot, after=checkpoint.position.entry if checkpoint else ORIGIN)
        with self._sessions.begin() as session:
            row, state_row = self._locked(session, model, name)
            if row.state_id != snapshot.state_id:
                raise Conflict(f"snapshot {name!r} was replaced meanwhile")
            self._read_on(stream, model, snapshot, after=seen)
            oldest = next(iter(stream.read(ORIGIN, block=False)), None)
            for entry in models.adoptions(session, model.id, row.state_id):
                if oldest is not None and entry >= oldest[0]:
                    raise _needed(model, name, entry)
            checkpoints.remove_snapshot(session, row)
        audit("delete", model, by, snapshot=name, digest=state_row.digest)

    def _read_on(self, stream: ModelStream, model: Model, snapshot: Snapshot, *, after: EntryId) -> EntryId:
        """The last entry of the log. Raises: Conflict when one after `after` adopts the snapshot."""
        while batch := stream.read(after, block=False):
            for entry, payload in batch:
                if snapshot.state_id.encode() in payload and _adopts(payload, model, snapshot.state_id):
                    raise _needed(model, snapshot.name, entry)
            after = batch[-1][0]
        return after

    # Rows

    def _check_free(self, model: Model, name: str) -> None:
        """Raises: Invalid for a bad name, Conflict for one that is taken."""
        _check_name(name)
        if self.list(model, name):
            raise _taken(name)

    def _locked(self, session: Session, model: Model, name: str) -> tuple[SnapshotRow, StateRow]:
        rows = checkpoints.lock_snapshot(session, model.id, name) if NAME.fullmatch(name) else None
        if rows is None:
            raise UnknownSnapshot(model.name, name)
        return rows


def _adopts(payload: bytes, model: Model, state_id: str) -> bool:
    try:
        entry = entries.decode(payload, inputs=model.spec.inputs)
    except UndecodableEntry:
        return False
    return isinstance(entry, Adopt) and entry.state == state_id


def _check_name(name: str) -> None:
    """Raises: Invalid."""
    if not NAME.fullmatch(name):
        raise Invalid(FieldError("name", name, f"must match {NAME.pattern}"))


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a snapshot {name!r} already", errors=[FieldError("name", name, "is taken")])


def _needed(model: Model, name: str, entry: EntryId) -> Conflict:
    return Conflict(
        f"the log's entry {entry} adopts snapshot {name!r}, so a replay would need it; it can be deleted once the log has "
        f"let go of that entry, after retain_s = {model.spec.retain_s:g} s at the earliest",
        errors=[FieldError("snapshot", name, f"is adopted by entry {entry}")],
    )


def _snapshot(row: SnapshotRow, state: StateRow) -> Snapshot:
    return Snapshot(
        place=row.id,
        name=row.name,
        state_id=row.state_id,
        entry=row.entry,
        model_version=row.entries_applied,
        samples_learned=row.samples_learned,
        created_at=row.created_at,
        size_bytes=state.size_bytes,
        digest=state.digest,
    )
