"""`amstream snapshots …` and `amstream restore`"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_resource, print_table

app = typer.Typer(no_args_is_help=True, help="Keep states of a model under a name.")

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
SnapshotArgument = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The snapshot's name.")]


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


def restore(
    context: typer.Context,
    model: ModelArgument,
    snapshot: SnapshotArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a model back to a snapshot; what it learned since is gone, unless another snapshot keeps it.

    Example: amstream restore digits before-drift
    """
    with connected(context, url, key) as client:
        print_resource(client.restore(model, snapshot), as_json)
