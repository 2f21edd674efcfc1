"""`amstream learn`: a file into a model's stream, so that an interrupted run can be run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from amstream_client.cli.arguments import HeaderOption, ModelArgument, TimeOption
from amstream_client.cli.batch import Batch, DataFileError, Layout
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.files import read_batches, sha256_of
from amstream_client.cli.output import JsonOption, console, print_json
from amstream_client.cli.waiting import wait_until_learned
from amstream_client.client import Client
from amstream_client.errors import AmstreamError, Invalid
from amstream_client.wire import Accepted

RETRIES = 6  # about 5 s: a service that restarts does not end a long run
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass
class Tally:
    """repeated: how many of the samples had been accepted before."""

    accepted: int = 0
    repeated: int = 0
    entries: list[str] = field(default_factory=list)

    def add(self, answer: Accepted) -> None:
        self.accepted += answer.accepted
        self.repeated += answer.accepted if answer.repeated else 0
        self.entries += answer.entries

    def details(self) -> str:
        before = f", {self.repeated} of them before" if self.repeated else ""
        if not self.entries:
            return before
        first, last = self.entries[0], self.entries[-1]
        return f"{before}, entry {first}" if first == last else f"{before}, entries {first} to {last}"

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Whatever ends this early says how far it got until then."""
        try:
            yield
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {self._so_far()}", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except AmstreamError as error:
            if not self.accepted:
                raise
            so_far = self._so_far()
            if isinstance(error, DataFileError):
                rest = "the rows before these are learned: leave them out when the rest is mended"
                so_far = f"{self.accepted} samples accepted; {rest}"
            raise AmstreamError(f"{error} ({so_far})") from error

    def _so_far(self) -> str:
        return f"{self.accepted} samples accepted; the same command on the same file goes on from there"


@dataclass(frozen=True)
class Run:
    """One pass over one file: what decides how its batches are cut, and so what its idempotency keys stand for."""

    model: str
    file: Path
    layout: Layout
    batch_size: int
    pass_number: int

    def key_of_batch(self, digest: str, number: int) -> str:
        """Whether a header was found or named makes no difference: it is the same samples."""
        layout = self.layout
        named = (layout.label, layout.weight) if layout.time is None else (layout.label, layout.weight, layout.time)
        parts = (digest, self.model, *named, self.batch_size, self.pass_number, number)
        return "file-" + hashlib.sha256(repr(parts).encode()).hexdigest()


def learn(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .csv with or without a header (empty field = missing value), or a .npz with arrays x, y and,"
            " if samples have them, weight and time.",
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column or array of labels; a CSV then has a header. Default: the last column; y in a .npz.",
        ),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column or array of weights. Default: none; weight in a .npz."),
    ] = None,
    time: TimeOption = None,
    header: HeaderOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples per request.")] = 256,
    pass_number: Annotated[
        int, typer.Option("--pass", min=1, help="Raise it to learn a file once more, after a restore too: --pass 2.")
    ] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Return only when everything is learned.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn the samples of a file, in its order. The whole file is checked before anything is sent.

    The same command on the same file, run again within an hour (as long as the service keeps keys), goes on where the
    first run stopped and learns nothing twice. To learn the file again on purpose, add --pass 2.

    \b
    Examples:
    amstream learn digits digits.csv --label digit --wait
    amstream learn digits more.npz --batch 64
    """
    tally = Tally()
    passed_over: list[str] = []
    with connected(context, url, key, retries=RETRIES) as client, tally.telling():
        spec = client.model(model).spec
        run = Run(model, file, Layout.to_learn(spec, label, weight, time, header), batch, pass_number)
        check(run)
        _send(client, run, tally)
        if wait and tally.entries:
            wait_until_learned(client, model, spec["inputs"], tally.entries[-1])
            dead = {letter.entry for letter in client.dead_letters(model)}
            passed_over = [entry for entry in tally.entries if entry in dead]
    if as_json:
        entries = {"last_entry": tally.entries[-1] if tally.entries else None, "entries": tally.entries}
        counts = {"accepted": tally.accepted, "repeated": tally.repeated}
        learned = {"learned": wait and not passed_over, "dead_letters": passed_over}
        print_json({"model": model, **counts, **entries, **learned})
    else:
        done = "learned" if wait and not passed_over else "accepted"
        typer.echo(f"{tally.accepted} samples {done}{tally.details()}")
    if passed_over:
        count = f"{len(passed_over)} of {len(tally.entries)} entries"
        typer.echo(f"{count} could not be learned: `amstream dead-letters {model}` says why", err=True)
        raise typer.Exit(1)


def check(run: Run) -> None:
    """A bad row found half-way would have to be repaired, and the repaired file would be another one to its keys."""
    for batch in read_batches(run.file, run.layout, run.batch_size):
        if batch.y is None:
            raise DataFileError(f"{run.file}: has no labels")


def _send(client: Client, run: Run, tally: Tally) -> None:
    digest = sha256_of(run.file)
    screen = console(stderr=True)
    with Progress(
        BarColumn(), _SamplesColumn(), TimeRemainingColumn(), console=screen, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task("", total=1.0, accepted=0)
        for number, batch in enumerate(read_batches(run.file, run.layout, run.batch_size)):
            answer = send(client, run, batch, run.key_of_batch(digest, number))
            tally.add(answer)
            progress.update(task, completed=batch.share_read, accepted=tally.accepted)


def send(client: Client, run: Run, batch: Batch, key: str) -> Accepted:
    if batch.y is None:
        raise DataFileError(f"{run.file}: changed while it was read")
    try:
        return client.learn(run.model, batch.x, batch.y, batch.weight, time=batch.time, idempotency_key=key)
    except Invalid as error:
        raise DataFileError(f"{run.file}, rows {batch.first_row} to {batch.last_row}: {error}") from error


class _SamplesColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        accepted, elapsed_s = task.fields["accepted"], task.elapsed
        rate = f"{accepted / elapsed_s:,.0f}" if elapsed_s else "-"
        return Text(f"{accepted:,} samples, {rate} samples/s")
