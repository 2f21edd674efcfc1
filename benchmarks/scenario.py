"""What a benchmark is: a scenario, cut into cells that are measured, kept and resumed one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from models import Architecture

Figures = dict[str, dict[str, float]]
"""Method → figure → number. A cell names several methods when it measures them side by side."""

Variant = Mapping[str, float | str]
"""One point of a method's grid, for instance {"lr": 0.005, "scale": "running"}."""

Group = tuple[str, str, str]
"""(method, net, at): among the variants of a group the best one is reported."""

Winners = Mapping[Group, Variant]

Combine = Callable[[Sequence[float]], float]
"""Numbers of several seeds → one."""


class RunScale(StrEnum):
    """How much of a scenario to run: minutes, about an hour, everything."""

    QUICK = "quick"
    HOUR = "hour"
    FULL = "full"


@dataclass(frozen=True)
class Plan:
    """One call of `run`: at what scale, over how many seeds, with which folder of data sets (None: none)."""

    scale: RunScale
    seeds: int
    data: Path | None = None


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Args:
        method: what is measured, as reports name it.
        net: `64-100-100-10`.
        seed: of everything random in it.
        measure: does the work; equal cells must mean equal work, because results are kept by the other fields.
        at: the setting that its figures carry as a suffix, `block8` in `prequential@block8`; empty for none.
        variant: which point of the method's grid this is; the report takes the best one per (method, net, at).
        data: digest of the data set that it reads; empty for none.
    """

    method: str
    net: str
    seed: int
    measure: Callable[[], Figures]
    at: str = ""
    variant: Variant = field(default_factory=dict)
    data: str = ""


def no_notes(plan: Plan) -> list[str]:
    return []


@dataclass(frozen=True)
class Axes:
    """Of a plot with a line per method: the figures, and how they are written at their axes."""

    x: str
    y: str
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Scenario:
    """A named family of cells.

    Args:
        name: for the command line.
        measures: what it measures, one line.
        data: what data it needs and what it does without, one line.
        cells: all cells of a plan, cheap to list: the work is in `Cell.measure`.
        seeds: how many by default, per scale.
        best_by: the figure, the larger the better, that chooses among a method's variants.
        threads: torch's, while it runs; None leaves torch's choice.
        over_seeds: figure → how its numbers over the seeds become one, where that is not their mean.
        notes: what a reader of the figures must know of a plan, above all what it leaves out.
        finals: what is measured and reported at the variants that won among `cells`, which then only choose; None
            reports the winners as they were measured.
        plot: what is drawn beside the JSON, if anything.
    """

    name: str
    measures: str
    data: str
    cells: Callable[[Plan], Iterable[Cell]]
    seeds: Mapping[RunScale, int]
    best_by: str = "prequential"
    threads: int | None = None
    over_seeds: Mapping[str, Combine] = field(default_factory=dict)
    notes: Callable[[Plan], list[str]] = no_notes
    finals: Callable[[Plan, Winners], Iterable[Cell]] | None = None
    plot: Axes | None = None


class MissingDataError(Exception):
    """A scenario needs a data set that `--data` does not hold; the message says which and where to get it."""


def two_hidden_layers(inputs: int, width: int, classes: int) -> Architecture:
    """The net of most scenarios."""
    return Architecture(inputs, (width, width), classes)
