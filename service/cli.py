"""The script `amstream`: the service's own commands beside those of the client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from amstream_client.cli import register
from service import __version__, logs
from service.database import sessions
from service.keyring import SCOPES, create_key
from service.loss import accept_loss
from service.problems import Problem
from service.repositories import api_keys
from service.serve import CannotStart, open_database, open_redis
from service.serve import serve as run_service
from service.settings import Settings

app = typer.Typer(
    name="amstream",
    help="A continual-learning stream service: labelled samples in, online AM-mem learning, predictions out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys, straight in the database of this machine's settings.", no_args_is_help=True)
app.add_typer(keys, name="keys")
register(app)

DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Overrides AMSTREAM_DATA_DIR.")]


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turns what a user can mend into one line on stderr and exit status 1."""
    try:
        yield
    except (CannotStart, Problem, ValueError) as error:
        typer.echo(f"amstream: {error}", err=True)
        raise typer.Exit(1) from error


def _settings(**overrides: object) -> Settings:
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).removeprefix("AMSTREAM_").upper()
        raise CannotStart(f"AMSTREAM_{name}: {first['msg']}, not {first['input']!r}") from error


@app.command()
def serve(
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback unless told otherwise.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    role: Annotated[Literal["all", "api", "learner"] | None, typer.Option(help="What this process does.")] = None,
) -> None:
    """Runs the service: everything in this process by default, on a Valkey and an SQLite of its own.

    The first start writes an admin key into the data directory; the other commands pick it up from there.
    All settings are environment variables, AMSTREAM_…; the options here override the common ones.

    Example: amstream serve --port 8707
    """
    with _one_line_errors():
        settings = _settings(data_dir=data_dir, host=host, port=port, role=role)
        logs.configure(settings.log_level)
        run_service(settings)


@app.command()
def migrate(data_dir: DataDirOption = None) -> None:
    """Brings the database's schema up to date (`serve` does so by itself)."""
    with _one_line_errors():
        open_database(_settings(data_dir=data_dir)).dispose()
    typer.echo("the schema is up to date")


@app.command("accept-loss")
def accept_loss_command(
    model: Annotated[str, typer.Argument(help="The model whose learner refuses.")],
    data_dir: DataDirOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Lets a model learn on from its newest checkpoint after Redis lost entries. Samples after the checkpoint stay lost."""
    if not yes:
        typer.confirm(f"Give up every sample of {model!r} that no checkpoint includes?", abort=True)
    with _one_line_errors():
        settings = _settings(data_dir=data_dir)
        client = open_redis(settings)
        accepted = accept_loss(sessions(open_database(settings)), client, model)
    position = accepted.position
    typer.echo(
        f"{model} goes on after {position.samples_learned} samples, at entry {position.entry}; "
        f"{accepted.discarded} entries of the old stream were dropped"
    )


@app.command()
def version() -> None:
    """Prints the version."""
    typer.echo(__version__)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; unique among keys in force.")],
    scope: Annotated[list[str], typer.Option("--scope", help=f"One of {', '.join(SCOPES)}; may be repeated.")],
    model: Annotated[list[str] | None, typer.Option("--model", help="Bind the key to models; may be repeated.")] = None,
    days: Annotated[float | None, typer.Option(help="How long it holds; without it, until it is revoked.")] = None,
    rate: Annotated[int | None, typer.Option(help="Most requests a minute; by default, what the settings say.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Prints a new key. It is shown this once: only its hash is stored.

    Example: amstream keys create sensor-7 --scope learn --model boiler --days 90
    """
    with _one_line_errors():
        engine = open_database(_settings(data_dir=data_dir))
        lasts_s = None if days is None else days * 86_400
        secret = create_key(
            sessions(engine),
            name=name,
            scopes=scope,
            models=model or None,
            expires_in_s=lasts_s,
            requests_per_minute=rate,
        )
    typer.echo(secret)


@keys.command("list")
def list_keys(data_dir: DataDirOption = None) -> None:
    """Lists keys: names, scopes and dates, never the keys themselves."""
    with _one_line_errors():
        engine = open_database(_settings(data_dir=data_dir))
    table = Table("name", "scopes", "models", "created", "expires", "revoked", "a minute")
    with sessions(engine)() as session:
        for row in api_keys.all_keys(session):
            dates = map(_date, (row.created_at, row.expires_at, row.revoked_at))
            table.add_row(row.name, row.scopes, row.models or "all", *dates, str(row.requests_per_minute or ""))
    Console().print(table)


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    data_dir: DataDirOption = None,
) -> None:
    """Revokes a key; running servers refuse it within seconds."""
    with _one_line_errors():
        engine = open_database(_settings(data_dir=data_dir))
        with sessions(engine).begin() as session:
            if not api_keys.revoke(session, name):
                raise ValueError(f"there is no key {name!r} in force")
    typer.echo(f"revoked {name}")


def _date(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def main() -> None:
    """Entry point of the script."""
    app()
