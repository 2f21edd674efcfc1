"""Predictions over HTTP: by a version that includes what the caller asks for, and changing nothing."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.services import Services
from service.settings import Settings
from tests.service.api import GOOD, JSON, MSGPACK, key, learned, packed, refused, standing
from tests.service.conftest import SPEC

ROWS = [[1.0, 2.0, 3.0], [-1.0, 0.0, 5.0]]


def test_predicting_works_before_anything_was_learned(http: TestClient, model: str) -> None:
    answer = http.get(f"{model}/predictions", params={"x": "1,2,3"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model_version"], body["applied_entry"], body["classes"]) == (0, None, ["no", "yes"])
    assert body["label"] in ("no", "yes")
    assert sum(body["probabilities"]) == pytest.approx(1)


def test_get_and_post_in_both_formats_agree(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, {"x": [0, 0, 1], "y": "no"}])
    as_json = http.post(f"{model}/predictions", json={"x": ROWS}).json()
    as_msgpack = http.post(f"{model}/predictions", content=packed(ROWS), headers=MSGPACK).json()
    assert as_msgpack == as_json
    for row, label, probabilities in zip(ROWS, as_json["labels"], as_json["probabilities"], strict=True):
        single = http.get(f"{model}/predictions", params={"x": ",".join(map(str, row))}).json()
        assert single["label"] == label
        assert single["probabilities"] == pytest.approx(probabilities, abs=1e-6)
        assert single["applied_entry"] == as_json["applied_entry"]


def test_a_missing_value_counts_as_its_mean(http: TestClient, model: str) -> None:
    learned(http, model, [{"x": [0, 4, 1], "y": "no"}, {"x": [1, 8, 2], "y": "yes"}, {"x": [3, 0, None], "y": "yes"}])
    mean = http.get(f"{model}/predictions", params={"x": "1,4,2"}).json()
    assert http.get(f"{model}/predictions", params={"x": "1,,2"}).json() == mean
    assert http.get(f"{model}/predictions", params={"x": "1, ,2"}).json() == mean
    batch = http.post(f"{model}/predictions", json={"x": [[1, None, 2]]}).json()
    assert batch["probabilities"][0] == pytest.approx(mean["probabilities"], abs=1e-6)
    assert http.get(f"{model}/predictions", params={"x": ",,"}).status_code == 200


def test_predicting_changes_nothing(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD, {"x": [0, 0, 1], "y": "no"}])
    before = standing(http, model)
    first = http.post(f"{model}/predictions", json={"x": ROWS}).json()
    for _ in range(5):
        assert http.post(f"{model}/predictions", json={"x": ROWS}).json() == first
        assert http.get(f"{model}/predictions", params={"x": "1e15,-1e15,"}).status_code == 200
    assert standing(http, model) == before


def test_min_entry_sees_ones_own_write(http: TestClient, model: str) -> None:
    for number in range(1, 6):
        entry = http.post(f"{model}/samples", json={"samples": [GOOD]}).json()["entries"][-1]
        answer = http.get(f"{model}/predictions", params={"x": "1,2,3", "min_entry": entry}).json()
        assert (answer["model_version"], answer["applied_entry"]) == (number, entry)
        batch = http.post(f"{model}/predictions", params={"min_entry": entry}, json={"x": ROWS})
        assert batch.json()["applied_entry"] == entry


def test_a_waiting_prediction_is_answered_when_the_entry_arrives(http: TestClient, model: str) -> None:
    last = learned(http, model, [GOOD])
    millisecond, _, number = last.partition("-")
    answers: list[Any] = []
    params = {"x": "1,2,3", "min_entry": f"{millisecond}-{int(number) + 1}"}  # any later entry includes it
    waiting = threading.Thread(target=lambda: answers.append(http.get(f"{model}/predictions", params=params)))
    waiting.start()
    entry = http.post(f"{model}/samples", json={"samples": [GOOD]}).json()["entries"][-1]
    waiting.join()
    assert answers[0].status_code == 200
    assert answers[0].json()["applied_entry"] == entry


class TestWithLittlePatience:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"wait_s": 0.05})

    def test_an_entry_that_does_not_come_is_unavailable_after_a_bounded_wait(
        self, http: TestClient, model: str
    ) -> None:
        for far in ("99999999999999-0", "18446744073709551615-18446744073709551615"):
            answer = http.get(f"{model}/predictions", params={"x": "1,2,3", "min_entry": far})
            refused(answer, 503, "not-applied-yet")
            assert answer.headers["Retry-After"] == "1"
        assert http.get(f"{model}/predictions", params={"x": "1,2,3"}).status_code == 200


@pytest.mark.parametrize("entry", ["", "abc", "1", "-1-0", "1-0-0", "99999999999999999999-0", "1.5-0", "١-٠"])
def test_a_bad_min_entry_is_refused(http: TestClient, model: str, entry: str) -> None:
    answer = http.get(f"{model}/predictions", params={"x": "1,2,3", "min_entry": entry})
    assert refused(answer, 422, "invalid") == [("min_entry", entry)]
    answer = http.post(f"{model}/predictions", params={"min_entry": entry}, json={"x": ROWS})
    assert refused(answer, 422, "invalid") == [("min_entry", entry)]


def test_bad_inputs_are_refused(http: TestClient, model: str) -> None:
    path = f"{model}/predictions"
    assert refused(http.get(path), 422, "invalid") == [("x", None)]
    assert refused(http.get(path, params={"x": "1,2"}), 422, "invalid") == [("x", "2 numbers")]
    assert refused(http.get(path, params={"x": "1,2,nan"}), 422, "invalid") == [("x.2", "nan")]
    assert refused(http.post(path, json={"x": []}), 422, "invalid") == [("x", "[]")]
    assert refused(http.post(path, json={"x": [[1, 2, 1e16]]}), 422, "invalid") == [("x.0.2", 1e16)]
    assert refused(http.post(path, json={"x": ROWS, "y": 1}), 422, "invalid") == [("y", 1)]
    assert refused(http.post(path, content=b"{", headers=JSON), 422, "invalid") == [("body", "1 bytes")]
    assert refused(http.post(path, json={"x": [[1, 2, 3]] * 101}), 413, "too-large") == [("samples", 101)]
    large = packed([[1, 2, 3]] * 10_000)
    assert refused(http.post(path, content=large, headers=MSGPACK), 413, "too-large") == [("body", len(large))]
    answer = http.post(path, content=json.dumps({"x": ROWS}))
    assert refused(answer, 415, "unsupported-media-type") == [("Content-Type", None)]
    assert http.post(path, json={"x": ROWS}).status_code == 200


def test_an_unknown_model_is_not_found(http: TestClient) -> None:
    assert refused(http.get("/v1/models/nn/predictions?x=1"), 404, "unknown-model") == [("model", "nn")]
    assert refused(http.post("/v1/models/nn/predictions", json={"x": [[1]]}), 404, "unknown-model") == [("model", "nn")]


def test_predictions_need_the_scope_predict_and_nothing_more(http: TestClient, services: Services, model: str) -> None:
    predict, learn = key(services, "predict", name="p"), key(services, "learn", name="l")
    assert http.get(f"{model}/predictions?x=1,2,3", headers=predict).status_code == 200
    refused(http.get(f"{model}/predictions?x=1,2,3", headers=learn), 403, "forbidden")
    refused(http.post(f"{model}/samples", json={"samples": [GOOD]}, headers=predict), 403, "forbidden")


@pytest.mark.parametrize("scale", ["running", "pooled", "none", {"mean": 1e300, "deviation": 1e-300}])
def test_probabilities_are_numbers_whatever_the_scale(http: TestClient, scale: Any) -> None:
    model = "/v1/models/scaled"
    assert http.put(model, json=SPEC | {"scale": scale}).status_code == 201
    for x in ("1,2,3", "1e15,-1e15,1e15", "1e-45,,-0.0"):
        probabilities = http.get(f"{model}/predictions", params={"x": x}).json()["probabilities"]
        assert sum(probabilities) == pytest.approx(1)
