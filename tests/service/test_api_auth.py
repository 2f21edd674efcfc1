"""Who may do what over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import keyring
from service.keyring import create_key
from service.services import Services
from tests.service.api import GOOD, key, refused, revoked, standing
from tests.service.conftest import SPEC

M = "/v1/models/m"
EVERYTHING: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("PUT", M, {"json": SPEC}, {"admin"}),
    ("GET", M, {}, {"admin", "learn", "predict", "snapshot"}),
    ("GET", "/v1/models", {}, {"admin", "learn", "predict", "snapshot"}),
    ("POST", f"{M}/samples", {"json": {"samples": [GOOD]}}, {"admin", "learn"}),
    ("GET", f"{M}/predictions?x=1,2,3", {}, {"admin", "predict"}),
    ("POST", f"{M}/predictions", {"json": {"x": [[1, 2, 3]]}}, {"admin", "predict"}),
    ("GET", f"{M}/snapshots", {}, {"admin", "snapshot"}),
    ("GET", f"{M}/snapshots/s", {}, {"admin", "snapshot"}),
    ("GET", f"{M}/snapshots/s/content", {}, {"admin", "snapshot"}),
    ("POST", f"{M}/restore", {"json": {"snapshot": "s"}}, {"admin", "snapshot"}),
]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "amk_abc", "Bearer amk_abc", "Bearer a b"]
)
def test_without_a_known_key_nothing_is_answered(http: TestClient, model: str, header: str | None) -> None:
    del http.headers["Authorization"]
    headers = {} if header is None else {"Authorization": header}
    for method, path, content, _ in [*EVERYTHING, ("DELETE", M, {}, set())]:
        answer = http.request(method, path, headers=headers, **content)
        refused(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "amk_abc" not in answer.text


def test_a_key_in_the_url_does_not_count(http: TestClient) -> None:
    secret = http.headers.pop("Authorization").removeprefix("Bearer ")
    refused(http.get("/v1/models", params={"key": secret, "authorization": f"Bearer {secret}"}), 401, "unauthenticated")


def test_the_scheme_is_not_case_sensitive(http: TestClient) -> None:
    http.headers["Authorization"] = http.headers["Authorization"].replace("Bearer", "bearer")
    assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize("scope", ["predict", "learn", "snapshot", "admin"])
def test_each_scope_allows_what_it_says(http: TestClient, services: Services, model: str, scope: str) -> None:
    assert http.post(f"{M}/snapshots", json={"name": "s"}).status_code == 201
    headers = key(services, scope, name="one scope")
    for method, path, content, scopes in EVERYTHING:
        answer = http.request(method, path, headers=headers, **content)
        if scope in scopes:
            assert answer.is_success, (path, answer.text)
        else:
            refused(answer, 403, "forbidden")
    before = standing(http, M)
    if scope != "admin":
        refused(http.delete(M, headers=headers), 403, "forbidden")
    if scope != "snapshot":
        allowed = scope == "admin"
        answer = http.post(f"{M}/snapshots", json={"name": "t"}, headers=headers)
        assert (answer.status_code == 201) == allowed
    assert standing(http, M)[0] == before[0]


def test_a_key_bound_to_a_model_knows_no_other(http: TestClient, services: Services, model: str) -> None:
    http.put("/v1/models/other", json=SPEC)
    bound = key(services, "admin", name="bound", models=["m", "mine"])
    assert [each["name"] for each in http.get("/v1/models", headers=bound).json()["models"]] == ["m"]
    assert http.get(M, headers=bound).status_code == 200
    assert http.put("/v1/models/mine", json=SPEC, headers=bound).status_code == 201
    for name in ("other", "unknown"):
        path = f"/v1/models/{name}"
        refused(http.get(path, headers=bound), 403, "forbidden")
        refused(http.put(path, json=SPEC, headers=bound), 403, "forbidden")
        refused(http.delete(path, headers=bound), 403, "forbidden")
        refused(http.post(f"{path}/samples", json={"samples": [GOOD]}, headers=bound), 403, "forbidden")
    assert standing(http, "/v1/models/other") == (0, 0)


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "CACHED_S", 0.0)


def test_a_revoked_key_is_refused_once_the_cache_has_passed(
    http: TestClient, services: Services, no_cache: Callable[[], None]
) -> None:
    headers = key(services, "admin", name="short-lived")
    assert http.get("/v1/models", headers=headers).status_code == 200
    revoked(services.sessions, "short-lived")
    refused(http.get("/v1/models", headers=headers), 401, "unauthenticated")
    assert key(services, "admin", name="short-lived") != headers


def test_a_revoked_key_is_not_revived_by_a_new_one_of_the_same_name(
    http: TestClient, services: Services, no_cache: Callable[[], None]
) -> None:
    old = key(services, "admin", name="k")
    revoked(services.sessions, "k")
    _, new = create_key(services.sessions, name="k", scopes=["predict"])
    refused(http.get("/v1/models", headers=old), 401, "unauthenticated")
    assert http.get("/v1/models", headers={"Authorization": f"Bearer {new}"}).status_code == 200
