from __future__ import annotations

from typing import Any

import pytest

from benchmarks.datasets import digits
from benchmarks.metrics import collect
from benchmarks.runner import Measured
from benchmarks.scenario import Plan, RunScale
from benchmarks.scenarios import faults
from benchmarks.scenarios.faults import BLOCK, FAULTS


@pytest.mark.parametrize(("scale", "least"), [(RunScale.QUICK, 20), (RunScale.FULL, 200)])
def test_every_database_sees_as_many_kills_as_the_scale_promises(scale: RunScale, least: int) -> None:
    plan = Plan(scale, FAULTS.seeds[scale])
    cells = list(faults.cells(plan))
    assert {cell.net for cell in cells} == {"sqlite", "postgresql"}
    for database, kills in faults.KILLS.items():
        assert sum(cell.net == database for cell in cells) * sum(kills.values()) >= least


@pytest.mark.timeout(300)
def test_a_round_with_a_kill_of_valkey_and_a_learner_that_stalls_accepts_and_learns_the_same() -> None:
    figures = faults.measure(digits(), "sqlite", {"valkey": 1, "stalled": 1}, seed=0)["faults"]
    assert figures["accepted"] == figures["learned"] > 2 * BLOCK
    assert (figures["kills"], figures["lost"], figures["doubled"], figures["bit_equal"]) == (2, 0, 0, 1)


def test_a_sample_that_was_learned_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def repeat(target: str, backends: faults.Backends, producer: faults.Producer, after_s: float) -> float:
        producer.wait_for_more()
        vars(producer)["_post"](0)  # as a new post, not as a retry
        return 0.0

    monkeypatch.setattr(faults, "_kill", repeat)
    figures = faults.measure(digits(), "sqlite", {"server": 1}, seed=0)["faults"]
    assert (figures["lost"], figures["doubled"], figures["bit_equal"]) == (0, BLOCK, 0)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_round_with_a_kill_of_everything_accepts_and_learns_the_same_on_postgresql() -> None:
    kills = {"server": 1, "valkey": 1, "postgresql": 1, "learner": 1, "stalled": 1}
    figures = faults.measure(digits(), "postgresql", kills, seed=0)["faults"]
    assert figures["accepted"] == figures["learned"] > 5 * BLOCK
    assert (figures["lost"], figures["doubled"], figures["bit_equal"]) == (0, 0, 1)


def test_the_rounds_of_a_run_are_added_up_and_one_that_differs_shows() -> None:
    plan = Plan(RunScale.QUICK, seeds=2)
    cells = [cell for cell in faults.cells(plan) if cell.net == "sqlite"]
    rounds: list[Any] = [
        {"kills": 10, "accepted": 160, "learned": 160, "lost": 0, "doubled": 0, "bit_equal": 1.0, "recovery_s": 1.0},
        {"kills": 10, "accepted": 320, "learned": 304, "lost": 16, "doubled": 0, "bit_equal": 0.0, "recovery_s": 2.0},
    ]
    measured = [Measured(cell, {"faults": figures}) for cell, figures in zip(cells, rounds, strict=True)]
    values = collect(measured, FAULTS.best_by, FAULTS.over_seeds).values
    assert {key: values[f"faults/sqlite/{key}"] for key in rounds[0]} == {
        "kills": 20,
        "accepted": 480,
        "learned": 464,
        "lost": 16,
        "doubled": 0,
        "bit_equal": 0,
        "recovery_s": 1.5,
    }
