"""Whether the first row of a CSV is a header: no sample is ever swallowed, and no header learned."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import Result

from amstream_client.cli.batch import DataFileError, Layout
from amstream_client.cli.files import read_batches
from amstream_client.testing import FakeService
from amstream_client.wire import Label, LabelType

Run = Callable[..., Result]


def first_row(
    tmp_path: Path,
    header: str,
    label_type: LabelType | None = "string",
    classes: list[Label] | None = None,
    *,
    told: bool | None = None,
) -> int:
    """Of the samples, in a file of two rows."""
    path = tmp_path / "data.csv"
    path.write_text(f"{header}\n5,6,7\n")
    (batch,) = read_batches(path, Layout(2, label_type, classes, None, None, header=told), 8)
    return batch.first_row


@pytest.mark.parametrize(
    ("header", "label_type", "classes"),
    [
        ("0,1,label", "integer", None),
        ("0,1,label", None, None),
        ("0,1,label", "string", ["7"]),
        ("0,1,2", "integer", [7]),
    ],
)
def test_numbers_in_order_are_a_header_where_the_last_cell_cannot_be_a_label(
    tmp_path: Path, header: str, label_type: LabelType | None, classes: list[Label] | None
) -> None:
    assert first_row(tmp_path, header, label_type, classes) == 2


@pytest.mark.parametrize(
    ("header", "classes"), [("0,1,a", ["a", "7"]), ("1,0,a", None), ("0,2,a", None), ("0.0,1.0,a", None)]
)
def test_a_sample_is_no_header(tmp_path: Path, header: str, classes: list[Label] | None) -> None:
    assert first_row(tmp_path, header, "string", classes) == 1


@pytest.mark.parametrize("label_type", ["integer", None])
def test_a_number_that_does_not_go_on_counting_is_no_header(tmp_path: Path, label_type: LabelType | None) -> None:
    assert first_row(tmp_path, "0,1,20", label_type) == 1


def test_a_header_that_is_told_names_the_features(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("2020,age,kind\n1,50,a\n")
    layout = Layout(2, "string", None, None, None, ["age", "2020"], header=True)
    (batch,) = read_batches(path, layout, 8)
    assert (batch.x.tolist(), batch.y) == ([[50, 1]], ["a"])


@pytest.mark.parametrize(
    ("header", "label_type", "classes"),
    [("0,1,label", "string", None), ("0,1,2", "integer", [2, 7]), ("0,1,2", None, None)],
)
def test_what_may_be_either_must_be_told(
    tmp_path: Path, header: str, label_type: LabelType | None, classes: list[Label] | None
) -> None:
    with pytest.raises(DataFileError, match="row 1: is a header of numbers, or a sample: --header or --no-header says"):
        first_row(tmp_path, header, label_type, classes)
    assert first_row(tmp_path, header, label_type, classes, told=True) == 2
    assert first_row(tmp_path, header, label_type, classes, told=False) == 1


def test_a_word_in_a_file_that_is_told_to_have_no_header_is_a_bad_value(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="row 1, column 1: 'width' is not a number"):
        first_row(tmp_path, "width,height,kind", told=False)


def test_a_frame_without_names_is_learned_and_predicted_row_by_row(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    frame = pd.DataFrame(np.arange(8.0).reshape(4, 2)).assign(label=["a", "b", "a", "b"])
    text = io.StringIO()
    frame.to_csv(text, index=False)
    path = tmp_path / "frame.csv"
    path.write_text(text.getvalue())
    assert run("learn", "iris", path).exit_code == 0
    assert service.models["iris"].y == ["a", "b", "a", "b"]
    assert "--header or --no-header" in run("predict", "iris", path).stderr
    assert json.loads(run("predict", "iris", path, "--header", "--json").stdout)["samples"] == 4
    bare = tmp_path / "bare.csv"
    frame.drop(columns="label").to_csv(bare, index=False)
    assert "--header or --no-header" in run("predict", "iris", bare).stderr
    assert json.loads(run("evaluate", "iris", path, "--header", "--json").stdout)["samples"] == 4
