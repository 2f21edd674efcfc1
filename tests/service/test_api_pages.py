"""Lists in pages: every item once, whatever comes and goes meanwhile."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.services import Services
from tests.service.api import key, refused
from tests.service.conftest import SPEC

NAMES = ["a", "a-", "a1", "b_", "z"]


def pages(http: TestClient, path: str, field: str, limit: int, **options: Any) -> list[list[str]]:
    """Names by page."""
    found: list[list[str]] = []
    cursor = None
    while True:
        params = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        answer = http.get(path, params=params, **options)
        assert answer.status_code == 200, answer.text
        found.append([item["name"] for item in answer.json()[field]])
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


@pytest.fixture
def models(http: TestClient) -> None:
    for name in reversed(NAMES):
        assert http.put(f"/v1/models/{name}", json=SPEC).status_code == 201


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (1000, [5])])
def test_models_by_name(http: TestClient, models: None, limit: int, sizes: list[int]) -> None:
    found = pages(http, "/v1/models", "models", limit)
    assert [len(page) for page in found] == sizes
    in_order = [name for page in found for name in page]
    assert sorted(in_order) == sorted(NAMES)
    assert in_order == [model["name"] for model in http.get("/v1/models").json()["models"]]


def test_a_key_of_some_models_pages_through_those(http: TestClient, models: None, services: Services) -> None:
    mine = key(services, "predict", name="bound", models=["a1", "z", "none"])
    assert pages(http, "/v1/models", "models", 1, headers=mine) == [["a1"], ["z"]]


def test_what_is_deleted_or_comes_between_pages_hides_nothing(http: TestClient, models: None) -> None:
    first = http.get("/v1/models", params={"limit": 2}).json()
    assert http.delete(f"/v1/models/{first['models'][1]['name']}").status_code == 204
    assert http.put("/v1/models/zz", json=SPEC).status_code == 201
    rest = http.get("/v1/models", params={"cursor": first["next_cursor"]}).json()
    assert [model["name"] for model in rest["models"]] == ["a1", "b_", "z", "zz"]
    assert rest["next_cursor"] is None


def test_snapshots_oldest_first(http: TestClient, model: str) -> None:
    for name in ("z", "a", "m"):
        assert http.post(f"{model}/snapshots", json={"name": name}).status_code == 201
    assert pages(http, f"{model}/snapshots", "snapshots", 2) == [["z", "a"], ["m"]]
    first = http.get(f"{model}/snapshots", params={"limit": 1}).json()
    assert http.delete(f"{model}/snapshots/z").status_code == 204
    rest = http.get(f"{model}/snapshots", params={"cursor": first["next_cursor"]}).json()
    assert [snapshot["name"] for snapshot in rest["snapshots"]] == ["a", "m"]


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor", ["", "x", "ü", "{}", encoded("[]"), encoded("true"), encoded("1.5"), encoded("[" * 9000)]
)
def test_what_is_no_cursor_is_refused(http: TestClient, model: str, cursor: str) -> None:
    for path in ("/v1/models", f"{model}/snapshots"):
        answer = http.get(path, params={"cursor": cursor})
        assert [field for field, _ in refused(answer, 422, "invalid")] == ["cursor"]


def test_a_cursor_of_another_list_is_refused(http: TestClient, model: str) -> None:
    assert http.get("/v1/models", params={"cursor": encoded("1")}).status_code == 422
    for text in ('"a"', "-1", str(2**63)):
        assert http.get(f"{model}/snapshots", params={"cursor": encoded(text)}).status_code == 422


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.5", ""])
def test_limits_are_from_1_to_1000(http: TestClient, limit: str) -> None:
    assert [field for field, _ in refused(http.get("/v1/models", params={"limit": limit}), 422, "invalid")] == ["limit"]
