"""Results of finished cells on disk, so that an interrupted run continues where it stopped.

One file per scenario and context (commit, scale, machine, digest of the sources): what was measured in another context
lies in another file and is never seen. Within a file a cell is found by its own fields, its data's digest among them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.scenario import Cell, Figures

FOLDER = Path(".benchmarks")


class KeptCells:
    """The finished cells of one scenario in one context.

    Args:
        folder: made when missing, with a `.gitignore` that hides it.
        scenario: its name.
        context: all that results depend on beside the cell itself; JSON values.
    """

    def __init__(self, folder: Path, scenario: str, context: Mapping[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(context, sort_keys=True).encode()).hexdigest()[:16]
        self.path = folder / f"{scenario}-{key}.jsonl"
        self._figures: dict[str, Figures] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        if self.path.exists():
            self._read()

    def __len__(self) -> int:
        return len(self._figures)

    def find(self, cell: Cell) -> Figures | None:
        return self._figures.get(_identity(cell))

    def keep(self, cell: Cell, figures: Figures) -> None:
        self._figures[_identity(cell)] = figures
        record = json.dumps({"cell": _identity(cell), "figures": figures}, allow_nan=False)
        with self.path.open("a") as file:
            file.write(f"\n{record}")  # the line break comes first: it also ends a line that a kill left torn

    def forget(self) -> None:
        self._figures.clear()
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        for line in self.path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # blank, or torn by a kill: that cell is measured again
            self._figures[record["cell"]] = record["figures"]


def _identity(cell: Cell) -> str:
    return json.dumps([cell.method, cell.net, cell.seed, cell.at, dict(cell.variant), cell.data], sort_keys=True)
