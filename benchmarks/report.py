"""A run's report: JSON for machines, tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from benchmarks.metrics import Metrics
from benchmarks.scenario import Plan, Scenario, Variant


def as_json(
    scenario: Scenario, plan: Plan, commit: str, machine: Mapping[str, Any], metrics: Metrics
) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "commit": commit,
        "machine": dict(machine),
        "scale": plan.scale.value,
        "seeds": plan.seeds,
        "metrics": metrics.values,
        "chosen": {key: dict(variant) for key, variant in metrics.chosen.items()},
        "notes": notes(scenario, plan, metrics),
    }


def notes(scenario: Scenario, plan: Plan, metrics: Metrics) -> list[str]:
    return [*scenario.notes(plan), *metrics.at_edge]


def as_tables(scenario: Scenario, plan: Plan, metrics: Metrics) -> list[Table]:
    """A table per net, a section per figure, a line per method, so that rivals stand below each other."""
    nets: dict[str, dict[str, list[str]]] = {}
    for key in metrics.measured:
        _, net, figure = key.split("/")
        nets.setdefault(net, {}).setdefault(figure, []).append(key)
    return [_table(f"{scenario.name} {net}, {plan.scale}, {plan.seeds} seeds", metrics, nets[net]) for net in nets]


def _table(title: str, metrics: Metrics, figures: Mapping[str, list[str]]) -> Table:
    table = Table("figure", "method", title=title)
    table.add_column("mean ± sd", justify="right")
    table.add_column("measured at")
    for figure, keys in figures.items():
        for key in keys:
            first = figure if key is keys[0] else ""
            variant = _words(metrics.chosen.get(key, {}))
            table.add_row(first, key.split("/")[0], _number(metrics, key), variant, end_section=key is keys[-1])
    return table


def _number(metrics: Metrics, key: str) -> str:
    value, spread = metrics.values[key], metrics.values.get(f"{key}/sd")
    if value >= 10_000:
        return f"{value:,.0f}" if not spread else f"{value:,.0f} ± {spread:,.0f}"
    digits = 4 if abs(value) < 1 else 2
    return f"{value:.{digits}f}" if spread is None else f"{value:.{digits}f} ± {spread:.{digits}f}"


def _words(variant: Variant) -> str:
    """`lr 0.005, scale running`."""
    return ", ".join(f"{name} {value if isinstance(value, str) else f'{value:g}'}" for name, value in variant.items())
