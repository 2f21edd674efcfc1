"""When samples happened: kept with them, told in metrics, and nothing that learning sees."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.testing import assert_array_equal

from service import entries
from service.api.bodies import read_samples
from service.api.media import JSON, MSGPACK, NPZ
from service.api.sample_checks import Most
from service.entries import Samples, concatenated
from service.entry_id import EntryId
from service.fold import Fold
from service.problems import Problem
from service.spec import ModelSpec
from service.state import FoldState
from tests.service.api import GOOD, learned, packed, refused

SPEC = ModelSpec(inputs=3, hidden=[8], classes=["no", "yes"])
MOST = Most(samples=10, body_bytes=10_000)
X = np.arange(9, dtype=np.float32).reshape(3, 3)
Y = ["no", "yes", "no"]
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
TIMES: list[Any] = [NOON + 0.25, None, NOON - 3600]


def timed(times: list[Any]) -> Samples:
    rows = [{"x": x, "y": y, "time": time} for x, y, time in zip(X.tolist(), Y, times, strict=True)]
    return read_samples(json.dumps({"samples": rows}).encode(), JSON, SPEC, most=MOST)


def test_they_are_the_same_in_every_format() -> None:
    file = io.BytesIO()
    np.savez(file, x=X, y=Y, time=np.array(TIMES, np.float64))
    expected = np.array(TIMES, np.float64)
    for found in (
        timed(TIMES),
        timed(["2026-11-30T13:00:00.25+01:00", None, "2026-11-30T11:00:00Z"]),
        read_samples(packed(X, Y, time=TIMES), MSGPACK, SPEC, most=MOST),
        read_samples(file.getvalue(), NPZ, SPEC, most=MOST),
    ):
        assert found.time is not None
        assert_array_equal(found.time, expected)
        assert found.newest_time() == NOON + 0.25
    assert timed([None] * 3).time is None


def test_they_stay_with_their_samples_on_the_way_into_the_log() -> None:
    whole = concatenated([Samples(X, Y, None), timed(TIMES)])
    block = whole.slice(2, 5)
    found = entries.decode(entries.encode(block), inputs=3)
    assert isinstance(found, Samples)
    assert found.time is not None
    assert_array_equal(found.time, [np.nan, NOON + 0.25, np.nan])
    assert Samples(X, Y, None).newest_time() is None


@pytest.mark.parametrize(
    "time", ["yesterday", "2026-11-30T12:00:00", "", True, 1e12, -1e12, [1], "9999-12-31T23:59:59-23:00"]
)
def test_what_is_no_time_is_named(time: Any) -> None:
    with pytest.raises(Problem) as caught:
        timed([1, time, None])
    assert caught.value.status == 422
    assert [error.field for error in caught.value.errors] == ["samples.1.time"]


def test_as_many_as_samples_in_columns() -> None:
    with pytest.raises(Problem) as caught:
        read_samples(packed(X, Y, time=[1, 2]), MSGPACK, SPEC, most=MOST)
    assert [error.field for error in caught.value.errors] == ["time"]


def folded_alone(state_id: str) -> FoldState:
    raise KeyError(state_id)


def folded(samples: Samples) -> Fold:
    fold = Fold(SPEC, device="cpu")
    fold.apply(EntryId(1, 0), entries.encode(samples), load_state=folded_alone)
    fold.settle()
    return fold


def test_learning_is_the_same_with_them_and_without() -> None:
    plain, known = folded(Samples(X, Y, None)).state(), folded(timed(TIMES)).state()
    assert known.tensors.keys() == plain.tensors.keys()
    assert all(bool((known.tensors[name] == plain.tensors[name]).all()) for name in plain.tensors)
    assert (plain.header["newest_time"], known.header["newest_time"]) == (None, NOON + 0.25)


def test_a_restored_state_knows_its_newest_time() -> None:
    fold = Fold(SPEC, device="cpu")
    fold.restore(folded(timed(TIMES)).state())
    assert fold.version().newest_time == NOON + 0.25
    older = folded(Samples(X, Y, None)).state()
    del older.header["newest_time"]  # type: ignore[attr-defined]  # as stored before there were any
    fold.restore(older)
    assert fold.version().newest_time is None


@pytest.mark.parametrize("time", ["now", 1e300, True])
def test_a_state_with_another_newest_time_is_refused(time: Any) -> None:
    state = folded(Samples(X, Y, None)).state()
    state.header["newest_time"] = time  # type: ignore[index]
    with pytest.raises(ValueError, match="newest_time"):
        Fold(SPEC, device="cpu").restore(state)


def test_metrics_name_the_newest_and_how_long_ago_it_was(http: TestClient, model: str) -> None:
    learned(http, model, [GOOD])
    seen = http.get(f"{model}/metrics").json()
    assert (seen["newest_time"], seen["event_lag_s"]) == (None, None)
    learned(http, model, [GOOD | {"time": "2020-02-01T00:00:00Z"}, GOOD | {"time": "2020-01-01T00:00:00Z"}])
    seen = http.get(f"{model}/metrics").json()
    assert seen["newest_time"] == "2020-02-01T00:00:00Z"
    assert seen["event_lag_s"] > 86_400 * 365


def test_the_same_key_with_another_time_is_another_post(http: TestClient, model: str) -> None:
    headers = {"Idempotency-Key": "timed"}
    first = http.post(f"{model}/samples", json={"samples": [GOOD | {"time": 1}]}, headers=headers)
    again = http.post(f"{model}/samples", json={"samples": [GOOD | {"time": "1970-01-01T00:00:01Z"}]}, headers=headers)
    assert again.json() == first.json() | {"repeated": True}
    other = http.post(f"{model}/samples", json={"samples": [GOOD | {"time": 2}]}, headers=headers)
    assert refused(other, 422, "idempotency-key-reused") == [("Idempotency-Key", "timed")]
