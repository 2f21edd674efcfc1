"""What every command shares: the options that say which service, and one line for whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeAlias

import httpx
import typer

from amstream_client.client import Client
from amstream_client.discovery import DEFAULT_URL
from amstream_client.errors import AmstreamError

UrlOption: TypeAlias = Annotated[
    str | None, typer.Option("--url", help=f"The service. Default: AMSTREAM_URL, else {DEFAULT_URL}.")
]
KeyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The API key. Prefer AMSTREAM_KEY, or the admin.key file that the service on this machine wrote:"
        " a command line is seen by others.",
    ),
]

RETRIES = 2  # a person is waiting: say soon that nothing answers


@contextmanager
def connected(context: typer.Context, url: str | None, key: str | None, *, retries: int = RETRIES) -> Iterator[Client]:
    """A client of the service that the options name. An httpx transport among the context's objects replaces the
    network. What is expected to go wrong ends the command with one line on stderr and status 1."""
    transport = context.find_object(httpx.BaseTransport)
    try:
        try:
            client = Client.from_environment(url=url, key=key, retries=retries, transport=transport)
        except ValueError as error:  # a URL or key that cannot be one
            raise AmstreamError(str(error)) from error
        with client:
            yield client
    except AmstreamError as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(1) from error
