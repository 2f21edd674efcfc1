"""Snapshots over HTTP: named states that come back bit for bit while the stream goes on."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import entries
from service import redis_keys as keys
from service.entries import Adopt
from service.entry_id import EntryId
from service.repositories import models
from service.services import Services
from service.settings import Settings
from tests.service.api import GOOD, learned, refused, standing
from tests.service.conftest import SPEC

OTHER = {"x": [-3.0, 0.5, 9.0], "y": "no"}
ROWS = {"x": [[1, 2, 3], [0, 0, 0], [-5, 4, None]]}


def predicted(http: TestClient, model: str) -> Any:
    return http.post(f"{model}/predictions", json=ROWS).json()["probabilities"]


def test_a_snapshot_says_where_it_was_taken(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD] * 5)
    answer = http.post(f"{model}/snapshots", json={"name": "first"})
    assert answer.status_code == 201
    snapshot = answer.json()
    assert (snapshot["name"], snapshot["model_version"], snapshot["samples_learned"]) == ("first", 3, 5)
    assert snapshot["size_bytes"] > 0
    assert len(snapshot["digest"]) == 64
    assert http.get(f"{model}/snapshots/first").json() == snapshot
    assert http.get(f"{model}/snapshots").json() == {"snapshots": [snapshot], "next_cursor": None}


def test_a_snapshot_includes_what_was_accepted_before(http: TestClient, model: str) -> None:
    http.post(f"{model}/samples", json={"samples": [GOOD] * 50})  # not awaited
    assert http.post(f"{model}/snapshots", json={"name": "s"}).json()["samples_learned"] == 50


def test_a_restored_model_predicts_bit_for_bit_as_at_the_snapshot(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, OTHER] * 3)
    at_snapshot = predicted(http, model)
    http.post(f"{model}/snapshots", json={"name": "s"})
    learned(http, model, [OTHER | {"y": "yes"}] * 10)
    samples, version = standing(http, model)
    assert predicted(http, model) != at_snapshot

    answer = http.post(f"{model}/restore", json={"snapshot": "s"})
    assert answer.status_code == 200
    assert answer.json() == {"snapshot": "s", "entry": answer.json()["entry"], "model_version": version + 1}
    assert predicted(http, model) == at_snapshot
    assert standing(http, model) == (samples, version + 1)
    learned(http, model, [GOOD])
    assert standing(http, model) == (samples + 1, version + 2)


def test_learning_goes_on_from_a_restored_state_as_it_did_from_the_snapshot(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, OTHER])
    http.post(f"{model}/snapshots", json={"name": "s"})
    learned(http, model, [GOOD, OTHER, GOOD])
    first = predicted(http, model)
    http.post(f"{model}/restore", json={"snapshot": "s"})
    learned(http, model, [GOOD, OTHER, GOOD])
    assert predicted(http, model) == first


def test_a_name_is_taken_once(http: TestClient, model: str) -> None:
    first = http.post(f"{model}/snapshots", json={"name": "s"}).json()
    learned(http, model, [GOOD])
    before = standing(http, model)
    answer = http.post(f"{model}/snapshots", json={"name": "s"})
    assert refused(answer, 409, "conflict") == [("name", "s")]
    assert http.get(f"{model}/snapshots").json() == {"snapshots": [first], "next_cursor": None}
    assert standing(http, model) == before


def test_unknown_snapshots_are_not_found(http: TestClient, model: str) -> None:
    http.put("/v1/models/other", json=SPEC)
    http.post("/v1/models/other/snapshots", json={"name": "s"})
    before = standing(http, model)
    for name in ("s", "S", "a b"):
        assert refused(http.get(f"{model}/snapshots/{name}"), 404, "unknown-snapshot") == [("snapshot", name)]
        answer = http.post(f"{model}/restore", json={"snapshot": name})
        assert refused(answer, 404, "unknown-snapshot") == [("snapshot", name)]
    assert standing(http, model) == before


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [({}, "name", None), ({"name": ""}, "name", ""), ({"name": "A"}, "name", "A"), ({"name": 1}, "name", 1)],
)
def test_bad_names_are_refused(http: TestClient, model: str, body: Any, field: str, value: Any) -> None:
    before = standing(http, model)
    assert refused(http.post(f"{model}/snapshots", json=body), 422, "invalid") == [(field, value)]
    assert standing(http, model) == before


def test_unknown_fields_are_refused(http: TestClient, model: str) -> None:
    http.post(f"{model}/snapshots", json={"name": "s"})
    answer = http.post(f"{model}/snapshots", json={"name": "t", "at": 1})
    assert refused(answer, 422, "invalid") == [("at", 1)]
    answer = http.post(f"{model}/restore", json={"snapshot": "s", "surprise": []})
    assert refused(answer, 422, "invalid") == [("surprise", "[]")]


def test_a_state_that_is_missing_is_not_adopted_and_the_learner_goes_on(
    http: TestClient, services: Services, model: str
) -> None:
    learned(http, model, [GOOD, OTHER])
    at_first = predicted(http, model)
    body = http.get(model).json()
    payload = entries.encode(Adopt("no-such-state", "a test", "nobody"))
    entry = services.sync_redis.xadd(keys.stream(body["id"]), {keys.FIELD: payload})
    assert isinstance(entry, bytes)
    assert standing(http, model) == (2, 2)
    with services.sessions() as session:
        row = models.command(session, body["id"], EntryId.parse(entry))
    assert row is not None
    assert row.error == "there is no stored state no-such-state"
    assert predicted(http, model) == at_first
    learned(http, model, [GOOD])
    assert standing(http, model) == (3, 3)


class TestWithoutALearner:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"role": "api", "wait_s": 0.05})

    def test_a_command_that_nobody_applies_is_unavailable_after_a_bounded_wait(
        self, http: TestClient, model: str
    ) -> None:
        answer = http.post(f"{model}/snapshots", json={"name": "s"})
        refused(answer, 503, "not-applied-yet")
        assert answer.headers["Retry-After"] == "5"
        assert http.get(f"{model}/snapshots").json()["snapshots"] == []
        assert http.get(model).json()["entries_lag"] == 1
