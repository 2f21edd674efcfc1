"""Probes, and what is answered while Redis or the database is away; when it is back, everything works again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from structlog.testing import capture_logs

from service.embedded import EmbeddedValkey
from service.settings import Settings
from tests.postgres import Postgres
from tests.service.api import GOOD, assembled, learned, refused, running, standing
from tests.service.conftest import SPEC
from tests.service.learning import eventually

M = "/v1/models/m"


def test_probes_need_no_key_and_tell_nothing(http: TestClient, model: str) -> None:
    del http.headers["Authorization"]
    assert http.get("/livez").json() == {"status": "alive"}
    answer = http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "redis": "ok", "database": "ok"}


def away(answer: Any, part: str) -> None:
    refused(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert part in answer.json()["detail"]
    for secret in ("sock", "postgres@", "Traceback", "connect"):
        assert secret not in answer.text


class TestWithoutRedis:
    @pytest.fixture
    def valkey(self, tmp_path: Path) -> Iterator[EmbeddedValkey]:
        path = tmp_path / "valkey"
        path.mkdir()
        valkey = EmbeddedValkey(path)
        valkey.start()
        yield valkey
        valkey.stop()

    @pytest.fixture
    def client(self, valkey: EmbeddedValkey, settings: Settings, sqlite_url: str) -> Iterator[TestClient]:
        with running(assembled(settings, valkey.url, sqlite_url), raise_server_exceptions=False) as client:
            yield client

    def test_everything_that_needs_it_is_unavailable_until_it_is_back(
        self, client: TestClient, valkey: EmbeddedValkey, tmp_path: Path
    ) -> None:
        client.put(M, json=SPEC)
        learned(client, M, [GOOD] * 3)
        before = client.get(f"{M}/predictions?x=1,2,3").json()
        valkey.stop()
        with capture_logs() as logs:
            assert refused(client.get("/readyz"), 503, "unavailable") == [("redis", "away")]
            away(client.post(f"{M}/samples", json={"samples": [GOOD]}), "redis")
            away(client.post(f"{M}/snapshots", json={"name": "s"}), "redis")
            away(client.put("/v1/models/new", json=SPEC), "redis")
            away(client.delete(M), "redis")
        assert not [entry for entry in logs if "exc_info" in entry]
        assert client.get("/livez").status_code == 200
        assert client.get(f"{M}/predictions?x=1,2,3").json() == before
        seen = client.get(M).json()
        assert (seen["samples_learned"], seen["entries_lag"]) == (3, None)
        assert client.get("/v1/models").status_code == 200

        again = EmbeddedValkey(tmp_path / "valkey")
        again.start()
        try:
            assert client.get("/readyz").status_code == 200
            assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["m"]
            learned(client, M, [GOOD])
            assert standing(client, M) == (4, 2)
            assert client.post(f"{M}/snapshots", json={"name": "s"}).status_code == 201
            assert client.delete(M).status_code == 204
        finally:
            again.stop()


class TestWithoutTheDatabase:
    @pytest.fixture
    def client(self, settings: Settings, redis_url: str, postgres_url: str) -> Iterator[TestClient]:
        with running(assembled(settings, redis_url, postgres_url), raise_server_exceptions=False) as client:
            yield client

    def test_everything_that_needs_it_is_unavailable_until_it_is_back(
        self, client: TestClient, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.put(M, json=SPEC)
        learned(client, M, [GOOD] * 3)
        for cache in ("service.keyring.CACHED_S", "service.catalog.CACHED_S"):
            monkeypatch.setattr(cache, 0.0)
        postgres.stop_server()
        try:
            assert refused(client.get("/readyz"), 503, "unavailable") == [("database", "away")]
            for method, path in (("GET", M), ("POST", f"{M}/samples"), ("GET", f"{M}/predictions?x=1,2,3"), ("PUT", M)):
                away(client.request(method, path, json=SPEC), "database")
            assert client.get("/livez").status_code == 200
        finally:
            postgres.start_server()
        eventually(lambda: client.get("/readyz").status_code == 200)
        learned(client, M, [GOOD])
        assert standing(client, M) == (4, 2)

    def test_names_that_the_database_cannot_hold_are_just_unknown(self, client: TestClient) -> None:
        client.put(M, json=SPEC)
        refused(client.get("/v1/models/a%00b"), 404, "unknown-model")
        refused(client.get(f"{M}/snapshots/a%00b"), 404, "unknown-snapshot")
        refused(client.post(f"{M}/restore", json={"snapshot": "a\0b"}), 404, "unknown-snapshot")


def test_a_database_that_lost_its_tables_is_not_ready(settings: Settings, redis_url: str, sqlite_url: str) -> None:
    services = assembled(settings.model_copy(update={"role": "api"}), redis_url, sqlite_url)
    with running(services, raise_server_exceptions=False) as client:
        with services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE models RENAME TO lost"))
        assert refused(client.get("/readyz"), 503, "unavailable") == [("database", "away")]
        with services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE lost RENAME TO models"))
        assert client.get("/readyz").status_code == 200


def test_a_process_that_only_learns_answers_probes_alone(settings: Settings, redis_url: str, sqlite_url: str) -> None:
    with running(assembled(settings.model_copy(update={"role": "learner"}), redis_url, sqlite_url)) as client:
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/models").status_code == 404


def test_a_defect_is_a_problem_and_tells_nothing(http: TestClient, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("service.catalog.Catalog.standing", broken)
    http._transport.raise_server_exceptions = False  # type: ignore[attr-defined]  # starlette's transport
    with capture_logs() as logs:
        answer = http.get(model)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert [entry["event"] for entry in logs if "exc_info" in entry] == ["defect"]
