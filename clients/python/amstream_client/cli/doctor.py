"""`amstream doctor`: what is wrong between this terminal and a service that learns, and what to do about it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import httpx
import typer

from amstream_client.cli.connection import KeyOption, UrlOption
from amstream_client.cli.output import JsonOption, console, print_json
from amstream_client.client import Client
from amstream_client.discovery import discover
from amstream_client.errors import AmstreamError, ConnectionFailed, KeyNotFound, NotFound, Unauthenticated, Unavailable
from amstream_client.wire import Model

LARGEST_LAG = 1000  # entries

SIGNS = {"good": "✓", "doubtful": "!", "bad": "✗"}


@dataclass(frozen=True)
class Finding:
    what: str
    state: Literal["good", "doubtful", "bad"]
    detail: str
    advice: str | None = None


def doctor(context: typer.Context, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Check the way to the service, the key, its stores, and every model's learner. Ends with 1 when something is wrong.

    Example: amstream doctor
    """
    findings = list(examine(url, key, context.find_object(httpx.BaseTransport)))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            console().print(f"{SIGNS[finding.state]} {finding.what}: {finding.detail}", soft_wrap=True)
            if finding.advice is not None:
                console().print(f"  → {finding.advice}", soft_wrap=True)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


def examine(url: str | None, key: str | None, transport: httpx.BaseTransport | None) -> Iterator[Finding]:
    """Ends where nothing further can be said."""
    try:
        found_url, found_key = discover(url, key, os.environ)
    except (KeyNotFound, ValueError) as error:
        yield Finding(
            "key", "bad", str(error), "set AMSTREAM_URL and AMSTREAM_KEY, or run this on the service's machine"
        )
        return
    given = (
        "given" if key else "of AMSTREAM_KEY" if os.environ.get("AMSTREAM_KEY") else "of this machine's data directory"
    )
    with Client(found_url, found_key, retries=0, timeout_s=10.0, transport=transport) as client:
        yield from _examine_service(client, found_url, f"{found_url}, with the key {given}")


def _examine_service(client: Client, url: str, where: str) -> Iterator[Finding]:
    try:
        version = client.version()
    except ConnectionFailed as error:
        yield Finding(
            "service", "bad", str(error), f"is it running? `amstream serve` starts one; {url} must lead to it"
        )
        return
    except NotFound:
        version = "of a version that it does not tell"
    except AmstreamError as error:
        yield Finding("service", "bad", str(error), "something else answers there: check the URL")
        return
    yield Finding("service", "good", f"amstream {version} at {where}")
    started = time.monotonic()
    try:
        client.check_ready()
        took_ms = 1000 * (time.monotonic() - started)
        yield Finding("stores", "good", f"Redis and the database answer, all in {took_ms:.0f} ms")
    except AmstreamError as error:
        yield Finding("stores", "bad", str(error), "the service's log says why; it comes back by itself once they do")
    try:
        models = client.models()
    except Unauthenticated as error:
        yield Finding(
            "key", "bad", str(error), "it was revoked, has expired or is another service's: ask for a new one"
        )
        return
    except Unavailable as error:
        yield Finding("models", "bad", str(error))
        return
    yield Finding("key", "good", f"known; it sees {len(models)} model{'' if len(models) == 1 else 's'}")
    yield from map(_examine_model, models)


def _examine_model(model: Model) -> Finding:
    what = f"model {model.name}"
    learned = f"{model.samples_learned} samples learned"
    if model.learner.startswith("refused"):
        return Finding(what, "bad", model.learner, "the message names the command that resolves it")
    if model.learner == "none":
        return Finding(
            what, "doubtful", f"no process learns it; {learned}", "start a service with the role all or learner"
        )
    if model.entries_lag is None:
        return Finding(what, "doubtful", f"{learned}; how far it is behind is unknown while Redis is away")
    if model.entries_lag > LARGEST_LAG:
        advice = "it gets there; larger posts or a smaller net would keep up"
        return Finding(what, "doubtful", f"{learned}, {model.entries_lag} entries behind", advice)
    if model.dead_letters:
        advice = f"`amstream dead-letters {model.name}` says why"
        return Finding(what, "doubtful", f"{learned}, {model.dead_letters} entries could not be learned", advice)
    return Finding(what, "good", f"{learned}, {model.entries_lag} entries behind")
