"""How much a key may ask and a model be given in a minute; sizes that no model may exceed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from service import quota, redis_keys
from service.embedded import EmbeddedValkey
from service.rates import Exceeded, Rates
from service.services import Services
from service.settings import Settings
from tests.service.api import GOOD, assembled, key, refused, running
from tests.service.conftest import SPEC

M = "/v1/models/m"


def limited(settings: Settings, redis_url: str, sqlite_url: str, **limits: Any) -> Services:
    return assembled(settings.model_copy(update=limits), redis_url, sqlite_url)


@pytest.fixture
def few_requests(settings: Settings, redis_url: str, sqlite_url: str) -> Iterator[tuple[TestClient, Services]]:
    services = limited(settings, redis_url, sqlite_url, key_requests_per_minute=5)
    with running(services) as client:
        yield client, services


def test_a_key_that_asks_too_often_is_told_when_to_come_back(few_requests: tuple[TestClient, Services]) -> None:
    http, services = few_requests
    for left in (4, 3, 2, 1, 0):
        answer = http.get("/v1/models")
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"requests";q=5;w=60'
        assert re.fullmatch(rf'"requests";r={left};t=\d+', answer.headers["RateLimit"])
    answer = http.get("/v1/models")
    refused(answer, 429, "too-many-requests")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit"].startswith('"requests";r=0;')
    other = key(services, "predict", name="other")
    assert http.get("/v1/models", headers=other).status_code == 200


def test_a_key_may_have_a_limit_of_its_own(http: TestClient) -> None:
    assert "RateLimit" not in http.get("/v1/models").headers
    made = http.post("/v1/keys", json={"name": "slow", "scopes": ["predict"], "requests_per_minute": 2}).json()
    bearer = {"Authorization": f"Bearer {made['key']}"}
    answers = [http.get("/v1/models", headers=bearer).status_code for _ in range(3)]
    assert answers == [200, 200, 429]


def test_a_refused_key_and_an_unknown_one_get_no_headers_that_tell_of_limits(
    few_requests: tuple[TestClient, Services],
) -> None:
    http, _ = few_requests
    answer = http.get("/v1/models", headers={"Authorization": "Bearer amk_unknown"})
    refused(answer, 401, "unauthenticated")
    assert "RateLimit" not in answer.headers


def test_a_model_is_given_so_many_samples_and_no_more(settings: Settings, redis_url: str, sqlite_url: str) -> None:
    with running(limited(settings, redis_url, sqlite_url, model_samples_per_minute=10)) as http:
        for name in ("m", "n"):
            assert http.put(f"/v1/models/{name}", json=SPEC).status_code == 201
        assert http.post(f"{M}/samples", json={"samples": [GOOD] * 8}).status_code == 202
        answer = http.post(f"{M}/samples", json={"samples": [GOOD] * 3})
        refused(answer, 429, "too-many-samples")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert http.post(f"{M}/samples", json={"samples": [GOOD] * 2}).status_code == 202, "what was refused counts not"
        never = http.post(f"{M}/samples", json={"samples": [GOOD] * 11})
        assert refused(never, 413, "too-large") == [("samples", 11)]
        assert http.post("/v1/models/n/samples", json={"samples": [GOOD] * 10}).status_code == 202


def test_a_full_log_refuses_samples_and_no_command(
    settings: Settings, redis_url: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "MEASURED_S", 0.0)
    with running(limited(settings, redis_url, sqlite_url, max_log_bytes=1)) as http:
        http.put(M, json=SPEC)
        assert http.post(f"{M}/samples", json={"samples": [GOOD]}).status_code == 202
        answer = http.post(f"{M}/samples", json={"samples": [GOOD]})
        refused(answer, 429, "log-full")
        assert answer.headers["Retry-After"] == "5"
        refused(http.post(f"{M}/predictions?track=true", json={"x": [[1, 2, 3]]}), 429, "log-full")
        assert http.post(f"{M}/snapshots", json={"name": "s"}).status_code == 201
        assert http.get(M).json()["samples_learned"] == 1


def test_there_are_only_so_many_models(settings: Settings, redis_url: str, sqlite_url: str) -> None:
    with running(limited(settings, redis_url, sqlite_url, max_models=2)) as http:
        for name in ("a", "b"):
            assert http.put(f"/v1/models/{name}", json=SPEC).status_code == 201
        refused(http.put("/v1/models/c", json=SPEC), 409, "too-many-models")
        assert http.put("/v1/models/a", json=SPEC).status_code == 200
        assert http.delete("/v1/models/a").status_code == 204
        assert http.put("/v1/models/c", json=SPEC).status_code == 201


async def taken(rates: Rates, times: int, most: int = 3) -> int:
    """How many of so many were accepted."""
    accepted = 0
    for _ in range(times):
        try:
            await rates.take("key", "k", most)
            accepted += 1
        except Exceeded:
            pass
    return accepted


def test_processes_count_together_in_a_redis_and_leave_keys_that_expire(redis_url: str, client: redis.Redis) -> None:
    client.delete(*client.keys(f"{redis_keys.RATES_PREFIX}*"), "none")

    async def two_processes() -> list[int]:
        first, second = (Rates(redis_url, requests_per_minute=None) for _ in range(2))
        try:
            return [await taken(first, 2), await taken(second, 2), await taken(first, 1)]
        finally:
            await first.close()
            await second.close()

    assert asyncio.run(two_processes()) == [2, 1, 0]
    found = client.keys(f"{redis_keys.RATES_PREFIX}*")
    assert found
    assert all(0 < client.ttl(name) <= 180 for name in found)


def test_while_the_shared_redis_is_away_each_process_counts_for_itself(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()

    async def through_an_outage() -> list[int]:
        rates = Rates(valkey.url, requests_per_minute=None)
        try:
            before = await taken(rates, 3)
            valkey.stop()
            return [before, await taken(rates, 4)]
        finally:
            await rates.close()

    with capture_logs() as lines:
        assert asyncio.run(through_an_outage()) == [3, 3]
    assert [line["part"] for line in lines] == ["the Redis that counts requests"]
