"""API keys: 256 random bits each, stored as SHA-256, scoped, optionally bound to models, revocable."""

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
from service.problems import Forbidden, Unauthenticated
from service.repositories import api_keys
from service.spec import NAME

Scope = Literal["predict", "learn", "snapshot", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "amk_"
CACHED_S = 2.0
"""A revoked key is refused after this long at the latest."""

KEY_NAME = re.compile(r"[\w !-~]{1,63}")

ADMIN_KEY_FILE = "admin.key"


@dataclass(frozen=True)
class Caller:
    """Whoever holds a key: which scopes, on which models (None: all). `admin` includes every scope."""

    key_id: str
    name: str
    scopes: frozenset[str]
    models: frozenset[str] | None

    def require(self, scope: Scope, model: str | None = None) -> None:
        """Raises: Forbidden naming the scope, or the model."""
        if not self.scopes & {scope, "admin"}:
            raise Forbidden(f"key {self.name!r} lacks the scope {scope!r}; it has {', '.join(sorted(self.scopes))}")
        if self.models is not None and model not in self.models:
            raise Forbidden(f"key {self.name!r} is not for {'all models' if model is None else f'model {model!r}'}")

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
        return found[1] if found and time.monotonic() - found[0] < CACHED_S else None

    def look_up(self, secret: str) -> Caller:
        """Raises: Unauthenticated for a key that is unknown or revoked."""
        digest = _digest(secret)
        with self._sessions() as session:
            row = api_keys.by_digest(session, digest)
        if row is None or row.revoked_at is not None:
            self._known.pop(digest, None)
            raise Unauthenticated("the key is unknown or was revoked")
        models = None if row.models is None else frozenset(json.loads(row.models))
        caller = Caller(row.id, row.name, frozenset(json.loads(row.scopes)), models)
        self._known = {d: entry for d, entry in self._known.items() if time.monotonic() - entry[0] < CACHED_S}
        self._known[digest] = (time.monotonic(), caller)
        return caller


def create_key(sessions: Sessions, *, name: str, scopes: Sequence[str], models: Sequence[str] | None = None) -> str:
    """A new key; the secret is returned once and stored nowhere.

    Raises: ValueError for an unknown scope, a bad name, or one that a key in force has.
    """
    if not KEY_NAME.fullmatch(name):
        raise ValueError(f"a key's name has 1 to 63 visible characters or spaces, not {name!r}")
    for model in models or ():
        if not NAME.fullmatch(model):
            raise ValueError(f"a model's name must match {NAME.pattern}, not {model!r}")
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        with sessions.begin() as session:
            api_keys.add(session, name=name, sha256=_digest(secret), scopes=scopes, models=models)
    except IntegrityError as error:
        raise ValueError(f"there is a key named {name!r} already; revoke it first, or choose another name") from error
    return secret


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
