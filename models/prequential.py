"""Prequential metrics as fold state: what predictions made before learning were worth, beside predictors that learn nothing.

All counts are of samples with a positive weight. Figures come twice: over all samples, and discounted by exp(−age/RECENT).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from models.blocks import part_of
from models.drift import DriftState, PageHinkley
from models.losses import one_hot
from models.periods import Periods, Retention

RECENT = 1000.0
"""Samples."""
DRIFT = PageHinkley()


@dataclass(frozen=True)
class Alarms:
    """Drifts of the error, by the Page–Hinkley test.

    Args: count, last: how many; after how many samples the last; 0-dim int64.
    """

    test: DriftState
    count: Tensor
    last: Tensor

    @classmethod
    def unknown(cls) -> Alarms:
        return cls(DriftState.fresh(torch.device("cpu")), torch.tensor(0), torch.tensor(0))

    def updated(self, errors: Tensor, counted: Tensor, samples: Tensor) -> Alarms:
        """Args: errors, counted: (n,), in [0, 1] and bool; samples: before the block."""
        test, detected = DRIFT.updated(self.test, errors, counted, ask=True)
        positions = torch.arange(1, len(errors) + 1)
        last = torch.where(detected.any(), samples + (positions * detected).amax(), self.last)
        return Alarms(test, self.count + detected.sum(), last)

    def tensors(self) -> dict[str, Tensor]:
        return self.test.tensors() | {"count": self.count, "last": self.last}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Alarms:
        test = DriftState(**{field.name: tensors[field.name] for field in fields(DriftState)})
        return cls(test, tensors["count"], tensors["last"])


@dataclass(frozen=True)
class Tally:
    """Counts that figures of classification are made of, discounted or not; float64.

    Args: seen, right, predicted: of each class, (m,). loss: −log P of the class that came. same, majority: hits of the last
        class before a block, and of the most frequent one. 0-dim but for the first three.
    """

    seen: Tensor
    right: Tensor
    predicted: Tensor
    loss: Tensor
    same: Tensor
    majority: Tensor

    @classmethod
    def unknown(cls, classes: int) -> Tally:
        sizes = (classes,), (classes,), (classes,), (), (), ()
        return cls(*(torch.zeros(size, dtype=torch.float64) for size in sizes))

    def plus(self, block: Tally, keep: float) -> Tally:
        return Tally(
            **{field.name: keep * getattr(self, field.name) + getattr(block, field.name) for field in fields(Tally)}
        )

    def grown(self, classes: int) -> Tally:
        more = (0, classes - len(self.seen))
        seen, right, predicted = (functional.pad(counts, more) for counts in (self.seen, self.right, self.predicted))
        return replace(self, seen=seen, right=right, predicted=predicted)

    def figures(self) -> dict[str, float | None]:
        """accuracy, kappa, log_loss, and the accuracies no_change and majority; None before anything counted."""
        total = float(self.seen.sum())
        if total == 0:
            return dict.fromkeys(("accuracy", "kappa", "log_loss", "no_change", "majority"))
        accuracy = float(self.right.sum()) / total
        by_chance = float((self.seen / total) @ (self.predicted / total))
        return {
            "accuracy": accuracy,
            "kappa": (accuracy - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0,
            "log_loss": float(self.loss) / total,
            "no_change": float(self.same) / total,
            "majority": float(self.majority) / total,
        }


@dataclass(frozen=True)
class ClassificationMetrics:
    """Args: ever, recent: tallies; last: class of the last sample, −1 for none, 0-dim int64; periods: of recall."""

    ever: Tally
    recent: Tally
    last: Tensor
    alarms: Alarms
    periods: Periods

    @classmethod
    def unknown(cls, classes: int) -> ClassificationMetrics:
        periods = Periods.unknown(classes, torch.device("cpu"))
        return cls(Tally.unknown(classes), Tally.unknown(classes), torch.tensor(-1), Alarms.unknown(), periods)

    @property
    def classes(self) -> int:
        return len(self.ever.seen)

    def grown(self, classes: int) -> ClassificationMetrics:
        """For more classes, of which nothing was seen."""
        periods = self.periods
        seen, right = (functional.pad(counts, (0, classes - self.classes)) for counts in (periods.seen, periods.right))
        return replace(
            self,
            ever=self.ever.grown(classes),
            recent=self.recent.grown(classes),
            periods=replace(periods, seen=seen, right=right),
        )

    def updated(self, probabilities: Tensor, targets: Tensor, weight: Tensor) -> ClassificationMetrics:
        """With one block that was predicted, then learned: P (n, m) for at most as many classes, targets (n,), weight (n,)."""
        counted = weight > 0
        probabilities = functional.pad(probabilities.double(), (0, self.classes - probabilities.shape[1]))
        predicted = probabilities.argmax(dim=1)
        right = (predicted == targets) & counted
        came, said = (one_hot(labels, self.classes) & counted.unsqueeze(1) for labels in (targets, predicted))
        likelihood = (probabilities * came).sum(dim=1).clamp_min(torch.finfo(torch.float32).eps)
        frequent = torch.where(self.ever.seen.sum() > 0, self.ever.seen.argmax(), -1)
        known = (came * (self.ever.seen > 0)).any(dim=1)
        age = torch.arange(len(targets) - 1, -1, -1, dtype=torch.float64)

        def tally(share: Tensor) -> Tally:
            return Tally(
                seen=share @ came.double(),
                right=share @ (came & right.unsqueeze(1)).double(),
                predicted=share @ said.double(),
                loss=-(share * counted * likelihood.log()).sum(),
                same=(share * ((targets == self.last) & counted)).sum(),
                majority=(share * ((targets == frequent) & counted)).sum(),
            )

        block = tally(torch.ones_like(age))
        return ClassificationMetrics(
            ever=self.ever.plus(block, 1.0),
            recent=self.recent.plus(tally(torch.exp(-age / RECENT)), math.exp(-len(targets) / RECENT)),
            last=targets[counted][-1].clone() if counted.any() else self.last,
            alarms=self.alarms.updated((~right).double(), known, self.ever.seen.sum().long()),
            periods=self.periods.updated(block.seen.long(), block.right.long()),
        )

    def retention(self) -> Retention:
        return Retention.of(self.periods.recalls())

    def tensors(self) -> dict[str, Tensor]:
        parts = {"ever": vars(self.ever), "recent": vars(self.recent)}
        parts |= {"drift": self.alarms.tensors(), "periods": self.periods.tensors()}
        named = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        return named | {"last": self.last}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ClassificationMetrics:
        return cls(
            Tally(**part_of(tensors, "ever.")),
            Tally(**part_of(tensors, "recent.")),
            tensors["last"],
            Alarms.from_tensors(part_of(tensors, "drift.")),
            Periods.from_tensors(part_of(tensors, "periods.")),
        )
