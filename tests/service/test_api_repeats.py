"""Commands that come again under their Idempotency-Key, as a client sends them whose answer was lost: carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from service.services import Services
from tests.service.api import GOOD, key, learned, refused, standing

OTHER = {"x": [-3.0, 0.5, 9.0], "y": "no"}
ONCE = {"Idempotency-Key": "once"}


def again(http: TestClient, path: str, body: Any, **headers: str) -> tuple[Any, Any]:
    """Both answers; what is learned in between stays learned."""
    model = path.rsplit("/", 1)[0].replace("-shadow", "")
    first = http.post(path, json=body, headers=ONCE | headers)
    assert first.is_success, first.text
    assert first.headers["Idempotency-Key"] == "once"
    learned(http, model, [OTHER] * 4)
    before = standing(http, model)
    second = http.post(path, json=body, headers=ONCE | headers)
    assert second.status_code == first.status_code, second.text
    assert standing(http, model) == before
    return first.json(), second.json()


def test_a_snapshot_is_taken_once_and_answered_alike(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD] * 5)
    first, second = again(http, f"{model}/snapshots", {"name": "s"})
    assert first == second
    assert http.get(f"{model}/snapshots").json()["snapshots"] == [first]


@pytest.mark.parametrize("body", [{"snapshot": "s"}, {"at": "{last}"}, {"skip": ["{last}"]}], ids=str)
def test_a_model_is_restored_once(http: TestClient, model: str, body: dict[str, Any]) -> None:
    last = learned(http, model, [GOOD] * 4)
    assert http.post(f"{model}/snapshots", json={"name": "s"}).status_code == 201
    filled = {name: [last] if isinstance(value, list) else value.format(last=last) for name, value in body.items()}
    first, second = again(http, f"{model}/restore", filled)
    assert (first["entry"], first["snapshot"]) == (second["entry"], second["snapshot"])


def test_a_shadow_is_promoted_once(http: TestClient, model: str) -> None:
    spec = http.get(model).json()["spec"] | {"shadow_of": model.rsplit("/", 1)[1], "seed": 5}
    assert http.put(f"{model}-shadow", json=spec).status_code == 201
    learned(http, model, [GOOD, OTHER] * 4)
    first, second = again(http, f"{model}-shadow/promote", None)
    assert (first["entry"], first["snapshot"]) == (second["entry"], second["snapshot"])


def test_hyperparameters_are_set_once(http: TestClient, model: str) -> None:
    change: Callable[[float], Any] = lambda share: http.patch(  # noqa: E731
        f"{model}/hyperparameters", json={"share": share}, headers=ONCE
    )
    assert change(0.25).json()["share"] == 0.25
    assert http.patch(f"{model}/hyperparameters", json={"share": 0.5}).json()["share"] == 0.5
    assert change(0.25).json()["share"] == 0.5
    assert refused(change(0.125), 422, "idempotency-key-reused") == [("Idempotency-Key", "once")]


def test_a_key_that_came_with_another_request_is_refused(http: TestClient, model: str) -> None:
    assert http.post(f"{model}/snapshots", json={"name": "s"}, headers=ONCE).status_code == 201
    for path, body in (("snapshots", {"name": "t"}), ("restore", {"snapshot": "s"})):
        answer = http.post(f"{model}/{path}", json=body, headers=ONCE)
        assert refused(answer, 422, "idempotency-key-reused") == [("Idempotency-Key", "once")]
    answer = http.post(f"{model}/snapshots", json={"name": "t"}, headers={"Idempotency-Key": "two words"})
    assert refused(answer, 422, "invalid") == [("Idempotency-Key", "two words")]
    assert [each["name"] for each in http.get(f"{model}/snapshots").json()["snapshots"]] == ["s"]


def test_the_same_key_of_another_caller_is_another_one(http: TestClient, model: str, services: Services) -> None:
    assert http.post(f"{model}/snapshots", json={"name": "s"}, headers=ONCE).status_code == 201
    other = key(services, "snapshot", name="other")
    answer = http.post(f"{model}/snapshots", json={"name": "s"}, headers=ONCE | other)
    assert refused(answer, 409, "conflict") == [("name", "s")]


def test_commands_that_come_together_under_one_key_are_one(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD] * 4)
    assert http.post(f"{model}/snapshots", json={"name": "s"}).status_code == 201
    before = standing(http, model)

    async def all_at_once() -> list[Any]:
        transport = httpx.ASGITransport(http.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=http.headers) as client:
            post = client.post(f"{model}/restore", json={"snapshot": "s"}, headers=ONCE)
            other = client.post(f"{model}/restore", json={"snapshot": "s"}, headers=ONCE)
            return [answer.json() for answer in await asyncio.gather(post, other)]

    portal = http.portal
    assert portal is not None
    first, second = portal.call(all_at_once)
    assert first == second
    assert standing(http, model) == (before[0], before[1] + 1)
