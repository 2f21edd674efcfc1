"""`amstream metrics`: how well a model does, beside what learns nothing."""

from __future__ import annotations

from dataclasses import asdict

import typer

from amstream_client.cli.arguments import ModelArgument
from amstream_client.cli.connection import KeyOption, UrlOption, connected
from amstream_client.cli.output import JsonOption, print_json, print_table
from amstream_client.wire import Metrics


def metrics(
    context: typer.Context,
    model: ModelArgument,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how well a model predicted each sample before it learned it, beside predictors that learn nothing.

    Example: amstream metrics digits
    """
    with connected(context, url, key) as client:
        found = client.metrics(model)
    if as_json:
        print_json(asdict(found))
        return
    print_table(("figure", "overall", "recent"), figure_rows(found))
    if found.classes:
        typer.echo()
        rows = ((one.label, one.seen, shown(one.recall), shown(one.recent_recall)) for one in found.classes)
        print_table(("class", "samples", "recall", "recent recall"), rows)
    for shadow in found.shadows:
        typer.echo()
        compared = ((name, shown(value), shown(found.recent.get(name))) for name, value in shadow.recent.items())
        print_table(("recent", shadow.name, model), compared)
    typer.echo()
    typer.echo(f"{found.samples_learned} samples learned; recent: the last {found.horizon:g}, about")
    drifts = found.drifts
    typer.echo("no drift" if drifts.last is None else f"{drifts.count} drifts, the last one at sample {drifts.last}")
    if found.retention is not None and found.retention.forgetting is not None:
        typer.echo(f"forgetting {shown(found.retention.forgetting)}, over periods of {found.retention.period} samples")


def figure_rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    return [(name, shown(value), shown(metrics.recent[name])) for name, value in metrics.overall.items()]


def shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"
