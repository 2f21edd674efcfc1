"""`/v1/keys`: made, listed and revoked by administrators of all models."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from service.services import Services
from tests.service.api import key, refused

KEYS = "/v1/keys"
SENSOR: dict[str, Any] = {"name": "sensor", "scopes": ["learn"], "models": ["m"]}


def made(http: TestClient, **others: Any) -> Any:
    answer = http.post(KEYS, json=SENSOR | others)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()


def names(http: TestClient, **query: Any) -> list[str]:
    return [each["name"] for each in http.get(KEYS, params=query).json()["keys"]]


def bearer(created: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {created['key']}"}


def test_a_new_key_may_do_what_it_was_made_for_and_nothing_else(http: TestClient, model: str) -> None:
    created = made(http)
    sample = {"samples": [{"x": [1, 2, 3], "y": "yes"}]}
    assert http.post(f"{model}/samples", json=sample, headers=bearer(created)).status_code == 202
    refused(http.get(f"{model}/predictions?x=1,2,3", headers=bearer(created)), 403, "forbidden")
    refused(http.post("/v1/models/other/samples", json=sample, headers=bearer(created)), 403, "forbidden")


def test_the_list_shows_everything_but_the_secret(http: TestClient) -> None:
    created = made(http, expires_in_s=3600)
    secret = created.pop("key")
    answer = http.get(KEYS)
    assert secret not in answer.text
    assert created in answer.json()["keys"]
    assert created["models"] == ["m"]
    assert created["requests_per_minute"] is None
    assert created["revoked_at"] is None
    lasts = datetime.fromisoformat(created["expires_at"]) - datetime.fromisoformat(created["created_at"])
    assert lasts == timedelta(seconds=3600)


def test_a_revoked_key_is_refused_at_once_and_its_name_is_free(http: TestClient, model: str) -> None:
    created = made(http)
    assert http.get(model, headers=bearer(created)).status_code == 200
    for _ in range(2):
        assert http.delete(f"{KEYS}/{created['id']}").status_code == 204
    refused(http.get(model, headers=bearer(created)), 401, "unauthenticated")
    assert "sensor" not in names(http)
    assert "sensor" in names(http, revoked=True)
    again = made(http)
    assert again["id"] != created["id"]
    refused(http.get(model, headers=bearer(created)), 401, "unauthenticated")
    assert http.delete(f"{KEYS}/{created['id']}").status_code == 204
    assert http.get(model, headers=bearer(again)).status_code == 200


def test_a_name_in_force_is_taken_and_an_unknown_key_is_not_found(http: TestClient) -> None:
    made(http)
    assert refused(http.post(KEYS, json=SENSOR), 409, "conflict") == [("name", "sensor")]
    assert refused(http.delete(f"{KEYS}/nothing"), 404, "unknown-key") == [("key_id", "nothing")]


def test_the_last_key_that_makes_keys_stays_until_there_is_another(http: TestClient, services: Services) -> None:
    key(services, "admin", name="bound", models=["m"])
    key(services, "learn", name="learner")
    (own,) = [each for each in http.get(KEYS).json()["keys"] if each["name"] == "test-admin"]
    refused(http.delete(f"{KEYS}/{own['id']}"), 409, "conflict")
    other = made(http, name="admin-2", scopes=["admin"], models=None)
    assert http.delete(f"{KEYS}/{own['id']}", headers=bearer(other)).status_code == 204
    refused(http.get(KEYS), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"name": 1}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["write"]}, "scopes.0"),
        ({"scopes": "admin"}, "scopes"),
        ({"models": []}, "models"),
        ({"models": ["Boiler"]}, "models.0"),
        ({"expires_in_s": 0}, "expires_in_s"),
        ({"expires_in_s": 1e10}, "expires_in_s"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": 1.5}, "requests_per_minute"),
        ({"secret": "amk_mine"}, "secret"),
    ],
)
def test_what_is_wrong_with_a_new_key_is_named(http: TestClient, body: dict[str, Any], field: str) -> None:
    before = names(http)
    assert [found for found, _ in refused(http.post(KEYS, json=SENSOR | body), 422, "invalid")] == [field]
    assert names(http) == before


@pytest.fixture
def others(services: Services) -> list[dict[str, str]]:
    """Keys that may do much, but not this."""
    return [
        key(services, "learn", "predict", "snapshot", name="no admin"),
        key(services, "admin", name="admin of one model", models=["m"]),
    ]


def test_only_administrators_of_all_models_make_list_and_revoke(http: TestClient, others: list[dict[str, str]]) -> None:
    created = made(http)
    for headers in others:
        refused(http.post(KEYS, json=SENSOR | {"name": "mine"}, headers=headers), 403, "forbidden")
        refused(http.get(KEYS, headers=headers), 403, "forbidden")
        refused(http.delete(f"{KEYS}/{created['id']}", headers=headers), 403, "forbidden")
    assert "mine" not in names(http)
    assert "sensor" in names(http)


def test_the_log_says_who_made_and_revoked_a_key_and_not_the_key(http: TestClient) -> None:
    with capture_logs() as lines:
        created = made(http)
        http.delete(f"{KEYS}/{created['id']}")
    audited = [line for line in lines if line["event"] == "audit"]
    assert [(line["action"], line["key"], line["of_key"]) for line in audited] == [
        ("create-key", "test-admin", "sensor"),
        ("revoke-key", "test-admin", "sensor"),
    ]
    assert created["key"] not in str(lines)


@pytest.mark.parametrize("key_id", ["%00", "nobody", "%F0%9F%98%80", "x" * 100])
def test_what_is_no_key_is_unknown(http: TestClient, key_id: str) -> None:
    refused(http.delete(f"{KEYS}/{key_id}"), 404, "unknown-key")
