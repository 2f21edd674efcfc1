"""How commands show results: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def console(*, stderr: bool = False) -> Console:
    """Shows text as it is: names and labels are data, not markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_json(result: Any) -> None:
    typer.echo(json.dumps(result, ensure_ascii=False))


def print_resource(resource: DataclassInstance, as_json: bool) -> None:
    """One resource, a line per field."""
    if as_json:
        print_json(asdict(resource))
        return
    table = Table(box=None, show_header=False)
    for name, value in asdict(resource).items():
        if isinstance(value, Mapping):
            for inner, inner_value in value.items():
                table.add_row(f"{name}.{inner}", _text(inner_value))
        else:
            table.add_row(name, _text(value))
    console().print(table)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*map(_text, row))
    console().print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
