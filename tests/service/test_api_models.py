"""Models over HTTP: created once, told apart by their specs, and gone without trace when deleted."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import InternalError
from structlog.testing import capture_logs

from service.services import Services
from tests.service.api import GOOD, JSON, learned, refused, standing
from tests.service.conftest import SPEC

M = "/v1/models/m"


def test_creating_answers_201_with_the_completed_spec(http: TestClient) -> None:
    answer = http.put(M, json=SPEC)
    assert answer.status_code == 201
    body = answer.json()
    assert body["name"] == "m"
    assert body["spec"] == body["spec"] | SPEC
    assert body["spec"]["label_type"] == "string"
    assert body["spec"]["hyperparameters"]["mu"] > 0
    assert (body["model_version"], body["applied_entry"], body["samples_learned"], body["entries_lag"]) == (
        0,
        None,
        0,
        0,
    )


def test_an_equal_spec_answers_200_however_it_is_written(http: TestClient) -> None:
    created = http.put(M, json=SPEC).json()
    spelled_out = created["spec"]
    mu = spelled_out["hyperparameters"]["mu"]
    fewer = {name: value for name, value in spelled_out["hyperparameters"].items() if name != "share"}
    for spec in (
        SPEC,
        spelled_out,
        dict(reversed(spelled_out.items())),
        SPEC | {"hyperparameters": {"mu": mu}},
        SPEC | {"hyperparameters": fewer | {"mu": mu}},
        SPEC | {"block": {"size": 4, "wait_ms": 1.0}, "retain_s": 3600, "scale": "running"},
    ):
        answer = http.put(M, json=spec)
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] == created["id"]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"inputs": 4}, ["inputs"]),
        ({"classes": ["yes", "no"]}, ["classes"]),
        ({"classes": [True, False]}, ["classes", "label_type"]),
        ({"hyperparameters": {"mu": 0.5}}, ["hyperparameters"]),
        ({"block": {"size": 5, "wait_ms": 1}}, ["block"]),
        ({"seed": 1, "scale": {"mean": 0}}, ["seed", "scale"]),
    ],
)
def test_another_spec_answers_409_naming_the_fields(
    http: TestClient, change: dict[str, Any], fields: list[str]
) -> None:
    http.put(M, json=SPEC)
    learned(http, M, [GOOD])
    answer = http.put(M, json=SPEC | change)
    assert [field for field, _ in refused(answer, 409, "conflict")] == fields
    assert standing(http, M) == (1, 1)


@pytest.mark.parametrize("name", ["a", "0", "-", "_", "a-b_c", "a" * 63])
def test_names_may_be(http: TestClient, name: str) -> None:
    assert http.put(f"/v1/models/{name}", json=SPEC).status_code == 201
    assert http.get(f"/v1/models/{name}").json()["name"] == name


@pytest.mark.parametrize("name", ["A", "a b", "a.b", "ä", "a" * 64, "a\n", "a\0"])
def test_names_may_not_be(http: TestClient, name: str) -> None:
    path = "/v1/models/" + "".join(f"%{byte:02X}" for byte in name.encode())
    assert refused(http.put(path, json=SPEC), 422, "invalid") == [("model", name)]
    assert refused(http.get(path), 404, "unknown-model") == [("model", name)]
    assert refused(http.delete(path), 404, "unknown-model") == [("model", name)]
    assert http.get("/v1/models").json()["models"] == []


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"extra": 1}, "extra", 1),
        ({"hyperparameters": {"mux": 1}}, "hyperparameters.mux", 1),
        ({"inputs": 1_000_000}, "inputs", 1_000_000),
        ({"hidden": [8, 1_000_000, 8]}, "hidden.1", 1_000_000),
        ({"hidden": [100], "classes": list(range(3_000))}, "classes", 3_000),
    ],
)
def test_a_bad_spec_creates_nothing(http: TestClient, change: dict[str, Any], field: str, value: Any) -> None:
    assert refused(http.put(M, json=SPEC | change), 422, "invalid") == [(field, value)]
    assert refused(http.get(M), 404, "unknown-model") == [("model", "m")]
    assert http.put(M, json=SPEC).status_code == 201


@pytest.mark.parametrize("body", [b"", b"null", b"[" * 10_000, b'{"inputs":' * 5_000, b"\xff"])
def test_a_spec_that_is_no_json_creates_nothing(http: TestClient, body: bytes) -> None:
    assert [field for field, _ in refused(http.put(M, content=body, headers=JSON), 422, "invalid")] == ["body"]
    assert http.get("/v1/models").json()["models"] == []


def test_a_recreated_model_inherits_nothing(http: TestClient) -> None:
    first = http.put(M, json=SPEC).json()["id"]
    once = {"Idempotency-Key": "once"}
    http.post(f"{M}/samples", json={"samples": [GOOD]}, headers=once)
    learned(http, M, [GOOD] * 5)
    assert http.post(f"{M}/snapshots", json={"name": "s"}).status_code == 201
    before = http.get(f"{M}/predictions?x=1,2,3").json()

    assert http.delete(M).status_code == 204
    for answer in (
        http.get(M),
        http.delete(M),
        http.get(f"{M}/predictions?x=1,2,3"),
        http.post(f"{M}/samples", json={"samples": [GOOD]}),
        http.get(f"{M}/snapshots"),
        http.get(f"{M}/snapshots/s"),
        http.post(f"{M}/restore", json={"snapshot": "s"}),
    ):
        assert refused(answer, 404, "unknown-model") == [("model", "m")]

    again = http.put(M, json=SPEC).json()
    assert again["id"] != first
    assert (again["model_version"], again["samples_learned"], again["entries_lag"]) == (0, 0, 0)
    assert http.get(f"{M}/snapshots").json()["snapshots"] == []
    assert http.get(f"{M}/predictions?x=1,2,3").json() != before
    other_payload = http.post(f"{M}/samples", json={"samples": [GOOD | {"y": "no"}]}, headers=once)
    assert other_payload.status_code == 202
    assert standing(http, M) == (1, 1)


def test_deleting_leaves_nothing_in_redis(http: TestClient, services: Services) -> None:
    model_id = http.put(M, json=SPEC).json()["id"]
    http.post(f"{M}/samples", json={"samples": [GOOD]}, headers={"Idempotency-Key": "k"})
    standing(http, M)
    assert services.sync_redis.keys(f"*{model_id}*")
    http.delete(M)
    assert not services.sync_redis.keys(f"*{model_id}*")


def test_posts_that_race_with_deletion_are_accepted_or_gone_but_never_a_defect(http: TestClient) -> None:
    statuses: list[int] = []

    def produce() -> None:
        for _ in range(30):
            statuses.append(http.post(f"{M}/samples", json={"samples": [GOOD]}).status_code)
            statuses.append(http.get(f"{M}/predictions?x=1,2,3").status_code)
            statuses.append(http.get("/v1/models").status_code)

    http.put(M, json=SPEC)
    producers = [threading.Thread(target=produce) for _ in range(3)]
    for producer in producers:
        producer.start()
    while any(producer.is_alive() for producer in producers):
        assert http.delete(M).status_code in (204, 404)
        assert http.put(M, json=SPEC).status_code in (200, 201)
    for producer in producers:
        producer.join()
    assert len(statuses) == 270
    assert set(statuses) <= {200, 202, 404, 503}
    learned(http, M, [GOOD])


def test_creating_at_the_same_time_makes_one_model(http: TestClient, services: Services) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(http.put(M, json=SPEC))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(http.get("/v1/models").json()["models"]) == 1


def test_the_list_names_all_models(http: TestClient) -> None:
    for name in ("b", "a", "c"):
        http.put(f"/v1/models/{name}", json=SPEC)
    assert [model["name"] for model in http.get("/v1/models").json()["models"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v1/models/a/b/c", 404),
        ("GET", "/v1/models/a%2Fb", 404),
        ("POST", "/v1/models", 405),
        ("PATCH", "/v1/models/m", 405),
        ("DELETE", "/v1/models/m/samples", 405),
    ],
)
def test_unknown_paths_and_methods_are_problems_too(http: TestClient, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == answer.json()["status"] == status
    assert answer.json()["type"] == "about:blank"
    assert (status == 405) == ("allow" in answer.headers)


def test_the_log_says_who_created_and_deleted_a_model(http: TestClient) -> None:
    with capture_logs() as lines:
        for _ in range(2):
            http.put("/v1/models/m", json=SPEC)
        http.delete("/v1/models/m")
    audited = [line for line in lines if line["event"] == "audit"]
    assert [(line["action"], line["model"], line["key"]) for line in audited] == [
        ("create-model", "m", "test-admin"),
        ("delete-model", "m", "test-admin"),
    ]


@pytest.mark.parametrize("place", ["\ud800", "\0", "A", 7])
def test_a_cursor_that_no_page_gave_is_refused(http: TestClient, place: Any) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    refused(http.get("/v1/models", params={"cursor": cursor}), 422, "invalid")


def test_a_database_that_may_only_be_read_is_away(
    http: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any) -> None:
        raise InternalError("INSERT", {}, Exception("cannot execute INSERT in a read-only transaction"))

    monkeypatch.setattr(services.catalog, "create", read_only)
    refused(http.put("/v1/models/another", json=SPEC), 503, "unavailable")
