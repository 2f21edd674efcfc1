from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amstream_client.cli.batch import DataFileError, Layout
from amstream_client.cli.files import read_batches

LAYOUT = Layout(inputs=2, label_type="integer", classes=None, label=None, weight=None)


def write(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def test_arrays_are_cut_into_batches(tmp_path: Path) -> None:
    x = np.array([[1, 2], [3, math.nan], [5, 6]], dtype=np.float64)
    path = write(tmp_path, x=x, y=np.array([0.0, 1.0, 1.0]), weight=[1, 2, 3])
    first, second = read_batches(path, LAYOUT, 2)
    np.testing.assert_array_equal(first.x, x[:2].astype(np.float32))
    assert (first.y, first.weight, first.first_row, first.last_row) == ([0, 1], [1, 2], 1, 2)
    assert (second.y, second.weight, second.share_read) == ([1], [3], 1.0)


def test_arrays_may_have_other_names(tmp_path: Path) -> None:
    path = write(tmp_path, x=[[1, 2]], target=[1], w=[0.5])
    (batch,) = read_batches(path, Layout(2, "integer", None, "target", "w"), 8)
    assert (batch.y, batch.weight) == ([1], [0.5])


def test_weights_and_times_do_not_matter_to_predictions(tmp_path: Path) -> None:
    layout = Layout.to_predict({"inputs": 2, "label_type": "integer"}, None)
    (batch,) = read_batches(write(tmp_path, x=[[1, 2]], y=[1], time=["then"], weight=[-1]), layout, 8)
    assert (batch.y, batch.weight, batch.time) == ([1], None, None)


def test_weights_may_be_booleans(tmp_path: Path) -> None:
    (batch,) = read_batches(write(tmp_path, x=[[1, 2]] * 2, y=[1, 2], weight=[True, False]), LAYOUT, 8)
    assert batch.weight == [1.0, 0.0]


def test_without_y_there_are_no_labels(tmp_path: Path) -> None:
    (batch,) = read_batches(write(tmp_path, x=[[1, 2]]), LAYOUT, 8)
    assert batch.y is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": [1]}, "needs an array x"),
        ({"x": [1, 2]}, "needs an array x"),
        ({"x": [["1", "2"]]}, "needs an array x"),
        ({"x": [[1, 2, 3]]}, "x has 3 columns, but the model has 2 inputs"),
        ({"x": [[1, 2]], "y": [1, 2]}, r"y has shape \(2,\), but x has 1 rows"),
        ({"x": [[1, 2], [1, math.inf]], "y": [1, 1]}, "row 2, column 2 of x: inf is too large"),
        ({"x": [[1, 2], [1, 2]], "y": [1.0, 1.5]}, "row 2: '1.5' is not a label of type integer"),
        ({"x": [[1, 2]], "y": np.array([{}], dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataFileError, match=rf"data\.npz.*{message}"):
        list(read_batches(write(tmp_path, **arrays), LAYOUT, 8))


def test_a_named_array_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="has no array target"):
        list(read_batches(write(tmp_path, x=[[1, 2]]), Layout(2, "integer", None, "target", None), 8))


@pytest.mark.parametrize("damage", [b"not an npz file", b""])
def test_what_is_no_npz_file_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(damage)
    with pytest.raises(DataFileError, match="is not an npz file"):
        list(read_batches(path, LAYOUT, 8))


def test_a_damaged_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(500, 2)))
    content = bytearray(path.read_bytes())
    content[500:700] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"data\.npz: "):
        list(read_batches(path, LAYOUT, 8))
