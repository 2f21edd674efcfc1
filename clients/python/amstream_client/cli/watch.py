"""`amstream watch`: a model while it learns, live in the terminal."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.events import INTERRUPTED, describe
from amstream_client.cli.metrics import figure_rows
from amstream_client.cli.output import JsonOption, console, print_json
from amstream_client.client import Client
from amstream_client.errors import AmstreamError, ConnectionFailed, Unavailable
from amstream_client.events import Event
from amstream_client.wire import Metrics, Model

BARS = "▁▂▃▄▅▆▇█"
EVENTS_SHOWN = 8
HISTORY = 60
QUIET = {"learned", "checkpoint"}  # too many to be news


@dataclass
class Watched:
    """What is known of the model so far. away: why nothing newer is."""

    model: Model
    metrics: Metrics
    samples_per_s: float | None = None
    accuracy: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    away: str | None = None


def watch(
    context: typer.Context,
    model: ModelArgument,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many looks. Default: at Ctrl-C.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a model learn: its pace, how far it is behind, how well it does, and what happens to it.

    With --json, one line a look, for other programs.

    Example: amstream watch digits
    """
    with connected(context, url, key) as client:
        watched = Watched(client.model(model), client.metrics(model))
        listening = client.events(model)
        threading.Thread(target=_listen, args=(listening, watched), daemon=True).start()
        try:
            if as_json:
                for _ in _looks(client, watched, every, count):
                    print_json(_as_json(watched))
                return
            screen = console()
            with Live(view(watched), console=screen, auto_refresh=False) as live:
                for _ in _looks(client, watched, every, count):
                    live.update(view(watched), refresh=True)
            if not screen.is_terminal:
                typer.echo()
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _looks(client: Client, watched: Watched, every_s: float, count: int | None) -> Generator[None, None, None]:
    """Yields after every look. A service that is away for a while ends nothing."""
    looks = 0
    seen_at = time.monotonic()
    while True:
        before = watched.model
        try:
            watched.model, watched.metrics = client.model(before.name), client.metrics(before.name)
            watched.away = None
        except (ConnectionFailed, Unavailable) as error:
            watched.away = str(error)
        else:
            now = time.monotonic()
            if looks:
                watched.samples_per_s = (watched.model.samples_learned - before.samples_learned) / (now - seen_at)
            seen_at = now
            accuracy = watched.metrics.recent.get("accuracy")
            if accuracy is not None:
                watched.accuracy.append(accuracy)
        yield
        looks += 1
        if looks == count:
            return
        time.sleep(every_s)


def _listen(listening: Generator[Event, None, None], watched: Watched) -> None:
    """In a thread of its own, which ends with the process. Without events, there are the figures all the same."""
    try:
        for event in listening:
            if event.kind not in QUIET:
                watched.events.append(event)
    except (AmstreamError, RuntimeError) as error:  # httpx says RuntimeError when its client is closed
        watched.events.append(Event(None, "no events", {"cause": str(error)}))


def view(watched: Watched) -> RenderableType:
    model = watched.model
    pace = "-" if watched.samples_per_s is None else f"{watched.samples_per_s:,.1f}"
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("learner", model.learner),
        ("samples learned", f"{model.samples_learned:,}"),
        ("samples/s", pace),
        ("entries behind", "-" if model.entries_lag is None else str(model.entries_lag)),
        ("version", str(model.model_version)),
        ("drifts", str(watched.metrics.drifts.count)),
        ("recent accuracy", sparkline(watched.accuracy)),
    ):
        facts.add_row(Text(name, style="bold"), Text(value))
    figures = Table("figure", "overall", "recent", box=None)
    for row in figure_rows(watched.metrics):
        figures.add_row(*row)
    happened = [Text(f"{event.kind:<12} {describe(event.data)}") for event in tuple(watched.events)]
    parts: list[RenderableType] = [facts, Text(), figures, *([Text(), *happened] if happened else [])]
    if watched.away is not None:
        parts.append(Text(watched.away, style="red"))
    return Panel(Group(*parts), title=Text(model.name))


def sparkline(values: deque[float]) -> str:
    """From 0 to 1."""
    return "".join(BARS[min(len(BARS) - 1, int(value * len(BARS)))] for value in values) or "-"


def _as_json(watched: Watched) -> dict[str, object]:
    model = watched.model
    return {
        "model": model.name,
        "learner": model.learner,
        "samples_learned": model.samples_learned,
        "samples_per_s": watched.samples_per_s,
        "entries_lag": model.entries_lag,
        "overall": watched.metrics.overall,
        "recent": watched.metrics.recent,
        "events": [asdict(event) for event in tuple(watched.events)],
        "away": watched.away,
    }
