"""API keys as an administrator sees them: made, listed, revoked. Their secrets are in the answer that makes them alone."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from service.database import Sessions
from service.keyring import Caller, Keyring, create_key
from service.problems import Conflict, UnknownKey
from service.repositories import api_keys
from service.spec_fields import NAME
from service.tables import ApiKeyRow

log = structlog.get_logger()


@dataclass(frozen=True)
class Key:
    """models: None for all; times in seconds since 1970; expires_at None: never; revoked_at None: in force.

    requests_per_minute: None for what the settings say.
    """

    id: str
    name: str
    scopes: list[str]
    models: list[str] | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    requests_per_minute: int | None


class Keys:
    """For callers with the scope `admin` on all models, as a key could otherwise make one that may do more than itself."""

    def __init__(self, sessions: Sessions, keyring: Keyring) -> None:
        self._sessions = sessions
        self._keyring = keyring

    def create(
        self,
        *,
        name: str,
        scopes: Sequence[str],
        models: Sequence[str] | None,
        expires_in_s: float | None,
        requests_per_minute: int | None,
        by: Caller,
    ) -> tuple[Key, str]:
        """The key and its secret. Raises: as `create_key`."""
        row, secret = create_key(
            self._sessions,
            name=name,
            scopes=scopes,
            models=models,
            expires_in_s=expires_in_s,
            requests_per_minute=requests_per_minute,
        )
        key = _key(row)
        _audit("create-key", key, by, scopes=key.scopes, models=key.models, expires_at=key.expires_at)
        return key, secret

    def list(self, *, revoked: bool) -> Sequence[Key]:
        """In the order in which they were made, with those that were revoked only when asked for."""
        with self._sessions() as session:
            return [_key(row) for row in api_keys.all_keys(session) if revoked or row.revoked_at is None]

    def revoke(self, key_id: str, *, by: Caller) -> None:
        """Refused in this process at once, in others when their caches have passed. A second time changes nothing.

        Raises: UnknownKey; Conflict for the last key that could make another.
        """
        with self._sessions.begin() as session:
            row = api_keys.by_id(session, key_id) if NAME.fullmatch(key_id) else None
            if row is None:
                raise UnknownKey(key_id)
            if row.revoked_at is not None:
                return
            others = [other for other in api_keys.all_keys(session) if other.id != key_id]
            if _makes_keys(row) and not any(map(_makes_keys, others)):
                raise Conflict(f"key {row.name!r} is the last one that may make keys; make another first")
            row.revoked_at = time.time()
            key = _key(row)
        self._keyring.forget()
        _audit("revoke-key", key, by)


def _makes_keys(row: ApiKeyRow) -> bool:
    return api_keys.in_force(row) and row.models is None and "admin" in json.loads(row.scopes)


def _key(row: ApiKeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        scopes=json.loads(row.scopes),
        models=None if row.models is None else json.loads(row.models),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        requests_per_minute=row.requests_per_minute,
    )


def _audit(action: str, key: Key, by: Caller, **what: object) -> None:
    log.info("audit", action=action, of_key_id=key.id, of_key=key.name, key_id=by.key_id, key=by.name, **what)
