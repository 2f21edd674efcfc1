"""`amstream predict`: the labels of a file or of one sample, and how many are right where labels are known."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.batch import DataFileError, Layout, to_number
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.files import read_batches
from amstream_client.cli.output import JsonOption, print_json, print_table
from amstream_client.client import Client
from amstream_client.wire import Label, Prediction

ROWS_ON_SCREEN = 20


@dataclass(frozen=True)
class Row:
    number: int
    prediction: Prediction
    actual: Label | None  # None where the file has no labels

    @property
    def probability(self) -> float:
        return max(self.prediction.probabilities)


def predict(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A .csv or .npz, as in `learn`, with or without labels.")
    ] = None,
    x: Annotated[
        str | None, typer.Option(metavar="1,2,…", help="One sample instead of a file; an empty place is missing.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column or array of labels, to measure accuracy.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write every prediction and probability here.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples per request.")] = 256,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict a file, or one sample. Predicting changes nothing in the model.

    \b
    Examples:
    amstream predict iris --x 5.1,3.5,,0.2
    amstream predict digits test.csv --output predicted.csv
    """
    if (file is None) == (x is None):
        raise typer.BadParameter("give either FILE or --x")
    if x is not None and output is not None:
        raise typer.BadParameter("--output goes with FILE, not with --x")
    if file is not None and output is not None and output.resolve() == file.resolve():
        raise typer.BadParameter("--output would overwrite FILE")
    with connected(context, url, key) as client:
        if x is not None:
            _show_one(client.predict_one(model, _parse_x(x)), as_json)
        elif file is not None:
            layout = Layout.to_predict(client.model(model).spec, label)
            rows = _predict_rows(client, model, file, layout, batch)
            _show(rows if output is None else _written(rows, output), as_json, complete=output is None)


def _parse_x(text: str) -> list[float]:
    try:
        return [to_number(value) for value in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--x: {error}") from error


def _predict_rows(client: Client, model: str, file: Path, layout: Layout, size: int) -> Iterator[Row]:
    number = 0
    for batch in read_batches(file, layout, size):
        answer = client.predict(model, batch.x)
        actual = batch.y if batch.y is not None else [None] * len(batch.x)
        for label, probabilities, known in zip(answer.labels, answer.probabilities, actual, strict=True):
            number += 1
            prediction = Prediction(label, probabilities, answer.classes, answer.model_version, answer.applied_entry)
            yield Row(number, prediction, known)


def _written(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    """Passes the rows on after writing them."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for row in rows:
                if row.number == 1:
                    actual = [] if row.actual is None else ["actual"]
                    writer.writerow(["predicted", *actual, *(f"p({label})" for label in row.prediction.classes)])
                actual = [] if row.actual is None else [str(row.actual)]
                writer.writerow([row.prediction.label, *actual, *row.prediction.probabilities])
                yield row
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error


def _show(rows: Iterator[Row], as_json: bool, *, complete: bool) -> None:
    samples = correct = labelled = version = 0
    shown: list[Row] = []
    for row in rows:
        samples += 1
        labelled += row.actual is not None
        correct += row.actual == row.prediction.label
        version = row.prediction.model_version
        if complete and (as_json or len(shown) < ROWS_ON_SCREEN):
            shown.append(row)
    accuracy = correct / labelled if labelled else None
    if as_json:
        summary = {"samples": samples, "accuracy": accuracy, "model_version": version}
        print_json(summary | ({"predictions": [_row_json(row) for row in shown]} if complete else {}))
        return
    if complete:
        print_table(
            ("sample", "predicted", "probability", "actual"),
            ((row.number, row.prediction.label, f"{row.probability:.4f}", row.actual) for row in shown),
        )
        if samples > len(shown):
            typer.echo(f"… and {samples - len(shown)} more; --output FILE.csv has them all")
    known = "" if accuracy is None else f", accuracy {accuracy:.4f}"
    typer.echo(f"{samples} samples{known}, model version {version}")


def _row_json(row: Row) -> dict[str, Any]:
    known = {} if row.actual is None else {"actual": row.actual}
    return {"label": row.prediction.label, **known, "probabilities": row.prediction.probabilities}


def _show_one(prediction: Prediction, as_json: bool) -> None:
    if as_json:
        print_json(asdict(prediction))
        return
    ranked = sorted(zip(prediction.probabilities, prediction.classes, strict=True), key=lambda pair: -pair[0])
    print_table(("class", "probability"), ((label, f"{probability:.4f}") for probability, label in ranked))
    typer.echo(f"predicted {prediction.label}, model version {prediction.model_version}")
