from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from amstream_client import Client
from amstream_client.testing import FakeService

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def a_model_that_prefers_b(client: Client) -> None:
    client.learn("iris", [[1, 2]] * 2, ["b", "b"])


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "test.csv"
    path.write_text("width,height,kind\n1,2,b\n3,,b\n5,6,a\n7,8,never seen\n")
    return path


def test_one_sample_gets_a_label_and_probabilities(run: Run, service: FakeService) -> None:
    result = run("predict", "iris", "--x", "1,")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("predicted b, model version 1\n")
    assert service.requests[-1].url.params["x"] == "1.0,"
    assert json.loads(run("predict", "iris", "--x", "1,2", "--json").stdout)["probabilities"] == [0.25, 0.75]


def test_a_file_with_labels_gets_an_accuracy(run: Run, labelled: Path) -> None:
    result = run("predict", "iris", labelled, "--batch", 3)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("4 samples, accuracy 0.5000, model version 1\n")
    answer = json.loads(run("predict", "iris", labelled, "--json").stdout)
    assert (answer["samples"], answer["accuracy"]) == (4, 0.5)
    assert answer["predictions"][2] == {"label": "b", "actual": "a", "probabilities": [0.25, 0.75]}


def test_a_file_without_labels_gets_none(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text("1,2\n" * 30)
    result = run("predict", "iris", path)
    assert "… and 10 more" in result.stdout
    assert result.stdout.endswith("30 samples, model version 1\n")
    assert json.loads(run("predict", "iris", path, "--json").stdout)["accuracy"] is None


def test_every_prediction_is_written_to_the_output(run: Run, labelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "predicted.csv"
    result = run("predict", "iris", labelled, "--output", output, "--batch", 3)
    assert (result.exit_code, result.stdout) == (0, "4 samples, accuracy 0.5000, model version 1\n"), result.stderr
    with output.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["predicted", "actual", "p(a)", "p(b)"]
    assert rows[1:] == [["b", actual, "0.25", "0.75"] for actual in ("b", "b", "a", "never seen")]


@pytest.mark.parametrize(
    "words", ["", "test.csv --x 1,2", "--x 1,two", "--x 1,2 --output o.csv", "test.csv --output test.csv"]
)
def test_options_that_do_not_go_together_are_a_usage_error(run: Run, words: str) -> None:
    assert run("predict", "iris", *words.split()).exit_code == 2


def test_an_output_that_cannot_be_written_is_named(run: Run, labelled: Path, tmp_path: Path) -> None:
    result = run("predict", "iris", labelled, "--output", tmp_path / "no" / "o.csv")
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path / 'no' / 'o.csv'}: No such file or directory\n"


def test_a_sample_of_the_wrong_width_is_named(run: Run) -> None:
    result = run("predict", "iris", "--x", "1,2,3")
    assert result.exit_code == 1
    assert result.stderr == "error: the inputs are invalid; samples.0.x = 3: must have 2 values\n"
