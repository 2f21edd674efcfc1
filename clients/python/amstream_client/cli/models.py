"""`amstream models …`"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from amstream_client.cli.batch import BOOLEANS, DataFileError
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_resource, print_table
from amstream_client.errors import AmstreamError
from amstream_client.wire import Label, Spec

app = typer.Typer(no_args_is_help=True, help="Create, look at and delete models.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]


@app.command("list")
def list_models(
    context: typer.Context, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List all models.

    Example: amstream models list
    """
    with connected(context, url, key) as client:
        models = client.models()
    if as_json:
        print_json([asdict(model) for model in models])
        return
    print_table(
        ("name", "learner", "inputs", "classes", "samples learned", "entries behind"),
        (
            (m.name, m.spec.get("learner"), m.spec["inputs"], len(m.spec["classes"]), m.samples_learned, m.entries_lag)
            for m in models
        ),
    )


@app.command()
def show(
    context: typer.Context,
    name: NameArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model: its complete spec and how far it got.

    Example: amstream models show digits
    """
    with connected(context, url, key) as client:
        print_resource(client.model(name), as_json)


@app.command()
def create(
    context: typer.Context,
    name: NameArgument,
    spec: Annotated[
        Path | None, typer.Option("--spec", metavar="FILE.json", help="A complete spec; other options override it.")
    ] = None,
    inputs: Annotated[int | None, typer.Option(help="The number of features of a sample.")] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B,…", help="The labels, with commas.")] = None,
    label_type: Annotated[
        str | None,
        typer.Option(help="integer, string or boolean. Default: what all the classes look like."),
    ] = None,
    hidden: Annotated[str | None, typer.Option(metavar="N,N,…", help="The sizes of the hidden layers.")] = None,
    learner: Annotated[str | None, typer.Option(help="The learning rule, such as am-mem.")] = None,
    scale: Annotated[str | None, typer.Option(help="How inputs are scaled: running or none.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of the initial weights.")] = None,
    block_size: Annotated[int | None, typer.Option(help="The most samples learned in one step.")] = None,
    hyperparameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A hyper-parameter of the learner; repeatable.")
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a model. What is left out gets the service's default.

    Creating it once more with an equal spec changes nothing; with another spec it is an error.

    \b
    Examples:
    amstream models create digits --inputs 64 --classes 0,1,2,3,4,5,6,7,8,9 --hidden 100,100
    amstream models create iris --inputs 4 --classes setosa,virginica --hyperparameter mu=0.1
    amstream models create iris --spec iris.json --seed 3
    """
    if spec is None and (inputs is None or classes is None):
        raise typer.BadParameter("give --inputs and --classes, or --spec FILE.json")
    with connected(context, url, key) as client:
        complete = {} if spec is None else _read_spec(spec)
        options = {
            "inputs": inputs,
            "classes": None if classes is None else _parse_classes(classes, label_type),
            "label_type": label_type,
            "hidden": None if hidden is None else _parse_sizes(hidden),
            "learner": learner,
            "scale": scale,
            "seed": seed,
        }
        complete |= {field: value for field, value in options.items() if value is not None}
        if block_size is not None:
            complete["block"] = {**complete.get("block", {}), "size": block_size}
        if hyperparameter:
            complete["hyperparameters"] = {
                **complete.get("hyperparameters", {}),
                **dict(map(_parse_hyperparameter, hyperparameter)),
            }
        try:
            model = client.create_model(name, cast(Spec, complete))
        except ValueError as error:  # NaN or an infinity, which JSON does not have
            raise AmstreamError(f"the spec: {error}") from error
        print_resource(model, as_json)


@app.command()
def delete(
    context: typer.Context,
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Delete a model, its snapshots and its stream.

    Example: amstream models delete digits --yes
    """
    with connected(context, url, key) as client:
        if not yes:
            learned = client.model(name).samples_learned
            typer.confirm(f"Delete '{name}', which learned {learned} samples, for good?", abort=True)
        client.delete_model(name)


def _read_spec(path: Path) -> dict[str, Any]:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError is one too
        raise DataFileError(f"{path}: {error}") from error
    if not isinstance(spec, dict):
        raise DataFileError(f"{path}: a spec is a JSON object")
    return spec


def _parse_classes(text: str, label_type: str | None) -> list[Label]:
    names = [name.strip() for name in text.split(",")]
    if label_type in (None, "integer") and all(name.removeprefix("-").isdecimal() for name in names):
        return [int(name) for name in names]
    if label_type in (None, "boolean") and all(name.lower() in BOOLEANS for name in names):
        return [BOOLEANS[name.lower()] for name in names]
    return list(names)


def _parse_sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",") if size.strip()]
    except ValueError as error:
        raise typer.BadParameter(f"--hidden takes sizes with commas, such as 100,100, not {text!r}") from error


def _parse_hyperparameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"--hyperparameter takes NAME=VALUE, such as mu=0.1, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # the service says what it thinks of it
