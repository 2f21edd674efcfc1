"""How far one method is from the best on every benchmark: what choosing it without trying costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURES = ("prequential", "test", "final")
"""Accuracies, the larger the better, that methods are compared by."""
UPPER_BOUNDS = ("joint",)
"""Methods that are told what no stream tells."""


@dataclass(frozen=True)
class Distance:
    """Args: figure: with its setting, `prequential@block8`. own, best: numbers; rival: who has the best one."""

    scenario: str
    net: str
    figure: str
    own: float
    best: float
    rival: str

    @property
    def distance(self) -> float:
        return self.best - self.own


def distances(reports: Iterable[Mapping[str, Any]], method: str) -> list[Distance]:
    """One a scenario, net and figure that `method` was measured by, the largest first; 0 where it is the best itself."""
    found = []
    for report in reports:
        rivals: dict[tuple[str, str], dict[str, float]] = {}
        for key, value in report["metrics"].items():
            name, net, *figure = key.split("/")
            if len(figure) == 1 and figure[0].split("@block")[0] in FIGURES and name not in UPPER_BOUNDS:
                rivals.setdefault((net, figure[0]), {})[name] = value
        for (net, figure_name), values in rivals.items():
            if method in values:
                rival = max(values, key=lambda name: values[name])
                found.append(Distance(report["scenario"], net, figure_name, values[method], values[rival], rival))
    return sorted(found, key=lambda one: -one.distance)


def read_reports(folder: Path, prefixes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Of the scenarios whose names begin so."""
    reports = (json.loads(file.read_text()) for file in sorted(folder.glob("*.json")))
    return [report for report in reports if report["scenario"].startswith(prefixes)]
