"""`continual.*`: tasks one after the other, one pass, and what is still known at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.continual.course import figures
from benchmarks.continual.methods import GRIDS, JOINT, JOINT_EPOCHS, PATCHES, UNTUNED, grid
from benchmarks.continual.tasks import Task, permuted, split_by_class, thinned
from benchmarks.datasets import Dataset, Split, images
from benchmarks.scenario import Axes, Cell, Figures, Plan, RunScale, Scenario, Variant, Winners
from models import Architecture

BLOCK = 200
TRIAL_SEED = 1000
"""Methods are tuned from other weights and in another order than those that are reported."""
ALL = 60_000
SMALL, LARGE = ((300,), (1000,)), ((300,), (1000,), (500, 500), (2000,))
NETS: Mapping[RunScale, tuple[tuple[int, ...], ...]] = {
    RunScale.QUICK: SMALL,
    RunScale.HOUR: LARGE,
    RunScale.FULL: LARGE,
}
PLOT = Axes("state_floats", "final", "numbers kept from one block to the next", "accuracy on all tasks at the end")


@dataclass(frozen=True)
class Budget:
    """How many samples a run may read. Args: trial: all tasks together; train, test: of the set that a task is made of."""

    trial: int
    train: int = ALL
    test: int = ALL


@dataclass(frozen=True)
class Curriculum:
    """A continual benchmark.

    Args:
        name: for the command line.
        title: what the tasks are, in words.
        data: name of the file.
        tasks: of a training and a test set.
        images: whether inputs are images, of which neighbours belong together.
        repeated: whether every task reads the whole set, and not its own part of it.
        budgets: per scale.
    """

    name: str
    title: str
    data: str
    tasks: Callable[[Dataset, Dataset], list[Task]]
    images: bool
    repeated: bool
    budgets: Mapping[RunScale, Budget]

    def scenario(self) -> Scenario:
        return Scenario(
            name=self.name,
            measures=f"{self.title}: accuracy on all at the end, and how much had to be kept for it",
            data=f"{self.data}.npz in --data",
            cells=self.trials,
            finals=self.finals,
            seeds={RunScale.QUICK: 1, RunScale.HOUR: 3, RunScale.FULL: 5},
            best_by="final",
            notes=self.notes,
            plot=PLOT,
        )

    def trials(self, plan: Plan) -> Iterator[Cell]:
        split = images(plan.data, self.data)
        trial = self.budgets[plan.scale].trial
        train, test = thinned(split.train, trial), thinned(split.validation, trial // 5)
        for net in self._nets(plan, split):
            for method, variant in grid():
                work = partial(self.measure, train, test, net, method, variant, TRIAL_SEED)
                yield Cell(method, net.name, TRIAL_SEED, work, variant=variant, data=f"{train.digest}/{test.digest}")

    def finals(self, plan: Plan, winners: Winners) -> Iterator[Cell]:
        split, budget = images(plan.data, self.data), self.budgets[plan.scale]
        train, test = thinned(split.everything_but_test, budget.train), thinned(split.test, budget.test)
        for net in self._nets(plan, split):
            tuned = {method: winners[method, net.name, ""] for method in GRIDS}
            for method, variant in {**self._untuned(net), **tuned}.items():
                for seed in range(plan.seeds):
                    work = partial(self.measure, train, test, net, method, variant, seed)
                    yield Cell(method, net.name, seed, work, variant=variant, data=f"{train.digest}/{test.digest}")

    def _untuned(self, net: Architecture) -> Mapping[str, Variant]:
        return {**UNTUNED, "never-forget": PATCHES} if self.images and len(net.hidden) == 1 else UNTUNED

    def measure(
        self, train: Dataset, test: Dataset, net: Architecture, method: str, variant: Variant, seed: int
    ) -> Figures:
        return {method: figures(self.tasks(train, test), net, method, variant, BLOCK, seed)}

    def notes(self, plan: Plan) -> list[str]:
        budget = self.budgets[plan.scale]
        per_task = " a task" if self.repeated else " over all tasks"
        return [
            f"{self.title}, one pass over {budget.train:,} samples{per_task} in blocks of {BLOCK}, all classes declared from "
            f"the start, nobody told the task of a test sample; {JOINT}: Adam, {JOINT_EPOCHS} epochs over all tasks at once",
            f"tuned at {len(GRIDS['sgd'])} points a method, one run each over {min(budget.trial, 50_000):,} training "
            f"samples{per_task}, by the accuracy at the end on samples of the validation part (the last 10,000 of the "
            "training set), which the reported runs learn, too; am-mem and never-forget are not tuned",
            *(
                [
                    "never-forget sees patches where there is one hidden layer (the width rounded down to a multiple of 16), "
                    "dense random features with two"
                ]
                if self.images
                else ["never-forget has dense random features"]
            ),
            "state_floats: all numbers that persist between blocks, symmetric matrices as a triangle, stored samples too "
            "(joint: the data set); replay-equal stores as many samples as make its state am-mem's",
            "ewc alone is told where a task ends, and sees its last 1,000 samples again",
            *(["quick leaves out the nets 2 × 500 and 1 × 2000"] if plan.scale is RunScale.QUICK else []),
        ]

    def _nets(self, plan: Plan, split: Split) -> list[Architecture]:
        inputs, classes = split.train.x.shape[1], int(split.train.y.max()) + 1
        return [Architecture(inputs, hidden, classes) for hidden in NETS[plan.scale]]


ONCE = {RunScale.QUICK: Budget(20_000), RunScale.HOUR: Budget(50_000), RunScale.FULL: Budget(50_000)}
TEN_TIMES = {
    RunScale.QUICK: Budget(2_000, train=6_000, test=2_000),
    RunScale.HOUR: Budget(2_000, train=6_000, test=2_000),
    RunScale.FULL: Budget(10_000),
}

CURRICULA = (
    Curriculum(
        name="continual.split-mnist",
        title="MNIST in 5 tasks of 2 classes",
        data="mnist_full",
        tasks=split_by_class,
        images=True,
        repeated=False,
        budgets=ONCE,
    ),
    Curriculum(
        name="continual.split-fashion",
        title="Fashion-MNIST in 5 tasks of 2 classes",
        data="fashion_mnist_full",
        tasks=split_by_class,
        images=True,
        repeated=False,
        budgets=ONCE,
    ),
    Curriculum(
        name="continual.permuted-mnist",
        title="MNIST under 10 orders of the pixels",
        data="mnist_full",
        tasks=permuted,
        images=False,
        repeated=True,
        budgets=TEN_TIMES,
    ),
)
