"""`amstream evaluate`: a file through a model, each sample predicted before it is learned."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.batch import Batch, DataFileError, Layout
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.files import read_batches, sha256_of
from amstream_client.cli.learn import RETRIES, Run, check, wait_until_learned
from amstream_client.cli.output import JsonOption, console, print_json, print_table
from amstream_client.cli.prequential import Prequential
from amstream_client.client import Client
from amstream_client.errors import Invalid, NoClassYet
from amstream_client.wire import Accepted, Predictions


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
    (no change), and the most frequent one until then (majority).

    Example: amstream evaluate digits digits.csv --label digit
    """
    with connected(context, url, key, retries=RETRIES) as client:
        spec = client.model(model).spec
        size = batch or spec.get("block", {}).get("size", 64)
        run = Run(model, file, Layout.to_learn(spec, label, weight), size, pass_number)
        check(run)
        started = time.monotonic()
        seen = _evaluate(client, run)
        rate = seen.samples / (time.monotonic() - started)
    if as_json:
        print_json({"model": model, "batch": size, "samples_per_s": rate, **asdict(seen.figures())})
        return
    figures = seen.figures()
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in asdict(figures).items() if name != "samples"]
    print_table(("figure", "value"), rows)
    typer.echo(f"{figures.samples} samples in batches of {size}, {rate:,.0f} samples/s with an answer to each batch")


def _evaluate(client: Client, run: Run) -> Prequential:
    seen = Prequential()
    digest = sha256_of(run.file)
    accepted: Accepted | None = None
    screen = console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.fields[accuracy]}"))
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=1.0, accuracy="")
        for number, batch in enumerate(read_batches(run.file, run.layout, run.batch_size)):
            if batch.y is None:
                raise DataFileError(f"{run.file}: changed while it was read")
            predictions = _predicted(client, run.model, batch, accepted)
            seen.add(batch.y, predictions)
            try:
                accepted = client.learn(
                    run.model, batch.x, batch.y, batch.weight, idempotency_key=run.key_of_batch(digest, number)
                )
            except Invalid as error:
                raise DataFileError(f"{run.file}, rows {batch.first_row} to {batch.last_row}: {error}") from error
            progress.update(task, completed=batch.share_read, accuracy=f"accuracy {seen.figures().accuracy:.4f}")
    if accepted is not None:
        wait_until_learned(client, run.model, run.layout.inputs, accepted.entries[-1])
    return seen


def _predicted(client: Client, model: str, batch: Batch, accepted: Accepted | None) -> Predictions | None:
    """By a version that has learned the batch before; None where there is no class yet."""
    try:
        return client.predict(model, batch.x, min_entry=accepted.entries[-1] if accepted else None)
    except NoClassYet:
        return None
