"""Stored states, and the checkpoints and snapshots that refer to them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.entry_id import ORIGIN, EntryId
from service.state import StoredState, StoredTensor
from service.tables import CheckpointRow, CommandRow, ModelRow, OffsetRow, SnapshotRow, StateRow, TensorRow

ONLY_SHARD = 0


@dataclass(frozen=True)
class Position:
    """How far a fold has got: the last entry, entries passed and samples learned since the model was created."""

    entry: EntryId
    entries_applied: int
    samples_learned: int


@dataclass(frozen=True)
class Checkpoint:
    id: int
    state_id: str
    position: Position
    created_at: float


def add_state(session: Session, model_id: str, stored: StoredState) -> str:
    state_id = str(uuid.uuid4())
    session.add(
        StateRow(
            id=state_id,
            model_id=model_id,
            header=stored.header,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
            created_at=time.time(),
        )
    )
    session.flush()
    session.add_all(
        TensorRow(
            state_id=state_id,
            name=tensor.name,
            dtype=tensor.dtype,
            shape=json.dumps(tensor.shape),
            layout=tensor.layout,
            sha256=tensor.sha256,
            data=tensor.data,
        )
        for tensor in stored.tensors
    )
    session.flush()
    return state_id


def state(session: Session, model_id: str, state_id: str) -> StoredState | None:
    """The stored state, if it exists and belongs to the model: whole, though it be deleted meanwhile."""
    rows = session.execute(
        select(StateRow, TensorRow)
        .outerjoin(TensorRow, TensorRow.state_id == StateRow.id)
        .where(StateRow.id == state_id, StateRow.model_id == model_id)
        .order_by(TensorRow.name)
    ).all()
    if not rows:
        return None
    tensors = tuple(
        StoredTensor(r.name, r.dtype, tuple(json.loads(r.shape)), r.layout, r.sha256, r.data)
        for _, r in rows
        if r is not None
    )
    return StoredState(rows[0][0].header, tensors, rows[0][0].digest)


def add_checkpoint(session: Session, model_id: str, state_id: str, position: Position, *, epoch: int) -> None:
    row = CheckpointRow(
        model_id=model_id,
        state_id=state_id,
        epoch=epoch,
        entries_applied=position.entries_applied,
        samples_learned=position.samples_learned,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    entry = position.entry
    session.add(OffsetRow(checkpoint_id=row.id, shard=ONLY_SHARD, entry_ms=entry.ms, entry_seq=entry.seq))
    session.flush()


def newest(session: Session, model_id: str) -> Checkpoint | None:
    found = checkpoints(session, model_id)
    return found[0] if found else None


def checkpoints(session: Session, model_id: str) -> list[Checkpoint]:
    """Newest first."""
    rows = session.execute(
        select(CheckpointRow, OffsetRow)
        .join(OffsetRow, OffsetRow.checkpoint_id == CheckpointRow.id)
        .where(CheckpointRow.model_id == model_id, OffsetRow.shard == ONLY_SHARD)
        .order_by(CheckpointRow.id.desc())
    )
    return [
        Checkpoint(
            id=checkpoint.id,
            state_id=checkpoint.state_id,
            position=Position(
                EntryId(offset.entry_ms, offset.entry_seq), checkpoint.entries_applied, checkpoint.samples_learned
            ),
            created_at=checkpoint.created_at,
        )
        for checkpoint, offset in rows
    ]


def prune(session: Session, model_id: str, *, keep: int) -> None:
    """Deletes all but the newest `keep` checkpoints and the states that nothing refers to any more."""
    surplus = [checkpoint.id for checkpoint in checkpoints(session, model_id)[keep:]]
    if surplus:
        session.execute(delete(CheckpointRow).where(CheckpointRow.id.in_(surplus)))
    referred = (
        select(CheckpointRow.state_id)
        .where(CheckpointRow.model_id == model_id)
        .union(select(SnapshotRow.state_id).where(SnapshotRow.model_id == model_id))
    )
    session.execute(
        delete(StateRow)
        .where(StateRow.model_id == model_id, StateRow.id.not_in(referred))
        .execution_options(synchronize_session=False)
    )


def oldest(session: Session, model_id: str) -> EntryId:
    """What the log must reach back to: the oldest checkpoint of the model and of those that are fed with its log.

    The beginning while the model has none.
    """
    rows = session.execute(
        select(CheckpointRow.model_id, OffsetRow.entry_ms, OffsetRow.entry_seq)
        .join(OffsetRow, OffsetRow.checkpoint_id == CheckpointRow.id)
        .join(ModelRow, ModelRow.id == CheckpointRow.model_id)
        .where((ModelRow.id == model_id) | (ModelRow.shadow_of == model_id))
    ).all()
    if model_id not in {row.model_id for row in rows}:
        return ORIGIN
    return min(EntryId(row.entry_ms, row.entry_seq) for row in rows)


def add_snapshot(session: Session, model_id: str, name: str, state_id: str, position: Position) -> None:
    session.add(
        SnapshotRow(
            model_id=model_id,
            name=name,
            state_id=state_id,
            entry=str(position.entry),
            entries_applied=position.entries_applied,
            samples_learned=position.samples_learned,
            created_at=time.time(),
        )
    )
    session.flush()


def snapshot(session: Session, model_id: str, name: str) -> tuple[SnapshotRow, StateRow] | None:
    return next(iter(snapshots(session, model_id, name)), None)


def snapshots(
    session: Session, model_id: str, name: str | None = None, *, after: int = 0, most: int | None = None
) -> Sequence[tuple[SnapshotRow, StateRow]]:
    """Oldest first; only the one of that name when one is given. Args: after: ID of a row."""
    query = (
        select(SnapshotRow, StateRow)
        .join(StateRow, StateRow.id == SnapshotRow.state_id)
        .where(SnapshotRow.model_id == model_id, SnapshotRow.id > after)
        .order_by(SnapshotRow.id)
        .limit(most)
    )
    if name is not None:
        query = query.where(SnapshotRow.name == name)
    return [(snapshot_row, state_row) for snapshot_row, state_row in session.execute(query)]


def snapshot_adopted_at(session: Session, model_id: str, entry: EntryId) -> str | None:
    """The name of the snapshot whose state the command at that entry adopted, once it is applied."""
    command = session.get(CommandRow, (model_id, str(entry)))
    if command is None:
        return None
    adopted = json.loads(command.detail)["state"]
    return session.scalar(
        select(SnapshotRow.name).where(SnapshotRow.model_id == model_id, SnapshotRow.state_id == adopted)
    )


def own_snapshots(session: Session, model_id: str) -> Sequence[SnapshotRow]:
    """Those that the model's learner took at their entry: not imported ones, nor what was folded aside up to that entry."""
    commands = session.execute(
        select(SnapshotRow, CommandRow.detail)
        .join(CommandRow, (CommandRow.model_id == SnapshotRow.model_id) & (CommandRow.entry == SnapshotRow.entry))
        .where(SnapshotRow.model_id == model_id, CommandRow.kind == "snapshot", CommandRow.error.is_(None))
    )
    return [row for row, detail in commands if json.loads(detail)["name"] == row.name]


def lock_snapshot(session: Session, model_id: str, name: str) -> tuple[SnapshotRow, StateRow] | None:
    """The snapshot; nobody else locks or deletes it until the transaction ends."""
    session.execute(
        update(SnapshotRow)
        .where(SnapshotRow.model_id == model_id, SnapshotRow.name == name)
        .values(name=name)
        .execution_options(synchronize_session=False)
    )
    return snapshot(session, model_id, name)


def remove_snapshot(session: Session, row: SnapshotRow) -> None:
    """With its state, unless something else refers to that."""
    session.delete(row)
    session.flush()
    held = select(CheckpointRow.state_id).union(select(SnapshotRow.state_id))
    session.execute(
        delete(StateRow)
        .where(StateRow.id == row.state_id, StateRow.id.not_in(held))
        .execution_options(synchronize_session=False)
    )
