"""Metrics over HTTP, and classes that come while the model is served."""

from __future__ import annotations

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.services import Services
from tests.service.api import GOOD, key, learned, refused


def test_metrics_stand_beside_what_learns_nothing(http: TestClient, model: str) -> None:
    empty = http.get(f"{model}/metrics").json()
    assert (empty["samples_learned"], set(empty["overall"].values()), empty["drifts"]) == (
        0,
        {None},
        {"count": 0, "last": None},
    )
    learned(http, model, [GOOD] * 30)
    learned(http, model, [{"x": [0, 0, 1], "y": "no"}] * 30)
    found = http.get(f"{model}/metrics").json()
    assert found["samples_learned"] == 60
    assert found["overall"].keys() == {"accuracy", "kappa", "log_loss", "no_change", "majority"}
    assert found["overall"].keys() == found["recent"].keys()
    assert {one["label"]: one["seen"] for one in found["classes"]} == {"no": 30, "yes": 30}
    assert found["retention"]["period"] == 1000
    assert len(found["retention"]["recalls"]) == 1
    assert len(found["retention"]["recalls"][0]) == 2


def test_classes_that_come_are_predicted_and_counted(http: TestClient) -> None:
    path = "/v1/models/growing"
    spec = {"inputs": 3, "hidden": [16], "label_type": "integer", "max_classes": 3, "block": {"size": 8}}
    assert http.put(path, json=spec).status_code == 201
    assert refused(http.get(f"{path}/predictions", params={"x": "0,0,0"}), 503, "no-class-yet") == []
    draw = np.random.default_rng(0)
    for classes in ((7, 3), (7, 3, -1)):
        for _ in range(20):
            samples = [
                {"x": (np.eye(3)[i] * 4 + draw.normal(size=3)).tolist(), "y": classes[i]}
                for i in draw.integers(len(classes), size=8)
            ]
            learned(http, path, samples)
    seen = http.post(f"{path}/predictions", json={"x": (4 * np.eye(3)).tolist()}).json()
    assert set(seen["classes"]) == {7, 3, -1}
    assert seen["labels"] == [7, 3, -1]
    assert {one["label"] for one in http.get(f"{path}/metrics").json()["classes"]} == {7, 3, -1}
    one = {"samples": [{"x": [0, 0, 0], "y": "seven"}]}
    assert refused(http.post(f"{path}/samples", json=one), 422, "invalid") == [("samples.0.y", "seven")]


@pytest.mark.parametrize("scope", ["predict", "learn"])
def test_any_key_of_the_model_may_read_its_metrics(
    http: TestClient, model: str, services: Services, scope: str
) -> None:
    mine = key(services, scope, name=f"metrics-{scope}", models=[model.rsplit("/", 1)[1]])
    assert http.get(f"{model}/metrics", headers=mine).status_code == 200
    other = key(services, scope, name=f"other-{scope}", models=["another"])
    assert http.get(f"{model}/metrics", headers=other).status_code in (403, 404)
