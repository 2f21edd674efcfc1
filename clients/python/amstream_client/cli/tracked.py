"""`amstream tracked …`: predictions that wait for their labels."""

from __future__ import annotations

import csv
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.batch import DataFileError, Layout, to_target
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_resource, print_table
from amstream_client.limits import LARGEST_WEIGHT
from amstream_client.wire import Labelled, Target

app = typer.Typer(no_args_is_help=True, help="Predictions that wait for their labels: `amstream predict --track`.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The prediction's ID, as `predict --track` told.")]
WeightOption = Annotated[float, typer.Option(min=0, max=LARGEST_WEIGHT, help="How much the sample counts.")]
CorrectOption = Annotated[bool, typer.Option("--correct", help="Replace another label that came before.")]


@app.command()
def show(
    context: typer.Context,
    model: ModelArgument,
    prediction: IdArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a prediction as it was made, and its label if that came.

    Example: amstream tracked show boiler 19ad0c7b2c1-5f2e…
    """
    with connected(context, url, key) as client:
        print_resource(client.tracked(model, prediction), as_json)


@app.command()
def label(
    context: typer.Context,
    model: ModelArgument,
    prediction: IdArgument,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What turned out to be right.")],
    weight: WeightOption = 1.0,
    correct: CorrectOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what turned out to be right; it is learned with the inputs as they were.

    Example: amstream tracked label boiler 19ad0c7b2c1-5f2e… yes
    """
    with connected(context, url, key) as client:
        try:
            target = to_target(label, Layout.to_learn(client.model(model).spec))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        print_resource(client.label(model, prediction, target, weight=weight, correct=correct), as_json)


@app.command()
def labels(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv with the columns id and label.")],
    weight: WeightOption = 1.0,
    correct: CorrectOption = False,
    batch: Annotated[int, typer.Option(min=1, help="Labels a request; each is taken as a whole or not at all.")] = 256,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the labels of many predictions. Run again, it learns nothing twice.

    Example: amstream tracked labels boiler labels.csv
    """
    with connected(context, url, key) as client:
        known = _read(file, Layout.to_learn(client.model(model).spec))
        rest = iter(known.items())
        done: list[Labelled] = []
        while part := dict(islice(rest, batch)):
            done += client.label_many(model, part, weight=weight, correct=correct)
    if as_json:
        print_json([asdict(one) for one in done])
        return
    counts = {
        "new": sum(not (one.repeated or one.corrected) for one in done),
        "corrected": sum(one.corrected for one in done),
        "repeated": sum(one.repeated for one in done),
    }
    print_table(("labels", "count"), counts.items())


def _read(path: Path, layout: Layout) -> dict[str, Target]:
    """Labels by ID. Raises: DataFileError."""
    known: dict[str, Target] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"id", "label"} <= set(rows.fieldnames or ()):
                raise DataFileError(f"{path}: needs a header with the columns id and label")
            for number, row in enumerate(rows, start=2):
                try:
                    known[row["id"]] = to_target(row["label"] or "", layout)
                except ValueError as error:
                    raise DataFileError(f"{path}, row {number}: {error}") from error
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataFileError(f"{path}: {error}") from error
    return known
