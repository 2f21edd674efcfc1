from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from amstream_client.cli.batch import Batch, DataFileError, Layout
from amstream_client.cli.files import read_batches
from amstream_client.wire import Label, LabelType


def layout(
    inputs: int = 2,
    label_type: LabelType = "string",
    classes: list[Label] | None = None,
    label: str | None = None,
    weight: str | None = None,
) -> Layout:
    return Layout(inputs, label_type, classes, label, weight)


def read(tmp_path: Path, text: str | bytes, expected: Layout, size: int = 256) -> list[Batch]:
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_batches(path, expected, size))


def test_the_last_column_is_the_label_and_an_empty_field_a_missing_value(tmp_path: Path) -> None:
    (batch,) = read(tmp_path, "1,2,a\n,4.5,b\n", layout())
    np.testing.assert_array_equal(batch.x, np.array([[1, 2], [math.nan, 4.5]], dtype=np.float32))
    assert (batch.y, batch.weight) == (["a", "b"], None)


@pytest.mark.parametrize(
    "header", ["width,height,kind\n", "\ufeff width , height , kind\r\n", '"wi,dth","he\night",kind\n']
)
def test_a_header_is_recognised_by_its_features_being_no_numbers(tmp_path: Path, header: str) -> None:
    (batch,) = read(tmp_path, header + "1,2,a\n", layout())
    assert (batch.x.tolist(), batch.y, batch.first_row) == ([[1, 2]], ["a"], 2)


def test_a_first_row_with_one_bad_value_is_not_taken_for_a_header(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"row 1, column 2: 'oops' is not a number"):
        read(tmp_path, "1,oops,a\n3,4,b\n", layout())


def test_columns_are_found_by_name_wherever_they_are(tmp_path: Path) -> None:
    (batch,) = read(tmp_path, "kind,1,w,2\na,10,0.5,20\n", layout(label="kind", weight="w"))
    assert (batch.x.tolist(), batch.y, batch.weight) == ([[10, 20]], ["a"], [0.5])


def test_as_many_columns_as_inputs_are_features_without_labels(tmp_path: Path) -> None:
    (batch,) = read(tmp_path, "1,2\n", layout())
    assert batch.y is None


def test_batches_follow_the_rows_and_skip_blank_lines(tmp_path: Path) -> None:
    batches = list(read(tmp_path, "a,b,y\n1,1,p\n\n2,2,q\n3,3,r\n", layout(), size=2))
    assert [(b.y, b.first_row, b.last_row) for b in batches] == [(["p", "q"], 2, 4), (["r"], 5, 5)]
    assert batches[-1].share_read == 1.0


@pytest.mark.parametrize(
    ("label_type", "text", "label"),
    [
        ("integer", "7", 7),
        ("integer", "7.0", 7),
        ("integer", "7.000000000000000000e+00", 7),
        ("integer", "9007199254740993", 9007199254740993),
        ("boolean", "True", True),
        ("boolean", "0", False),
        ("string", "7", "7"),
        ("string", " seven ", "seven"),
    ],
)
def test_labels_become_what_the_model_calls_them(
    tmp_path: Path, label_type: LabelType, text: str, label: Label
) -> None:
    (batch,) = read(tmp_path, f"1,2,{text}\n", layout(label_type=label_type))
    assert batch.y is not None
    assert (batch.y, type(batch.y[0])) == ([label], type(label))


@pytest.mark.parametrize(
    ("text", "expected", "message"),
    [
        ("", layout(), "data.csv: is empty"),
        ("a,b,y\n1,x,p\n", layout(), r"row 2, column 'b': 'x' is not a number"),
        ("a,b,y\n1,1e39,p\n", layout(), r"row 2, column 'b': '1e39' is too large"),
        ("a,b,y\n1,inf,p\n", layout(), r"row 2, column 'b': 'inf' is too large"),
        ("a,b,y\n1,2\n", layout(), "row 2: 2 columns, but 3 in the first row"),
        ("a,b,y\n1,2,\n", layout(), "row 2, column 'y': the label is missing"),
        ("1,2,3.5\n", layout(label_type="integer"), "row 1, column 3: '3.5' is not a label of type integer"),
        ("1,2,2\n", layout(label_type="boolean"), "'2' is not a label of type boolean"),
        ("1,2,c\n", layout(classes=["a", "b"]), "row 1, column 3: 'c' is not one of the model's classes"),
        ("a,b,y,w\n1,2,p,\n", layout(label="y", weight="w"), "row 2, column 'w': the weight is missing"),
        ("a,b,y\n1,2,p\n", layout(label="z"), "row 1: 0 columns are named 'z', not 1"),
        ("a,y,y\n1,2,p\n", layout(label="y"), "row 1: 2 columns are named 'y', not 1"),
        ("1,2,3,a\n", layout(), "4 columns of features, but the model has 2 inputs"),
        ('1,2,"a\n', layout(), "row 1: unexpected end of data"),
        (b"1,2,a\n\xff,2,a\n", layout(), "is not UTF-8"),
    ],
)
def test_a_bad_file_is_named_with_row_and_column(
    tmp_path: Path, text: str | bytes, expected: Layout, message: str
) -> None:
    with pytest.raises(DataFileError, match=message):
        read(tmp_path, text, expected)


def test_a_file_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"no\.csv: No such file or directory"):
        list(read_batches(tmp_path / "no.csv", layout(), 1))
    with pytest.raises(DataFileError, match=r"data\.txt: must end in \.csv or \.npz"):
        list(read_batches(tmp_path / "data.txt", layout(), 1))


def test_a_file_is_read_as_it_is_consumed(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,2,a\n" * 50_000 + "bad\n")
    first = next(read_batches(path, layout(), 10))
    assert first.share_read < 0.5


NAMED = Layout(2, "string", None, None, None, features=["age", "size"])


def test_columns_are_found_by_the_names_of_the_features(tmp_path: Path) -> None:
    (batch,) = read(tmp_path, "kind,size,age\na,1,2\n", NAMED)
    assert (batch.x.tolist(), batch.y) == ([[2, 1]], ["a"])
    named = Layout(2, "string", None, "kind", "w", features=["age", "size"])
    (batch,) = read(tmp_path, "note,w,age,size,kind\nx,3,2,1,a\n", named)
    assert (batch.x.tolist(), batch.y, batch.weight) == ([[2, 1]], ["a"], [3])
    (batch,) = read(tmp_path, "size,age\n1,2\n", NAMED)
    assert (batch.x.tolist(), batch.y) == ([[2, 1]], None)


def test_a_file_without_a_header_goes_by_position_also_where_features_have_names(tmp_path: Path) -> None:
    (batch,) = read(tmp_path, "2,1,a\n", NAMED)
    assert (batch.x.tolist(), batch.y) == ([[2, 1]], ["a"])


def test_a_feature_without_its_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="not so for 'age'"):
        list(read(tmp_path, "kind,size,aeg\na,1,2\n", NAMED))


def test_values_of_a_regression_are_numbers(tmp_path: Path) -> None:
    (batch,) = read(tmp_path, "1,2,3.5\n", Layout(2, None, None, None, None))
    assert batch.y == [3.5]
    with pytest.raises(DataFileError, match="the value is missing"):
        list(read(tmp_path, "1,2,nan\n", Layout(2, None, None, None, None)))
