"""Regression over HTTP: from the spec to values, and features by name on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.service.api import MSGPACK, packed, refused, standing

M = "/v1/models/values"
SPEC: dict[str, Any] = {
    "task": "regression",
    "features": ["a", "b"],
    "hidden": [16],
    "block": {"size": 8, "wait_ms": 1},
}
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(400, 2)).round(3)


def samples(targets: int) -> list[dict[str, Any]]:
    values = np.stack([100 + 10 * X[:, 0], -5 * X[:, 1]], axis=1).round(3)
    y = values.tolist() if targets == 2 else values[:, 0].tolist()
    return [{"x": {"a": a, "b": b}, "y": each} for (a, b), each in zip(X.tolist(), y, strict=True)]


@pytest.mark.parametrize("targets", [1, 2])
def test_values_are_learned_predicted_and_measured(http: TestClient, targets: int) -> None:
    assert http.put(M, json=SPEC | {"targets": targets}).status_code == 201
    given = samples(targets)
    for start in range(0, len(given), 100):
        entry = http.post(f"{M}/samples", json={"samples": given[start : start + 100]}).json()["entries"][-1]
    batch = http.post(f"{M}/predictions", params={"min_entry": entry}, json={"x": [one["x"] for one in given[:100]]})
    values = np.array(batch.json()["values"])
    expected = np.array([one["y"] for one in given[:100]])
    assert values.shape == expected.shape
    assert np.abs(values - expected).mean() < 0.2 * np.abs(expected - expected.mean(axis=0)).mean()
    single = http.get(f"{M}/predictions", params={"x": ",".join(map(str, X[0]))}).json()
    assert single.keys() == {"value", "model_version", "applied_entry"}
    assert single["value"] == pytest.approx(values[0].tolist(), rel=1e-4)
    rows = http.post(f"{M}/predictions", content=packed(X[:100]), headers=MSGPACK).json()["values"]
    assert np.array(rows) == pytest.approx(values, rel=1e-4)
    figures = http.get(f"{M}/metrics").json()["overall"]
    assert figures["mae"] < figures["no_change"]
    assert figures.keys() == {"mae", "rmse", "r2", "no_change", "mean"}
    assert standing(http, M)[0] == 400


def test_before_any_sample_there_is_no_value(http: TestClient) -> None:
    http.put(M, json=SPEC)
    assert refused(http.get(f"{M}/predictions", params={"x": "1,2"}), 503, "no-value-yet") == []
    http.post(f"{M}/samples", json={"samples": [{"x": {"a": 1}, "y": 7}]})
    standing(http, M)
    assert http.get(f"{M}/predictions", params={"x": "1,"}).json()["value"] == 7


def test_labels_are_no_values(http: TestClient) -> None:
    http.put(M, json=SPEC)
    answer = http.post(f"{M}/samples", json={"samples": [{"x": [1, 2], "y": "yes"}]})
    assert refused(answer, 422, "invalid") == [("samples.0.y", "yes")]
