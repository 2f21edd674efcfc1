"""`amstream hyperparameters …`"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_table
from amstream_client.errors import AmstreamError

app = typer.Typer(no_args_is_help=True, help="Look at a model's hyper-parameters, and change them while it learns.")


@app.command()
def show(
    context: typer.Context,
    model: ModelArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the hyper-parameters in force.

    Example: amstream hyperparameters show digits
    """
    with connected(context, url, key) as client:
        _print(client.hyperparameters(model), as_json)


@app.command("set")
def set_(
    context: typer.Context,
    model: ModelArgument,
    changes: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", help="What to change; values as in JSON.")],
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change hyper-parameters for the samples that are sent from now on.

    Example: amstream hyperparameters set digits mu=0.05 tolerance=0.01
    """
    parsed = dict(map(parse_hyperparameter, changes))
    with connected(context, url, key) as client:
        try:
            _print(client.set_hyperparameters(model, parsed), as_json)
        except ValueError as error:  # NaN or an infinity, which JSON does not have
            raise AmstreamError(f"the hyper-parameters: {error}") from error


def parse_hyperparameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"a hyper-parameter is NAME=VALUE, such as mu=0.1, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # the service says what it thinks of it


def _print(hyperparameters: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(hyperparameters)
    else:
        print_table(("hyper-parameter", "value"), sorted(hyperparameters.items()))
