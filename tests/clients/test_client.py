from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace

import httpx
import msgpack
import numpy as np
import pytest

from amstream_client import BadName, Client, Conflict, Invalid, NotFound, UnexpectedAnswer
from amstream_client.payload import samples_payload
from amstream_client.testing import FakeService


def test_a_model_is_created_listed_shown_and_deleted(client: Client) -> None:
    created = client.create_model("digits", {"inputs": 64, "classes": [0, 1]})
    assert created.spec["label_type"] == "integer"
    assert client.model("digits") == created
    assert [model.name for model in client.models()] == ["iris", "digits"]
    client.delete_model("digits")
    with pytest.raises(NotFound):
        client.model("digits")


def test_lists_that_come_in_pages_come_whole(service: FakeService) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        asked.append(cursor)
        body = service.answer(request).json()
        [model] = body["models"]
        following = {None: "second", "second": "third"}.get(cursor)
        return httpx.Response(200, json={"models": [model | {"name": f"after-{cursor}"}], "next_cursor": following})

    with Client(key=service.key, transport=httpx.MockTransport(answer)) as client:
        assert [model.name for model in client.models()] == ["after-None", "after-second", "after-third"]
    assert asked == [None, "second", "third"]


def test_an_equal_spec_is_welcome_and_a_different_one_a_conflict(client: Client) -> None:
    assert client.create_model("iris", {"inputs": 2, "classes": ["a", "b"]}).name == "iris"
    with pytest.raises(Conflict):
        client.create_model("iris", {"inputs": 3, "classes": ["a", "b"]})


def test_samples_are_learned_with_their_weights(client: Client, service: FakeService) -> None:
    accepted = client.learn("iris", [[1, 2], [3, 4]], ["a", "b"], weight=[1, 0.5])
    assert accepted.accepted == 2
    learned = service.models["iris"]
    assert (learned.x, learned.y, learned.weight) == ([[1, 2], [3, 4]], ["a", "b"], [1, 0.5])


def test_whole_samples_go_out_as_little_endian_float32_rows(client: Client, service: FakeService) -> None:
    x = np.array([[1.5, -2.0], [3.25, 0.1]], dtype=np.float64)
    client.learn("iris", np.asfortranarray(x), np.array(["a", "b"]))
    request = service.requests[-1]
    assert request.headers["Content-Type"] == "application/msgpack"
    assert msgpack.unpackb(request.content) == {"x": x.astype("<f4").tobytes(), "n": 2, "y": ["a", "b"]}


@pytest.mark.parametrize("missing", [math.nan, None])
def test_missing_values_go_out_as_nan_in_arrays(client: Client, service: FakeService, missing: float | None) -> None:
    client.learn("iris", [[1.0, missing], [3.0, 4.0]], ["a", "b"], weight=[1, 2])
    request = service.requests[-1]
    assert request.headers["Content-Type"] == "application/x-npz"
    learned = service.models["iris"]
    assert (str(learned.x), learned.y, learned.weight) == ("[[1.0, nan], [3.0, 4.0]]", ["a", "b"], [1, 2])
    client.predict("iris", [[missing, 2.0]])
    assert service.requests[-1].headers["Content-Type"] == "application/x-npz"


@pytest.mark.parametrize("labels", [["a", 1], ["a\0", "b"], [True, 1]])
def test_labels_that_arrays_would_change_go_out_in_json(labels: list[object]) -> None:
    payload = samples_payload([[1.0, None], [3.0, 4.0]], labels, [1, 2])  # type: ignore[arg-type]
    assert json.loads(payload.content) == {
        "samples": [
            {"x": [1.0, None], "y": labels[0], "weight": 1.0},
            {"x": [3.0, 4.0], "y": labels[1], "weight": 2.0},
        ]
    }


@pytest.mark.parametrize("labels", [["a", "bc"], [1, -(2**63)], [True, False], [1.5, 2.0]])
def test_labels_that_go_out_in_arrays_come_back_the_same(labels: list[object]) -> None:
    payload = samples_payload([[1.0, None], [3.0, 4.0]], labels, None)  # type: ignore[arg-type]
    with np.load(io.BytesIO(payload.content), allow_pickle=False) as arrays:
        found = arrays["y"].tolist()
    assert [(type(label), label) for label in found] == [(type(label), label) for label in labels]


def test_labels_keep_the_types_of_python(service: FakeService, client: Client) -> None:
    client.create_model("flags", {"inputs": 1, "classes": [False, True]})
    client.learn("flags", [[1], [2]], np.array([True, False]))
    assert service.models["flags"].y == [True, False]
    assert all(type(label) is bool for label in service.models["flags"].y)


def test_predictions_come_one_per_row(client: Client) -> None:
    client.learn("iris", [[1, 2]] * 2, ["b", "b"])
    predictions = client.predict("iris", np.zeros((3, 2)))
    assert predictions.labels == ["b"] * 3
    assert predictions.probabilities == [[0.25, 0.75]] * 3
    one = client.predict_one("iris", [0.0, None])
    assert (one.label, one.probabilities, one.classes) == ("b", [0.25, 0.75], ["a", "b"])


def test_one_sample_with_many_features_does_not_go_into_a_url(client: Client, service: FakeService) -> None:
    client.create_model("wide", {"inputs": 784, "classes": ["a", "b"]})
    assert client.predict_one("wide", np.linspace(0, 1, 784)).probabilities == [0.5, 0.5]
    assert (service.requests[-1].method, service.requests[-1].url.query) == ("POST", b"")


