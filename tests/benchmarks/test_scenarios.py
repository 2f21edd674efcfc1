from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from benchmarks.datasets import Dataset, Split, digits, mnist, mnist_start, synthetic_pixels
from benchmarks.metrics import collect
from benchmarks.provenance import commit
from benchmarks.runner import Measured, torch_threads
from benchmarks.scenario import MissingDataError, Plan, RunScale
from benchmarks.scenarios import online_digits, paper_mnist_online, step_time
from models import Architecture

QUICK, HOUR = Plan(RunScale.QUICK, seeds=2), Plan(RunScale.HOUR, seeds=2)


def test_digits_cells_are_distinct_and_cover_every_method_block_and_seed() -> None:
    cells = list(online_digits.cells(HOUR))
    names = [(cell.method, cell.at, cell.seed, *cell.variant.values()) for cell in cells]
    assert len(set(names)) == len(names)
    assert {cell.method for cell in cells} == {
        *("am-mem", "am-mem-paper", "am-adam", "adam", "sgd", "most-frequent", "last-class")
    }
    assert {cell.net for cell in cells} == {"64-100-100-10"}
    for at in ("block1", "block8", "block64"):
        tried = {cell.variant["lr"] for cell in cells if cell.at == at and cell.method == "adam"}
        assert tried >= {1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2}


def test_quick_says_which_step_sizes_it_leaves_out() -> None:
    quick = {cell.variant["lr"] for cell in online_digits.cells(QUICK) if (cell.method, cell.at) == ("adam", "block1")}
    full = {cell.variant["lr"] for cell in online_digits.cells(HOUR) if (cell.method, cell.at) == ("adam", "block1")}
    assert quick < full
    assert online_digits.notes(QUICK)[1:] == [
        "quick tries fewer step sizes at block 1: am-adam 0.001, 0.002 (of 5); adam 0.001, 0.002, 0.003 (of 8); "
        "sgd 0.01, 0.02, 0.03 (of 11)"
    ]
    assert len(online_digits.notes(HOUR)) == 1


def test_the_papers_rule_learns_the_digits_and_a_cell_gives_the_same_twice() -> None:
    wanted = ("am-mem-paper", "block8", 1)
    cell = next(cell for cell in online_digits.cells(QUICK) if (cell.method, cell.at, cell.seed) == wanted)
    with torch_threads(1):
        first, second = cell.measure(), cell.measure()
    assert first == second
    assert first["am-mem-paper"]["prequential"] > 0.85
    assert first["am-mem-paper"]["prequential_after256"] > first["am-mem-paper"]["prequential"]


def test_step_time_reports_both_sides_of_the_ratio() -> None:
    net = Architecture(784, (5, 5), 10)
    figures = step_time.measure(synthetic_pixels(400), net, seed=0, steps=3)
    paper = {"am-mem-paper", "am-mem-paper-ridge", "am-mem-paper-every-1000"}
    online = paper | {"am-mem", "am-adam", "am-sgd", "dtp", "adam-learner", "sgd-learner"}
    assert {method for method, found in figures.items() if "ratio_to_adam" in found} == online
    assert figures["am-mem"]["ratio_to_adam"] == figures["am-mem"]["ms"] / figures["adam"]["ms"]
    cell = next(iter(step_time.cells(QUICK)))
    assert "am-mem/784-100-100-10/ratio_to_adam" in collect([Measured(cell, figures)], "prequential").values


def test_figure_1_is_measured_on_the_test_set_and_tuned_on_the_validation_set(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"--data FOLDER with a mnist_full\.npz"):
        list(paper_mnist_online.cells(QUICK))
    draw = numpy.random.default_rng(0)
    labels = draw.integers(0, 10, 61_000)
    images = numpy.zeros((61_000, 28, 28), numpy.uint8)
    images[numpy.arange(61_000), labels, :] = 200  # a line a class
    arrays: Any = {
        "x_train": images[:60_000],
        "y_train": labels[:60_000],
        "x_test": images[60_000:],
        "y_test": labels[60_000:],
    }
    numpy.savez_compressed(tmp_path / "mnist_full.npz", **arrays)
    cells = list(paper_mnist_online.cells(Plan(RunScale.QUICK, 1, tmp_path)))
    assert {cell.method for cell in cells} == {
        *(
            "am-adam",
            "am-adam-normalised",
            "am-sgd",
            "am-mem",
            "am-mem-paper",
            "adam",
            "adam-normalised",
            "sgd",
            "most-frequent",
        )
    }
    split = mnist(tmp_path)
    assert [len(part.y) for part in (split.train, split.validation, split.test)] == [50_000, 10_000, 1_000]
    small = Split(split.train, Dataset("v", split.validation.x[:200], split.validation.y[:200]), split.test)
    figures = paper_mnist_online.measure(small, Architecture(784, (10,), 10), "am-adam", {"lr": 0.01}, 0)["am-adam"]
    assert figures.keys() == {"validation", *(f"test@{n}blocks" for n in (5, 10, 20, 50))}
    assert figures["test@50blocks"] > 0.9
    assert paper_mnist_online.PAPER_MNIST_ONLINE.best_by == "validation"


def test_the_reference_step_of_adam_learns() -> None:
    step = step_time.adam_step(Architecture(64, (20, 20), 10), seed=0)
    state = torch.random.get_rng_state()
    step_time.adam_step(Architecture(64, (20, 20), 10), seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    x, y = digits().x[:20] / 16, digits().y[:20]
    losses = [step(x, y) for _ in range(200)]
    assert losses[-1] < 0.5 * losses[0]


def test_mnist_is_read_where_it_is_and_not_asked_for_where_it_is_not(tmp_path: Path) -> None:
    assert mnist_start(None, 2) is None
    assert mnist_start(tmp_path, 2) is None
    numpy.savez(tmp_path / "mnist_full.npz", x_train=numpy.full((3, 28, 28), 7, numpy.uint8), y_train=numpy.arange(3))
    mnist = mnist_start(tmp_path, 2)
    assert mnist is not None
    assert (mnist.x.shape, mnist.x.dtype, mnist.y.tolist()) == ((2, 784), torch.float32, [0, 1])
    assert "input: mnist" in step_time.notes(Plan(RunScale.QUICK, 1, tmp_path))[0]


def test_a_commit_is_unknown_outside_git_and_dirty_with_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    assert commit(tmp_path) == "unknown"
    git("init")
    assert commit(tmp_path) == "unknown"
    git("commit", "--allow-empty", "-m", "first")
    clean = commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "new").touch()
    assert commit(tmp_path) == f"{clean}+dirty"


@pytest.mark.parametrize("block", online_digits.BLOCKS)
def test_every_block_size_is_tuned_by_the_same_methods(block: int) -> None:
    assert {method for method, _ in online_digits.methods(QUICK, block)} == {
        method for method, _ in online_digits.methods(HOUR, block)
    }
