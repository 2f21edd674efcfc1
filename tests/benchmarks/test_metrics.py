from __future__ import annotations

import pytest

from benchmarks.metrics import collect
from benchmarks.runner import Measured
from benchmarks.scenario import Cell, Figures, Variant


def nothing() -> Figures:
    return {}


def one(method: str, seed: int, figures: dict[str, float], variant: Variant = {}, at: str = "block8") -> Measured:  # noqa: B006
    return Measured(Cell(method, "2-3-2", seed, nothing, at=at, variant=variant), {method: figures})


def test_the_variant_with_the_best_mean_is_reported_with_all_its_figures() -> None:
    small: Variant = {"lr": 0.1, "scale": "pooled"}
    large: Variant = {"lr": 0.2, "scale": "pooled"}
    metrics = collect(
        [
            one("adam", 0, {"prequential": 0.9, "loss": 5.0}, small),  # the best single seed, not the best mean
            one("adam", 1, {"prequential": 0.1, "loss": 7.0}, small),
            one("adam", 0, {"prequential": 0.6, "loss": 1.0}, large),
            one("adam", 1, {"prequential": 0.8, "loss": 2.0}, large),
        ],
        best_by="prequential",
    )
    assert metrics.values == pytest.approx(
        {
            "adam/2-3-2/prequential@block8": 0.7,
            "adam/2-3-2/prequential@block8/sd": 0.02**0.5,
            "adam/2-3-2/loss@block8": 1.5,
            "adam/2-3-2/loss@block8/sd": 0.5**0.5,
            "adam/2-3-2/lr@block8": 0.2,
        }
    )
    assert metrics.chosen["adam/2-3-2/prequential@block8"] == large


def test_every_block_size_has_its_own_choice_and_an_edge_of_the_grid_is_told() -> None:
    scores = {"block1": (0.9, 0.8, 0.7), "block8": (0.7, 0.9, 0.8)}
    measured = [
        one("sgd", 0, {"prequential": score}, {"lr": lr}, at)
        for at, by_lr in scores.items()
        for lr, score in enumerate(by_lr, start=1)
    ]
    metrics = collect(measured, best_by="prequential")
    assert metrics.values["sgd/2-3-2/lr@block1"] == 1
    assert metrics.values["sgd/2-3-2/lr@block8"] == 2
    assert metrics.at_edge == ["sgd/2-3-2: lr@block1 1 is at the edge of its grid"]


def test_a_figure_that_is_no_average_is_put_together_as_its_scenario_says() -> None:
    measured = [one("faults", seed, {"kills": 10, "lost": lost}) for seed, lost in enumerate((0.0, 3.0))]
    metrics = collect(measured, "prequential", {"kills": sum, "lost": max})
    assert metrics.values == {"faults/2-3-2/kills@block8": 20, "faults/2-3-2/lost@block8": 3}


def test_one_seed_has_no_deviation() -> None:
    metrics = collect([one("adam", 0, {"prequential": 0.5})], "prequential")
    assert metrics.values == {"adam/2-3-2/prequential@block8": 0.5}


def test_a_cell_that_measures_rivals_reports_all_of_them() -> None:
    cell = Cell("am-mem", "2-3-2", 0, nothing)
    figures: Figures = {"am-mem": {"ms": 4.0, "ratio_to_adam": 2.0}, "adam": {"ms": 2.0}}
    metrics = collect([Measured(cell, figures)], "prequential")
    assert metrics.values == {"am-mem/2-3-2/ms": 4.0, "am-mem/2-3-2/ratio_to_adam": 2.0, "adam/2-3-2/ms": 2.0}
    assert metrics.measured == list(metrics.values)
