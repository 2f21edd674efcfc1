"""Online alternating minimisation, what its variants share: Algorithm 2.1 but for the weights of hidden layers.

C  ← encode_input(x, W)            forward codes
C  ← update_codes(C, y, W, μ)      local problems (4), (5)
W⁺ ← update_weights(W, C, …)       one regression of c^l on a^{l−1} a layer, each by itself; `am_mem`, `am_local`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

import torch
from torch import Tensor

from models.block_learner import BlockLearner
from models.codes import CodeDescent, gradient_of, update_codes
from models.errors import ArgumentError
from models.learner_state import LearnerState
from models.network import Net, Sigma, encode_input
from models.normalisation import learning_sigmas, running_norms
from models.scaling import InputScale, Scaling

MOST_ITERATIONS = 1000
"""Per subproblem and block: more would occupy a learner for good."""

T = TypeVar("T")

Rules = Sequence[tuple[str, bool, str]]
"""(argument, whether it holds, what must be)."""


@dataclass(frozen=True)
class AMHyperparameters:
    """Hyper-parameters of every AM variant. All time constants count samples.

    Args:
        mu: μ of eq. 3 at the first sample, > 0.
        mu_increment: added to μ per sample seen, ≥ 0.
        mu_multiplier: factor on μ at the end of an epoch (in `fit` alone), ≥ 1.
        mu_max: μ grows no further than this; None for no bound.
        objective: of the codes: `paper`, or `published` (see `models.codes.CodeDescent`).
        code_iterations: gradient steps per problem (4) or (5), from 0 to MOST_ITERATIONS.
        code_step: size of those steps; None for 1/Lipschitz.
        code_momentum: of those steps, in [0, 1).
        code_nesterov: Nesterov's momentum instead of the heavy ball.
        lambda_c, lambda_w: weights of ‖c‖₁ and ‖W‖₁ in the objective (the paper's footnote 2), ≥ 0.
        parallel: update layers at the same time, a thread each; changes no result.
        top_gain: factor on the top layer's initial weights, > 0.
    Raises: ArgumentError.
    """

    mu: float = 0.1
    mu_increment: float = 0.0
    mu_multiplier: float = 1.0
    mu_max: float | None = None
    objective: Literal["paper", "published"] = "paper"
    code_iterations: int = 5
    code_step: float | None = None
    code_momentum: float = 0.9
    code_nesterov: bool = False
    lambda_c: float = 0.0
    lambda_w: float = 0.0
    parallel: bool = False
    top_gain: float = 0.1

    def __post_init__(self) -> None:
        for name, holds, rule in self._rules():
            if not holds:
                raise ArgumentError(name, rule, getattr(self, name))

    def _rules(self) -> Rules:
        return (
            ("mu", 0 < self.mu < math.inf, "positive"),
            ("mu_increment", 0 <= self.mu_increment < math.inf, "at least 0"),
            ("mu_multiplier", 1 <= self.mu_multiplier < math.inf, "at least 1"),
            ("mu_max", self.mu_max is None or self.mu <= self.mu_max < math.inf, "at least mu"),
            ("objective", self.objective in ("paper", "published"), "one of paper, published"),
            ("code_iterations", is_count(self.code_iterations, least=0), f"an integer from 0 to {MOST_ITERATIONS}"),
            ("code_step", self.code_step is None or 0 < self.code_step < math.inf, "positive, or None"),
            ("code_momentum", 0 <= self.code_momentum < 1, "in [0, 1)"),
            ("lambda_c", 0 <= self.lambda_c < math.inf, "at least 0"),
            ("lambda_w", 0 <= self.lambda_w < math.inf, "at least 0"),
            ("top_gain", 0 < self.top_gain < math.inf, "positive"),
        )

    @property
    def descent(self) -> CodeDescent:
        return CodeDescent(
            self.objective, self.code_iterations, self.code_step, self.code_momentum, self.code_nesterov, self.lambda_c
        )

    def mu_after(self, samples: Tensor) -> Tensor:
        """μ once `samples` samples have been learned (0-dim); appendix B's schedule, counted in samples."""
        grown = self.mu + self.mu_increment * samples.float()
        return grown if self.mu_max is None else grown.clamp(max=self.mu_max)

    def after_epoch(self, samples: int) -> Self:
        """The schedule from here on when an epoch ended after `samples` samples: μ times `mu_multiplier` (appendix B)."""
        multiplied = self.mu_multiplier * (self.mu + self.mu_increment * samples)
        if self.mu_max is not None and multiplied >= self.mu_max:
            return replace(self, mu=self.mu_max, mu_increment=0.0)
        return replace(self, mu=multiplied - self.mu_increment * samples)


def is_count(value: object, *, least: int) -> bool:
    return isinstance(value, int) and least <= value <= MOST_ITERATIONS


@dataclass(frozen=True)
class Regression:
    """What the codes ask of one layer's weights: rows·Wᵀ ≈ codes.

    Args: rows: a^{l−1} with the appended 1, (N, fan_in + 1); codes: c^l, (N, units); weight: (N,).
    """

    rows: Tensor
    codes: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Block:
    """One block on its way through Algorithm 2.1, its codes updated.

    Args:
        targets, weight: (n,) or (n, m), and (n,).
        inputs: scaled, (n, N).
        codes: c^1 … c^L. sigmas: σ_1 … σ_L.
        mu: μ for this block, 0-dim.
        scaling: that made `inputs`.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    codes: list[Tensor]
    sigmas: list[Sigma]
    mu: Tensor
    scaling: Scaling

    def regressions(self, net: Net) -> list[Regression]:
        """Eq. 6 for the layers 1 … L: of each updated c^l on a^{l−1} = σ_{l−1}(c^{l−1}), updated as well."""
        below = [self.inputs, *(sigma(c) for sigma, c in zip(self.sigmas, self.codes, strict=True))]
        found = []
        for layer, activations, codes in zip(net.layers, below, self.codes, strict=False):
            rows = layer.rows(activations, codes)
            weight = self.weight.repeat_interleave(len(rows) // len(self.weight))
            found.append(Regression(rows, layer.per_row(codes), weight))
        return found

    def top_gradient(self, W: Tensor, net: Net) -> Tensor:
        """Of the block mean of the weighted loss in W^{L+1}, at fixed activations σ_L(c^L): Algorithm 2.3, line 1."""
        rows = net.layers[-1].rows(self.sigmas[-1](self.codes[-1]))
        return gradient_of(lambda top: self.weight * net.loss(rows @ top.T, self.targets) / len(self.weight), W)


class OnlineAM(BlockLearner):
    """Algorithm 2.1 with `update_weights` left to the variant. Args: see `BlockLearner`."""

    hyperparameters: AMHyperparameters

    def __init__(
        self, net: Net, hyperparameters: AMHyperparameters, *, scale: InputScale, seed: int, device: torch.device
    ) -> None:
        super().__init__(net, scale=scale, seed=seed, top_gain=hyperparameters.top_gain, device=device)
        self.hyperparameters = hyperparameters

    def _step(self, state: LearnerState, x: Tensor, y: Tensor, w: Tensor) -> LearnerState:
        moments = state.moments.updated(x.double(), w.double())
        scaling = self.scale.scaling(moments)
        weights = self._carried(state, scaling)
        inputs = scaling(x)
        mu = self.hyperparameters.mu_after(state.samples)

        sigmas = learning_sigmas(w, self.net, state.norms)
        codes = encode_input(inputs, weights[:-1], self.net.layers, sigmas)
        norms = running_norms(state.norms, codes, w, self.net, samples=state.samples)
        codes = update_codes(
            codes,
            inputs,
            y,
            weights,
            self.net,
            sigmas,
            self.hyperparameters.descent,
            mu=mu,
            weight=w if self.net.batch_norm else None,
        )
        updated = self.update_weights(
            replace(state, weights=weights, moments=moments), Block(inputs, y, w, codes, sigmas, mu, scaling)
        )
        return replace(updated, norms=norms, samples=state.samples + len(x))

    def _carried(self, state: LearnerState, scaling: Scaling) -> tuple[Tensor, ...]:
        """The weights under the scale that this block moved."""
        return state.weights

    def update_weights(self, state: LearnerState, block: Block) -> LearnerState:
        """Algorithm 2.3. state: as before the block but for its moments and, carried, its weights."""
        raise NotImplementedError

    def _for_each_layer(self, update: Callable[[int], T]) -> list[T]:
        """update(0), …, update(L): nothing that one of them reads is written by another."""
        depths = range(len(self.net.layers))
        if not self.hyperparameters.parallel:
            return [update(depth) for depth in depths]
        with ThreadPoolExecutor(len(depths), thread_name_prefix="layer") as pool:
            return list(pool.map(torch.no_grad()(update), depths))

    def end_epoch(self) -> None:
        self.hyperparameters = self.hyperparameters.after_epoch(int(self.state.samples))
