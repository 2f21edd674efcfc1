"""`python -m amstream_client`: the commands of this package without the service's."""

import typer

from amstream_client.cli import register

app = typer.Typer(
    help="Commands of amstream, a service that learns from a stream of labelled samples.",
    no_args_is_help=True,
)
register(app)

if __name__ == "__main__":
    app(prog_name="python -m amstream_client")
