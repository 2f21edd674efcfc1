from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.kept_cells import KeptCells
from benchmarks.provenance import sources_digest
from benchmarks.scenario import Cell, Figures

CONTEXT = {"commit": "abc", "machine": {"cores": 2}, "scale": "quick", "sources": "0"}


def never() -> Figures:
    raise AssertionError("a kept cell is not measured again")


CELL = Cell("adam", "2-3-2", 0, never, at="block8", variant={"lr": 0.1}, data="digest")


def test_a_kept_cell_is_found_again_and_the_folder_hides_itself_from_git(tmp_path: Path) -> None:
    KeptCells(tmp_path / "kept", "toy", CONTEXT).keep(CELL, {"adam": {"prequential": 0.1 + 0.2}})
    assert KeptCells(tmp_path / "kept", "toy", CONTEXT).find(CELL) == {"adam": {"prequential": 0.1 + 0.2}}
    assert (tmp_path / "kept" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    "change",
    [{"method": "sgd"}, {"net": "2-4-2"}, {"seed": 1}, {"at": "block1"}, {"variant": {"lr": 0.2}}, {"data": "other"}],
)
def test_another_cell_is_not_found(tmp_path: Path, change: dict[str, object]) -> None:
    kept = KeptCells(tmp_path, "toy", CONTEXT)
    kept.keep(CELL, {"adam": {}})
    assert kept.find(dataclasses.replace(CELL, **change)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"commit": "abd"}, {"machine": {"cores": 4}}, {"scale": "full"}, {"sources": "1"}])
def test_nothing_is_found_in_another_context(tmp_path: Path, change: dict[str, object]) -> None:
    KeptCells(tmp_path, "toy", CONTEXT).keep(CELL, {"adam": {}})
    assert KeptCells(tmp_path, "toy", CONTEXT | change).find(CELL) is None


def test_a_line_torn_by_a_kill_costs_its_own_cell_only(tmp_path: Path) -> None:
    kept = KeptCells(tmp_path, "toy", CONTEXT)
    first, torn, last = (dataclasses.replace(CELL, seed=seed) for seed in range(3))
    kept.keep(first, {"adam": {"prequential": 0.0}})
    kept.keep(torn, {"adam": {"prequential": 1.0}})
    kept.path.write_text(kept.path.read_text()[:-9])
    KeptCells(tmp_path, "toy", CONTEXT).keep(last, {"adam": {"prequential": 2.0}})
    again = KeptCells(tmp_path, "toy", CONTEXT)
    assert [again.find(cell) for cell in (first, torn, last)] == [
        {"adam": {"prequential": 0.0}},
        None,
        {"adam": {"prequential": 2.0}},
    ]


def test_the_sources_digest_moves_with_any_python_file_of_models_or_benchmarks(tmp_path: Path) -> None:
    for package in ("models", "benchmarks/scenarios"):
        (tmp_path / package).mkdir(parents=True)
    digests = {sources_digest(tmp_path)}
    for number, file in enumerate(["models/a.py", "benchmarks/b.py", "benchmarks/scenarios/c.py"], start=2):
        (tmp_path / file).write_text("x = 1")
        digests.add(sources_digest(tmp_path))
        assert len(digests) == number
    (tmp_path / "models/a.py").write_text("x = 2")
    digests.add(sources_digest(tmp_path))
    assert len(digests) == 5
    (tmp_path / "benchmarks/result.json").write_text("{}")
    assert sources_digest(tmp_path) in digests
