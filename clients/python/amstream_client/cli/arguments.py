"""Arguments that many commands take, completed by asking the service where a shell can."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, TypeAlias

import httpx
import typer

from amstream_client.client import Client
from amstream_client.errors import AmstreamError

COMPLETION_TIMEOUT_S = 1.0


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    return _completed(context, incomplete, lambda client: (model.name for model in client.models()))


def complete_snapshots(context: typer.Context, incomplete: str) -> list[str]:
    model = context.params.get("model")
    if model is None:
        return []
    return _completed(context, incomplete, lambda client: (one.name for one in client.snapshots(str(model))))


def _completed(context: typer.Context, incomplete: str, names: Callable[[Client], Iterable[str]]) -> list[str]:
    """A shell that completes a word wants no errors, and not to wait."""
    transport = context.find_object(httpx.BaseTransport)
    url, key = context.params.get("url"), context.params.get("key")
    try:
        with Client.from_environment(
            url=url, key=key, timeout_s=COMPLETION_TIMEOUT_S, retries=0, transport=transport
        ) as client:
            return [name for name in names(client) if name.startswith(incomplete)]
    except (AmstreamError, ValueError):
        return []


ModelArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="The model's name.", autocompletion=complete_models)
]
SnapshotArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="SNAPSHOT", help="The snapshot's name.", autocompletion=complete_snapshots)
]
TimeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The column or array of times: seconds since 1970; in a CSV also such as 2026-11-27T09:00:00Z."
        " Default: none; time in a .npz.",
    ),
]
HeaderOption: TypeAlias = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether a CSV's first row is a header. Default: as it looks."),
]
