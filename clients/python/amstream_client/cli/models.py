"""`amstream models …`"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from amstream_client.cli.arguments import complete_models
from amstream_client.cli.batch import BOOLEANS, DataFileError
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.hyperparameters import parse_hyperparameter
from amstream_client.cli.output import JsonOption, print_json, print_resource, print_table
from amstream_client.errors import AmstreamError
from amstream_client.wire import Label, Spec

app = typer.Typer(no_args_is_help=True, help="Create, look at and delete models.")

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.", autocompletion=complete_models)]


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
    name: NewNameArgument,
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            metavar="FILE.json",
            help="A spec, or what `models show --json` prints; other options override it.",
        ),
    ] = None,
    inputs: Annotated[int | None, typer.Option(help="The number of features of a sample.")] = None,
    features: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="The features' names, in order, instead of --inputs.")
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B,…", help="The labels, with commas.")] = None,
    max_classes: Annotated[
        int | None, typer.Option(help="How many classes there may be: others than --classes may come.")
    ] = None,
    label_type: Annotated[
        str | None,
        typer.Option(help="integer, string or boolean. Default: what all the classes look like."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression.")] = None,
    targets: Annotated[int | None, typer.Option(help="How many numbers a regression predicts.")] = None,
    shadow_of: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Learn the samples of this model, to be compared.", autocompletion=complete_models
        ),
    ] = None,
    hidden: Annotated[str | None, typer.Option(metavar="N,N,…", help="The sizes of the hidden layers.")] = None,
    learner: Annotated[str | None, typer.Option(help="The learning rule, such as am-mem.")] = None,
    scale: Annotated[str | None, typer.Option(help="How inputs are scaled: running, pooled or none.")] = None,
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
    amstream models create iris --spec spec.json --seed 3
    amstream models show iris --json > iris.json
    amstream models create iris-fast --spec iris.json --shadow-of iris --hyperparameter 'horizons=[8,64]'
    """
    if spec is None and inputs is None and features is None:
        raise typer.BadParameter("give --inputs or --features, or --spec FILE.json")
    if spec is None and classes is None and label_type is None and task != "regression":
        raise typer.BadParameter("give --classes, or --label-type for those that will come, or --task regression")
    with connected(context, url, key) as client:
        complete = {} if spec is None else _read_spec(spec)
        options = {
            "inputs": inputs,
            "features": None if features is None else [name.strip() for name in features.split(",")],
            "task": task,
            "targets": targets,
            "max_classes": max_classes,
            "shadow_of": shadow_of,
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
                **dict(map(parse_hyperparameter, hyperparameter)),
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
    as_json: JsonOption = False,
) -> None:
    """Delete a model, its snapshots and its stream.

    Example: amstream models delete digits --yes
    """
    with connected(context, url, key) as client:
        if not yes:
            learned = client.model(name).samples_learned
            typer.confirm(f"Delete '{name}', which learned {learned} samples, for good?", abort=True)
        client.delete_model(name)
    if as_json:
        print_json({"deleted": name})


@app.command()
def promote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SHADOW", help="The shadow's name.", autocompletion=complete_models)],
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a model what its shadow is; `restore --at` an earlier entry goes back.

    Example: amstream models promote digits-fast
    """
    with connected(context, url, key) as client:
        print_resource(client.promote(name), as_json)


def _read_spec(path: Path) -> dict[str, Any]:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError is one too
        raise DataFileError(f"{path}: {error}") from error
    if not isinstance(spec, dict):
        raise DataFileError(f"{path}: a spec is a JSON object")
    shown = spec.get("spec")  # of a model, as `models show` prints it
    return shown if isinstance(shown, dict) else spec


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
