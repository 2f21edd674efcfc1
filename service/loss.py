"""`amstream accept-loss`: learning goes on from the newest checkpoint though Redis lost entries after it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import redis
from sqlalchemy.orm import Session

from service import entries, state
from service.database import Sessions
from service.entries import Resume
from service.fold import START, Fold
from service.lag import lag_of
from service.problems import Conflict, UnknownModel
from service.recovery import Refusal, check_stream
from service.repositories import checkpoints, leases, models
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.stream import ModelStream
from service.tables import ModelRow


@dataclass(frozen=True)
class Accepted:
    """Args: discarded, unlearned: entries that were still in Redis and are dropped with the old stream; samples among them that
    no checkpoint includes.
    """

    position: Position
    discarded: int
    unlearned: int


def accept_loss(sessions: Sessions, client: redis.Redis, name: str) -> Accepted:
    """Replaces the stream by a new one that continues the newest checkpoint. May be repeated after a crash.

    1. a new log in Redis under a new UUID, which no learner accepts yet
    2. in one transaction: the UUID in the database, a checkpoint at the new log's first entry, and a new epoch, so that a
       learner that still refuses, or still learns from the old log, writes nothing more

    Shadows of the model go on with it.

    Raises: UnknownModel; Conflict for a shadow, or when nothing is lost.
    """
    stream_uuid = str(uuid.uuid4())
    with sessions.begin() as session:
        row = models.by_name(session, name)
        if row is None:
            raise UnknownModel(name)
        if row.shadow_of is not None:
            of = ModelSpec.model_validate_json(row.spec).shadow_of
            raise Conflict(f"model {name!r} is a shadow of {of!r}; accept the loss for that one")
        position = _newest(session, row)
        stream = ModelStream(client, row.id)
        if _is_whole(session, row, stream):
            raise Conflict(f"nothing is lost of model {name!r}: its log holds every entry that no checkpoint includes")
        dropped = lag_of(client, row.id, position)
        applied = position.entries_applied + 1
        marker = stream.restart(stream_uuid, entries.encode(Resume()), after=position.entry, entries_added=applied)
        row.stream_uuid = stream_uuid
        resumed = Position(marker, applied, position.samples_learned)
        _go_on(session, row, resumed)
        for shadow in models.shadows(session, row.id):
            shadow.stream_uuid = stream_uuid
            _go_on(session, shadow, Position(marker, applied, _newest(session, shadow).samples_learned))
    return Accepted(resumed, dropped.length, dropped.samples)


def _newest(session: Session, row: ModelRow) -> Position:
    newest = checkpoints.newest(session, row.id)
    return newest.position if newest else START


def _is_whole(session: Session, row: ModelRow, stream: ModelStream) -> bool:
    """Whether neither the model nor a shadow of it has a reason to refuse."""
    try:
        for one in (row, *models.shadows(session, row.id)):
            check_stream(stream, name=one.name, stream_uuid=row.stream_uuid, position=_newest(session, one))
    except Refusal:
        return False
    return True


def _go_on(session: Session, row: ModelRow, position: Position) -> None:
    """A checkpoint there with what the model knew last, under a new epoch."""
    newest = checkpoints.newest(session, row.id)
    if newest is not None:
        state_id = newest.state_id
    else:
        initial = Fold(ModelSpec.model_validate_json(row.spec), device="cpu").state()
        state_id = checkpoints.add_state(session, row.id, state.store(initial))
    epoch = leases.seize(session, row.id)
    checkpoints.add_checkpoint(session, row.id, state_id, position, epoch=epoch)
