"""What choosing a method without trying costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.distance import Distance, distances

REPORT = {
    "scenario": "online.mnist",
    "metrics": {
        "am-mem/a/prequential": 0.90,
        "am-mem/a/prequential/sd": 0.5,
        "adam/a/prequential": 0.93,
        "joint/a/prequential": 0.99,
        "adam/a/lr": 5.0,
        "am-mem/a/prequential@block8": 0.8,
        "adam/a/prequential@block8": 0.7,
        "adam/b/test": 0.7,
    },
}


def test_distances_are_to_the_best_rival_that_was_told_nothing_more() -> None:
    assert distances([REPORT], "am-mem") == [
        Distance("online.mnist", "a", "prequential", 0.90, 0.93, "adam"),
        Distance("online.mnist", "a", "prequential@block8", 0.8, 0.8, "am-mem"),
    ]
    assert [one.distance for one in distances([REPORT], "am-mem")] == pytest.approx([0.03, 0.0])


def test_the_command_reads_the_committed_reports_and_names_what_it_cannot_find(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["distance"])
    assert shown.exit_code == 0
    assert "its largest distance is" in shown.output
    assert CliRunner().invoke(app, ["distance", "--folder", str(tmp_path)]).exit_code == 2
