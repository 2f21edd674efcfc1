"""Going back to a point of the log, and past poisoned entries, over HTTP: bit for bit what it would have been."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from service.aside import stored_state
from service.database import Sessions
from service.repositories import checkpoints, models
from service.services import Services
from service.state import FoldState
from service.tables import CheckpointRow, SnapshotRow, StateRow, TensorRow
from tests.service.api import refused

Samples = list[dict[str, Any]]
PROBE = {"x": np.random.default_rng(9).normal(size=(8, 3)).tolist()}


def block(seed: int, label: str | None = None) -> Samples:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(4, 3))
    return [{"x": row.tolist(), "y": label or ("yes" if row[0] > 0 else "no")} for row in x]


def post(http: TestClient, model: str, samples: Samples) -> str:
    [entry] = http.post(f"{model}/samples", json={"samples": samples}).json()["entries"]
    assert http.post(f"{model}/predictions", json=PROBE, params={"min_entry": entry}).status_code == 200
    return str(entry)


def predicted(http: TestClient, model: str) -> Any:
    return http.post(f"{model}/predictions", json=PROBE).json()["probabilities"]


@pytest.fixture
def twin(http: TestClient, model: str) -> str:
    """Another model of the same spec, which learns what the first one should have."""
    path = f"{model}-twin"
    assert http.put(path, json=http.get(model).json()["spec"]).status_code == 201
    return path


@pytest.mark.parametrize("snapshot_before", [False, True])
def test_a_poisoned_entry_is_undone_and_all_else_stays(
    http: TestClient, model: str, twin: str, snapshot_before: bool
) -> None:
    good, poison, later = block(1), block(2, "no"), block(3)
    post(http, model, good)
    if snapshot_before:
        assert http.post(f"{model}/snapshots", json={"name": "before"}).status_code == 201
    poisoned = post(http, model, poison)
    post(http, model, later)
    answer = http.post(f"{model}/restore", json={"skip": [poisoned]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["snapshot"].startswith("at-")
    for samples in (good, later):
        post(http, twin, samples)
    assert predicted(http, model) == predicted(http, twin)
    for path in (model, twin):
        post(http, path, block(4))
    assert predicted(http, model) == predicted(http, twin)
    assert http.get(f"{model}/metrics").json()["overall"] == http.get(f"{twin}/metrics").json()["overall"]


def test_a_point_is_gone_back_to_by_entry_and_by_time(http: TestClient, model: str, twin: str) -> None:
    entry = post(http, model, block(1))
    post(http, twin, block(1))
    then = predicted(http, model)
    post(http, model, block(2))
    assert predicted(http, model) != then
    first = http.post(f"{model}/restore", json={"at": entry}).json()
    assert predicted(http, model) == then == predicted(http, twin)
    post(http, model, block(3))
    moment = datetime.fromtimestamp(int(entry.split("-")[0]) / 1000, UTC)
    second = http.post(f"{model}/restore", json={"at": moment.isoformat()}).json()
    assert second["snapshot"] == first["snapshot"]  # the same point, kept once
    assert predicted(http, model) == then
    assert http.get(f"{model}/snapshots/{first['snapshot']}").status_code == 200


def test_a_checkpoint_pruned_while_one_goes_back_gives_way_to_an_older_one(
    http: TestClient, model: str, twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(http, model, block(1))
    post(http, twin, block(1))
    assert http.post(f"{model}/snapshots", json={"name": "here"}).status_code == 201
    asked_for: list[str] = []

    def pruned_first(sessions: Sessions, model_id: str, state_id: str) -> FoldState:
        asked_for.append(state_id)
        if len(asked_for) == 1:
            with sessions.begin() as session:
                for table in (SnapshotRow, CheckpointRow):
                    session.execute(delete(table).where(table.state_id == state_id))
                session.execute(delete(StateRow).where(StateRow.id == state_id))
        return stored_state(sessions, model_id, state_id)

    at = http.get(model).json()["applied_entry"]
    monkeypatch.setattr("service.rewind.stored_state", pruned_first)
    post(http, model, block(2))
    assert http.post(f"{model}/restore", json={"at": at}).status_code == 200
    assert asked_for
    assert predicted(http, model) == predicted(http, twin)


def test_another_snapshot_cannot_pass_for_the_point(http: TestClient, model: str) -> None:
    entry = post(http, model, block(1))
    then = predicted(http, model)
    post(http, model, block(2))
    assert http.post(f"{model}/snapshots", json={"name": f"at-{entry}"}).status_code == 201
    restored = http.post(f"{model}/restore", json={"at": entry}).json()["snapshot"]
    assert predicted(http, model) == then
    digest = http.get(f"{model}/snapshots/{restored}").json()["digest"]
    assert restored == f"at-{entry}-{digest[:12]}"


def test_a_state_folded_aside_is_not_what_the_model_was(http: TestClient, model: str, services: Services) -> None:
    """Though it has the entry of a snapshot that the learner took."""
    post(http, model, block(1))
    poisoned = post(http, model, block(2, "no"))
    assert http.post(f"{model}/snapshots", json={"name": "v1"}).status_code == 201
    at, was = http.get(model).json()["applied_entry"], predicted(http, model)
    assert http.post(f"{model}/restore", json={"skip": [poisoned]}).status_code == 200
    assert predicted(http, model) != was
    with services.sessions.begin() as session:
        assert [row.name for row in checkpoints.own_snapshots(session, http.get(model).json()["id"])] == ["v1"]
        session.execute(delete(CheckpointRow))
    assert http.post(f"{model}/restore", json={"at": at}).status_code == 200
    assert predicted(http, model) == was


def test_a_damaged_state_is_passed_over_for_the_one_before(http: TestClient, model: str, services: Services) -> None:
    entry = post(http, model, block(1))
    was = predicted(http, model)
    post(http, model, block(2))
    assert http.post(f"{model}/snapshots", json={"name": "here"}).status_code == 201
    at = http.get(model).json()["applied_entry"]
    with services.sessions.begin() as session:
        session.execute(update(TensorRow).where(TensorRow.name == "A.1").values(data=b"\0" * 80))
    assert http.post(f"{model}/restore", json={"at": at}).status_code == 200
    assert http.post(f"{model}/restore", json={"at": entry}).status_code == 200
    assert predicted(http, model) == was


def test_the_same_point_kept_twice_at_once_is_kept_once(
    http: TestClient, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = post(http, model, block(1))
    first = http.post(f"{model}/restore", json={"at": entry}).json()
    looks = []
    look = checkpoints.snapshot

    def not_yet_there(*args: Any) -> Any:
        looks.append(args)
        return None if len(looks) == 1 else look(*args)

    monkeypatch.setattr(checkpoints, "snapshot", not_yet_there)
    second = http.post(f"{model}/restore", json={"at": entry})
    assert second.status_code == 200, second.text
    assert second.json()["snapshot"] == first["snapshot"]


def test_a_model_deleted_while_it_is_folded_aside_is_unknown(
    http: TestClient, model: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = post(http, model, block(1))

    model_id = http.get(model).json()["id"]
    add_state = checkpoints.add_state

    def deleted_first(session: Session, *args: Any) -> str:
        models.remove(session, model_id)
        return add_state(session, *args)

    monkeypatch.setattr(checkpoints, "add_state", deleted_first)
    refused(http.post(f"{model}/restore", json={"at": entry}), 404, "unknown-model")


def test_before_all_time_there_was_nothing(http: TestClient, model: str) -> None:
    post(http, model, block(1))
    answer = http.post(f"{model}/restore", json={"at": "1969-12-31T00:00:00Z"})
    assert [field for field, _ in refused(answer, 409, "conflict")] == ["at"]


def test_what_cannot_be_gone_back_to_is_refused_by_name(http: TestClient, model: str) -> None:
    entry = post(http, model, block(1))
    ms = int(entry.split("-")[0])
    before = http.get(model).json()["model_version"]
    long_ago = (datetime.fromtimestamp(ms / 1000, UTC) - timedelta(hours=1)).isoformat()
    for body, status, kind, fields in (
        ({"at": long_ago}, 409, "conflict", ["at"]),
        ({"at": f"{ms}-77"}, 422, "invalid", ["at"]),
        ({"at": "yesterday"}, 422, "invalid", ["at"]),
        ({"at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, 422, "invalid", ["at"]),
        ({"at": "2026-11-27T09:00:00"}, 422, "invalid", ["at"]),
        ({"skip": [f"{ms + 5}-0"]}, 422, "invalid", ["skip"]),
        ({"skip": ["x"]}, 422, "invalid", ["skip"]),
        ({}, 422, "invalid", [""]),
        ({"snapshot": "a", "at": entry}, 422, "invalid", [""]),
    ):
        found = refused(http.post(f"{model}/restore", json=body), status, kind)
        assert [field for field, _ in found] == fields or (fields == [""] and len(found) == 1)
    assert http.get(model).json()["model_version"] == before
    assert f"entry {entry}" in http.post(f"{model}/restore", json={"at": long_ago}).json()["detail"]
