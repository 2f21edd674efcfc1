"""Runs the cells of a scenario, taking those that are already kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from benchmarks.kept_cells import KeptCells
from benchmarks.scenario import Cell, Figures


@dataclass(frozen=True)
class Measured:
    cell: Cell
    figures: Figures


def measure_cells(cells: Iterable[Cell], kept: KeptCells) -> Iterator[Measured]:
    """One result a cell, in order; each is on disk before the next cell starts."""
    for cell in cells:
        figures = kept.find(cell)
        if figures is None:
            figures = cell.measure()
            kept.keep(cell, figures)
        yield Measured(cell, figures)


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
