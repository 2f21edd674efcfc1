"""`amstream events`: what happens to a model, a line an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json
from amstream_client.events import KINDS

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def events(
    context: typer.Context,
    model: ModelArgument,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on after this event; 0-0: from the oldest that is kept.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only these: learned, checkpoint, drift, new-class, adopted, dead-letter; repeatable."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happens to a model as it happens, until it is deleted or you press Ctrl-C. With --json, a line an event.

    \b
    Examples:
    amstream events digits
    amstream events digits --kind drift --kind new-class --json
    """
    unknown = [each for each in kind or () if each not in KINDS]
    if unknown:
        raise typer.BadParameter(f"--kind is one of {', '.join(KINDS)}, not {unknown[0]!r}")
    with connected(context, url, key) as client:
        listening = client.events(model, after=after)
        shown = 0
        try:
            for event in listening:
                if kind and event.kind not in {*kind, "missed"}:
                    continue
                if as_json:
                    print_json(asdict(event))
                else:
                    typer.echo(f"{event.id or '-':<18} {event.kind:<12} {describe(event.data)}")
                shown += 1
                if shown == count:
                    return
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            listening.close()


def describe(data: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_text(value)}" for name, value in data.items() if value is not None)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({', '.join(f'{name} {_text(inner)}' for name, inner in value.items())})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
