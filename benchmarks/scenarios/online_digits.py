"""`online.digits`: prequential accuracy on scikit-learn's digits, one pass, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.baselines import BASELINES
from benchmarks.datasets import Dataset, digits
from benchmarks.prequential import prequential
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, Variant, two_hidden_layers
from benchmarks.scenarios.online import SCALES, UNTUNED, create

BLOCKS = (1, 8, 64)
NET = two_hidden_layers(64, 100, 10)
SKIPPED = 256
"""Samples at the start that `prequential_after256` leaves out, a multiple of every block size."""
STEP_SIZES = {
    "am-adam": (1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
    "adam": (1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2),
    "sgd": (5e-3, 1e-2, 2e-2, 3e-2, 5e-2, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
}
QUICK_STEP_SIZES_AT_BLOCK_1 = {"am-adam": (1e-3, 2e-3), "adam": (1e-3, 2e-3, 3e-3), "sgd": (1e-2, 2e-2, 3e-2)}
"""Around the best of the whole grid: 1,797 steps a run make block 1 the dear one."""


def cells(plan: Plan) -> Iterator[Cell]:
    data = digits()
    for block in BLOCKS:
        for method, variant in methods(plan, block):
            for seed in range(plan.seeds):
                yield Cell(
                    method=method,
                    net=NET.name,
                    seed=seed,
                    at=f"block{block}",
                    variant=variant,
                    data=data.digest,
                    measure=partial(measure, data, method, variant, block, seed),
                )


def methods(plan: Plan, block: int) -> Iterator[tuple[str, Variant]]:
    for method in UNTUNED:
        yield method, {"scale": "pooled"}
    narrowed = plan.scale is RunScale.QUICK and block == 1
    for method, step_sizes in (QUICK_STEP_SIZES_AT_BLOCK_1 if narrowed else STEP_SIZES).items():
        for lr in step_sizes:
            for scale in SCALES:
                yield method, {"lr": lr, "scale": scale}
    for method in BASELINES:
        yield method, {}


def measure(data: Dataset, method: str, variant: Variant, block: int, seed: int) -> Figures:
    """The seed is the order of the samples and the initialisation."""
    x, y = data.shuffled(seed)
    right = list(prequential(create(NET, method, variant, seed), x, y, block))
    return {
        method: {
            "prequential": sum(right) / len(y),
            f"prequential_after{SKIPPED}": sum(right[SKIPPED // block :]) / (len(y) - SKIPPED),
        }
    }


def notes(plan: Plan) -> list[str]:
    told = ["the best of each grid is chosen by the prequential accuracy that is reported, which flatters the tuned"]
    if plan.scale is RunScale.QUICK:
        tried = "; ".join(
            f"{method} {', '.join(f'{lr:g}' for lr in step_sizes)} (of {len(STEP_SIZES[method])})"
            for method, step_sizes in QUICK_STEP_SIZES_AT_BLOCK_1.items()
        )
        told.append(f"quick tries fewer step sizes at block 1: {tried}")
    return told


ONLINE_DIGITS = Scenario(
    name="online.digits",
    measures="prequential accuracy on the digits in blocks of 1, 8, 64, beside tuned Adam and SGD and the trivial",
    data="none: scikit-learn's 1,797 digits",
    cells=cells,
    seeds={RunScale.QUICK: 5, RunScale.HOUR: 10, RunScale.FULL: 20},
    threads=1,  # matrices this small only get slower with more
    notes=notes,
)
