"""Shadows over HTTP: fed with a model's log, compared with it, promoted."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service import redis_keys as keys
from service.catalog import Model
from service.entry_id import EntryId
from service.loss import accept_loss
from service.problems import Conflict, UnknownModel
from service.repositories import leases, models
from service.services import Services
from service.shadows import add_shadow as add_shadow_row
from service.spec import ModelSpec
from service.stream import ModelStream
from service.version import Version
from tests.service.api import key, learned, refused, standing
from tests.service.learning import eventually

PROBE = {"x": np.random.default_rng(9).normal(size=(8, 3)).tolist()}


def block(seed: int, n: int = 4) -> list[dict[str, Any]]:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return [{"x": row.tolist(), "y": "yes" if row[0] > 0 else "no"} for row in x]


def predicted(http: TestClient, model: str) -> Any:
    return http.post(f"{model}/predictions", json=PROBE).json()["probabilities"]


def goes_on(http: TestClient, path: str, entry: EntryId) -> bool:
    return bool(http.get(path).json()["applied_entry"] == str(entry))


def add_shadow(http: TestClient, model: str, **changes: Any) -> str:
    path = f"{model}-shadow"
    spec = http.get(model).json()["spec"] | {"shadow_of": model.rsplit("/", 1)[1]} | changes
    answer = http.put(path, json=spec)
    assert answer.status_code == 201, answer.text
    return path


@pytest.fixture
def shadow(http: TestClient, model: str) -> str:
    return add_shadow(http, model, learner="am-mem-paper", hyperparameters={}, hidden=[6])


def test_a_shadow_learns_what_its_model_is_sent_and_is_compared_with_it(
    http: TestClient, model: str, shadow: str
) -> None:
    for seed in range(5):
        entry = learned(http, model, block(seed))
    assert http.post(f"{shadow}/predictions", json=PROBE, params={"min_entry": entry}).status_code == 200
    assert standing(http, shadow) == standing(http, model) == (20, 5)
    assert predicted(http, shadow) != predicted(http, model)
    [figures] = http.get(f"{model}/metrics").json()["shadows"]
    own = http.get(f"{shadow}/metrics").json()
    assert figures["name"] == shadow.rsplit("/", 1)[1]
    assert (figures["recent"], figures["samples_learned"]) == (own["recent"], 20)
    assert own["shadows"] == []


def test_a_shadow_that_comes_later_begins_at_the_newest_checkpoint(http: TestClient, model: str) -> None:
    learned(http, model, block(0))
    assert http.post(f"{model}/snapshots", json={"name": "here"}).status_code == 201  # writes a checkpoint
    shadow = add_shadow(http, model)
    learned(http, model, block(1))
    assert standing(http, shadow) == (4, 3)
    assert standing(http, model) == (8, 3)


def test_promotion_makes_the_model_what_the_shadow_is(http: TestClient, model: str, shadow: str) -> None:
    learned(http, model, block(0))
    before = http.get(model).json()
    answer = http.post(f"{shadow}/promote").json()
    assert answer["model"] == model.rsplit("/", 1)[1]
    assert answer["model_version"] == before["model_version"] + 1
    assert standing(http, model) == (before["samples_learned"], answer["model_version"])
    eventually(lambda: http.get(shadow).json()["entries_lag"] == 0)
    assert predicted(http, model) == predicted(http, shadow)
    entry = learned(http, model, block(1))
    assert http.post(f"{shadow}/predictions", json=PROBE, params={"min_entry": entry}).status_code == 200
    assert predicted(http, model) == predicted(http, shadow)
    assert http.get(f"{model}/metrics").json()["overall"] == http.get(f"{shadow}/metrics").json()["overall"]
    assert http.get(f"{model}/snapshots/{answer['snapshot']}").status_code == 200
    assert "window" in http.get(f"{model}/hyperparameters").json()
    found = http.get(model).json()
    assert (found["in_force"]["learner"], found["in_force"]["hidden"]) == ("am-mem-paper", [6])
    assert found["spec"] == before["spec"]
    assert http.patch(f"{model}/hyperparameters", json={"eta": 0.5}).json()["eta"] == 0.5
    assert http.delete(shadow).status_code == 204
    learned(http, model, block(2))


def test_commands_of_the_model_do_not_touch_its_shadow(http: TestClient, model: str, shadow: str) -> None:
    entry = learned(http, model, block(0))
    http.post(f"{shadow}/predictions", json=PROBE, params={"min_entry": entry})
    before = predicted(http, shadow)
    assert http.post(f"{model}/snapshots", json={"name": "here"}).status_code == 201
    assert http.post(f"{model}/restore", json={"snapshot": "here"}).status_code == 200
    assert standing(http, shadow) == (4, 3)
    assert predicted(http, shadow) == before


def test_what_needs_a_log_of_its_own_is_refused_to_a_shadow(http: TestClient, model: str, shadow: str) -> None:
    entry = learned(http, model, block(0))
    for path, body in (
        ("samples", {"samples": block(1)}),
        ("snapshots", {"name": "here"}),
        ("restore", {"at": entry}),
        ("restore", {"skip": [entry]}),
    ):
        refused(http.post(f"{shadow}/{path}", json=body), 409, "conflict")
    refused(http.patch(f"{shadow}/hyperparameters", json={"lr": 0.5}), 409, "conflict")
    assert refused(http.post(f"{model}/promote"), 409, "conflict") == [("shadow_of", None)]


def test_a_model_with_shadows_is_not_deleted(http: TestClient, model: str, shadow: str) -> None:
    answer = http.delete(model)
    refused(answer, 409, "conflict")
    assert shadow.rsplit("/", 1)[1] in answer.json()["detail"]
    assert http.delete(shadow).status_code == 204
    assert http.delete(model).status_code == 204


def test_a_shadow_that_comes_while_its_model_is_deleted_is_a_conflict(
    http: TestClient, model: str, shadow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(models, "shadows", lambda *_: [])
        refused(http.delete(model), 409, "conflict")
    assert http.get(model).status_code == http.get(shadow).status_code == 200


def test_figures_of_a_model_come_without_those_of_a_shadow_that_is_gone(
    http: TestClient, model: str, shadow: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = services.catalog.version

    async def gone(asked: Model) -> Version:
        if asked.shadow_of is not None:
            raise UnknownModel(asked.name)
        return await version(asked)

    monkeypatch.setattr(services.catalog, "version", gone)
    answer = http.get(f"{model}/metrics")
    assert answer.status_code == 200
    assert answer.json()["shadows"] == []


def test_a_shadow_that_has_learned_nothing_is_not_promoted(http: TestClient, model: str) -> None:
    learned(http, model, block(0))
    assert http.post(f"{model}/snapshots", json={"name": "here"}).status_code == 201
    refused(http.post(f"{add_shadow(http, model)}/promote"), 409, "conflict")


def test_specs_of_shadows_that_do_not_fit_are_refused(http: TestClient, model: str, shadow: str) -> None:
    spec = http.get(model).json()["spec"] | {"shadow_of": model.rsplit("/", 1)[1]}
    other = "/v1/models/another-shadow"
    assert refused(http.put(other, json=spec | {"inputs": 4}), 422, "invalid") == [("inputs", 4)]
    assert refused(http.put(other, json=spec | {"shadow_of": "nobody"}), 422, "invalid") == [("shadow_of", "nobody")]
    of_shadow = spec | {"shadow_of": shadow.rsplit("/", 1)[1]}
    assert refused(http.put(other, json=of_shadow), 409, "conflict") == [("shadow_of", of_shadow["shadow_of"])]


def test_promotion_needs_the_scope_for_both(http: TestClient, model: str, shadow: str, services: Services) -> None:
    learned(http, model, block(0))
    name = shadow.rsplit("/", 1)[1]
    only_shadow = key(services, "snapshot", name="promotes-half", models=[name])
    assert http.post(f"{shadow}/promote", headers=only_shadow).status_code in (403, 404)
    both = key(services, "snapshot", name="promotes", models=[name, model.rsplit("/", 1)[1]])
    assert http.post(f"{shadow}/promote", headers=both).status_code == 200


def test_a_shadow_goes_on_with_its_model_after_a_loss_is_accepted(
    http: TestClient, model: str, shadow: str, services: Services
) -> None:
    learned(http, model, block(0))
    assert standing(http, shadow) == (4, 1)
    stream = ModelStream(services.sync_redis, http.get(model).json()["id"])
    names = [path.rsplit("/", 1)[1] for path in (model, shadow)]
    with pytest.raises(Conflict, match="nothing is lost"):
        accept_loss(services.sessions, services.sync_redis, names[0])
    assert http.post(f"{model}/snapshots", json={"name": "checkpointed"}).status_code == 201
    services.sync_redis.delete(keys.stream(http.get(model).json()["id"]))
    accepted = accept_loss(services.sessions, services.sync_redis, names[0])
    assert stream.first() == accepted.position.entry
    for path in (model, shadow):
        eventually(partial(goes_on, http, path, accepted.position.entry))
    eventually(lambda: http.post(f"{model}/samples", json={"samples": block(9)}).status_code == 202)
    entry = learned(http, model, block(1))
    assert http.post(f"{shadow}/predictions", json=PROBE, params={"min_entry": entry}).status_code == 200
    with pytest.raises(Conflict, match="accept the loss for that one"):
        accept_loss(services.sessions, services.sync_redis, names[1])


def test_the_log_is_not_trimmed_past_what_a_shadow_has_yet_to_learn(
    http: TestClient, model: str, services: Services
) -> None:
    name = "kept-for-a-shadow"
    path = f"/v1/models/{name}"
    spec = http.get(model).json()["spec"] | {"retain_s": 0.0}
    assert http.put(path, json=spec).status_code == 201
    stream = ModelStream(services.sync_redis, http.get(path).json()["id"])
    first = EntryId.parse(learned(http, path, block(0)))

    def checkpoints(names: str) -> None:
        for snapshot in names:
            assert http.post(f"{path}/snapshots", json={"name": snapshot}).status_code == 201

    with services.sessions.begin() as session:
        add_shadow_row(session, ModelSpec.model_validate(spec | {"shadow_of": name}), model_id="s", name="s")
        leases.take(session, "s", holder="one that is silent", lease_s=1000.0)
    checkpoints("abcdef")
    assert stream.holds(first)
    with services.sessions.begin() as session:
        models.remove(session, "s")
    checkpoints("g")
    assert not stream.holds(first)
