"""Models, and what became of the commands in their streams."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.entry_id import EntryId
from service.tables import CommandRow, LeaseRow, ModelRow


def add(
    session: Session, *, model_id: str, name: str, spec: str, stream_uuid: str, shadow_of: str | None = None
) -> ModelRow:
    """Raises: IntegrityError (at flush) when the name is taken."""
    row = ModelRow(
        id=model_id, name=name, spec=spec, stream_uuid=stream_uuid, shadow_of=shadow_of, created_at=time.time()
    )
    session.add(row)
    session.flush()
    session.add(LeaseRow(model_id=model_id, epoch=0, holder=None, expires_at=0.0, refusal=None))
    session.flush()
    return row


def by_name(session: Session, name: str) -> ModelRow | None:
    return session.scalar(select(ModelRow).where(ModelRow.name == name))


def by_id(session: Session, model_id: str) -> ModelRow | None:
    return session.get(ModelRow, model_id)


def shadows(session: Session, model_id: str) -> Sequence[ModelRow]:
    """Those that are fed with the model's log."""
    return session.scalars(select(ModelRow).where(ModelRow.shadow_of == model_id).order_by(ModelRow.name)).all()


def all_models(session: Session) -> Sequence[ModelRow]:
    return session.scalars(select(ModelRow).order_by(ModelRow.name)).all()


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(ModelRow)) or 0


def page(session: Session, *, after: str | None, most: int, among: Collection[str] | None) -> Sequence[ModelRow]:
    """By name. Args: after: a name; among: which there may be, None for all."""
    query = select(ModelRow).order_by(ModelRow.name).limit(most)
    if after is not None:
        query = query.where(ModelRow.name > after)
    if among is not None:
        query = query.where(ModelRow.name.in_(among))
    return session.scalars(query).all()


def remove(session: Session, model_id: str) -> None:
    session.execute(delete(ModelRow).where(ModelRow.id == model_id))


def record_command(
    session: Session, model_id: str, entry: EntryId, *, kind: str, detail: Mapping[str, Any], error: str | None
) -> None:
    """Overwrites what an earlier fold of the same entry recorded."""
    row = CommandRow(
        model_id=model_id, entry=str(entry), kind=kind, detail=json.dumps(detail), error=error, applied_at=time.time()
    )
    session.merge(row)


def adoptions(session: Session, model_id: str, state_id: str) -> list[EntryId]:
    """The entries with which the model adopted a state."""
    rows = session.scalars(
        select(CommandRow).where(
            CommandRow.model_id == model_id,
            CommandRow.kind == "adopt",
            CommandRow.error.is_(None),
            CommandRow.detail.contains(state_id, autoescape=True),
        )
    )
    return [EntryId.parse(row.entry) for row in rows if json.loads(row.detail)["state"] == state_id]


def command(session: Session, model_id: str, entry: EntryId) -> CommandRow | None:
    return session.get(CommandRow, (model_id, str(entry)))
