"""The real application in this process, on a real Valkey and a fresh database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from service.app import create_app
from service.database import Sessions, connect, migrate, sessions
from service.keyring import create_key
from service.redis_clients import sync_client
from service.services import Services, assemble
from service.settings import Settings
from tests.service.learning import Model

SPEC: dict[str, Any] = {"inputs": 3, "hidden": [8], "classes": ["no", "yes"], "block": {"size": 4, "wait_ms": 1}}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A connection to the Valkey of this worker."""
    client = sync_client(redis_url)
    yield client
    client.close()


@pytest.fixture
def factory(engine: Engine) -> Sessions:
    return sessions(engine)


@pytest.fixture
def create(factory: Sessions, client: redis.Redis, redis_url: str) -> Iterator[Callable[..., Model]]:
    """Makes models without HTTP, of specs given as keywords, and stops their learners afterwards."""
    made: list[Model] = []

    def create_model(**spec: Any) -> Model:
        made.append(Model(factory, client, redis_url, **spec))
        return made[-1]

    yield create_model
    for model in made:
        model.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, wait_s=5.0, max_body_bytes=100_000, max_post_samples=100, max_state_bytes=2**20)


@pytest.fixture
def services(settings: Settings, redis_url: str, sqlite_url: str) -> Services:
    engine = connect(sqlite_url)
    migrate(engine)
    return assemble(settings, redis_url=redis_url, engine=engine, node="test")


@pytest.fixture
def http(services: Services) -> Iterator[TestClient]:
    """A client with an admin key, on a running application whose learners learn."""
    _, secret = create_key(sessions(services.engine), name="test-admin", scopes=["admin"])
    with TestClient(create_app(services), headers={"Authorization": f"Bearer {secret}"}) as client:
        yield client


@pytest.fixture
def model(http: TestClient) -> str:
    """A model named `m` with three inputs and the classes no and yes."""
    assert http.put("/v1/models/m", json=SPEC).status_code == 201
    return "/v1/models/m"


@pytest.fixture
def post(http: TestClient, model: str) -> Callable[..., Any]:
    """Posts samples as JSON and returns the response."""

    def post_samples(samples: list[dict[str, Any]], **headers: str) -> Any:
        return http.post(f"{model}/samples", json={"samples": samples}, headers=headers)

    return post_samples
