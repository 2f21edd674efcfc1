"""API keys."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.tables import ApiKeyRow


def add(
    session: Session,
    *,
    name: str,
    sha256: str,
    scopes: Sequence[str],
    models: Sequence[str] | None,
    expires_in_s: float | None = None,
    requests_per_minute: int | None = None,
) -> ApiKeyRow:
    now = time.time()
    row = ApiKeyRow(
        id=str(uuid.uuid4()),
        name=name,
        sha256=sha256,
        scopes=json.dumps(list(scopes)),
        models=None if models is None else json.dumps(list(models)),
        created_at=now,
        expires_at=None if expires_in_s is None else now + expires_in_s,
        revoked_at=None,
        requests_per_minute=requests_per_minute,
    )
    session.add(row)
    session.flush()
    return row


def by_digest(session: Session, sha256: str) -> ApiKeyRow | None:
    """The key, revoked or not."""
    return session.scalar(select(ApiKeyRow).where(ApiKeyRow.sha256 == sha256))


def by_id(session: Session, key_id: str) -> ApiKeyRow | None:
    return session.get(ApiKeyRow, key_id)


def all_keys(session: Session) -> Sequence[ApiKeyRow]:
    return session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at)).all()


def in_force(row: ApiKeyRow) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > time.time())
