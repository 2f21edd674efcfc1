"""`amstream evaluate`: a file through a model, each sample predicted before it is learned."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.progress import BarColumn, Progress, TextColumn

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.batch import DataFileError, Layout
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.files import read_batches, sha256_of
from amstream_client.cli.learn import RETRIES, Run, check, wait_until_learned
from amstream_client.cli.output import JsonOption, console, print_json, print_table
from amstream_client.cli.prequential import Prequential, PrequentialValues
from amstream_client.client import Client
from amstream_client.errors import Invalid, NoClassYet, NoValueYet
from amstream_client.payload import Inputs
from amstream_client.wire import Label, Target


def evaluate(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv or .npz with labels, as in `learn`.")],
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column or array of labels. Default: the last; y in a .npz.")
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column or array of weights. Default: none; weight in a .npz."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Samples predicted, then learned, at a time. Default: the model's block.")
    ] = None,
    pass_number: Annotated[int, typer.Option("--pass", min=1, help="Raise it to learn a file once more.")] = 1,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a file through a model: predict each batch, then learn it. The model learns the file by this.

    What the predictions were worth is shown beside two predictors that learn nothing: the last label before a batch again
    (no change), and the most frequent one until then (majority); for a regression, the last value and the mean.

    Example: amstream evaluate digits digits.csv --label digit
    """
    with connected(context, url, key, retries=RETRIES) as client:
        spec = client.model(model).spec
        size = batch or spec.get("block", {}).get("size", 64)
        run = Run(model, file, Layout.to_learn(spec, label, weight), size, pass_number)
        check(run)
        judge = Values() if spec.get("task") == "regression" else Labels()
        started = time.monotonic()
        _evaluate(client, run, judge)
        rate = judge.seen.samples / (time.monotonic() - started)
    figures = {name: value for name, value in asdict(judge.seen.figures()).items() if not math.isnan(value)}
    if as_json:
        print_json({"model": model, "batch": size, "samples_per_s": rate, **figures})
        return
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in figures.items() if name != "samples"]
    print_table(("figure", "value"), rows)
    typer.echo(f"{judge.seen.samples} samples in batches of {size}, {rate:,.0f} samples/s with an answer to each batch")


class Labels:
    """Predicts classes, and keeps what that was worth."""

    def __init__(self) -> None:
        self.seen = Prequential()

    def predict(self, client: Client, model: str, x: Inputs, y: list[Target], min_entry: str | None) -> None:
        labels = cast(list[Label], y)
        try:
            self.seen.add(labels, client.predict(model, x, min_entry=min_entry))
        except NoClassYet:
            self.seen.add(labels, None)

    def __str__(self) -> str:
        return f"accuracy {self.seen.figures().accuracy:.4f}"


class Values:
    """Predicts values, the same way."""

    def __init__(self) -> None:
        self.seen = PrequentialValues()

    def predict(self, client: Client, model: str, x: Inputs, y: list[Target], min_entry: str | None) -> None:
        values = cast(list[float], y)
        try:
            predicted = cast(list[float], client.predict_values(model, x, min_entry=min_entry).values)
        except NoValueYet:
            self.seen.add(values, None)
        else:
            self.seen.add(values, predicted)

    def __str__(self) -> str:
        return f"mae {self.seen.figures().mae:.4g}"


def _evaluate(client: Client, run: Run, judge: Labels | Values) -> None:
    """Each batch is predicted by a version that has learned the one before."""
    digest = sha256_of(run.file)
    entry: str | None = None
    screen = console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.fields[worth]}"))
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=1.0, worth="")
        for number, batch in enumerate(read_batches(run.file, run.layout, run.batch_size)):
            if batch.y is None:
                raise DataFileError(f"{run.file}: changed while it was read")
            judge.predict(client, run.model, batch.x, batch.y, entry)
            try:
                accepted = client.learn(
                    run.model, batch.x, batch.y, batch.weight, idempotency_key=run.key_of_batch(digest, number)
                )
            except Invalid as error:
                raise DataFileError(f"{run.file}, rows {batch.first_row} to {batch.last_row}: {error}") from error
            entry = accepted.entries[-1]
            progress.update(task, completed=batch.share_read, worth=str(judge))
    if entry is not None:
        wait_until_learned(client, run.model, run.layout.inputs, entry)
