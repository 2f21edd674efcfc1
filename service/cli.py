"""The script `amstream`: the service's own commands beside those of the client.

The service takes 2 s to import; commands that only talk to one do without, so those that need it import it inside.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from amstream_client.cli import register
from service import __version__

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer(
    name="amstream",
    help="A continual-learning stream service: labelled samples in, online AM-mem learning, predictions out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
register(app)

DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Overrides AMSTREAM_DATA_DIR.")]


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Imports the service, and turns what a user can mend into one line on stderr and exit status 1."""
    gc.disable()  # modules are no garbage, but looking for it among them takes 0.3 s
    importlib.import_module("service.serve")
    gc.enable()
    from service.problems import Problem
    from service.serve import CannotStart

    try:
        yield
    except (CannotStart, Problem, ValueError) as error:
        typer.echo(f"amstream: {error}", err=True)
        raise typer.Exit(1) from error


def _settings(**overrides: object) -> Settings:
    from pydantic import ValidationError

    from service.serve import CannotStart
    from service.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).removeprefix("AMSTREAM_").upper()
        raise CannotStart(f"AMSTREAM_{name}: {first['msg']}, not {first['input']!r}") from error


@app.command("serve")
def serve_command(
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback unless told otherwise.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    role: Annotated[Literal["all", "api", "learner"] | None, typer.Option(help="What this process does.")] = None,
) -> None:
    """Run the service: everything in this process by default, on a Valkey and an SQLite of its own.

    The first start writes an admin key into the data directory; the other commands pick it up from there.
    All settings are environment variables, AMSTREAM_…; the options here override the common ones.

    Example: amstream serve --port 8707
    """
    with _one_line_errors():
        from service import logs
        from service.serve import serve

        settings = _settings(data_dir=data_dir, host=host, port=port, role=role)
        logs.configure(settings.log_level)
        serve(settings)


@app.command("migrate")
def migrate_command(data_dir: DataDirOption = None) -> None:
    """Bring the database's schema up to date; `serve` does so by itself.

    Example: amstream migrate --data-dir /srv/amstream
    """
    with _one_line_errors():
        from service.serve import open_database

        open_database(_settings(data_dir=data_dir)).dispose()
    typer.echo("the schema is up to date")


@app.command("accept-loss")
def accept_loss_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model whose learner refuses.")],
    data_dir: DataDirOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let a model learn on from its newest checkpoint after Redis lost entries. Samples after the checkpoint stay lost.

    Example: amstream accept-loss digits
    """
    if not yes:
        typer.confirm(f"Give up every sample of {model!r} that no checkpoint includes?", abort=True)
    with _one_line_errors():
        from service.database import sessions
        from service.loss import accept_loss
        from service.serve import open_database, open_redis

        settings = _settings(data_dir=data_dir)
        client = open_redis(settings)
        accepted = accept_loss(sessions(open_database(settings)), client, model)
    position = accepted.position
    typer.echo(
        f"{model} goes on after {position.samples_learned} samples, at entry {position.entry}; "
        f"{accepted.discarded} entries of the old stream were dropped, with {accepted.unlearned} samples not yet learned"
    )


@app.command("admin-key")
def admin_key_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for; unique among keys in force.")],
    data_dir: DataDirOption = None,
) -> None:
    """Make an admin key where there is none any more, straight in the database of this machine's settings, and print it.

    It needs neither a key nor a server. The first start of `serve` writes a first one by itself; all else about keys is done
    by `amstream keys`.

    Example: amstream admin-key admin-2
    """
    with _one_line_errors():
        from service.database import sessions
        from service.keyring import create_key
        from service.serve import open_database

        _, secret = create_key(sessions(open_database(_settings(data_dir=data_dir))), name=name, scopes=["admin"])
    typer.echo(secret)


@app.command()
def version() -> None:
    """Print the version.

    Example: amstream version
    """
    typer.echo(__version__)


def main() -> None:
    """Entry point of the script."""
    app()
