from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from benchmarks import provenance
from benchmarks.cli import app
from benchmarks.scenario import Axes, Cell, Figures, Plan, RunScale, Scenario, Winners
from benchmarks.scenarios import SCENARIOS


@dataclass
class Toy:
    """A scenario whose figures are known, and which remembers what it measured.

    `steady` has no grid; `tuned` is best at lr 2, by 0.1 a step; both lose 0.01 a seed. `interrupt_at`: the measurement
    at which Ctrl-C is pressed.
    """

    done: list[tuple[str, float, int]] = field(default_factory=list)
    interrupt_at: int | None = None

    def scenario(self) -> Scenario:
        seeds = dict.fromkeys(RunScale, 2)
        return Scenario("toy", "nothing", "none", self.cells, seeds, notes=lambda plan: [f"a {plan.scale} toy"])

    def cells(self, plan: Plan) -> Iterator[Cell]:
        for seed in range(plan.seeds):
            yield Cell("steady", "2-3-2", seed, self.measure("steady", 0.0, seed), at="block8")
        for lr in (1.0, 2.0, 3.0):
            for seed in range(plan.seeds):
                yield Cell("tuned", "2-3-2", seed, self.measure("tuned", lr, seed), at="block8", variant={"lr": lr})

    def measure(self, method: str, lr: float, seed: int) -> Callable[[], Figures]:
        def work() -> Figures:
            if len(self.done) == self.interrupt_at:
                raise KeyboardInterrupt
            self.done.append((method, lr, seed))
            return {method: {"prequential": 0.9 - 0.1 * abs(lr - 2) - 0.01 * seed}}

        return work


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def run(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SCENARIOS, "toy", toy.scenario())
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def metrics_of(result: Result, file: Path) -> dict[str, float]:
    assert result.exit_code == 0, result.output
    metrics: dict[str, float] = json.loads(file.read_text())["metrics"]
    return metrics


def test_list_shows_every_scenario_with_what_it_measures_and_needs(run: Any) -> None:
    result = run("list")
    assert result.exit_code == 0
    for name in SCENARIOS:
        assert name in result.stdout
    assert "mnist_full.npz" in result.stdout


def test_an_unknown_scenario_is_one_line_that_names_the_known_ones(run: Any) -> None:
    result = run("run", "online.digit")
    assert result.exit_code == 2
    assert result.stderr == f"error: unknown scenario 'online.digit'; there are: {', '.join(SCENARIOS)}\n"


def test_the_json_has_means_deviations_chosen_step_sizes_and_where_they_come_from(run: Any, tmp_path: Path) -> None:
    run("run", "toy", "--json", "out.json", "--seeds", 3)
    report = json.loads((tmp_path / "out.json").read_text())
    assert {key: report[key] for key in ("scenario", "scale", "seeds", "notes")} == {
        "scenario": "toy",
        "scale": "quick",
        "seeds": 3,
        "notes": ["a quick toy"],
    }
    assert report["commit"] == provenance.commit()
    assert set(report["machine"]) == {"cpu", "cores", "torch", "threads"}
    assert report["metrics"] == pytest.approx(
        {
            "steady/2-3-2/prequential@block8": 0.69,
            "steady/2-3-2/prequential@block8/sd": 0.01,
            "tuned/2-3-2/prequential@block8": 0.89,
            "tuned/2-3-2/prequential@block8/sd": 0.01,
            "tuned/2-3-2/lr@block8": 2.0,
        }
    )
    assert report["chosen"] == {"tuned/2-3-2/prequential@block8": {"lr": 2.0}}


def test_the_table_shows_numbers_variants_and_notes(run: Any) -> None:
    result = run("run", "toy")
    for shown in ("prequential@block8", "0.8950 ± 0.0071", "lr 2", "note: a quick toy"):
        assert shown in result.stdout


def test_ctrl_c_exits_130_and_the_same_command_then_continues(run: Any, toy: Toy, tmp_path: Path) -> None:
    uninterrupted = metrics_of(run("run", "toy", "--json", "a.json", "--fresh"), tmp_path / "a.json")
    everything, toy.done = toy.done, []

    toy.interrupt_at = 3
    interrupted = run("run", "toy", "--json", "b.json", "--fresh")
    assert interrupted.exit_code == 130
    assert "3 finished cells are kept" in interrupted.stderr
    assert not (tmp_path / "b.json").exists()

    toy.interrupt_at = None
    assert metrics_of(run("run", "toy", "--json", "b.json"), tmp_path / "b.json") == uninterrupted
    assert toy.done == everything  # each cell once, over both runs


def test_more_seeds_measure_only_the_new_ones_and_another_scale_everything(run: Any, toy: Toy) -> None:
    run("run", "toy", "--seeds", 1)
    run("run", "toy", "--seeds", 2)
    assert len(toy.done) == len(set(toy.done)) == 8
    run("run", "toy", "--seeds", 2, "--scale", "hour")
    assert len(toy.done) == 16


@pytest.mark.parametrize("changed", ["sources_digest", "commit"])
def test_changed_sources_or_another_commit_measure_everything_again(
    run: Any, toy: Toy, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    run("run", "toy")
    run("run", "toy")
    assert len(toy.done) == 8
    monkeypatch.setattr(provenance, changed, lambda: "something else")
    run("run", "toy")
    assert len(toy.done) == 16


def test_fresh_measures_everything_again(run: Any, toy: Toy) -> None:
    run("run", "toy")
    run("run", "toy", "--fresh")
    assert len(toy.done) == 16


def test_finals_are_measured_at_what_won_and_reported_without_the_trials(
    run: Any, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finals(plan: Plan, winners: Winners) -> Iterator[Cell]:
        variant = winners["tuned", "2-3-2", "block8"]
        for seed in (10, 11):
            measure = toy.measure("tuned", float(variant["lr"]), seed)
            yield Cell("tuned", "2-3-2", seed, measure, at="block8", variant=variant)

    axes = Axes("prequential@block8", "prequential@block8", "x", "y")
    monkeypatch.setitem(SCENARIOS, "toy", dataclasses.replace(toy.scenario(), finals=finals, plot=axes))
    metrics = metrics_of(run("run", "toy", "--json", "out.json"), tmp_path / "out.json")
    assert metrics["tuned/2-3-2/prequential@block8"] == pytest.approx(0.9 - 0.105)
    assert not any(key.startswith("steady") for key in metrics)
    assert len(toy.done) == 8 + 2
    assert json.loads((tmp_path / "out.json").read_text())["chosen"] == {"tuned/2-3-2/prequential@block8": {"lr": 2.0}}
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_json_file_that_cannot_be_written_is_refused_before_any_work(run: Any, toy: Toy) -> None:
    result = run("run", "toy", "--json", "missing/out.json")
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    assert toy.done == []
