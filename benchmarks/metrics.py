"""From the cells of a run to its metrics: means over seeds, at the best point of each method's grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev

from benchmarks.runner import Measured
from benchmarks.scenario import Combine, Group, Variant, Winners


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
    for group, variants in _groups(measured).items():
        method, net, at = group
        best = _best(variants, method, best_by)
        suffix = f"@{at}" if at else ""
        _add_figures(metrics, best, net, suffix, over_seeds or {})
        for parameter, value in _numbers(best) if len(variants) > 1 else ():
            metrics.values[f"{method}/{net}/{parameter}{suffix}"] = value
        metrics.at_edge.extend(_edges(group, best, variants))
    return metrics


def winners(measured: Iterable[Measured], best_by: str) -> tuple[Winners, list[str]]:
    """The variant of each group with the best mean; and which lie at the end of their grid, in words."""
    won: dict[Group, Variant] = {}
    at_edge: list[str] = []
    for group, variants in _groups(measured).items():
        best = _best(variants, group[0], best_by)
        won[group] = best[0].cell.variant
        at_edge.extend(_edges(group, best, variants))
    return won, at_edge


def _best(variants: list[list[Measured]], method: str, best_by: str) -> list[Measured]:
    if len(variants) == 1:
        return variants[0]
    return max(variants, key=lambda seeds: mean(one.figures[method][best_by] for one in seeds))


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


def _numbers(seeds: list[Measured]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in seeds[0].cell.variant.items() if not isinstance(value, str)]


def _edges(group: Group, best: list[Measured], variants: list[list[Measured]]) -> list[str]:
    """Of what has at least three values in the grid: with two, each is an edge."""
    method, net, at = group
    edges = []
    for parameter, value in _numbers(best):
        tried = {float(seeds[0].cell.variant[parameter]) for seeds in variants}
        if len(tried) > 2 and value in (min(tried), max(tried)):
            suffix = f"@{at}" if at else ""
            edges.append(f"{method}/{net}: {parameter}{suffix} {value:g} is at the edge of its grid")
    return edges
