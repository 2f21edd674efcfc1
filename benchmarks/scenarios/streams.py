"""`streams.*`: prequential accuracy on streams that drift, in the order of time, beside river's classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from river.forest import ARFClassifier
from river.linear_model import LogisticRegression
from river.multiclass import OneVsRestClassifier
from river.optim import SGD
from river.preprocessing import StandardScaler
from river.tree import HoeffdingAdaptiveTreeClassifier

from benchmarks.baselines import LastClass, MostFrequent
from benchmarks.datasets import Dataset, labelled_stream
from benchmarks.prequential import Learns, cohens_kappa, predictions
from benchmarks.river_learner import Classifier, RiverLearner
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario, Variant, two_hidden_layers
from models import Architecture, RunningScale, create_learner

BLOCKS = (1, 16)
SAMPLES: Mapping[RunScale, int | None] = {RunScale.QUICK: 5_000, RunScale.HOUR: 20_000, RunScale.FULL: None}
"""From the start of a stream; None for all of it."""
HEAD = 0.2
"""Share of a stream, at its start, on which methods are tuned."""

Create = Callable[[Architecture, Variant, int], Learns]
"""(net, variant, seed) → a learner; what needs no net takes its number of classes from it."""


@dataclass(frozen=True)
class Method:
    """Args: create: as above; grid: what is tried on the head; random: whether its seed changes anything."""

    create: Create
    grid: tuple[Variant, ...] = ({},)
    random: bool = True


def am_mem(**hyperparameters: Any) -> Create:
    """AM-mem with its default hyper-parameters, but for these."""

    def create(net: Architecture, variant: Variant, seed: int) -> Learns:
        device, scale = torch.device("cpu"), RunningScale()
        return create_learner("am-mem", net, hyperparameters=hyperparameters, scale=scale, seed=seed, device=device)

    return create


def of_river(classifier: Callable[[Variant, int, int], Classifier]) -> Create:
    """Args: classifier: made from variant, seed and number of classes."""
    return lambda net, variant, seed: RiverLearner(classifier(variant, seed, net.outputs), net.outputs)


def logistic_regression(variant: Variant, seed: int, classes: int) -> Classifier:
    """On standardised features, one against the rest where there are more than two classes."""
    binary = LogisticRegression(optimizer=SGD(float(variant["lr"])))
    return StandardScaler() | (binary if classes == 2 else OneVsRestClassifier(binary))


def adaptive_tree(variant: Variant, seed: int, classes: int) -> Classifier:
    return HoeffdingAdaptiveTreeClassifier(grace_period=int(variant["grace_period"]), seed=seed)


def adaptive_forest(variant: Variant, seed: int, classes: int) -> Classifier:
    return ARFClassifier(n_models=10, seed=seed)


METHODS: Mapping[str, Method] = {
    "am-mem": Method(am_mem()),
    "am-mem-short": Method(am_mem(horizons=(8, 64))),
    "am-mem-long": Method(am_mem(horizons=(4096, None))),
    "logreg": Method(
        of_river(logistic_regression), tuple({"lr": lr} for lr in (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)), random=False
    ),
    "hat": Method(of_river(adaptive_tree), tuple({"grace_period": samples} for samples in (50, 100, 200, 400))),
    "arf": Method(of_river(adaptive_forest)),
    "no-change": Method(lambda net, variant, seed: LastClass(net.outputs), random=False),
    "majority": Method(lambda net, variant, seed: MostFrequent(net.outputs), random=False),
}


@dataclass(frozen=True)
class Stream:
    """Args: file: without its .npz; contents: what it holds and where it comes from; samples: in all of it."""

    name: str
    file: str
    contents: str
    samples: int
    features: int
    classes: int

    def cells(self, plan: Plan) -> Iterator[Cell]:
        whole = labelled_stream(plan.data, self.file, self.contents)
        end = SAMPLES[plan.scale]
        data = Dataset(whole.name, whole.x[:end], whole.y[:end])
        net = two_hidden_layers(self.features, 100, self.classes)
        for name, method in METHODS.items():
            for block in BLOCKS:
                for variant in method.grid:
                    for seed in range(plan.seeds if method.random else 1):
                        yield Cell(
                            method=name,
                            net=net.name,
                            seed=seed,
                            at=f"block{block}",
                            variant=variant,
                            data=data.digest,
                            measure=partial(measure, data, net, name, variant, block, seed),
                        )

    def notes(self, plan: Plan) -> list[str]:
        run = min(SAMPLES[plan.scale] or self.samples, self.samples)
        return [
            *([f"{plan.scale} takes the first {run:,} of {self.samples:,} samples"] if run < self.samples else []),
            f"samples in the order of time; {HEAD:.0%} at the start is the head: where a method has a grid (am-mem and arf "
            "have none) its point is the best on the head, and the figures include the head",
            "am-mem-short and -long: the ends of its dial, horizons of 8 and 64 samples, of 4096 and for ever",
            "seeds: initialisation, or what the method draws; logreg, no-change and majority draw nothing and run once",
            "logreg, hat, arf: river's; a block is predicted whole, then learned sample by sample; arf has 10 trees",
        ]

    def scenario(self) -> Scenario:
        return Scenario(
            name=f"streams.{self.name}",
            measures=f"prequential accuracy and kappa on {self.contents}, in blocks of 1 and 16, beside river's classifiers",
            data=f"{self.file}.npz in --data",
            cells=self.cells,
            seeds={RunScale.QUICK: 3, RunScale.HOUR: 3, RunScale.FULL: 3},
            best_by="head",
            threads=1,
            notes=self.notes,
        )


def measure(data: Dataset, net: Architecture, method: str, variant: Variant, block: int, seed: int) -> Figures:
    """Prequential accuracy and kappa over everything, and the accuracy over the head."""
    created = METHODS[method].create(net, variant, seed)
    predicted = torch.cat(list(predictions(created, data.x, data.y, block)))
    right = (predicted == data.y).double()
    figures = {"prequential": right.mean(), "head": right[: int(HEAD * len(right))].mean()}
    return {method: {name: float(one) for name, one in figures.items()} | {"kappa": cohens_kappa(predicted, data.y)}}


STREAMS: tuple[Scenario, ...] = tuple(
    stream.scenario()
    for stream in (
        Stream("elec2", "elec2", "electricity prices (Harries 1999; OpenML 151)", 45_312, 8, 2),
        Stream("sea", "sea_50k", "SEA concepts, abrupt drift (Street & Kim 2001; vlosing/driftDatasets)", 50_000, 3, 2),
        Stream(
            "chessboard",
            "transient_chessboard",
            "transient chessboard, recurring and virtual drift (Losing et al. 2016; vlosing/driftDatasets)",
            200_000,
            2,
            8,
        ),
        Stream("spam", "spam_stream_500", "Spam Assassin messages, 500 words (Katakis et al. 2010)", 9_324, 500, 2),
    )
)
