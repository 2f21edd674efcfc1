"""What tests of the HTTP API share: applications beside the fixtures' one, and how a refusal is checked."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgpack
import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import ArrayLike
from sqlalchemy import update

from service.app import create_app
from service.database import Sessions, connect, migrate, sessions
from service.keyring import create_key
from service.services import Services, assemble
from service.settings import Settings
from service.tables import ApiKeyRow
from tests.service.learning import eventually

JSON = {"Content-Type": "application/json"}
MSGPACK = {"Content-Type": "application/msgpack"}
GOOD = {"x": [1.0, 2.0, 3.0], "y": "yes"}


def assembled(settings: Settings, redis_url: str, database_url: str, *, node: str = "test") -> Services:
    engine = connect(database_url)
    migrate(engine)
    return assemble(settings, redis_url=redis_url, engine=engine, node=node)


def key(services: Services, *scopes: str, name: str, models: list[str] | None = None) -> dict[str, str]:
    """The header with a new key."""
    _, secret = create_key(sessions(services.engine), name=name, scopes=scopes, models=models)
    return {"Authorization": f"Bearer {secret}"}


def revoked(factory: Sessions, name: str) -> None:
    """A key is no longer in force, as another process's doing."""
    with factory.begin() as session:
        in_force = ApiKeyRow.name == name, ApiKeyRow.revoked_at.is_(None)
        session.execute(update(ApiKeyRow).where(*in_force).values(revoked_at=time.time()))


@contextlib.contextmanager
def running(services: Services, **options: Any) -> Iterator[TestClient]:
    """A client with an admin key, on a running application."""
    headers = key(services, "admin", name=f"admin-{uuid.uuid4()}")
    with TestClient(create_app(services), headers=headers, **options) as client:
        yield client


def refused(response: Any, status: int, kind: str) -> list[tuple[str, Any]]:
    """Checks that the answer is the problem of that kind, and returns its (field, value) pairs."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert (response.status_code, body["type"]) == (status, f"urn:amstream:problem:{kind}"), response.text
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    errors = body.get("errors", [])
    assert all(error.keys() == {"field", "value", "message"} and error["message"] for error in errors)
    return [(error["field"], error["value"]) for error in errors]


def packed(x: ArrayLike, y: Sequence[Any] | None = None, **others: Any) -> bytes:
    """A msgpack body; `others` replace or add fields."""
    rows = np.asarray(x, "<f4")
    body = {"x": rows.tobytes(), "n": len(rows)} | ({} if y is None else {"y": list(y)}) | others
    packed_body: bytes = msgpack.packb(body)
    return packed_body


def standing(http: TestClient, model: str) -> tuple[int, int]:
    """(samples learned, entries applied) once everything in the stream is applied."""
    eventually(lambda: http.get(model).json()["entries_lag"] == 0)
    seen = http.get(model).json()
    return seen["samples_learned"], seen["model_version"]


def learned(http: TestClient, model: str, samples: list[dict[str, Any]]) -> str:
    """Posts samples, waits until they are learned, and returns the last entry."""
    entry: str = http.post(f"{model}/samples", json={"samples": samples}).json()["entries"][-1]
    answer = http.get(f"{model}/predictions", params={"x": ",".join(["0"] * 3), "min_entry": entry})
    assert answer.status_code == 200, answer.text
    return entry
