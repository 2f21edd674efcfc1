"""Hyper-parameters that change while a model learns."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.services import Services
from tests.service.api import GOOD, key, learned, refused


def test_a_change_is_in_force_from_its_entry_on_and_stays_in_snapshots(http: TestClient, model: str) -> None:
    path = f"{model}/hyperparameters"
    first = http.get(path).json()
    assert first["share"] == 0.03
    learned(http, model, [GOOD])
    assert http.post(f"{model}/snapshots", json={"name": "before"}).status_code == 201
    changed = http.patch(path, json={"share": 0.1, "horizons": [9, 99, 999, 9999]})
    assert changed.status_code == 200, changed.text
    assert changed.json() == first | {"share": 0.1, "horizons": [9, 99, 999, 9999]}
    assert http.get(path).json() == changed.json()
    learned(http, model, [GOOD])
    found = http.get(model).json()
    assert found["spec"]["hyperparameters"] == first  # as created
    assert found["in_force"]["hyperparameters"] == changed.json()
    assert http.post(f"{model}/restore", json={"snapshot": "before"}).status_code == 200
    assert http.get(path).json() == first


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"share": -1}, "hyperparameters.share", -1.0),
        ({"share": "much"}, "hyperparameters.share", "much"),
        ({"surprise": 1}, "hyperparameters.surprise", 1),
        ({"mu": 1, "horizons": [8, 16]}, "hyperparameters.horizons", "[8, 16]"),
        ({}, "hyperparameters", "{}"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name_and_nothing_is_appended(
    http: TestClient, model: str, changes: dict[str, Any], field: str, value: Any
) -> None:
    before = http.get(model).json()["model_version"]
    assert refused(http.patch(f"{model}/hyperparameters", json=changes), 422, "invalid") == [(field, value)]
    assert http.get(model).json()["model_version"] == before


def test_only_an_admin_may_change_them(http: TestClient, model: str, services: Services) -> None:
    learner = key(services, "learn", "predict", "snapshot", name="no-admin")
    assert http.patch(f"{model}/hyperparameters", json={"share": 0.1}, headers=learner).status_code == 403
    assert http.get(f"{model}/hyperparameters", headers=learner).status_code == 200
