"""Snapshots as files over HTTP: out of one model and into another, and nothing hostile in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from amstream_client import Client, Conflict, PreconditionFailed
from service import exchange
from service.services import Services
from service.spec import ModelSpec
from tests.service.api import GOOD, assembled, key, learned, refused, running, standing
from tests.service.conftest import SPEC
from tests.service.snapshot_files import File, changed, raw
from tests.service.test_api_snapshots import OTHER, predicted

FILE = {"Content-Type": exchange.MEDIA_TYPE}


@pytest.fixture
def content(http: TestClient, model: str) -> bytes:
    """The snapshot `s` of a model that learned a little."""
    learned(http, model, [GOOD, OTHER] * 3)
    http.post(f"{model}/snapshots", json={"name": "s"})
    return exported(http, model, "s")


def exported(http: TestClient, model: str, name: str) -> bytes:
    answer = http.get(f"{model}/snapshots/{name}/content")
    assert answer.status_code == 200, answer.text
    return answer.content


def imported(http: TestClient, model: str, content: bytes, name: str = "in") -> Any:
    return http.post(f"{model}/snapshots/import", params={"name": name}, content=content, headers=FILE)


def test_an_exported_snapshot_is_a_file_with_a_safe_name_and_its_digest(http: TestClient, content: bytes) -> None:
    digest = http.get("/v1/models/m/snapshots/s").json()["digest"]
    answer = http.get("/v1/models/m/snapshots/s/content")
    assert answer.headers["content-type"] == "application/vnd.safetensors"
    assert answer.headers["content-disposition"] == 'attachment; filename="m-s.safetensors"'
    assert answer.headers["etag"] == f'"{digest}"'
    assert answer.content == content


def test_a_snapshot_moves_to_another_model_and_predicts_bit_for_bit(http: TestClient, content: bytes) -> None:
    at_snapshot = predicted(http, "/v1/models/m")
    taken = http.get("/v1/models/m/snapshots/s").json()
    http.put("/v1/models/other", json=SPEC | {"seed": 5, "block": {"size": 1}})
    learned(http, "/v1/models/other", [OTHER])
    before = predicted(http, "/v1/models/other")

    answer = imported(http, "/v1/models/other", content)
    assert answer.status_code == 201, answer.text
    assert answer.json() | {"created_at": 0} == taken | {"name": "in", "created_at": 0}
    assert http.get("/v1/models/other/snapshots").json()["snapshots"] == [answer.json()]
    assert predicted(http, "/v1/models/other") == before

    assert http.post("/v1/models/other/restore", json={"snapshot": "in"}).status_code == 200
    assert predicted(http, "/v1/models/other") == at_snapshot
    for name in ("m", "other"):
        for sample in (GOOD, OTHER, GOOD):
            learned(http, f"/v1/models/{name}", [sample])
    assert predicted(http, "/v1/models/other") == predicted(http, "/v1/models/m") != at_snapshot


def test_what_is_exported_again_after_an_import_has_the_same_tensors_and_digest(
    http: TestClient, model: str, content: bytes
) -> None:
    assert imported(http, model, content).status_code == 201
    again = exported(http, model, "in")
    assert exchange.read(again, ModelSpec.model_validate(SPEC)) == exchange.read(
        content, ModelSpec.model_validate(SPEC)
    )


def test_a_large_model_is_not_bound_by_the_limit_on_other_bodies(http: TestClient, services: Services) -> None:
    assert http.put("/v1/models/large", json=SPEC | {"inputs": 200}).status_code == 201
    http.post("/v1/models/large/snapshots", json={"name": "s"})
    content = exported(http, "/v1/models/large", "s")
    assert len(content) > services.settings.max_body_bytes
    assert imported(http, "/v1/models/large", content).status_code == 201
    body = {"samples": [GOOD] * 10_000}
    refused(http.post("/v1/models/large/samples", json=body), 413, "too-large")


def test_a_file_larger_than_the_model_is_refused_unread(http: TestClient, model: str) -> None:
    most = exchange.most_bytes(ModelSpec.model_validate(SPEC))
    answer = imported(http, model, bytes(most + 1))
    assert refused(answer, 413, "too-large") == [("body", most + 1)]
    assert http.get(f"{model}/snapshots").json()["snapshots"] == []


def test_the_same_file_again_is_answered_as_the_first_time(http: TestClient, model: str, content: bytes) -> None:
    first = imported(http, model, content)
    again = imported(http, model, content)
    assert (again.status_code, again.json()) == (201, first.json())
    assert imported(http, model, content, "s").json() == http.get(f"{model}/snapshots/s").json()
    assert [one["name"] for one in http.get(f"{model}/snapshots").json()["snapshots"]] == ["s", "in"]


def test_a_name_is_taken_once_by_taking_and_importing_alike(http: TestClient, model: str, content: bytes) -> None:
    learned(http, model, [OTHER])
    http.post(f"{model}/snapshots", json={"name": "later"})
    later = exported(http, model, "later")
    assert refused(imported(http, model, later, "s"), 409, "conflict") == [("name", "s")]
    assert imported(http, model, content, "t").status_code == 201
    assert refused(imported(http, model, later, "t"), 409, "conflict") == [("name", "t")]
    answer = http.post(f"{model}/snapshots", json={"name": "t"})
    assert refused(answer, 409, "conflict") == [("name", "t")]


@pytest.mark.parametrize("name", ["", "A", "../x", "a" * 64])
def test_bad_names_are_refused(http: TestClient, model: str, content: bytes, name: str) -> None:
    assert refused(imported(http, model, content, name), 422, "invalid") == [("name", name)]


def test_a_name_must_be_given_and_the_body_be_a_file(http: TestClient, model: str, content: bytes) -> None:
    answer = http.post(f"{model}/snapshots/import", content=content, headers=FILE)
    assert refused(answer, 422, "invalid") == [("name", None)]
    for kind in (None, "application/json", "text/plain"):
        headers = {} if kind is None else {"Content-Type": kind}
        answer = http.post(f"{model}/snapshots/import", params={"name": "t"}, content=content, headers=headers)
        assert refused(answer, 415, "unsupported-media-type") == [("Content-Type", kind)]


def test_what_is_refused_leaves_no_trace(http: TestClient, services: Services, model: str, content: bytes) -> None:
    snapshots, before = http.get(f"{model}/snapshots").json(), standing(http, model)
    probabilities = predicted(http, model)
    surrogate = json.dumps({"format": "\ud800", "\udfff": 1})
    for wrong in (
        content[:-1],
        raw({"__metadata__": {exchange.METADATA_KEY: surrogate}}),
        changed(content, lambda f: f.tensors["W.1"].fill_(float("nan"))),
        changed(content, lambda f: f.manifest.update(digest="0" * 64), digest=False),
        changed(content, lambda f: f.manifest["spec"].update(hidden=[9])),
    ):
        refused(imported(http, model, wrong), 422, "invalid")
    assert http.get(f"{model}/snapshots").json() == snapshots
    assert (predicted(http, model), standing(http, model)) == (probabilities, before)


def test_flipped_bytes_never_are_a_defect_nor_change_the_model(http: TestClient, model: str, content: bytes) -> None:
    probabilities, digest = predicted(http, model), http.get(f"{model}/snapshots/s").json()["digest"]

    @given(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), min_size=1, max_size=3))
    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    def flipped(flips: list[tuple[int, int]]) -> None:
        damaged = bytearray(content)
        for place, mask in flips:
            damaged[place] ^= mask
        answer = imported(http, model, bytes(damaged))
        if answer.status_code == 201:
            assert answer.json()["digest"] == digest
            assert http.delete(f"{model}/snapshots/in").status_code == 204
        else:
            assert refused(answer, 422, "invalid")

    flipped()
    assert predicted(http, model) == probabilities


def test_restoring_with_if_match_takes_that_snapshot_or_nothing(http: TestClient, model: str, content: bytes) -> None:
    answer = http.get(f"{model}/snapshots/s")
    tag = answer.headers["ETag"]
    assert tag == f'"{answer.json()["digest"]}"'
    before = standing(http, model)
    for given_tag in ('"0"', f'"{"0" * 64}"', f'"a", "{tag[1:9]}"'):
        refusal = http.post(f"{model}/restore", json={"snapshot": "s"}, headers={"If-Match": given_tag})
        assert refused(refusal, 412, "precondition-failed") == [("If-Match", given_tag)]
    for given_tag in (tag[1:-1], f"W/{tag}", "", f"{tag},"):
        refusal = http.post(f"{model}/restore", json={"snapshot": "s"}, headers={"If-Match": given_tag})
        assert refused(refusal, 422, "invalid") == [("If-Match", given_tag)]
    assert standing(http, model) == before
    for given_tag in (tag, f'"other", {tag}', "*"):
        answer = http.post(f"{model}/restore", json={"snapshot": "s"}, headers={"If-Match": given_tag})
        assert answer.status_code == 200, answer.text


def test_a_snapshot_is_deleted_and_its_name_free_again(http: TestClient, model: str, content: bytes) -> None:
    assert http.delete(f"{model}/snapshots/s").status_code == 204
    refused(http.get(f"{model}/snapshots/s"), 404, "unknown-snapshot")
    refused(http.get(f"{model}/snapshots/s/content"), 404, "unknown-snapshot")
    assert refused(http.delete(f"{model}/snapshots/s"), 404, "unknown-snapshot") == [("snapshot", "s")]
    assert imported(http, model, content, "s").status_code == 201
    assert http.delete(f"{model}/snapshots/s").status_code == 204


def test_a_snapshot_that_a_retained_entry_adopts_is_not_deleted(http: TestClient, model: str, content: bytes) -> None:
    entry = http.post(f"{model}/restore", json={"snapshot": "s"}).json()["entry"]
    answer = http.delete(f"{model}/snapshots/s")
    assert refused(answer, 409, "conflict") == [("snapshot", "s")]
    assert entry in answer.json()["detail"]
    assert http.get(f"{model}/snapshots/s").status_code == 200


def test_who_did_what_is_in_the_log(http: TestClient, services: Services, model: str, content: bytes) -> None:
    headers = key(services, "snapshot", name="operator")
    with capture_logs() as lines:
        http.post(f"{model}/snapshots", json={"name": "t"}, headers=headers)
        http.get(f"{model}/snapshots/s/content", headers=headers)
        http.post(f"{model}/snapshots/import", params={"name": "in"}, content=content, headers=headers | FILE)
        http.delete(f"{model}/snapshots/in", headers=headers)
        restored = http.post(f"{model}/restore", json={"snapshot": "s"}, headers=headers).json()
        http.delete(f"{model}/snapshots/s", headers=headers)  # refused
    audit = [line for line in lines if line["event"] == "audit"]
    assert [(line["action"], line["snapshot"]) for line in audit] == [
        ("snapshot", "t"), ("export", "s"), ("import", "in"), ("delete", "in"), ("restore", "s"),
    ]  # fmt: skip
    assert {(line["key"], line["model"]) for line in audit} == {("operator", "m")}
    assert len({line["key_id"] for line in audit}) == 1
    digest = http.get(f"{model}/snapshots/s").json()["digest"]
    assert {line["digest"] for line in audit[1:]} == {digest}
    assert audit[-1]["entry"] == restored["entry"]


def test_another_service_takes_the_file(
    http: TestClient, content: bytes, redis_url: str, tmp_path_factory: pytest.TempPathFactory, services: Services
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('elsewhere') / 'amstream.db'}"
    at_snapshot = predicted(http, "/v1/models/m")
    with running(assembled(services.settings, redis_url, url, node="elsewhere")) as elsewhere:
        elsewhere.put("/v1/models/x", json=SPEC)
        assert imported(elsewhere, "/v1/models/x", content).status_code == 201
        assert elsewhere.post("/v1/models/x/restore", json={"snapshot": "in"}).status_code == 200
        assert predicted(elsewhere, "/v1/models/x") == at_snapshot


def test_the_client_exports_imports_restores_and_deletes(
    http: TestClient, model: str, content: bytes, tmp_path: Path
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        url, headers = str(request.url), dict(request.headers)
        got = http.request(request.method, url, content=request.content, headers=headers)
        return httpx.Response(got.status_code, headers=list(got.headers.items()), content=got.content)

    file, key_of_admin = tmp_path / "file", http.headers["Authorization"].removeprefix("Bearer ")
    with Client("http://testserver", key_of_admin, transport=httpx.MockTransport(answer), retries=0) as client:
        client.export_snapshot("m", "s", file)
        assert file.read_bytes() == content
        assert client.import_snapshot("m", "in", file) == client.snapshot("m", "in")
        client.delete_snapshot("m", "s")
        with pytest.raises(PreconditionFailed, match="the digest"):
            client.restore("m", "in", if_match="0")
        client.restore("m", "in", if_match=client.snapshot("m", "in").digest)
        with pytest.raises(Conflict, match="a replay would need it"):
            client.delete_snapshot("m", "in")


def test_a_state_with_other_hyperparameters_than_the_model_was_created_with_is_for_admins(
    http: TestClient, services: Services, content: bytes
) -> None:
    def faster(file: File) -> None:
        file.manifest["header"]["hyperparameters"]["averaging"] = 0.5

    other, snapshots = changed(content, faster), key(services, "snapshot", name="snapshots")
    for name, file, headers, status in (
        ("a", other, snapshots, 403),
        ("b", content, snapshots, 201),
        ("c", other, {}, 201),
    ):
        answer = http.post("/v1/models/m/snapshots/import", params={"name": name}, content=file, headers=FILE | headers)
        assert answer.status_code == status, answer.text
        assert status == 201 or "hyperparameters" in answer.json()["detail"]
    assert [each["name"] for each in http.get("/v1/models/m/snapshots").json()["snapshots"]] == ["s", "b", "c"]
