"""Which models there are, also when another process creates and deletes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from service import catalog as catalogs
from service.catalog import Model
from service.problems import Conflict, Invalid, Unavailable, UnknownModel
from service.repositories import checkpoints, models
from service.services import Services
from service.settings import Settings
from service.spec import ModelSpec
from service.tables import SnapshotRow, TensorRow
from tests.service.api import GOOD, assembled, learned, refused, running
from tests.service.conftest import SPEC

M = "/v1/models/m"
MODEL_SPEC = ModelSpec.model_validate(SPEC)


@pytest.fixture
def replica(settings: Settings, redis_url: str, sqlite_url: str, services: Services) -> Iterator[Services]:
    """Another process on the same Redis and database, which does not learn."""
    services = assembled(settings.model_copy(update={"role": "api", "wait_s": 20}), redis_url, sqlite_url)
    yield services
    services.engine.dispose()
    services.sync_redis.close()


@pytest.fixture
def other(replica: Services) -> Iterator[TestClient]:
    with running(replica) as client:
        yield client


def test_a_bad_name_or_a_large_state_is_refused_before_anything_is_stored(replica: Services) -> None:
    catalog = replica.catalog
    with pytest.raises(Invalid, match="model = 'A'"):
        catalog.create("A", MODEL_SPEC)
    with pytest.raises(Invalid, match=r"hidden\.0 = 1000: must be smaller"):
        catalog.create("m", ModelSpec(inputs=3, classes=[0, 1], hidden=[1000, 2]))
    assert list(catalog.list()) == []


def test_create_says_whether_the_model_is_new(replica: Services) -> None:
    catalog = replica.catalog
    model, new = catalog.create("m", MODEL_SPEC)
    assert new
    assert catalog.create("m", MODEL_SPEC) == (model, False)
    with pytest.raises(Conflict, match="with another spec: seed"):
        catalog.create("m", MODEL_SPEC.model_copy(update={"seed": 1}))


def get(services: Services, name: str) -> Model:
    return asyncio.run(services.catalog.get(name))


def test_a_model_is_cached_by_name_for_a_moment(replica: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = replica.catalog.create("m", MODEL_SPEC)
    assert get(replica, "m") == model
    assert get(replica, "m") is get(replica, "m")
    replica.catalog.forget("m")
    assert get(replica, "m") == model
    replica.catalog.delete(model)
    with pytest.raises(UnknownModel):
        get(replica, "m")
    assert not vars(replica.catalog)["_cache"]


def test_a_model_that_is_recreated_elsewhere_is_noticed_and_the_old_one_dropped(
    http: TestClient, other: TestClient, replica: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.put(M, json=SPEC)
    learned(http, M, [GOOD] * 4)
    old = other.get(M).json()["id"]
    entry = http.post(f"{M}/samples", json={"samples": [GOOD]}).json()["entries"][-1]
    assert other.get(f"{M}/predictions", params={"x": "1,2,3"}).status_code == 200
    assert replica.publications.current(old) is not None

    http.delete(M)
    new = http.put(M, json=SPEC | {"seed": 5}).json()["id"]
    stale = other.post(f"{M}/samples", json={"samples": [GOOD]})
    assert stale.status_code in (202, 503)
    monkeypatch.setattr(catalogs, "CACHED_S", 0.0)
    assert other.post(f"{M}/samples", json={"samples": [GOOD]}).status_code == 202
    assert other.get(M).json()["id"] == new
    seen = other.get(f"{M}/predictions", params={"x": "1,2,3"}).json()
    assert seen["applied_entry"] != entry
    assert replica.publications.current(old) is None


def test_a_model_that_is_deleted_elsewhere_is_unknown_and_forgotten(
    http: TestClient, other: TestClient, replica: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = http.put(M, json=SPEC).json()["id"]
    assert other.get(f"{M}/predictions", params={"x": "1,2,3"}).status_code == 200
    http.delete(M)
    refused(other.post(f"{M}/samples", json={"samples": [GOOD]}), 404, "unknown-model")
    monkeypatch.setattr(catalogs, "CACHED_S", 0.0)
    refused(other.get(f"{M}/predictions", params={"x": "1,2,3"}), 404, "unknown-model")
    refused(other.get(f"{M}/snapshots"), 404, "unknown-model")
    assert other.get("/v1/models").json()["models"] == []
    assert replica.publications.current(old) is None


def version(services: Services, model: Model) -> Any:
    return asyncio.run(services.catalog.version(model))


def test_the_version_of_a_model_that_was_deleted_meanwhile_is_unknown(replica: Services) -> None:
    catalog = replica.catalog
    here, _ = catalog.create("here", MODEL_SPEC)
    catalog.delete(here)
    elsewhere, _ = catalog.create("elsewhere", MODEL_SPEC)
    with replica.sessions.begin() as session:
        models.remove(session, elsewhere.id)
    for model in (here, elsewhere):
        with pytest.raises(UnknownModel):
            version(replica, model)


def test_before_a_checkpoint_the_version_is_the_initial_net(replica: Services) -> None:
    model, _ = replica.catalog.create("m", MODEL_SPEC)
    assert version(replica, model).model_version == 0
    assert version(replica, model) is version(replica, model)


def test_a_checkpoint_pruned_while_it_is_looked_up_gives_way_to_the_newer_one(
    http: TestClient, replica: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.put(M, json=SPEC)
    learned(http, M, [GOOD] * 4)
    assert http.post(f"{M}/snapshots", json={"name": "s"}).status_code == 201
    model = get(replica, "m")
    replica.publications.forget(model.id)
    looked_up: list[checkpoints.Checkpoint | None] = []

    def then_pruned(session: Session, model_id: str) -> checkpoints.Checkpoint | None:
        found = newest(session, model_id)
        if not looked_up:
            assert found is not None
            state = checkpoints.state(session, model_id, found.state_id)
            assert state is not None
            again = checkpoints.add_state(session, model_id, state)
            checkpoints.add_checkpoint(session, model_id, again, found.position, epoch=2)
            session.execute(delete(SnapshotRow))
            checkpoints.prune(session, model_id, keep=1)
        looked_up.append(found)
        return found

    newest = checkpoints.newest
    monkeypatch.setattr(checkpoints, "newest", then_pruned)
    monkeypatch.setattr(replica.catalog, "_sessions", replica.sessions.begin)
    assert replica.catalog._checkpointed(model).version.samples_learned == 4
    assert len(looked_up) == 2


def test_a_damaged_checkpoint_is_unavailable_and_the_model_still_shows(
    http: TestClient, other: TestClient, replica: Services
) -> None:
    http.put(M, json=SPEC)
    learned(http, M, [GOOD] * 4)
    assert http.post(f"{M}/snapshots", json={"name": "s"}).status_code == 201
    with replica.sessions.begin() as session:
        session.execute(update(TensorRow).values(sha256="0" * 64))
    model = get(replica, "m")
    replica.publications._newest.clear()
    with pytest.raises(Unavailable, match="damaged"):
        version(replica, model)
    found = other.get(M).json()
    assert (found["samples_learned"], found["in_force"]) == (4, None)
    assert len(other.get("/v1/models").json()["models"]) == 1


def test_a_replica_follows_what_it_has_not_learned_itself(http: TestClient, other: TestClient) -> None:
    http.put(M, json=SPEC)
    learned(http, M, [GOOD] * 4)
    entry = http.post(f"{M}/snapshots", json={"name": "s"}).json()["entry"]
    assert other.get(M).json()["samples_learned"] == 4
    assert other.get(f"{M}/snapshots/s").status_code == 200
    same = [client.get(f"{M}/predictions?x=1,2,3&min_entry={entry}").json() for client in (http, other)]
    assert same[0] == same[1]
