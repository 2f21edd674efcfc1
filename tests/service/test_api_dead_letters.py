"""Dead letters over HTTP: listed with their cause, counted, and deleted once they were looked at."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from service import dead_letters
from service.entry_id import EntryId
from service.services import Services
from service.stream import ModelStream
from tests.service.api import GOOD, key, learned, refused
from tests.service.learning import dead, eventually


def test_entries_that_changed_nothing_are_listed_counted_and_deleted(
    http: TestClient, model: str, services: Services
) -> None:
    found = http.get(model).json()
    stream = ModelStream(services.sync_redis, found["id"])
    assert found["dead_letters"] == 0
    assert http.get(f"{model}/dead-letters").json() == {"dead_letters": [], "next_cursor": None}
    learned(http, model, [GOOD])
    for number in range(3):
        services.sync_redis.xadd(stream._stream, {"e": b"\xc1garbage%d" % number})
    eventually(lambda: http.get(model).json()["dead_letters"] == 3)
    page = http.get(f"{model}/dead-letters", params={"limit": 2}).json()
    rest = http.get(f"{model}/dead-letters", params={"cursor": page["next_cursor"]}).json()
    letters = page["dead_letters"] + rest["dead_letters"]
    assert [letter["entry"] for letter in letters] == [str(entry) for entry, _, _ in dead(stream)]
    assert all(letter["cause"] and letter["samples"] is None and letter["size_bytes"] == 9 for letter in letters)
    assert rest["next_cursor"] is None
    until = {"until": letters[1]["entry"]}
    assert http.delete(f"{model}/dead-letters", params=until).status_code == 204
    assert [one["entry"] for one in http.get(f"{model}/dead-letters").json()["dead_letters"]] == [letters[2]["entry"]]
    last = 2**64 - 1
    assert http.delete(f"{model}/dead-letters", params={"until": f"7-{last}"}).status_code == 204
    beyond = {"until": f"{last}-{last}"}
    assert refused(http.delete(f"{model}/dead-letters", params=beyond), 422, "invalid") == [("until", beyond["until"])]
    assert http.get(model).json()["dead_letters"] == 1
    assert refused(http.delete(f"{model}/dead-letters"), 422, "invalid") == [("until", None)]
    assert refused(http.delete(f"{model}/dead-letters", params={"until": "x"}), 422, "invalid") == [("until", "x")]


def test_many_are_listed_whole(
    http: TestClient, model: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "READ_AT_ONCE", 2)
    stream = ModelStream(services.sync_redis, http.get(model).json()["id"])
    for number in range(5):
        stream.bury(EntryId(number + 1, 0), b"payload", "cause")
    for limit in (3, 4, 5, 6):
        listed = http.get(f"{model}/dead-letters", params={"limit": limit}).json()
        assert [one["entry"] for one in listed["dead_letters"]] == [f"{n + 1}-0" for n in range(min(limit, 5))]
        assert (listed["next_cursor"] is None) == (limit >= 5)


def test_any_key_of_the_model_reads_them_and_administrators_delete_them(
    http: TestClient, model: str, services: Services
) -> None:
    reads = key(services, "learn", name="learns", models=["m"])
    assert http.get(f"{model}/dead-letters", headers=reads).status_code == 200
    refused(http.delete(f"{model}/dead-letters", params={"until": "1-1"}, headers=reads), 403, "forbidden")
    others = key(services, "learn", name="others", models=["another"])
    refused(http.get(f"{model}/dead-letters", headers=others), 403, "forbidden")


def test_labels_with_which_there_would_be_too_many_classes_are_refused_where_they_come(http: TestClient) -> None:
    path = "/v1/models/few"
    spec = {"inputs": 3, "hidden": [8], "label_type": "string", "max_classes": 2}
    assert http.put(path, json=spec).status_code == 201
    one, two, three = ({"x": [1, 2, 3], "y": label} for label in "abc")
    answer = http.post(f"{path}/samples", json={"samples": [one, two, three]})
    assert refused(answer, 422, "invalid") == [("y", "c")]
    learned(http, path, [one, two])
    assert refused(http.post(f"{path}/samples", json={"samples": [three]}), 422, "invalid") == [("y", "c")]
    learned(http, path, [two])
    body = {"x": [[1, 2, 3]]}
    [tracked] = http.post(f"{path}/predictions", json=body, params={"track": True}).json()["ids"]
    label = http.put(f"{path}/predictions/{tracked}/label", json={"label": "c"})
    assert refused(label, 422, "invalid") == [("y", "c")]
    assert http.get(path).json()["dead_letters"] == 0


def test_of_too_many_classes_that_come_at_once_the_later_are_dead_letters(
    http: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first is learned, nobody knows that there is no room for the second."""
    path = "/v1/models/few"
    spec = {"inputs": 3, "hidden": [8], "classes": ["a"], "max_classes": 2, "block": {"size": 1}}
    assert http.put(path, json=spec).status_code == 201
    learned(http, path, [{"x": [1, 2, 3], "y": "a"}])
    monkeypatch.setattr(services.catalog, "check_classes", lambda *_: None)
    for label in "bc":
        assert http.post(f"{path}/samples", json={"samples": [{"x": [1, 2, 3], "y": label}]}).status_code == 202
    eventually(lambda: http.get(path).json()["dead_letters"] == 1)
    [letter] = http.get(f"{path}/dead-letters").json()["dead_letters"]
    assert (letter["samples"], "max_classes is 2" in letter["cause"]) == (1, True)
