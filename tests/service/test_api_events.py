"""Events of a model: what is said, in order, resumable, and by how many it is heard."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from httpx_sse import ServerSentEvent, connect_sse

from service.embedded import EmbeddedValkey
from service.entry_id import EntryId
from service.events import KEPT
from service.stream import ModelStream
from tests.server import Server

SPEC = {"inputs": 2, "hidden": [8], "label_type": "string", "block": {"size": 8, "wait_ms": 0}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"AMSTREAM_MAX_LISTENERS": "3", "AMSTREAM_CHECKPOINT_S": "0.2"}
    with Server(tmp_path_factory.mktemp("events") / "data", environment=settings) as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def model(api: httpx.Client, request: pytest.FixtureRequest) -> str:
    path = f"/v1/models/events-{abs(hash(request.node.name)) % 10**8}"
    assert api.put(path, json=SPEC).status_code == 201
    return path


def post(api: httpx.Client, model: str, labels: list[str], seed: int = 0) -> str:
    x = np.random.default_rng(seed).normal(size=(len(labels), 2)).tolist()
    samples = [{"x": row, "y": y} for row, y in zip(x, labels, strict=True)]
    return str(api.post(f"{model}/samples", json={"samples": samples}).json()["entries"][-1])


def heard(api: httpx.Client, model: str, until: str, last_event_id: str | None = None) -> list[ServerSentEvent]:
    """Events from the beginning, or after one, up to the first of a kind."""
    headers = {"Last-Event-ID": "0-0" if last_event_id is None else last_event_id}
    found = []
    with connect_sse(api, "GET", f"{model}/events", headers=headers) as source:
        for event in source.iter_sse():
            if not event.data:  # tells where the listener is, and is no event
                continue
            found.append(event)
            if event.event == until:
                break
    return found


def kinds(events: list[ServerSentEvent]) -> list[str]:
    return [event.event for event in events]


def test_classes_learning_and_checkpoints_are_told_in_order(api: httpx.Client, model: str) -> None:
    entry = post(api, model, ["a", "b"] * 4)
    found = heard(api, model, "checkpoint")
    told = kinds(found)
    assert told[:2] == ["new-class", "new-class"]
    assert {json.loads(event.data)["label"] for event in found[:2]} == {"a", "b"}
    assert "learned" in told
    learned = json.loads(found[told.index("learned")].data)
    assert (learned["entry"], learned["samples_learned"], learned["model_version"]) == (entry, 8, 1)
    assert json.loads(found[-1].data)["entry"] == entry


def test_listening_goes_on_after_the_last_event_that_was_seen(api: httpx.Client, model: str) -> None:
    post(api, model, ["a", "b"] * 4)
    first = heard(api, model, "checkpoint")
    post(api, model, ["a", "c"] * 4, seed=1)
    again = heard(api, model, "new-class", last_event_id=first[-1].id)
    assert json.loads(again[-1].data)["label"] == "c"
    assert not {event.id for event in again} & {event.id for event in first}
    whole = heard(api, model, "new-class")
    assert [event.id for event in whole] == [event.id for event in first[: len(whole)]]


def test_whoever_listens_is_told_from_where_on(api: httpx.Client, model: str) -> None:
    post(api, model, ["a", "b"] * 4)
    last = heard(api, model, "checkpoint")[-1]
    with connect_sse(api, "GET", f"{model}/events") as source:
        where = next(source.iter_sse())
    assert EntryId.parse(where.id) >= EntryId.parse(last.id)
    assert where.data == ""
    post(api, model, ["a", "c"] * 4, seed=1)
    assert json.loads(heard(api, model, "new-class", last_event_id=where.id)[-1].data)["label"] == "c"


def test_restores_and_dead_letters_are_told(api: httpx.Client, model: str, server: Server) -> None:
    post(api, model, ["a", "b"] * 4)
    assert api.post(f"{model}/snapshots", json={"name": "s"}).status_code == 201
    assert api.post(f"{model}/restore", json={"snapshot": "s"}).status_code == 200
    adopted = json.loads(heard(api, model, "adopted")[-1].data)
    assert adopted["source"] == "snapshot s"
    client = redis.Redis.from_url(EmbeddedValkey(server.data_dir).url)
    model_id = api.get(model).json()["id"]
    client.xadd(f"am:{{{model_id}}}:stream", {"e": b"garbage"})
    dead = json.loads(heard(api, model, "dead-letter")[-1].data)
    assert "msgpack" in dead["cause"]
    client.close()


def test_a_drift_is_told(api: httpx.Client, model: str) -> None:
    draw = np.random.default_rng(0)
    x, random = draw.normal(size=(2400, 2)), draw.random(2400) < 0.5
    labels = np.where(np.where(np.arange(2400) < 2000, x[:, 0] > 0, random), "a", "b")  # in the end they mean nothing
    samples = [{"x": row.tolist(), "y": str(label)} for row, label in zip(x, labels, strict=True)]
    assert api.post(f"{model}/samples", json={"samples": samples}).status_code == 202
    drift = json.loads(heard(api, model, "drift")[-1].data)
    assert 2000 < drift["at_sample"] <= 2400


def test_events_that_are_gone_are_missed_loudly(api: httpx.Client, model: str, server: Server) -> None:
    client = redis.Redis.from_url(EmbeddedValkey(server.data_dir).url)
    log = ModelStream(client, api.get(model).json()["id"]).events
    for number in range(2 * KEPT):
        log.say("learned", number=number)
    early = EntryId.parse(heard(api, model, "learned")[0].id)
    long_ago = f"{early.ms - 1000}-0"
    found = heard(api, model, "learned", last_event_id=long_ago)
    assert kinds(found) == ["missed", "learned"]
    assert found[0].id == long_ago
    client.close()


def test_no_more_listen_than_may_and_places_become_free(api: httpx.Client, model: str) -> None:
    with contextlib.ExitStack() as listening:
        for _ in range(3):
            listening.enter_context(connect_sse(api, "GET", f"{model}/events"))
        refused = api.get(f"{model}/events")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    freed = threading.Event()

    def retry() -> None:
        while not freed.is_set():
            with connect_sse(api, "GET", f"{model}/events") as source:
                if source.response.status_code == 200:
                    freed.set()

    thread = threading.Thread(target=retry, daemon=True)
    thread.start()
    assert freed.wait(20)


def test_the_stream_ends_when_the_model_is_deleted(api: httpx.Client, model: str) -> None:
    with connect_sse(api, "GET", f"{model}/events") as source:
        assert api.delete(model).status_code == 204
        assert [event for event in source.iter_sse() if event.event != "message"] == []


@pytest.mark.parametrize(("header", "status"), [("yesterday", 422), ("5", 422)])
def test_an_id_that_is_none_is_refused(api: httpx.Client, model: str, header: str, status: int) -> None:
    answer = api.get(f"{model}/events", headers={"Last-Event-ID": header})
    assert answer.status_code == status
    assert answer.json()["errors"][0]["field"] == "Last-Event-ID"
    assert api.get("/v1/models/none-such/events").status_code == 404
    anonymous: Any = httpx.get(f"{api.base_url}{model}/events")
    assert anonymous.status_code == 401


def test_a_key_that_is_revoked_hears_no_more(server: Server, api: httpx.Client, model: str) -> None:
    made = api.post("/v1/keys", json={"name": f"listener of {model[-8:]}", "scopes": ["predict"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    with httpx.stream("GET", server.url + f"{model}/events", headers=headers, timeout=20) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert api.delete(f"/v1/keys/{made['id']}").status_code == 204
        list(lines)  # ends, or times out
    assert httpx.get(server.url + model, headers=headers).status_code == 401
