"""API keys: 256 random bits each, stored as SHA-256, scoped, optionally bound to models, revocable, some for a time only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy.exc import IntegrityError

from service.database import Sessions
from service.problems import Conflict, FieldError, Forbidden, Invalid, Unauthenticated
from service.repositories import api_keys
from service.spec_fields import NAME
from service.tables import ApiKeyRow

Scope = Literal["predict", "learn", "snapshot", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "amk_"
CACHED_S = 2.0
"""A revoked key is refused after this long at the latest."""

LONGEST_EXPIRY_S = 1e9
MOST_REQUESTS = 10**9

KEY_NAME = re.compile(r"[\w !-~]{1,63}")

ADMIN_KEY_FILE = "admin.key"


@dataclass(frozen=True)
class Caller:
    """Whoever holds a key: which scopes, on which models (None: all), until when, how often.

    `admin` includes every scope.
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    models: frozenset[str] | None
    expires_at: float | None = None
    requests_per_minute: int | None = None

    def require(self, scope: Scope, model: str | None = None) -> None:
        """Raises: Forbidden naming the scope, or the model."""
        if not self.has(scope):
            raise Forbidden(f"key {self.name!r} lacks the scope {scope!r}; it has {', '.join(sorted(self.scopes))}")
        if self.models is not None and model not in self.models:
            raise Forbidden(f"key {self.name!r} is not for {'all models' if model is None else f'model {model!r}'}")

    def has(self, scope: Scope) -> bool:
        return bool(self.scopes & {scope, "admin"})

    def require_any(self, model: str) -> None:
        """Any scope on the model. Raises: Forbidden."""
        if not self.sees(model):
            raise Forbidden(f"key {self.name!r} is not for model {model!r}")

    def sees(self, model: str) -> bool:
        return self.models is None or model in self.models


class Keyring:
    """Looks keys up in the database, and remembers the answers for CACHED_S."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._known: dict[str, tuple[float, Caller]] = {}

    def cached(self, secret: str) -> Caller | None:
        """The caller, if looked up lately; touches no database."""
        found = self._known.get(_digest(secret))
        if found is None or time.monotonic() - found[0] >= CACHED_S:
            return None
        expires_at = found[1].expires_at
        return found[1] if expires_at is None or expires_at > time.time() else None

    def holds(self, caller: Caller) -> bool:
        """Whether the caller's key is still in force, for whoever stays connected."""
        with self._sessions() as session:
            row = api_keys.by_id(session, caller.key_id)
        return row is not None and api_keys.in_force(row)

    def forget(self) -> None:
        """Makes this process look every key up anew."""
        self._known = {}

    def look_up(self, secret: str) -> Caller:
        """Raises: Unauthenticated for a key that is unknown, revoked or expired."""
        digest = _digest(secret)
        with self._sessions() as session:
            row = api_keys.by_digest(session, digest)
        if row is None or not api_keys.in_force(row):
            self._known.pop(digest, None)
            raise Unauthenticated("the key is unknown, was revoked or has expired")
        models = None if row.models is None else frozenset(json.loads(row.models))
        caller = Caller(
            row.id, row.name, frozenset(json.loads(row.scopes)), models, row.expires_at, row.requests_per_minute
        )
        self._known = {d: entry for d, entry in self._known.items() if time.monotonic() - entry[0] < CACHED_S}
        self._known[digest] = (time.monotonic(), caller)
        return caller


def create_key(
    sessions: Sessions,
    *,
    name: str,
    scopes: Sequence[str],
    models: Sequence[str] | None = None,
    expires_in_s: float | None = None,
    requests_per_minute: int | None = None,
) -> tuple[ApiKeyRow, str]:
    """A new key's row, and its secret, which is stored nowhere.

    Raises: Invalid naming the field and value; Conflict for a name that a key which was not revoked has.
    """
    if not KEY_NAME.fullmatch(name):
        raise Invalid(FieldError("name", name, "must have 1 to 63 visible characters or spaces"))
    if not scopes:
        raise Invalid(FieldError("scopes", [], f"must name at least one of {', '.join(SCOPES)}"))
    for place, scope in enumerate(scopes):
        if scope not in SCOPES:
            raise Invalid(FieldError(f"scopes.{place}", scope, f"must be one of {', '.join(SCOPES)}"))
    if models is not None and not models:
        raise Invalid(FieldError("models", [], "must name at least one; without `models` the key is for all"))
    for place, model in enumerate(models or ()):
        if not NAME.fullmatch(model):
            raise Invalid(FieldError(f"models.{place}", model, f"must match {NAME.pattern}"))
    if expires_in_s is not None and not 0 < expires_in_s <= LONGEST_EXPIRY_S:
        raise Invalid(FieldError("expires_in_s", expires_in_s, f"must be above 0, and at most {LONGEST_EXPIRY_S:g}"))
    if requests_per_minute is not None and not 0 < requests_per_minute <= MOST_REQUESTS:
        raise Invalid(FieldError("requests_per_minute", requests_per_minute, f"must be 1 to {MOST_REQUESTS}"))
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        with sessions.begin() as session:
            row = api_keys.add(
                session,
                name=name,
                sha256=_digest(secret),
                scopes=list(dict.fromkeys(scopes)),
                models=None if models is None else list(dict.fromkeys(models)),
                expires_in_s=expires_in_s,
                requests_per_minute=requests_per_minute,
            )
    except IntegrityError as error:
        taken = FieldError("name", name, "is taken")
        what = f"there is a key named {name!r} already; revoke it first, or choose another name"
        raise Conflict(what, errors=[taken]) from error
    return row, secret


def ensure_admin_key(sessions: Sessions, data_dir: Path) -> Path | None:
    """On the first start ever, writes a new admin key into `data_dir` (mode 0600) and returns the file.

    The file is there before the key is in force, so that no crash leaves a key that nobody knows.
    """
    path = data_dir / ADMIN_KEY_FILE
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        with sessions.begin() as session:
            if api_keys.all_keys(session):
                return None
            api_keys.add(session, name="admin", sha256=_digest(secret), scopes=["admin"], models=None)
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secret + "\n")
    except IntegrityError:  # another replica was faster
        return None
    return path


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
