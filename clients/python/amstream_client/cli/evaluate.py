"""`amstream evaluate`: a file through a model, each sample predicted before it is learned."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Annotated, cast

import typer
from rich.progress import BarColumn, Progress, TextColumn

from amstream_client.cli.arguments import HeaderOption, ModelArgument, TimeOption
from amstream_client.cli.batch import Layout
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.files import read_batches, sha256_of
from amstream_client.cli.learn import RETRIES, Run, Tally, check, send
from amstream_client.cli.output import JsonOption, console, print_json, print_table
from amstream_client.cli.prequential import Prequential, PrequentialValues
from amstream_client.cli.waiting import wait_until_learned
from amstream_client.client import Client
from amstream_client.errors import AmstreamError, NoClassYet, NoValueYet
from amstream_client.payload import Inputs
from amstream_client.wire import Label, Predictions, Target


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
    time: TimeOption = None,
    header: HeaderOption = None,
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

    What the same command sent before, within an hour, is not learned twice, and the figures leave it out; --pass 2 learns
    it once more.

    Example: amstream evaluate digits digits.csv --label digit
    """
    tally = Tally()
    with connected(context, url, key, retries=RETRIES) as client:
        with tally.telling():
            spec = client.model(model).spec
            size = batch or spec.get("block", {}).get("size", 64)
            run = Run(model, file, Layout.to_learn(spec, label, weight, time, header), size, pass_number)
            check(run)
            judge = Values() if spec.get("task") == "regression" else Labels()
            started = monotonic()
            _evaluate(client, run, judge, tally)
        rate = judge.seen.samples / (monotonic() - started)
        if tally.repeated:
            before = f"{tally.repeated} of {tally.accepted} samples had been accepted before"
            if not judge.seen.samples:
                raise AmstreamError(f"nothing is evaluated: {before}; --pass 2 learns them once more")
            typer.echo(f"{before}: the figures leave them out", err=True)
    figures = {name: value for name, value in asdict(judge.seen.figures()).items() if not math.isnan(value)}
    if as_json:
        print_json({"model": model, "batch": size, "samples_per_s": rate, "repeated": tally.repeated, **figures})
        return
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in figures.items() if name != "samples"]
    print_table(("figure", "value"), rows)
    typer.echo(f"{judge.seen.samples} samples in batches of {size}, {rate:,.0f} samples/s with an answer to each batch")


class Labels:
    """Predicts classes, and keeps what that was worth."""

    def __init__(self) -> None:
        self.seen = Prequential()
        self._said: Predictions | None = None

    def predict(self, client: Client, model: str, x: Inputs, min_entry: str | None) -> None:
        try:
            self._said = client.predict(model, x, min_entry=min_entry)
        except NoClassYet:
            self._said = None

    def judge(self, y: list[Target]) -> None:
        """What was predicted last."""
        self.seen.add(cast(list[Label], y), self._said)

    def __str__(self) -> str:
        return f"accuracy {self.seen.figures().accuracy:.4f}"


class Values:
    """Predicts values, the same way."""

    def __init__(self) -> None:
        self.seen = PrequentialValues()
        self._said: list[float] | None = None

    def predict(self, client: Client, model: str, x: Inputs, min_entry: str | None) -> None:
        try:
            self._said = cast(list[float], client.predict_values(model, x, min_entry=min_entry).values)
        except NoValueYet:
            self._said = None

    def judge(self, y: list[Target]) -> None:
        self.seen.add(cast(list[float], y), self._said)

    def __str__(self) -> str:
        return f"mae {self.seen.figures().mae:.4g}"


def _evaluate(client: Client, run: Run, judge: Labels | Values, tally: Tally) -> None:
    """Each batch is predicted by a version that has learned the one before."""
    digest = sha256_of(run.file)
    entry: str | None = None
    screen = console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.fields[worth]}"))
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=1.0, worth="")
        for number, batch in enumerate(read_batches(run.file, run.layout, run.batch_size)):
            judge.predict(client, run.model, batch.x, entry)
            accepted = send(client, run, batch, run.key_of_batch(digest, number))
            tally.add(accepted)
            if not accepted.repeated and batch.y is not None:
                judge.judge(batch.y)
            entry = accepted.entries[-1]
            progress.update(task, completed=batch.share_read, worth=str(judge))
    if entry is not None:
        wait_until_learned(client, run.model, run.layout.inputs, entry)
