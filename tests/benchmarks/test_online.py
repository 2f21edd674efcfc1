from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from benchmarks.datasets import Split, digits, images, table
from benchmarks.scenario import MissingDataError, Plan, RunScale, Variant
from benchmarks.scenarios.online import CHECKPOINTS, STEP_SIZES, TRIAL_SEED, Stream
from models import Architecture


@pytest.fixture
def split(tmp_path: Path) -> Split:
    numpy.savez(tmp_path / "letter.npz", x=digits().x.numpy(), y=digits().y.numpy())
    return table(tmp_path, "letter")


@pytest.fixture
def stream(split: Split) -> Stream:
    return Stream(
        name="online.toy",
        data="none",
        load=lambda folder: split,
        hidden=dict.fromkeys(RunScale, ((30,), (20, 20))),
        seeds=dict.fromkeys(RunScale, 2),
        block=8,
        scale="pooled",
    )


PLAN = Plan(RunScale.QUICK, seeds=2)


def test_a_table_is_split_the_same_way_every_time_and_every_row_is_used_once(split: Split, tmp_path: Path) -> None:
    parts = (split.train, split.validation, split.test)
    assert [len(part.y) for part in parts] == [1295, 143, 359]
    together = torch.unique(torch.cat([part.x for part in parts]), dim=0)
    assert torch.equal(together, torch.unique(digits().x, dim=0))
    table.cache_clear()
    assert torch.equal(table(tmp_path, "letter").test.x, split.test.x)
    assert len(split.everything_but_test.y) == 1295 + 143


def test_data_that_is_not_there_is_named_with_its_home(tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=r"higgs_subset is needed: .*higgs_subset\.npz of x, y \(.*archive.ics.uci"
    ):
        table(tmp_path, "higgs_subset")
    with pytest.raises(MissingDataError, match=r"Fashion-MNIST is needed: .*zalandoresearch"):
        images(None, "fashion_mnist_full")


def test_rivals_are_tuned_with_equal_budgets_and_never_see_the_reported_seeds(stream: Stream) -> None:
    trials = list(stream.trials(PLAN))
    assert {cell.seed for cell in trials} == {TRIAL_SEED}
    for net in ("64-30-10", "64-20-20-10"):
        tried = [cell.method for cell in trials if cell.net == net]
        assert {method: tried.count(method) for method in tried} == dict.fromkeys(STEP_SIZES, 6)


def test_finals_run_every_method_at_what_won(stream: Stream) -> None:
    trials = list(stream.trials(PLAN))
    winners = {(cell.method, cell.net, cell.at): cell.variant for cell in trials}
    finals = list(stream.finals(PLAN, winners))
    methods = ("am-mem", "am-mem-paper", "am-adam", "adam", "sgd", "most-frequent")
    assert [(c.method, c.seed) for c in finals if c.net == "64-30-10"] == [(m, s) for m in methods for s in (0, 1)]
    assert {c.variant["lr"] for c in finals if c.method == "sgd"} == {STEP_SIZES["sgd"][-1]}
    assert not {c.data for c in finals} & {c.data for c in trials}  # else one would be kept for the other


def test_a_pass_reports_the_stream_the_checkpoints_and_the_end(stream: Stream, split: Split) -> None:
    net = Architecture(64, (30,), 10)
    variant: Variant = {"lr": 0.005, "scale": "pooled"}
    figures = stream.measure(split.everything_but_test, split.test, net, "adam", variant, 0)["adam"]
    assert set(figures) == {"prequential", *(f"test@{blocks}" for blocks in CHECKPOINTS), "test"}
    assert figures["test@5"] < figures["test@50"] < figures["test"]
    assert figures["test"] > 0.88
    assert stream.attempt(split, net, "adam", variant)["adam"]["validation"] > 0.85
    assert "1,438 samples in blocks of 8" in stream.notes(PLAN)[0]
