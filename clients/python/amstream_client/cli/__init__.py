"""The commands that talk to a service. `register` adds them to the app of whoever mounts them."""

import typer

from amstream_client.cli import models, snapshots
from amstream_client.cli.learn import learn
from amstream_client.cli.predict import predict


def register(app: typer.Typer) -> None:
    app.add_typer(models.app, name="models")
    app.command()(learn)
    app.command()(predict)
    app.add_typer(snapshots.app, name="snapshots")
    app.command()(snapshots.restore)
