"""The commands that talk to a service. `register` adds them to the app of whoever mounts them."""

import typer

from amstream_client.cli import hyperparameters, keys, models, snapshots, tracked
from amstream_client.cli.dead_letters import dead_letters
from amstream_client.cli.doctor import doctor
from amstream_client.cli.evaluate import evaluate
from amstream_client.cli.events import events
from amstream_client.cli.learn import learn
from amstream_client.cli.metrics import metrics
from amstream_client.cli.predict import predict
from amstream_client.cli.watch import watch


def register(app: typer.Typer) -> None:
    app.add_typer(models.app, name="models")
    app.add_typer(hyperparameters.app, name="hyperparameters")
    app.command()(learn)
    app.command()(predict)
    app.add_typer(tracked.app, name="tracked")
    app.command()(evaluate)
    app.command()(metrics)
    app.command()(events)
    app.command()(watch)
    app.command()(dead_letters)
    app.add_typer(snapshots.app, name="snapshots")
    app.command()(snapshots.restore)
    app.add_typer(keys.app, name="keys")
    app.command()(doctor)
