"""`online.*`: one pass over a stream of labelled blocks, each predicted before it is learned, beside tuned rivals.

Each is a `Stream`, a small description of data, nets and blocks; `Stream.scenario` makes it a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.baselines import BASELINES
from benchmarks.datasets import Dataset, Split, images, table
from benchmarks.prequential import Learns, accuracy, prequential
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, Variant, Winners
from models import Architecture, InputScale, PooledScale, RunningScale, create_learner

CHECKPOINTS = (5, 20, 50, 100)
"""After how many blocks the test set is predicted."""
SCALES: Mapping[str, InputScale] = {"pooled": PooledScale(), "running": RunningScale()}
UNTUNED = ("am-mem", "am-mem-paper")
STEP_SIZES: Mapping[str, tuple[float, ...]] = {
    "am-adam": (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
    "adam": (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
    "sgd": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
}
FIXED: Mapping[str, Variant] = {"am-adam": {"top_gain": 1.0}}
"""What holds at every step size."""
TRIAL_SEED = 1000
"""Step sizes are chosen from other weights and in another order than those that are reported."""


def create(net: Architecture, method: str, variant: Variant, seed: int) -> Learns:
    """Args: variant: hyper-parameters, and the input scale by name."""
    if method in BASELINES:
        return BASELINES[method](net.outputs)
    return create_learner(
        method,
        net,
        hyperparameters={**FIXED.get(method, {}), **{k: v for k, v in variant.items() if k != "scale"}},
        scale=SCALES[str(variant["scale"])],
        seed=seed,
        device=torch.device("cpu"),
    )


@dataclass(frozen=True)
class Stream:
    """An online benchmark.

    Args:
        name: for the command line.
        data: what it needs, one line.
        load: the data; all but its test part is learned, once the step sizes are chosen on its validation part.
        hidden: the nets, per scale.
        seeds: how many by default, per scale.
        block: samples a block.
        scale: name of the input scale.
    """

    name: str
    data: str
    load: Callable[[Path | None], Split]
    hidden: Mapping[RunScale, tuple[tuple[int, ...], ...]]
    seeds: Mapping[RunScale, int]
    block: int
    scale: str

    def scenario(self) -> Scenario:
        return Scenario(
            name=self.name,
            measures=f"one pass in blocks of {self.block}: AM-mem beside AM-Adam, Adam and SGD at their best step sizes",
            data=self.data,
            cells=self.trials,
            finals=self.finals,
            seeds=self.seeds,
            best_by="validation",
            threads=1,  # matrices this small only get slower with more
            notes=self.notes,
        )

    def nets(self, plan: Plan) -> list[Architecture]:
        data = self.load(plan.data).train
        inputs, classes = data.x.shape[1], int(data.y.max()) + 1
        return [Architecture(inputs, hidden, classes) for hidden in self.hidden[plan.scale]]

    def trials(self, plan: Plan) -> Iterator[Cell]:
        """A pass over the training part at every step size."""
        split = self.load(plan.data)
        for net in self.nets(plan):
            for method, step_sizes in STEP_SIZES.items():
                for lr in step_sizes:
                    variant: Variant = {"lr": lr, "scale": self.scale}
                    work = partial(self.attempt, split, net, method, variant)
                    yield Cell(method, net.name, TRIAL_SEED, work, variant=variant, data=split.train.digest)

    def attempt(self, split: Split, net: Architecture, method: str, variant: Variant) -> Figures:
        learner = create(net, method, variant, TRIAL_SEED)
        x, y = split.train.shuffled(TRIAL_SEED)
        for inputs, targets in zip(torch.split(x, self.block), torch.split(y, self.block), strict=True):
            learner.learn(inputs, targets)
        return {method: {"validation": accuracy(learner, split.validation)}}

    def finals(self, plan: Plan, winners: Winners) -> Iterator[Cell]:
        """A pass over training and validation part: of the tuned at the step sizes that won."""
        split = self.load(plan.data)
        data = split.everything_but_test
        for net in self.nets(plan):
            methods: dict[str, Variant] = {method: {"scale": self.scale} for method in UNTUNED}
            methods |= {method: winners[method, net.name, ""] for method in STEP_SIZES} | {"most-frequent": {}}
            for method, variant in methods.items():
                for seed in range(plan.seeds):
                    work = partial(self.measure, data, split.test, net, method, variant, seed)
                    yield Cell(method, net.name, seed, work, variant=variant, data=data.digest)

    def measure(
        self, data: Dataset, test: Dataset, net: Architecture, method: str, variant: Variant, seed: int
    ) -> Figures:
        """The seed is the order of the samples and the initialisation."""
        x, y = data.shuffled(seed)
        learner = create(net, method, variant, seed)
        right, tested = 0, {}
        for blocks, hits in enumerate(prequential(learner, x, y, self.block), start=1):
            right += hits
            if blocks in CHECKPOINTS:
                tested[f"test@{blocks}"] = accuracy(learner, test)
        return {method: {"prequential": right / len(y), **tested, "test": accuracy(learner, test)}}

    def notes(self, plan: Plan) -> list[str]:
        split = self.load(plan.data)
        learned = len(split.everything_but_test.y)
        return [
            f"one pass over {learned:,} samples in blocks of {self.block}; test@n: accuracy on {len(split.test.y):,} others "
            "after n blocks, test: at the end",
            f"step sizes are chosen by the accuracy on {len(split.validation.y):,} of the samples after one pass over the "
            f"other {len(split.train.y):,}, one run each, {len(STEP_SIZES['adam'])} a method; then all are learned",
            f"input scale: {self.scale}",
        ]


SEEDS = {RunScale.QUICK: 3, RunScale.HOUR: 5, RunScale.FULL: 10}
IMAGE_NETS = {
    RunScale.QUICK: ((100, 100),),
    RunScale.HOUR: ((100, 100), (500, 500)),
    RunScale.FULL: ((100, 100), (500, 500)),
}

STREAMS = (
    Stream(
        name="online.mnist",
        data="mnist_full.npz in --data",
        load=partial(images, name="mnist_full"),
        hidden=IMAGE_NETS,
        seeds=SEEDS,
        block=200,
        scale="pooled",
    ),
    Stream(
        name="online.fashion",
        data="fashion_mnist_full.npz in --data",
        load=partial(images, name="fashion_mnist_full"),
        hidden=IMAGE_NETS,
        seeds=SEEDS,
        block=200,
        scale="pooled",
    ),
    Stream(
        name="online.higgs",
        data="higgs_subset.npz in --data",
        load=partial(table, name="higgs_subset"),
        hidden=dict.fromkeys(RunScale, ((300,),)),
        seeds=SEEDS,
        block=32,
        scale="running",
    ),
    Stream(
        name="online.letter",
        data="letter.npz in --data",
        load=partial(table, name="letter"),
        hidden=dict.fromkeys(RunScale, ((100, 100),)),
        seeds=SEEDS,
        block=32,
        scale="running",
    ),
)
