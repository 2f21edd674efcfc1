"""Hyper-parameters of the recommended AM-mem (`models.anchored`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from models.am import MOST_ITERATIONS, is_count
from models.codes import CodeDescent
from models.errors import ArgumentError


@dataclass(frozen=True)
class AnchoredHyperparameters:
    """Hyper-parameters of the recommended AM-mem. All time constants count samples.

    Args:
        share: of each sample in the hidden layers' targets; the paper's rule is the case 1/t. 0 freezes the hidden layers.
        ridge: λ over the mean of diag Ā, for hidden layers, > 0.
        mu: μ of eq. 3, > 0.
        code_iterations: gradient steps per problem (4) or (5), from 0 to MOST_ITERATIONS.
        code_momentum: of those steps, in [0, 1).
        averaging: the averaged weights' horizon as a share of the samples seen, > 0.
        horizons: of the top memories, ascending; None, as the last, never forgets. The last one goes with the averaged weights.
        top_loss: `squared`, or `multinomial` (classes only), whose weights take the steps of its quadratic bound.
        top_ridge: λ of the top memories, in samples: that of so many average ones, > 0.
        direct: whether the top memories see the inputs beside a^L; None: where there are no more inputs than activations.
        solve_every: samples from one full solve, with a ridge of its own, to the next; above 1 the top memories take in
            small blocks meanwhile by low-rank updates, and the hidden layers keep their preconditioners.
        recent: samples that count as recent where error rates are compared and absent classes noticed, ≥ 1.
        tolerance: in error rate: the longest memory serves within it of the mixture, ≥ 0.
        wait_for_absent: hold the hidden layers and the longest memory while classes are absent.
    Raises: ArgumentError.
    """

    share: float = 0.03
    ridge: float = 1.0
    mu: float = 0.03
    code_iterations: int = 5
    code_momentum: float = 0.9
    averaging: float = 0.2
    horizons: tuple[float | None, ...] = (8.0, 128.0, 2048.0, 32768.0)
    top_loss: Literal["squared", "multinomial"] = "squared"
    top_ridge: float = 4.0
    direct: bool | None = None
    solve_every: int = 1
    recent: float = 1000.0
    tolerance: float = 0.001
    wait_for_absent: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizons", tuple(self.horizons))  # JSON has lists alone
        horizons = self.all_horizons
        increasing = len(horizons) >= 1 and horizons[0] >= 1 and all(a < b for a, b in pairwise(horizons))
        rules: tuple[tuple[str, bool, str], ...] = (
            ("share", 0 <= self.share < math.inf, "at least 0"),
            ("ridge", 0 < self.ridge < math.inf, "positive"),
            ("mu", 0 < self.mu < math.inf, "positive"),
            ("code_iterations", is_count(self.code_iterations, least=0), f"an integer from 0 to {MOST_ITERATIONS}"),
            ("code_momentum", 0 <= self.code_momentum < 1, "in [0, 1)"),
            ("averaging", 0 < self.averaging < math.inf, "positive"),
            ("horizons", increasing, "one or more, from 1 on, each above the one before, None after all numbers"),
            ("horizons", self.share == 0 or len(horizons) > 1, "two or more where the hidden layers learn"),
            ("top_loss", self.top_loss in ("squared", "multinomial"), "'squared' or 'multinomial'"),
            ("top_ridge", 0 < self.top_ridge < math.inf, "positive"),
            ("solve_every", isinstance(self.solve_every, int) and self.solve_every >= 1, "an integer of at least 1"),
            ("recent", 1 <= self.recent < math.inf, "at least 1"),
            ("tolerance", 0 <= self.tolerance < math.inf, "at least 0"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ArgumentError(name, rule, getattr(self, name))

    @property
    def all_horizons(self) -> tuple[float, ...]:
        """With +inf for never."""
        return tuple(math.inf if horizon is None else horizon for horizon in self.horizons)

    @property
    def descent(self) -> CodeDescent:
        return CodeDescent(iterations=self.code_iterations, momentum=self.code_momentum)


@dataclass(frozen=True)
class NeverForgetHyperparameters(AnchoredHyperparameters):
    """The preset that never forgets: frozen random features, one memory on top that is a sum over all samples.

    With an input scale that does not move, what it has learned does not depend on the order of the samples.
    """

    share: float = 0.0
    horizons: tuple[float | None, ...] = (None,)
    top_ridge: float = 1.0
    direct: bool | None = False
    wait_for_absent: bool = False
