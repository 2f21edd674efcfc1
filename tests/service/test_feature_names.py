"""Samples and inputs whose features come by name, and targets of regressions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from service.api.bodies import read_inputs, read_samples
from service.api.json_samples import Line, samples_of_lines
from service.api.media import JSON, MSGPACK
from service.api.sample_checks import Most
from service.problems import Problem, TooLarge
from service.spec import ModelSpec
from tests.service.api import packed

SPEC = ModelSpec(features=["age", "x", "price[eur]"], classes=["no", "yes"])
PLAIN = ModelSpec(inputs=3, classes=["no", "yes"])
MOST = Most(samples=4, body_bytes=10_000)
ROW = {"price[eur]": 2.5, "age": 41, "x": None}


def read(samples: list[Any], spec: ModelSpec = SPEC) -> Any:
    return read_samples(json.dumps({"samples": samples}).encode(), JSON, spec, most=MOST)


def test_names_and_places_mean_the_same_and_what_is_not_named_is_missing() -> None:
    expected = np.array([[41, np.nan, 2.5]] * 3, np.float32)
    rows: list[Any] = [ROW, [41, None, 2.5], {"age": 41, "price[eur]": 2.5}]
    assert_array_equal(read([{"x": row, "y": "no"} for row in rows]).x, expected)
    assert_array_equal(read_inputs(json.dumps({"x": rows}).encode(), JSON, SPEC, most=MOST), expected)
    lines = [Line(number, json.dumps({"x": row, "y": "no"}).encode()) for number, row in enumerate(rows)]
    assert_array_equal(samples_of_lines(lines, SPEC).x, expected)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"agee": 1}, "samples.0.x.agee"),
        ({"": 1}, "samples.0.x."),
        ({"age": "1"}, "samples.0.x.age"),
        ({"age": True}, "samples.0.x.age"),
        ({"age": 1e16}, "samples.0.x.age"),
        ({"age": [1]}, "samples.0.x.age"),
        ([1e16, 2, 3], "samples.0.x.0"),
        ([1, 2], "samples.0.x"),
        ([1, 2, "3"], "samples.0.x.2"),
        (None, "samples.0.x"),
        ("age", "samples.0.x"),
    ],
)
def test_what_is_wrong_is_named(row: Any, field: str) -> None:
    with pytest.raises(Problem) as caught:
        read([{"x": row, "y": "no"}])
    assert caught.value.status == 422
    assert [error.field for error in caught.value.errors] == [field]


def test_a_model_without_names_takes_none() -> None:
    with pytest.raises(Problem) as caught:
        read([{"x": {"age": 1}, "y": "no"}], PLAIN)
    assert [error.field for error in caught.value.errors] == ["samples.0.x"]


def test_names_that_look_like_samples_do_not_count_as_such() -> None:
    full = [{"x": ROW | {"x": 1}, "y": "no"}] * MOST.samples
    assert len(read(full)) == MOST.samples
    assert len(read_inputs(json.dumps({"x": [ROW] * MOST.samples}).encode(), JSON, SPEC, most=MOST)) == MOST.samples
    for many in ([*full, full[0]], [{"x": {}, "y": "no"}] * (MOST.samples + 1)):
        with pytest.raises(TooLarge):
            read(many)
    with pytest.raises(TooLarge):
        read_inputs(json.dumps({"x": [ROW] * (MOST.samples + 1)}).encode(), JSON, SPEC, most=MOST)


@pytest.mark.parametrize(("targets", "y"), [(1, [1.5, -2]), (2, [[1.5, 0], [3, -1e15]])])
def test_values_of_regressions_in_either_format(targets: int, y: list[Any]) -> None:
    spec = ModelSpec(inputs=3, task="regression", targets=targets)
    rows = [{"x": [1, 2, 3], "y": each} for each in y]
    assert list(read(rows, spec).y) == y
    assert list(read_samples(packed(np.ones((2, 3)), y), MSGPACK, spec, most=MOST).y) == y


@pytest.mark.parametrize(
    ("targets", "y", "field"),
    [
        (1, "1", "samples.0.y"),
        (1, None, "samples.0.y"),
        (1, True, "samples.0.y"),
        (1, [1.0], "samples.0.y"),
        (1, 1e16, "samples.0.y"),
        (2, 1.0, "samples.0.y"),
        (2, [1.0], "samples.0.y"),
        (2, [1.0, None], "samples.0.y.1"),
        (2, [1.0, 2, 3], "samples.0.y"),
    ],
)
def test_what_is_no_value_of_a_regression_is_named(targets: int, y: Any, field: str) -> None:
    with pytest.raises(Problem) as caught:
        read([{"x": [1, 2, 3], "y": y}], ModelSpec(inputs=3, task="regression", targets=targets))
    assert caught.value.status == 422
    assert [error.field for error in caught.value.errors] == [field]
