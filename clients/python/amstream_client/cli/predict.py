"""`amstream predict`: the labels of a file or of one sample, and how many are right where labels are known."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from amstream_client.cli.arguments import HeaderOption, ModelArgument
from amstream_client.cli.batch import Batch, DataFileError, Layout, to_number
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.files import read_batches
from amstream_client.cli.output import JsonOption, print_json, print_table
from amstream_client.client import Client
from amstream_client.payload import to_matrix
from amstream_client.wire import Label, Target

ROWS_ON_SCREEN = 20


@dataclass(frozen=True)
class Row:
    """One sample. probabilities: by class, None for a value; actual: None where the file has no labels; id: if tracked."""

    number: int
    said: Target
    probabilities: list[float] | None
    actual: Target | None
    id: str | None

    def as_json(self) -> dict[str, Any]:
        known = {} if self.actual is None else {"actual": self.actual}
        tracked = {} if self.id is None else {"id": self.id}
        if self.probabilities is None:
            return {"value": self.said, **known, **tracked}
        return {"label": self.said, **known, "probabilities": self.probabilities, **tracked}


@dataclass
class Answers:
    """Rows as they come, and what they add up to."""

    rows: Iterator[Row]
    classes: list[Label] | None = None  # None: of a regression
    model_version: int = 0
    samples: int = 0
    labelled: int = 0
    right: int = 0
    error: float = 0.0

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            self.samples += 1
            self.labelled += row.actual is not None
            if row.actual is not None and row.probabilities is None:
                self.error += abs(_number(row.actual) - _number(row.said))
            else:
                self.right += row.actual == row.said
            yield row

    @property
    def accuracy(self) -> float | None:
        return self.right / self.labelled if self.labelled and self.classes is not None else None

    @property
    def mae(self) -> float | None:
        return self.error / self.labelled if self.labelled and self.classes is None else None


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
    header: HeaderOption = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write every prediction and probability here.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples per request.")] = 256,
    track: Annotated[
        bool, typer.Option("--track", help="Keep the predictions, by IDs, for labels that come later: `tracked`.")
    ] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict a file, or one sample: labels, or values of a regression. Predicting changes nothing in the model.

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
        spec = client.model(model).spec
        regression = spec.get("task") == "regression"
        if x is not None:
            batches: Iterator[Batch] = iter([Batch(to_matrix([_parse_x(x)]), None, None, 1, 1, 1.0)])
        else:
            batches = read_batches(cast(Path, file), Layout.to_predict(spec, label, header), batch)
        answers = Answers(iter(()))
        predicts = _values if regression else _one_label if x is not None and not track else _labels
        answers.rows = predicts(client, model, batches, track, answers)
        if x is not None:
            _show_one(answers, as_json)
        elif output is not None:
            _show(answers, _written(answers, output), as_json, complete=False)
        else:
            _show(answers, iter(answers), as_json, complete=True)


def _parse_x(text: str) -> list[float]:
    try:
        return [to_number(value) for value in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--x: {error}") from error


def _labels(client: Client, model: str, batches: Iterator[Batch], track: bool, answers: Answers) -> Iterator[Row]:
    number = 0
    for batch in batches:
        found = client.predict(model, batch.x, track=track)
        answers.classes, answers.model_version = found.classes, found.model_version
        known, ids = batch.y or repeat(None), found.ids or repeat(None)
        for said, probabilities, actual, one in zip(found.labels, found.probabilities, known, ids, strict=False):
            number += 1
            yield Row(number, said, probabilities, actual, one)


def _one_label(client: Client, model: str, batches: Iterator[Batch], track: bool, answers: Answers) -> Iterator[Row]:
    [batch] = batches
    found = client.predict_one(model, batch.x[0])
    answers.classes, answers.model_version = found.classes, found.model_version
    yield Row(1, found.label, found.probabilities, None, None)


def _values(client: Client, model: str, batches: Iterator[Batch], track: bool, answers: Answers) -> Iterator[Row]:
    number = 0
    for batch in batches:
        found = client.predict_values(model, batch.x, track=track)
        answers.model_version = found.model_version
        values: Sequence[Target] = found.values
        for said, actual, one in zip(values, batch.y or repeat(None), found.ids or repeat(None), strict=False):
            number += 1
            yield Row(number, said, None, actual, one)


def _number(target: Target) -> float:
    """Files hold one target."""
    return float(cast(float, target))


def _written(answers: Answers, path: Path) -> Iterator[Row]:
    """Passes the rows on after writing them."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for row in answers:
                known = row.actual is not None
                tracked = row.id is not None
                if row.number == 1:
                    columns = ["id"] * tracked + ["predicted"] + ["actual"] * known
                    writer.writerow([*columns, *(f"p({label})" for label in answers.classes or ())])
                written = [row.id] * tracked + [row.said] + [str(row.actual)] * known
                writer.writerow([*written, *(row.probabilities or ())])
                yield row
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error


def _show(answers: Answers, rows: Iterator[Row], as_json: bool, *, complete: bool) -> None:
    shown = [row for row in rows if complete and (as_json or row.number <= ROWS_ON_SCREEN)]
    worth = {"mae": answers.mae} if answers.classes is None else {"accuracy": answers.accuracy}
    if as_json:
        summary = {"samples": answers.samples, **worth, "model_version": answers.model_version}
        print_json(summary | ({"predictions": [row.as_json() for row in shown]} if complete else {}))
        return
    if complete:
        tracked = any(row.id is not None for row in shown)
        print_table(
            ("sample", "predicted", "probability", "actual", *["id"] * tracked),
            ((row.number, row.said, _probability(row), row.actual, *[row.id] * tracked) for row in shown),
        )
        if answers.samples > len(shown):
            typer.echo(f"… and {answers.samples - len(shown)} more; --output FILE.csv has them all")
    known = "".join(f", {name} {value:.4f}" for name, value in worth.items() if value is not None)
    typer.echo(f"{answers.samples} samples{known}, model version {answers.model_version}")


def _probability(row: Row) -> str | None:
    return None if row.probabilities is None else f"{max(row.probabilities):.4f}"


def _show_one(answers: Answers, as_json: bool) -> None:
    [row] = answers
    if as_json:
        classes = {} if answers.classes is None else {"classes": answers.classes}
        print_json(row.as_json() | classes | {"model_version": answers.model_version})
        return
    if row.probabilities is not None and answers.classes is not None:
        ranked = sorted(zip(row.probabilities, answers.classes, strict=True), key=lambda pair: -pair[0])
        print_table(("class", "probability"), ((label, f"{probability:.4f}") for probability, label in ranked))
    tracked = "" if row.id is None else f", tracked as {row.id}"
    typer.echo(f"predicted {row.said}, model version {answers.model_version}{tracked}")
