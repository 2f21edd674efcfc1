"""A state folded aside, kept and adopted: of a point of the log, without entries that should not have been, of a shadow."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import redis
import structlog
from anyio.to_thread import run_sync
from sqlalchemy.exc import IntegrityError

from service import state as states
from service.aside import folded, log_between, stored_state
from service.catalog import Model
from service.commands import Commands, audit
from service.database import Sessions
from service.entries import Adopt
from service.entry_id import LARGEST, EntryId
from service.fold import START, LogTrimmed
from service.idempotency import Once
from service.keyring import Caller
from service.problems import Conflict, FieldError, Invalid, UnknownModel
from service.repositories import checkpoints
from service.repositories.checkpoints import Position
from service.state import DamagedState, FoldState
from service.stream import ModelStream

CLOCKS_DIFFER_S = 60

log = structlog.get_logger()


@dataclass(frozen=True)
class Rewound:
    """Args: snapshot: that holds the state; entry: the command that adopted it."""

    snapshot: str
    entry: EntryId


@dataclass(frozen=True)
class _Kept:
    """Args: snapshot: as in `Rewound`; source: of what; until: the last entry that it includes, had it not been left out."""

    snapshot: str
    state_id: str
    source: str
    until: EntryId


class Rewind:
    """Args: device: as the learner's, so that what is folded aside is what it would have been, to the last bit."""

    def __init__(self, sessions: Sessions, client: redis.Redis, commands: Commands, *, device: str) -> None:
        self._sessions = sessions
        self._client = client
        self._commands = commands
        self._device = device

    async def restore(
        self,
        model: Model,
        at: EntryId | datetime | None,
        skip: Collection[EntryId],
        *,
        by: Caller,
        once: Once | None = None,
    ) -> Rewound:
        """The model as it was after the last entry up to `at`, had those of `skip` not been.

        Without `at` the newest entry is meant, and whatever comes while this is worked out is learned on top: nothing but
        `skip` is left out.

        Raises: Invalid naming an entry that the log does not hold; Conflict naming the oldest point that can be gone back to,
            or the learner's reason; Unavailable.
        """
        model.require_own_log()
        fold_aside = partial(self._fold_aside, model, at, frozenset(skip))
        what = {"skip": sorted(map(str, skip))}
        return await self._adopted(model, fold_aside, "restore", what, after=at is None, by=by, once=once)

    async def promote(self, shadow: Model, model: Model, *, by: Caller, once: Once | None = None) -> Rewound:
        """The model as its shadow is, metrics and hyper-parameters included; what comes meanwhile is learned on top.

        Raises: Conflict for a shadow that has learned nothing, or with the learner's reason; Unavailable.
        """
        fold_aside = partial(self._fold_aside, shadow, None, frozenset(), keep_in=model)
        return await self._adopted(model, fold_aside, "promote", {"shadow": shadow.name}, after=True, by=by, once=once)

    async def _adopted(
        self,
        model: Model,
        fold_aside: Callable[[], _Kept],
        action: str,
        what: Mapping[str, Any],
        *,
        after: bool,
        by: Caller,
        once: Once | None,
    ) -> Rewound:
        """Once the command is applied, be it one that an earlier request appended.

        Args: action, what: for the audit. after: whether entries since the state was folded are learned on top.
        """
        entry = await self._commands.earlier(model, once)
        if entry is None:
            kept = await run_sync(fold_aside)
            command = Adopt(kept.state_id, kept.source, by.key_id, str(kept.until) if after else "")
            entry = await self._commands.append(model, command, once)
            audit(action, model, by, snapshot=kept.snapshot, until=str(kept.until), entry=str(entry), **what)
        await self._commands.applied(model, entry)
        return Rewound(await run_sync(self._snapshot_of, model, entry), entry)

    def _snapshot_of(self, model: Model, entry: EntryId) -> str:
        """The snapshot whose state the command at that entry adopted. Raises: Conflict when it was deleted meanwhile."""
        with self._sessions() as session:
            name = checkpoints.snapshot_adopted_at(session, model.id, entry)
        if name is None:
            raise Conflict(f"the snapshot that entry {entry} restored was deleted meanwhile")
        return name

    def _fold_aside(
        self, model: Model, at: EntryId | datetime | None, skip: frozenset[EntryId], keep_in: Model | None = None
    ) -> _Kept:
        stream = ModelStream(self._client, model.id, log_of=model.shadow_of)
        until = self._last_until(stream, at)
        for entry in sorted(skip):
            if entry > until or not stream.holds(entry):
                raise Invalid(FieldError("skip", str(entry), f"must be an entry that the log holds, up to {until}"))
        base, position = self._base(model, min([until, *(EntryId(e.ms, e.seq - 1) for e in skip)]))
        try:
            fold = folded(
                model.spec,
                base,
                position,
                log_between(stream, position.entry, until.next),
                device=self._device,
                load_state=partial(stored_state, self._sessions, model.id),
                read_log=partial(log_between, stream),
                skip=skip,
            )
        except LogTrimmed as error:
            oldest = error.oldest or "none"
            raise Conflict(
                f"the log reaches back to entry {oldest} only, and no checkpoint or snapshot lies between it and the point; "
                f"a snapshot can be restored as it is",
                errors=[
                    FieldError("at", str(until), f"must be later than a checkpoint or snapshot after entry {oldest}")
                ],
            ) from error
        if keep_in is not None and fold.position.samples_learned == 0:
            raise Conflict(f"shadow {model.name!r} has learned no sample yet")
        point = f"at-{until}" if keep_in is None else f"promoted-{model.id[:8]}-{until}"
        name, state_id = self._keep(keep_in or model, point, fold.state(), fold.position)
        return _Kept(name, state_id, f"snapshot {name}" if keep_in is None else f"shadow {model.name}", until)

    def _last_until(self, stream: ModelStream, at: EntryId | datetime | None) -> EntryId:
        """The last entry up to `at`, which must be over."""
        if isinstance(at, datetime) and at.timestamp() > time.time() + CLOCKS_DIFFER_S:
            raise Invalid(FieldError("at", at.isoformat(), "must not lie in the future"))
        wanted = EntryId(max(0, int(at.timestamp() * 1000)), LARGEST) if isinstance(at, datetime) else at
        found = stream.last_until(wanted)
        if found is None or (isinstance(at, EntryId) and found != at):
            oldest = stream.first()
            error = FieldError("at", str(at), f"must be an entry that the log holds, or a time; its oldest is {oldest}")
            if wanted is not None and (oldest is None or wanted < oldest):
                raise Conflict(f"the log begins with entry {oldest}, later than {at}", errors=[error])
            raise Invalid(error)
        return found

    def _base(self, model: Model, before: EntryId) -> tuple[FoldState | None, Position]:
        """The newest stored state of this log at or before an entry that is whole; the beginning when there is none."""
        with self._sessions() as session:
            found = [(one.position, one.state_id) for one in checkpoints.checkpoints(session, model.id)]
            found += [
                (Position(EntryId.parse(row.entry), row.entries_applied, row.samples_learned), row.state_id)
                for row in checkpoints.own_snapshots(session, model.id)
            ]
        usable = [one for one in found if one[0].entry <= before]
        for position, state_id in sorted(usable, key=lambda one: one[0].entry, reverse=True):
            try:
                return stored_state(self._sessions, model.id, state_id), position
            except KeyError:  # the learner pruned it meanwhile
                return self._base(model, before)
            except DamagedState as error:
                log.error("state damaged", model_id=model.id, entry=str(position.entry), cause=str(error))
        return None, START

    def _keep(self, model: Model, point: str, state: FoldState, position: Position) -> tuple[str, str]:
        """As a snapshot, unless the same point was gone back to before.

        Returns: its name and the ID of its state. Raises: UnknownModel when the model was deleted meanwhile.
        """
        stored = states.store(state)
        name = f"{point}-{stored.digest[:12]}"
        try:
            with self._sessions.begin() as session:
                if (kept := checkpoints.snapshot(session, model.id, name)) is not None:
                    return name, kept[0].state_id
                state_id = checkpoints.add_state(session, model.id, stored)
                checkpoints.add_snapshot(session, model.id, name, state_id, position)
                return name, state_id
        except IntegrityError:  # the same request kept it at the same time
            with self._sessions() as session:
                if (kept := checkpoints.snapshot(session, model.id, name)) is None:
                    raise UnknownModel(model.name) from None
                return name, kept[0].state_id
