"""`amstream snapshots …` and `amstream restore`"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from amstream_client.cli.arguments import ModelArgument, SnapshotArgument, complete_snapshots
from amstream_client.cli.batch import DataFileError
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_resource, print_table

app = typer.Typer(no_args_is_help=True, help="Keep states of a model under a name.")


@app.command("list")
def list_snapshots(
    context: typer.Context,
    model: ModelArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a model's snapshots.

    Example: amstream snapshots list digits
    """
    with connected(context, url, key) as client:
        snapshots = client.snapshots(model)
    if as_json:
        print_json([asdict(snapshot) for snapshot in snapshots])
        return
    print_table(
        ("name", "samples learned", "model version", "bytes", "created"),
        ((s.name, s.samples_learned, s.model_version, s.size_bytes, s.created_at) for s in snapshots),
    )


@app.command()
def create(
    context: typer.Context,
    model: ModelArgument,
    snapshot: SnapshotArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the model's state of now.

    Example: amstream snapshots create digits before-drift
    """
    with connected(context, url, key) as client:
        print_resource(client.create_snapshot(model, snapshot), as_json)


@app.command()
def show(
    context: typer.Context,
    model: ModelArgument,
    snapshot: SnapshotArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a snapshot.

    Example: amstream snapshots show digits before-drift
    """
    with connected(context, url, key) as client:
        print_resource(client.snapshot(model, snapshot), as_json)


@app.command()
def delete(
    context: typer.Context,
    model: ModelArgument,
    snapshot: SnapshotArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a snapshot.

    Example: amstream snapshots delete digits before-drift --yes
    """
    with connected(context, url, key) as client:
        if not yes:
            samples = client.snapshot(model, snapshot).samples_learned
            question = f"Delete '{snapshot}' of '{model}', taken after {samples} samples, for good?"
            typer.confirm(question, abort=True)
        client.delete_snapshot(model, snapshot)
    if as_json:
        print_json({"model": model, "deleted": snapshot})


@app.command()
def export(
    context: typer.Context,
    model: ModelArgument,
    snapshot: SnapshotArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to. Default: MODEL-SNAPSHOT.safetensors.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot to a safetensors file, for the import into this or another service.

    Example: amstream snapshots export digits before-drift
    """
    path = file or Path(f"{model}-{snapshot}.safetensors")
    with connected(context, url, key) as client:
        if path.exists() and not force:
            raise DataFileError(f"{path}: is there already; --force replaces it")
        with _about(path):
            client.export_snapshot(model, snapshot, path)
    if as_json:
        print_json({"model": model, "snapshot": snapshot, "file": str(path)})
    else:
        typer.echo(path)


@app.command("import")
def import_(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that an export wrote.")],
    name: Annotated[
        str | None, typer.Option(help="The snapshot's name. Default: the file's, without what it ends in.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a snapshot from a file. The model changes only when the snapshot is restored.

    \b
    Examples:
    amstream snapshots import digits digits-before-drift.safetensors
    amstream snapshots import digits digits-before-drift.safetensors --name before-drift
    """
    with connected(context, url, key) as client, _about(file):
        print_resource(client.import_snapshot(model, name or file.stem, file), as_json)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error


def restore(
    context: typer.Context,
    model: ModelArgument,
    snapshot: Annotated[
        str | None,
        typer.Argument(metavar="SNAPSHOT", help="The snapshot's name.", autocompletion=complete_snapshots),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="POINT", help="Instead: the last entry to keep, or a time such as 2026-11-27T09:00:00Z."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="ENTRY", help="Leave out this entry; repeatable; with --at or alone.")
    ] = None,
    if_match: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Restore only if the snapshot has this digest.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a model back to a snapshot, or to a point of its log, or as if entries had never come.

    What it learned since is gone, unless a snapshot keeps it; with --skip alone, only those entries are.

    \b
    Examples:
    amstream restore digits before-drift
    amstream restore digits --at 2026-11-27T09:00:00Z
    amstream restore digits --skip 1795683600000-0
    """
    with connected(context, url, key) as client:
        try:
            restored = client.restore(model, snapshot, at=at, skip=skip or (), if_match=if_match)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        print_resource(restored, as_json)
