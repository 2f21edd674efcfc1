"""From the cells of a run to its metrics: means over seeds, at the best point of each method's grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev

from benchmarks.runner import Measured
from benchmarks.scenario import Combine, Variant

Group = tuple[str, str, str]
"""(method, net, at): among the variants of a group the best one is reported."""


@dataclass
class Metrics:
    """What a run found.

    Args:
        values: `method/net/figure` → mean over seeds, or what the scenario takes instead; after means, with `/sd`, the
            sample standard deviation, from two seeds on; and the chosen numbers of a grid, such as `adam/…/lr@block8`.
        measured: those keys of `values` that are means of measurements, in order.
        chosen: a measured key → the variant that it was measured at, if it has one.
        at_edge: what was chosen at the end of its grid, in words: a wider grid might do better.
    """

    values: dict[str, float] = field(default_factory=dict)
    measured: list[str] = field(default_factory=list)
    chosen: dict[str, Variant] = field(default_factory=dict)
    at_edge: list[str] = field(default_factory=list)


def collect(measured: Iterable[Measured], best_by: str, over_seeds: Mapping[str, Combine] | None = None) -> Metrics:
    """Args: best_by, over_seeds: as in `Scenario`."""
    metrics = Metrics()
    for (method, net, at), variants in _groups(measured).items():
        best = variants[0]
        if len(variants) > 1:
            best = max(variants, key=lambda seeds: mean(one.figures[method][best_by] for one in seeds))
        suffix = f"@{at}" if at else ""
        _add_figures(metrics, best, net, suffix, over_seeds or {})
        if len(variants) > 1:
            _add_choice(metrics, best, variants, f"{method}/{net}", suffix)
    return metrics


def _groups(measured: Iterable[Measured]) -> dict[Group, list[list[Measured]]]:
    """Per group its variants, each a list over seeds."""
    groups: dict[Group, dict[str, list[Measured]]] = {}
    for one in measured:
        cell = one.cell
        variants = groups.setdefault((cell.method, cell.net, cell.at), {})
        variants.setdefault(repr(sorted(cell.variant.items())), []).append(one)
    return {group: list(variants.values()) for group, variants in groups.items()}


def _add_figures(
    metrics: Metrics, seeds: list[Measured], net: str, suffix: str, over_seeds: Mapping[str, Combine]
) -> None:
    variant = dict(seeds[0].cell.variant)
    for method, figures in seeds[0].figures.items():
        for figure in figures:
            numbers = [one.figures[method][figure] for one in seeds]
            key = f"{method}/{net}/{figure}{suffix}"
            metrics.values[key] = over_seeds.get(figure, mean)(numbers)
            metrics.measured.append(key)
            if len(numbers) > 1 and figure not in over_seeds:
                metrics.values[f"{key}/sd"] = stdev(numbers)
            if variant and method == seeds[0].cell.method:
                metrics.chosen[key] = variant


def _add_choice(
    metrics: Metrics, best: list[Measured], variants: list[list[Measured]], prefix: str, suffix: str
) -> None:
    for parameter, value in best[0].cell.variant.items():
        if isinstance(value, str):
            continue
        metrics.values[f"{prefix}/{parameter}{suffix}"] = value
        tried = [float(seeds[0].cell.variant[parameter]) for seeds in variants]
        if value in (min(tried), max(tried)):
            metrics.at_edge.append(f"{prefix}: {parameter}{suffix} {value:g} is at the edge of its grid")
