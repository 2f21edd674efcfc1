"""`amstream accept-loss`: learning goes on from the newest checkpoint though Redis lost entries after it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import redis

from service import entries, state
from service.database import Sessions
from service.entries import Resume
from service.fold import START, Fold
from service.problems import UnknownModel
from service.repositories import checkpoints, leases, models
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.stream import ModelStream


@dataclass(frozen=True)
class Accepted:
    """Args: discarded: entries that were still in Redis and are dropped with the old stream."""

    position: Position
    discarded: int


def accept_loss(sessions: Sessions, client: redis.Redis, name: str) -> Accepted:
    """Replaces the stream by a new one that continues the newest checkpoint. May be repeated after a crash.

    1. a new log in Redis under a new UUID, which no learner accepts yet
    2. in one transaction: the UUID in the database, a checkpoint at the new log's first entry, and a new epoch, so that a
       learner that still refuses, or still learns from the old log, writes nothing more

    Raises: UnknownModel.
    """
    stream_uuid = str(uuid.uuid4())
    with sessions.begin() as session:
        row = models.by_name(session, name)
        if row is None:
            raise UnknownModel(name)
        newest = checkpoints.newest(session, row.id)
        position = newest.position if newest else START
        stream = ModelStream(client, row.id)
        _, length = stream.counts()
        applied = position.entries_applied + 1
        marker = stream.restart(stream_uuid, entries.encode(Resume()), after=position.entry, entries_added=applied)
        row.stream_uuid = stream_uuid
        if newest is not None:
            state_id = newest.state_id
        else:
            initial = Fold(ModelSpec.model_validate_json(row.spec), device="cpu").state()
            state_id = checkpoints.add_state(session, row.id, state.store(initial))
        epoch = leases.seize(session, row.id)
        resumed = Position(marker, applied, position.samples_learned)
        checkpoints.add_checkpoint(session, row.id, state_id, resumed, epoch=epoch)
    return Accepted(resumed, length)
