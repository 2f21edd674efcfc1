"""What is taken for samples and labels: NumPy, pandas, torch and plain lists."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
import torch

from amstream_client.payload import inputs_payload, samples_payload, to_matrix, to_rows, to_seconds, to_targets

EXPECTED = np.array([[1.5, math.nan], [3.0, 4.0]], np.float32)

NULLABLE = pd.DataFrame({"a": pd.array([1.5, 3], "Float64"), "b": pd.array([None, 4], "Int64")})


@pytest.mark.parametrize(
    "x",
    [
        [[1.5, None], [3, 4]],
        np.array([[1.5, math.nan], [3, 4]]),
        pd.DataFrame({"a": [1.5, 3.0], "b": [None, 4.0]}),
        NULLABLE,
        pd.DataFrame({"a": [1.5, 3], "b": [None, 4]}, dtype=object),
        [row for _, row in NULLABLE.iterrows()],
        torch.tensor([[1.5, math.nan], [3, 4]]),
        torch.tensor([[1.5, math.nan], [3, 4]], requires_grad=True),
        torch.tensor([[1.5, math.nan], [3, 4]], dtype=torch.bfloat16),
        [torch.tensor([1.5, math.nan], requires_grad=True), torch.tensor([3, 4])],
    ],
)
def test_rows_come_from_whatever_holds_them(x: Any) -> None:
    rows = to_matrix(x)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, EXPECTED, equal_nan=True)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (["a", "b"], ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.array([1, 2], "Int64"), [1, 2]),
        (np.array([1, 2], np.int8), [1, 2]),
        (torch.tensor([1, 2]), [1, 2]),
        ([torch.tensor(1), np.int64(2)], [1, 2]),
        (torch.tensor([True, False]), [True, False]),
        (np.array([1, 2], object), [1, 2]),
        ([1.5, np.float32(2.5)], [1.5, 2.5]),
        (pd.Series([1.5, 2.5]), [1.5, 2.5]),
        (torch.tensor([[1.5, 2.0], [0.5, 1.0]]), [[1.5, 2.0], [0.5, 1.0]]),
        ([(1, 2.5)], [[1, 2.5]]),
    ],
)
def test_labels_become_pythons_own(y: Any, labels: list[Any]) -> None:
    found = to_targets(y)
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize(
    "y",
    [["a", None], pd.Series(["a", None]), pd.array([1, None], "Int64"), [1, math.nan], [1, [2, None]], [1, math.inf]],
)
def test_a_label_that_is_none_is_named(y: Any) -> None:
    with pytest.raises(ValueError, match=r"y\[1\] is"):
        to_targets(y)


def test_rows_by_name_go_out_as_json_with_null_where_a_value_is_missing() -> None:
    frame = pd.DataFrame({"age": pd.array([3, None], "Int64"), "size": [1.5, math.nan]})
    rows = to_rows(frame.astype(object).to_dict("records"))
    assert json.loads(inputs_payload(rows).content) == {"x": [{"age": 3, "size": 1.5}, {"age": None, "size": None}]}
    sent = json.loads(samples_payload([{"age": 3}], ["a"], [2]).content)
    assert sent == {"samples": [{"x": {"age": 3}, "y": "a", "weight": 2}]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [([{"a": math.inf}], r"x\[0\]\['a'\] is infinite"), ([{"a": 1}, [1]], r"x\[1\] has no names")],
)
def test_rows_by_name_that_cannot_be_sent_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_rows(rows)


NOON = datetime(2026, 11, 27, 12, 0, 0, 500_000, UTC)


@pytest.mark.parametrize(
    "times",
    [
        [NOON, None],
        [NOON.astimezone(timezone(timedelta(hours=5))), None],
        [NOON.timestamp(), math.nan],
        np.array([NOON.timestamp(), math.nan]),
        np.array(["2026-11-27T12:00:00.5", "NaT"], "datetime64[ms]"),
        pd.Series([pd.Timestamp(NOON), pd.NaT]),
        pd.to_datetime(pd.Series(["2026-11-27 12:00:00.5", None])),
    ],
)
def test_times_become_seconds_since_1970(times: Any) -> None:
    assert to_seconds(times, 2) == [NOON.timestamp(), None]


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"time\[0\]: .* offset"):
        to_seconds([datetime(2026, 11, 27)], 1)
    with pytest.raises(ValueError, match="time has 1 values for 2 samples"):
        to_seconds([1.0], 2)


def test_times_go_out_with_their_samples() -> None:
    packed = msgpack.unpackb(samples_payload([[1.0]], ["a"], None, [NOON]).content)
    assert (packed["y"], packed["time"]) == (["a"], [NOON.timestamp()])
    named = json.loads(samples_payload([{"a": 1}], ["a"], [2], [NOON]).content)
    assert named == {"samples": [{"x": {"a": 1}, "y": "a", "weight": 2, "time": NOON.timestamp()}]}
    with np.load(io.BytesIO(samples_payload([[1.0], [None]], ["a", "b"], None, [NOON, None]).content)) as arrays:
        assert np.array_equal(arrays["time"], [NOON.timestamp(), math.nan], equal_nan=True)
