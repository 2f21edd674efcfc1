"""Posts of samples over HTTP: refused ones leave nothing behind, repeated ones are learned once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.entry_id import EntryId
from service.services import Services
from service.settings import Settings
from tests.service.api import GOOD, JSON, MSGPACK, assembled, key, learned, packed, refused, running, standing
from tests.service.conftest import SPEC

M = "/v1/models/m"
BODY = json.dumps({"samples": [GOOD]}).encode()


@pytest.fixture(scope="module")
def shared(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Services:
    """One application for all refusals of this module."""
    path = tmp_path_factory.mktemp("shared")
    settings = Settings(data_dir=path, max_body_bytes=2_000, max_post_samples=10)
    return assembled(settings, redis_url, f"sqlite:///{path / 'a.db'}")


@pytest.fixture(scope="module")
def client(shared: Services) -> Iterator[TestClient]:
    with running(shared) as client:
        assert client.put(M, json=SPEC).status_code == 201
        yield client


@pytest.fixture
def unharmed(client: TestClient) -> Iterator[TestClient]:
    """Afterwards nothing was appended or learned, and the next good post is."""
    learned(client, M, [GOOD])
    samples, version = standing(client, M)
    yield client
    assert standing(client, M) == (samples, version)
    learned(client, M, [GOOD])
    assert standing(client, M) == (samples + 1, version + 1)


@pytest.mark.parametrize(
    ("samples", "field", "value"),
    [
        ([], "samples", "[]"),
        ([GOOD, {"x": [1, 2], "y": "yes"}], "samples.1.x", "2 numbers"),
        ([GOOD, {"x": [1, 2, 1e20], "y": "yes"}], "samples.1.x.2", 1e20),
        ([GOOD, {"x": [1, 2, True], "y": "yes"}], "samples.1.x.2", True),
        ([GOOD, {"x": [1, 2, 3], "y": True}], "samples.1.y", True),
        ([GOOD, {"x": [1, 2, 3], "y": "maybe"}], "samples.1.y", "maybe"),
        ([GOOD, GOOD | {"weight": -1}], "samples.1.weight", -1),
    ],
)
def test_one_bad_sample_refuses_the_whole_json_post(
    unharmed: TestClient, samples: list[Any], field: str, value: Any
) -> None:
    answer = unharmed.post(f"{M}/samples", json={"samples": samples})
    assert refused(answer, 422, "invalid") == [(field, value)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (packed([[1.0, 2, 3], [1, 2, float(np.nan)]], ["yes", "no"]), "x.1.2"),
        (packed([[1.0, 2, 3], [1, 2, float(np.inf)]], ["yes", "no"]), "x.1.2"),
        (packed([[1, 2, 3], [1, 2, 3]], ["yes", "maybe"]), "y.1"),
        (packed([[1, 2], [1, 2]], ["yes", "no"]), "x"),
        (packed([[1, 2, 3]], ["yes"])[:-2], "body"),
        (b"\x91" * 1_500, "body"),
    ],
)
def test_one_bad_value_refuses_the_whole_msgpack_post(unharmed: TestClient, body: bytes, field: str) -> None:
    answer = unharmed.post(f"{M}/samples", content=body, headers=MSGPACK)
    assert [name for name, _ in refused(answer, 422, "invalid")] == [field]


@pytest.mark.parametrize("body", [b"", b"{", b'{"samples": [{"x": [NaN, 1, 2], "y": "yes"}]}', b"[" * 1_500])
def test_what_is_not_json_is_refused(unharmed: TestClient, body: bytes) -> None:
    refused(unharmed.post(f"{M}/samples", content=body, headers=JSON), 422, "invalid")


def test_a_body_over_the_limit_is_refused_by_its_content_length(unharmed: TestClient) -> None:
    answer = unharmed.post(f"{M}/samples", content=b" " * 2_001, headers=JSON)
    assert refused(answer, 413, "too-large") == [("body", 2_001)]


def test_a_body_over_the_limit_is_refused_without_content_length(unharmed: TestClient) -> None:
    chunks = (b" " * 500 for _ in range(100))
    answer = unharmed.post(f"{M}/samples", content=chunks, headers=JSON)
    assert "content-length" not in answer.request.headers
    assert [field for field, _ in refused(answer, 413, "too-large")] == ["body"]


def test_a_body_at_the_limit_is_taken(client: TestClient) -> None:
    assert client.post(f"{M}/samples", content=BODY.ljust(2_000), headers=JSON).status_code == 202


def test_too_many_samples_are_refused_in_either_format(unharmed: TestClient) -> None:
    many = [{"x": [1, 2, 3], "y": "no"}] * 11
    assert refused(unharmed.post(f"{M}/samples", json={"samples": many}), 413, "too-large") == [("samples", 11)]
    body = packed(np.ones((11, 3)), ["no"] * 11)
    answer = unharmed.post(f"{M}/samples", content=body, headers=MSGPACK)
    assert refused(answer, 413, "too-large") == [("samples", 11)]


@pytest.mark.parametrize("content_type", [None, "text/plain", "text/csv"])
def test_a_wrong_or_missing_content_type_is_unsupported(unharmed: TestClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = unharmed.post(f"{M}/samples", content=BODY, headers=headers)
    assert refused(answer, 415, "unsupported-media-type") == [("Content-Type", content_type)]


@pytest.mark.parametrize("value", [b"", b"a b", b"x" * 256, b"\xe9"])
def test_a_bad_idempotency_key_is_refused(unharmed: TestClient, value: bytes) -> None:
    headers = {b"Idempotency-Key": value, b"Content-Type": b"application/json"}
    answer = unharmed.post(f"{M}/samples", content=BODY, headers=headers)
    assert [field for field, _ in refused(answer, 422, "invalid")] == ["Idempotency-Key"]


def test_an_unknown_model_is_not_found(unharmed: TestClient) -> None:
    for name in ("unknown", "Unknown", "a%00b", "%FF", "x" * 64):
        answer = unharmed.post(f"/v1/models/{name}/samples", json={"samples": [GOOD]})
        assert [field for field, _ in refused(answer, 404, "unknown-model")] == ["model"]


def test_larger_posts_are_cut_into_blocks(client: TestClient) -> None:
    before = standing(client, M)
    answer = client.post(f"{M}/samples", json={"samples": [GOOD] * 10})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 10
    entries = [EntryId.parse(entry) for entry in answer.json()["entries"]]
    assert entries == sorted(set(entries))
    assert len(entries) == 3  # blocks of 4
    assert standing(client, M) == (before[0] + 10, before[1] + 3)


@pytest.mark.parametrize(
    "classes",
    [["", "ü☃", "a" * 256], [0, -1, 2**63 - 1, -(2**63)], [True, False]],
    ids=["string", "integer", "boolean"],
)
def test_labels_come_back_as_they_were_posted(client: TestClient, classes: list[Any]) -> None:
    model = f"/v1/models/labels-{type(classes[0]).__name__}"
    assert client.put(model, json=SPEC | {"classes": classes}).json()["spec"]["classes"] == classes
    for format_headers, body in (
        (JSON, json.dumps({"samples": [{"x": [1, 2, 3], "y": y} for y in classes]}).encode()),
        (MSGPACK, packed(np.ones((len(classes), 3)), classes)),
    ):
        answer = client.post(f"{model}/samples", content=body, headers=format_headers)
        assert answer.status_code == 202, answer.text
    entry = answer.json()["entries"][-1]
    predicted = client.get(f"{model}/predictions", params={"x": "1,2,3", "min_entry": entry}).json()
    assert json.dumps(predicted["classes"]) == json.dumps(classes)
    assert json.dumps(predicted["label"]) in [json.dumps(label) for label in classes]
    assert standing(client, model)[0] == 2 * len(classes)


# Idempotency


def entries_of(http: TestClient, samples: list[dict[str, Any]], **headers: str) -> list[str]:
    answer = http.post(f"{M}/samples", json={"samples": samples}, headers=headers)
    assert answer.status_code == 202, answer.text
    entries: list[str] = answer.json()["entries"]
    return entries


def test_the_same_key_and_payload_are_appended_once(client: TestClient) -> None:
    samples = [GOOD] * 6
    first = entries_of(client, samples, **{"Idempotency-Key": "once"})
    before = standing(client, M)
    assert entries_of(client, samples, **{"Idempotency-Key": "once"}) == first
    body = packed([[1, 2, 3]] * 6, ["yes"] * 6)
    again = client.post(f"{M}/samples", content=body, headers=MSGPACK | {"Idempotency-Key": "once"})
    assert again.json() == {"entries": first, "accepted": 6, "repeated": True}
    assert again.headers["Idempotency-Key"] == "once"
    assert standing(client, M) == before


@pytest.mark.parametrize(
    "other", [GOOD | {"x": [1, 2, 4]}, GOOD | {"y": "no"}, GOOD | {"weight": 2}, GOOD | {"x": [1, 2, None]}]
)
def test_the_same_key_with_another_payload_is_refused(client: TestClient, other: dict[str, Any]) -> None:
    first = entries_of(client, [GOOD], **{"Idempotency-Key": "taken"})
    before = standing(client, M)
    answer = client.post(f"{M}/samples", json={"samples": [other]}, headers={"Idempotency-Key": "taken"})
    assert refused(answer, 422, "idempotency-key-reused") == [("Idempotency-Key", "taken")]
    assert standing(client, M) == before
    assert entries_of(client, [GOOD], **{"Idempotency-Key": "taken"}) == first


def test_keys_of_other_callers_and_models_are_other_keys(client: TestClient, shared: Services) -> None:
    assert client.put("/v1/models/other", json=SPEC).status_code == 201
    first = entries_of(client, [GOOD], **{"Idempotency-Key": "shared"})
    other_caller = key(shared, "learn", name="other caller")
    second = entries_of(client, [GOOD], **{"Idempotency-Key": "shared"} | other_caller)
    assert second != first
    elsewhere = client.post(
        "/v1/models/other/samples", json={"samples": [GOOD | {"y": "no"}]}, headers={"Idempotency-Key": "shared"}
    )
    assert elsewhere.status_code == 202
    assert standing(client, "/v1/models/other") == (1, 1)


def test_keys_beyond_the_cap_are_refused_and_posts_without_one_are_not(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, idempotency_max=2, idempotency_ttl_s=30)
    with running(assembled(settings, redis_url, f"sqlite:///{tmp_path / 'a.db'}")) as client:
        client.put(M, json=SPEC)
        first = entries_of(client, [GOOD], **{"Idempotency-Key": "1"})
        entries_of(client, [GOOD], **{"Idempotency-Key": "2"})
        before = standing(client, M)
        answer = client.post(f"{M}/samples", json={"samples": [GOOD]}, headers={"Idempotency-Key": "3"})
        refused(answer, 429, "too-many-idempotency-keys")
        assert answer.headers["Retry-After"] == "3"
        assert standing(client, M) == before
        assert entries_of(client, [GOOD], **{"Idempotency-Key": "1"}) == first
        assert entries_of(client, [GOOD])


def test_an_expired_key_is_new_again(tmp_path: Path, redis_url: str) -> None:
    settings = Settings(data_dir=tmp_path, idempotency_max=1, idempotency_ttl_s=0.0001)
    with running(assembled(settings, redis_url, f"sqlite:///{tmp_path / 'a.db'}")) as client:
        client.put(M, json=SPEC)
        first = entries_of(client, [GOOD], **{"Idempotency-Key": "1"})
        second = entries_of(client, [GOOD | {"y": "no"}], **{"Idempotency-Key": "1"})
        assert second != first
        assert entries_of(client, [GOOD], **{"Idempotency-Key": "2"})
