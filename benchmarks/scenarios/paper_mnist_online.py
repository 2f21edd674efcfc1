"""`paper.mnist-online`: the paper's Figure 1, test accuracy over the first 50 mini-batches of 200."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch

from benchmarks.baselines import MostFrequent
from benchmarks.datasets import Split, mnist
from benchmarks.prequential import Learns, accuracy
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, Variant
from models import Architecture, PooledScale, create_learner

BLOCK = 200
BLOCKS = (5, 10, 20, 50)
"""After how many blocks it is measured."""
NETS: Mapping[RunScale, tuple[Architecture, ...]] = {
    RunScale.QUICK: (Architecture(784, (100, 100), 10),),
    RunScale.HOUR: (Architecture(784, (100, 100), 10), Architecture(784, (500, 500), 10)),
    RunScale.FULL: (Architecture(784, (100, 100), 10), Architecture(784, (500, 500), 10)),
}
STEP_SIZES: Mapping[str, tuple[float, ...]] = {
    "am-adam": (1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
    "am-sgd": (0.02, 0.05, 0.1, 0.2, 0.5),
    "adam": (1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
    "sgd": (0.02, 0.05, 0.1, 0.2, 0.5),
}
PUBLISHED: Mapping[str, Any] = {
    "objective": "published",
    "mu": 0.003,
    "code_step": 0.3,
    "code_nesterov": True,
    "top_gain": 1.0,
}
"""The code problems as the paper's authors' code has them: mean errors, μ, steps and momentum of their defaults."""
OBJECTIVES: Mapping[str, Mapping[str, Any]] = {"published": PUBLISHED, "paper": {"top_gain": 1.0}}
NORMALISED = "-normalised"
ETAS: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)


def cells(plan: Plan) -> Iterator[Cell]:
    split = mnist(plan.data)
    for net in NETS[plan.scale]:
        for method, variant in methods(plan):
            for seed in range(plan.seeds):
                yield Cell(
                    method=method,
                    net=net.name,
                    seed=seed,
                    variant=variant,
                    data=split.train.digest,
                    measure=partial(measure, split, net, method, variant, seed),
                )


def methods(plan: Plan) -> Iterator[tuple[str, Variant]]:
    middle = slice(1, -1) if plan.scale is RunScale.QUICK else slice(None)
    for method, step_sizes in STEP_SIZES.items():
        names = (method, method + NORMALISED) if method in ("am-adam", "adam") else (method,)
        objectives = tuple(OBJECTIVES) if method.startswith("am-") else ()
        for name, lr in product(names, step_sizes[middle]):
            for objective in objectives:
                yield name, {"lr": lr, "objective": objective}
            if not objectives:
                yield name, {"lr": lr}
    for eta in ETAS[middle]:
        yield "am-mem-paper", {"eta": eta}
    yield "am-mem", {}
    yield "most-frequent", {}


def create(net: Architecture, method: str, variant: Variant, seed: int) -> Learns:
    if method == "most-frequent":
        return MostFrequent(net.outputs)
    chosen = {key: value for key, value in variant.items() if key != "objective"}
    return create_learner(
        method.removesuffix(NORMALISED),
        replace(net, batch_norm=method.endswith(NORMALISED)),
        hyperparameters={**chosen, **OBJECTIVES.get(str(variant.get("objective")), {})},
        scale=PooledScale(),
        seed=seed,
        device=torch.device("cpu"),
    )


def measure(split: Split, net: Architecture, method: str, variant: Variant, seed: int) -> Figures:
    """The seed is the order of the samples and the initialisation. What is tuned is tuned on the validation set."""
    x, y = split.train.shuffled(seed)
    learner = create(net, method, variant, seed)
    figures: dict[str, float] = {}
    for number in range(1, max(BLOCKS) + 1):
        at = slice((number - 1) * BLOCK, number * BLOCK)
        learner.learn(x[at], y[at])
        if number in BLOCKS:
            figures[f"test@{number}blocks"] = accuracy(learner, split.test)
    return {method: figures | {"validation": accuracy(learner, split.validation)}}


def notes(plan: Plan) -> list[str]:
    return [
        f"blocks of {BLOCK}; test: accuracy on MNIST's test set after so many blocks; what is tuned is chosen by the mean "
        "accuracy on the validation set (the last 10,000 training samples) after 50 blocks",
        "objective: of the codes, `paper` (eqs. 4, 5) or `published` (that of the paper's authors' code: mu 0.003, code steps "
        "of 0.3 with Nesterov momentum 0.9); both start with the top layer's weights at full size",
        "-normalised: the same with batch normalisation, which the authors' code has by default",
        *(["quick leaves out the ends of each grid"] if plan.scale is RunScale.QUICK else []),
        "inputs: global running mean and deviation (`pooled`)",
    ]


PAPER_MNIST_ONLINE = Scenario(
    name="paper.mnist-online",
    measures="the paper's Figure 1: test accuracy on MNIST over the first 50 blocks of 200, online methods and baselines",
    data="mnist_full.npz in --data",
    cells=cells,
    seeds={RunScale.QUICK: 3, RunScale.HOUR: 5, RunScale.FULL: 10},
    best_by="validation",
    threads=1,
    notes=notes,
)
