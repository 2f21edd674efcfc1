"""`step-time`: one learning step of every online method over one step of backpropagation with Adam on the same net."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.datasets import Dataset, mnist_start, synthetic_pixels
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, two_hidden_layers
from models import Architecture, PooledScale, create_learner

BLOCK = 200
WIDTHS = (100, 500)
WARM_UP = 5
STEPS = {RunScale.QUICK: 30, RunScale.HOUR: 100, RunScale.FULL: 300}

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "am-mem": ("am-mem", {}),
    "am-mem-paper": ("am-mem-paper", {}),
    "am-mem-paper-ridge": ("am-mem-paper", {"solver": "ridge"}),
    "am-mem-paper-every-1000": ("am-mem-paper", {"solver": "ridge", "solve_every": 1000}),
    "am-adam": ("am-adam", {}),
    "am-sgd": ("am-sgd", {}),
    "dtp": ("dtp", {}),
    "adam-learner": ("adam", {}),
    "sgd-learner": ("sgd", {}),
}
"""Name in the report → learner, and where it leaves the defaults. `-learner`: the baselines as `models` has them."""

Step = Callable[[Tensor, Tensor], Tensor]


def cells(plan: Plan) -> Iterator[Cell]:
    data = _data(plan)
    for width in WIDTHS:
        net = two_hidden_layers(784, width, 10)
        for seed in range(plan.seeds):
            measured = partial(measure, data, net, seed, STEPS[plan.scale])
            yield Cell(method="all", net=net.name, seed=seed, data=data.digest, measure=measured)


def measure(data: Dataset, net: Architecture, seed: int, steps: int) -> Figures:
    """Median time of a step, the methods taking turns so that whatever else the machine does hits all of them alike."""
    rivals: dict[str, Step] = {"adam": adam_step(net, seed)}
    for method, (name, hyperparameters) in METHODS.items():
        rivals[method] = create_learner(
            name, net, hyperparameters=hyperparameters, scale=PooledScale(), seed=seed, device=torch.device("cpu")
        ).learn
    scaled = (data.x - data.x.mean()) / data.x.std()
    times_ms: dict[str, list[float]] = {method: [] for method in rivals}
    for turn in range(WARM_UP + steps):
        at = slice(turn * BLOCK % len(data.y), turn * BLOCK % len(data.y) + BLOCK)
        for method, step in rivals.items():
            inputs, targets = (scaled if method == "adam" else data.x)[at], data.y[at]
            start = time.perf_counter()
            step(inputs, targets)
            times_ms[method].append(1000 * (time.perf_counter() - start))
    medians = {method: median(times[WARM_UP:]) for method, times in times_ms.items()}
    figures = {method: {"ms": ms, "ratio_to_adam": ms / medians["adam"]} for method, ms in medians.items()}
    return figures | {"adam": {"ms": medians["adam"]}}


def adam_step(net: Architecture, seed: int) -> Step:
    """The plain loop anybody would write, with torch's fastest Adam; its inputs come scaled, at no cost to it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for n_in, n_out in zip(net.sizes, net.sizes[1:], strict=False):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def _data(plan: Plan) -> Dataset:
    samples = 20 * BLOCK
    return mnist_start(plan.data, samples) or synthetic_pixels(samples)


def notes(plan: Plan) -> list[str]:
    return [
        f"input: {_data(plan).name}; blocks of {BLOCK}; median of {STEPS[plan.scale]} steps after {WARM_UP} of warm-up",
        "adam: torch.optim.Adam(fused=True), inputs scaled beforehand; all others include their input scaling",
        "am-mem-paper: column sweeps; -ridge: exact solves; -every-1000: of these one every 1000 samples, so that the "
        "median is that of a step without",
    ]


STEP_TIME = Scenario(
    name="step-time",
    measures="a learning step of every online method over one of backprop with Adam, 784-100-100-10 and 784-500-500-10",
    data="mnist_full.npz in --data; synthetic input without it",
    cells=cells,
    seeds={RunScale.QUICK: 3, RunScale.HOUR: 5, RunScale.FULL: 10},
    notes=notes,
)