def test_hyperparameters_are_read_and_set(client: Client) -> None:
    client.create_model("tuned", {"inputs": 1, "classes": ["a", "b"], "hyperparameters": {"mu": 0.1}})
    assert client.set_hyperparameters("tuned", {"eta": 0.5}) == {"mu": 0.1, "eta": 0.5}
    assert client.hyperparameters("tuned") == {"mu": 0.1, "eta": 0.5}


def test_metrics_count_what_was_learned(client: Client) -> None:
    client.learn("iris", [[1, 2]] * 3, ["a", "b", "b"])
    metrics = client.metrics("iris")
    assert (metrics.samples_learned, metrics.drifts.count) == (3, 0)
    assert [(one.label, one.seen) for one in metrics.classes] == [("a", 1), ("b", 2)]
    assert metrics.retention is not None


def test_min_entry_is_asked_for_in_the_query(client: Client, service: FakeService) -> None:
    accepted = client.learn("iris", [[1, 2]], ["a"])
    assert client.predict("iris", [[1, 2]], min_entry=accepted.entries[-1]).applied_entry == accepted.entries[-1]
    assert service.requests[-1].url.params["min_entry"] == accepted.entries[-1]


def test_a_restored_model_is_what_it_was_at_the_snapshot(client: Client) -> None:
    client.learn("iris", [[1, 2]], ["a"])
    snapshot = client.create_snapshot("iris", "first")
    client.learn("iris", [[1, 2]] * 5, ["b"] * 5)
    assert client.snapshots("iris") == [snapshot] == [client.snapshot("iris", "first")]
    assert client.restore("iris", "first").snapshot == "first"
    assert client.predict_one("iris", [0, 0]).label == "a"


def test_a_key_used_for_other_samples_is_refused(client: Client) -> None:
    first = client.learn("iris", [[1, 2]], ["a"], idempotency_key="k")
    assert first.repeated is False
    assert client.learn("iris", [[1, 2]], ["a"], idempotency_key="k") == replace(first, repeated=True)
    with pytest.raises(Invalid):
        client.learn("iris", [[9, 9]], ["a"], idempotency_key="k")


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        ([1, 2], ["a"], None, r"x must have shape \(n, inputs\)"),
        (np.zeros((0, 2)), [], None, "n >= 1"),
        ([[1, math.inf]], ["a"], None, r"x\[0, 1\] is infinite"),
        ([[1, 1e39]], ["a"], None, r"x\[0, 1\] is infinite or too large"),
        ([[1, 2]], ["a", "b"], None, "y has 2 labels for 1 samples"),
        ([[1, 2]], ["a"], [1, 2], "weight has shape"),
        ([[1, 2]], ["a"], [math.nan], r"weight\[0\] is nan"),
    ],
)
def test_samples_that_cannot_be_sent_are_refused_before_sending(
    client: Client, service: FakeService, x: list[list[float]], y: list[str], weight: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        client.learn("iris", x, y, weight)
    assert service.requests == []


@pytest.mark.parametrize("key", ["", "has space", "ümlaut", "x" * 256])
def test_an_idempotency_key_must_fit_a_header(client: Client, key: str) -> None:
    with pytest.raises(ValueError, match="idempotency_key"):
        client.learn("iris", [[1, 2]], ["a"], idempotency_key=key)


def test_a_key_that_cannot_be_one_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="key must be visible ASCII") as caught:
        Client(key="secret\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8707", "ftp://host", "http://", "http://host:port"])
def test_a_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Client(url)


def test_a_url_may_have_a_path_and_names_are_escaped(service: FakeService) -> None:
    with (
        Client("https://host/prefix", service.key, transport=service.transport()) as client,
        pytest.raises(NotFound),
    ):
        client.model("a?b c")
    assert service.requests[-1].url.raw_path == b"/prefix/v1/models/a%3Fb%20c"


@pytest.mark.parametrize("name", ["", ".", "..", "digits/metrics"])
def test_a_name_that_would_lead_to_another_route_is_refused(client: Client, service: FakeService, name: str) -> None:
    asks: list[Callable[[], object]] = [
        lambda: client.model(name),
        lambda: client.delete_snapshot("iris", name),
        lambda: client.tracked("iris", name),
        lambda: client.revoke_key(name),
        lambda: next(client.events(name)),
    ]
    for ask in asks:
        with pytest.raises(BadName, match="a name is not empty and has no slash"):
            ask()
    assert service.requests == []


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_ready_asks_once(status: int, expected: bool) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(status, json={})

    with Client(transport=httpx.MockTransport(answer)) as client:
        assert client.ready() is expected
    assert asked == ["/readyz"]


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, html="<h1>another service</h1>"),
        httpx.Response(200, json=["a", "list"]),
        httpx.Response(200, json={"name": "iris"}),
        httpx.Response(307, headers={"Location": "/login"}),
    ],
)
def test_an_answer_that_is_not_amstreams_is_named_as_such(response: httpx.Response) -> None:
    with (
        Client(transport=httpx.MockTransport(lambda request: response)) as client,
        pytest.raises(UnexpectedAnswer),
    ):
        client.model("iris")


def test_fields_that_a_newer_service_adds_are_ignored(service: FakeService) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=service.answer(request).json() | {"since_the_future": 1})

    with Client(key=service.key, transport=httpx.MockTransport(answer)) as client:
        assert client.model("iris").name == "iris"
