"""Tracked predictions over HTTP, and labels that come later: out of order, again, corrected, too late."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service import redis_keys as keys
from service.services import Services
from service.settings import Settings
from tests.service.api import assembled, key, learned, refused, running, standing

SPEC = {
    "inputs": 3,
    "hidden": [8],
    "classes": ["no", "yes"],
    "block": {"size": 4},
    "learner": "never-forget",
    "scale": "none",
}


def block(seed: int, n: int = 4) -> list[dict[str, Any]]:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return [{"x": row.tolist(), "y": "yes" if row[0] > 0 else "no"} for row in x]


def tracked(http: TestClient, model: str, x: list[Any]) -> list[str]:
    answer = http.post(f"{model}/predictions", json={"x": x}, params={"track": True})
    assert answer.status_code == 200, answer.text
    ids: list[str] = answer.json()["ids"]
    return ids


def predicted(http: TestClient, model: str) -> Any:
    return http.post(f"{model}/predictions", json={"x": np.eye(3).tolist()}).json()["probabilities"]


@pytest.fixture
def twin(http: TestClient, model: str) -> str:
    path = f"{model}-twin"
    assert http.put(path, json=http.get(model).json()["spec"]).status_code == 201
    return path


def test_a_prediction_is_kept_as_it_was_made(http: TestClient, model: str) -> None:
    entry = learned(http, model, block(0))
    answer = http.post(f"{model}/predictions", json={"x": [[1, None, 3]]}, params={"track": True}).json()
    learned(http, model, block(1))
    kept = http.get(f"{model}/predictions/{answer['ids'][0]}").json()
    assert (kept["x"], kept["classes"], kept["outcome"]) == ([1, None, 3], ["no", "yes"], None)
    assert kept["probabilities"] == pytest.approx(answer["probabilities"][0])
    assert (kept["model_version"], kept["applied_entry"]) == (1, entry)
    assert http.post(f"{model}/predictions", json={"x": [[1, 2, 3]]}).json()["ids"] is None


def test_labels_that_come_later_are_learned_as_samples_are_and_counted_as_they_were_predicted(
    http: TestClient, model: str, twin: str
) -> None:
    first, second = block(0), block(1)
    learned(http, model, first)
    ids = tracked(http, model, [one["x"] for one in second])
    learned(http, model, block(2))
    labels = {one: sample["y"] for one, sample in zip(ids, second, strict=True)}
    answer = http.post(f"{model}/labels", json={"labels": labels})
    assert answer.status_code == 202, answer.text
    assert {one["id"] for one in answer.json()["labelled"]} == set(ids)
    standing(http, model)
    for samples in (first, block(2), second):
        learned(http, twin, samples)
    assert predicted(http, model) == predicted(http, twin)
    assert http.get(f"{model}/metrics").json()["overall"] != http.get(f"{twin}/metrics").json()["overall"]
    assert standing(http, model) == standing(http, twin) == (12, 3)


def test_labels_come_in_any_order_and_each_is_learned_once(http: TestClient, model: str) -> None:
    ids = tracked(http, model, [[1, 2, 3], [3, 2, 1]])
    late = http.put(f"{model}/predictions/{ids[1]}/label", json={"label": "yes"})
    assert late.status_code == 202
    assert (late.json()["repeated"], late.json()["corrected"]) == (False, False)
    http.put(f"{model}/predictions/{ids[0]}/label", json={"label": "no"})
    again = http.put(f"{model}/predictions/{ids[1]}/label", json={"label": "yes"}).json()
    assert again == late.json() | {"repeated": True}
    assert standing(http, model) == (2, 2)
    outcome = http.get(f"{model}/predictions/{ids[1]}").json()["outcome"]
    assert outcome == {"label": "yes", "entry": late.json()["entry"]}


def test_a_corrected_label_is_as_if_the_first_one_had_not_been_where_features_are_fixed(http: TestClient) -> None:
    wrong, right = "/v1/models/corrected", "/v1/models/right-at-once"
    for path in (wrong, right):
        assert http.put(path, json=SPEC).status_code == 201
        learned(http, path, block(0))
    [one] = tracked(http, wrong, [[1, 2, 3]])
    http.put(f"{wrong}/predictions/{one}/label", json={"label": "no"})
    standing(http, wrong)
    answer = http.put(f"{wrong}/predictions/{one}/label", json={"label": "yes"})
    assert refused(answer, 409, "conflict") == [("label", "yes")]
    answer = http.put(f"{wrong}/predictions/{one}/label", json={"label": "yes", "correct": True})
    assert (answer.status_code, answer.json()["corrected"]) == (202, True)
    standing(http, wrong)
    learned(http, right, [{"x": [1, 2, 3], "y": "yes"}])
    np.testing.assert_allclose(predicted(http, wrong), predicted(http, right), atol=1e-3)
    classes = {one["label"]: one["seen"] for one in http.get(f"{wrong}/metrics").json()["classes"]}
    assert sum(classes.values()) == 5


def test_values_of_a_regression_come_later_too(http: TestClient) -> None:
    path = "/v1/models/late-values"
    spec = {"inputs": 3, "hidden": [8], "task": "regression", "block": {"size": 4}}
    assert http.put(path, json=spec).status_code == 201
    refused(http.post(f"{path}/predictions", json={"x": [[1, 2, 3]]}, params={"track": True}), 503, "no-value-yet")
    learned(http, path, [{"x": one["x"], "y": one["x"][0]} for one in block(0)])
    answer = http.post(f"{path}/predictions", json={"x": [[1, 2, 3]]}, params={"track": True}).json()
    [one] = answer["ids"]
    assert http.get(f"{path}/predictions/{one}").json()["values"] == answer["values"]
    put = f"{path}/predictions/{one}/label"
    assert refused(http.put(put, json={"label": "high"}), 422, "invalid") == [("label", "high")]
    assert http.put(put, json={"label": 1.5}).status_code == 202
    assert standing(http, path)[0] == 5


def test_more_labels_than_a_block_has_are_cut_into_blocks(http: TestClient, model: str) -> None:
    ids = tracked(http, model, np.random.default_rng(0).normal(size=(10, 3)).tolist())
    found = http.post(f"{model}/labels", json={"labels": dict.fromkeys(ids, "yes")}).json()["labelled"]
    assert len({one["entry"] for one in found}) == 3
    assert standing(http, model) == (10, 3)


def test_unknown_wrong_and_expired_are_told_apart(
    http: TestClient, model: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = tracked(http, model, [[1, 2, 3]])
    for path in ("predictions/nothing", f"predictions/{one[:-1]}0f"):
        assert refused(http.get(f"{model}/{path}"), 404, "unknown-prediction")
    assert refused(http.put(f"{model}/predictions/nothing/label", json={"label": "no"}), 404, "unknown-prediction")
    put = f"{model}/predictions/{one}/label"
    assert refused(http.put(put, json={"label": "perhaps"}), 422, "invalid") == [("label", "perhaps")]
    assert refused(http.put(put, json={"label": "no", "weight": -1}), 422, "invalid") == [("weight", -1)]
    both = {"labels": {one: "yes", "nothing": "no"}}
    assert refused(http.post(f"{model}/labels", json=both), 404, "unknown-prediction")
    assert standing(http, model) == (0, 0)
    now = time.time
    monkeypatch.setattr("service.tracking.time.time", lambda: now() + services.settings.track_ttl_s + 1)
    refused(http.get(f"{model}/predictions/{one}"), 410, "gone")
    refused(http.put(put, json={"label": "yes"}), 410, "gone")


def test_predictions_that_wait_are_bounded_and_make_room_when_they_expire(
    tmp_path: Path, redis_url: str, database_url: str
) -> None:
    settings = Settings(data_dir=tmp_path, track_max=2, track_ttl_s=1.0)
    with running(assembled(settings, redis_url, database_url)) as http:
        path = "/v1/models/bounded"
        assert http.put(path, json=SPEC).status_code == 201
        tracked(http, path, [[1, 2, 3]] * 2)
        full = http.post(f"{path}/predictions", json={"x": [[1, 2, 3]]}, params={"track": True})
        refused(full, 429, "too-many-tracked")
        assert full.headers["Retry-After"]
        time.sleep(1.1)
        tracked(http, path, [[1, 2, 3]])


def test_a_label_finds_its_prediction_after_a_restart(tmp_path: Path, redis_url: str, database_url: str) -> None:
    path = "/v1/models/restarted"
    with running(assembled(Settings(data_dir=tmp_path), redis_url, database_url)) as http:
        assert http.put(path, json=SPEC).status_code == 201
        ids = tracked(http, path, [[1, 2, 3], [3, 2, 1]])
        assert http.put(f"{path}/predictions/{ids[0]}/label", json={"label": "yes"}).status_code == 202
        standing(http, path)
    with running(assembled(Settings(data_dir=tmp_path), redis_url, database_url)) as http:
        assert http.put(f"{path}/predictions/{ids[0]}/label", json={"label": "yes"}).json()["repeated"] is True
        assert http.put(f"{path}/predictions/{ids[1]}/label", json={"label": "no"}).json()["repeated"] is False
        assert standing(http, path) == (2, 2)


def test_tracking_asks_for_the_scopes(http: TestClient, model: str, services: Services) -> None:
    [one] = tracked(http, model, [[1, 2, 3]])
    predict = key(services, "predict", name="predicts")
    learn = key(services, "learn", name="learns")
    put = f"{model}/predictions/{one}/label"
    assert http.get(f"{model}/predictions/{one}", headers=predict).status_code == 200
    refused(http.put(put, json={"label": "yes"}, headers=predict), 403, "forbidden")
    refused(http.post(f"{model}/labels", json={"labels": {one: "yes"}}, headers=predict), 403, "forbidden")
    refused(http.get(f"{model}/predictions/{one}", headers=learn), 403, "forbidden")
    assert http.put(put, json={"label": "yes"}, headers=learn).status_code == 202


def test_what_is_tracked_goes_with_the_model(http: TestClient, services: Services) -> None:
    path = "/v1/models/gone-soon"
    assert http.put(path, json=SPEC).status_code == 201
    model_id = http.get(path).json()["id"]
    tracked(http, path, [[1, 2, 3]])
    assert services.sync_redis.exists(keys.predictions(model_id)) == 1
    assert http.delete(path).status_code == 204
    assert services.sync_redis.exists(keys.predictions(model_id)) == 0
