"""AM-mem: Algorithm 2.1 with Mem = yes, for fully connected nets, on blocks of samples.

C   ← encode_input(x, W)                    forward codes
C   ← update_codes(C, y, W, μ)              local problems (4), (5)
W⁺  ← top layer: one step of SGD            Algorithm 2.3, line 1
A,B ← update_memory(A, B, C)                a^{l−1} = σ(c^{l−1}) and c^l, both after the update
W^l ← argmin of the quadratic (7)           by column sweeps, or an exact ridge solve
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from models import losses, solvers
from models.blocks import checked_block, checked_state, unless_poisoned
from models.codes import update_codes
from models.errors import ArgumentError
from models.memory import Memory, block_memory, empty_memory, update_memory
from models.network import Architecture, Weights, append_one, encode_input, initial_weights
from models.predictor import Predictor
from models.scaling import InputScale, Moments, no_moments

MOST_ITERATIONS = 1000
"""Per subproblem and block: more would occupy a learner for good."""


@dataclass(frozen=True)
class AMMemHyperparameters:
    """Hyper-parameters of AM-mem. All time constants count samples.

    Args:
        mu: μ of eq. 3 at the first sample, > 0.
        mu_increment: added to μ per sample seen, ≥ 0.
        mu_max: μ grows no further than this; None for no bound.
        eta: η of Algorithm 2.1, the top layer's step on the mean gradient of a block, > 0.
        code_iterations: gradient steps per problem (4) or (5), from 0 to MOST_ITERATIONS.
        code_momentum: of those steps, in [0, 1).
        solver: `columns` (block-coordinate descent), `ridge` (exact, towards zero) or `proximal-ridge` (exact, towards
            the current weights).
        sweeps: passes of the `columns` solver per block, from 1 to MOST_ITERATIONS.
        ridge: λ of the exact solvers over the mean of diag A, > 0.
        horizon: samples after which a memory keeps the share 1/e; None never forgets.
        top_gain: factor on the top layer's initial weights, > 0.
    Raises: ArgumentError.
    """

    mu: float = 0.1
    mu_increment: float = 0.0
    mu_max: float | None = None
    eta: float = 0.2
    code_iterations: int = 5
    code_momentum: float = 0.9
    solver: Literal["columns", "ridge", "proximal-ridge"] = "columns"
    sweeps: int = 1
    ridge: float = 1e-3
    horizon: float | None = None
    top_gain: float = 0.1

    def __post_init__(self) -> None:
        solver_names = ("columns", "ridge", "proximal-ridge")
        rules: tuple[tuple[str, bool, str], ...] = (
            ("mu", 0 < self.mu < math.inf, "positive"),
            ("mu_increment", 0 <= self.mu_increment < math.inf, "at least 0"),
            ("mu_max", self.mu_max is None or self.mu <= self.mu_max < math.inf, "at least mu"),
            ("eta", 0 < self.eta < math.inf, "positive"),
            (
                "code_iterations",
                _is_integer(self.code_iterations, least=0),
                f"an integer from 0 to {MOST_ITERATIONS}",
            ),
            ("code_momentum", 0 <= self.code_momentum < 1, "in [0, 1)"),
            ("solver", self.solver in solver_names, "one of " + ", ".join(solver_names)),
            ("sweeps", _is_integer(self.sweeps, least=1), f"an integer from 1 to {MOST_ITERATIONS}"),
            ("ridge", 0 < self.ridge < math.inf, "positive"),
            ("horizon", self.horizon is None or 0 < self.horizon < math.inf, "positive, or None"),
            ("top_gain", 0 < self.top_gain < math.inf, "positive"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ArgumentError(name, rule, getattr(self, name))

    def weight_solver(self) -> solvers.Solver:
        if self.solver == "columns":
            return partial(solvers.sweep_columns, sweeps=self.sweeps)
        exact = solvers.solve_ridge if self.solver == "ridge" else solvers.solve_proximal_ridge
        return partial(exact, ridge=self.ridge)

    def mu_after(self, samples: Tensor) -> Tensor:
        """μ once `samples` samples have been learned (0-dim); appendix B's schedule, counted in samples."""
        grown = self.mu + self.mu_increment * samples.float()
        return grown if self.mu_max is None else grown.clamp(max=self.mu_max)


def _is_integer(value: object, *, least: int) -> bool:
    return isinstance(value, int) and least <= value <= MOST_ITERATIONS


@dataclass(frozen=True)
class AMMemState:
    """All that AM-mem carries from one block to the next. Immutable: a step makes a new one.

    Args:
        weights: W^1 … W^{L+1}, float32.
        memories: A^l and B^l of the hidden layers; layer 1's in fixed coordinates (see `models.scaling`).
        moments: of the inputs.
        shift: origin of the fixed coordinates, (N,) float64: a feature's mean in the first block that had a value.
        samples: learned so far, 0-dim int64.
    """

    weights: Weights
    memories: tuple[Memory, ...]
    moments: Moments
    shift: Tensor
    samples: Tensor

    def tensors(self) -> dict[str, Tensor]:
        named = {f"W.{layer}": matrix for layer, matrix in enumerate(self.weights, start=1)}
        for layer, memory in enumerate(self.memories, start=1):
            named |= {f"A.{layer}": memory.A, f"B.{layer}": memory.B}
        named |= {f"moments.{name}": getattr(self.moments, name) for name in ("count", "mean", "squares")}
        return named | {"shift": self.shift, "samples": self.samples}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> AMMemState:
        hidden = sum(name.startswith("A.") for name in tensors)
        return cls(
            weights=tuple(tensors[f"W.{layer}"] for layer in range(1, hidden + 2)),
            memories=tuple(Memory(tensors[f"A.{layer}"], tensors[f"B.{layer}"]) for layer in range(1, hidden + 1)),
            moments=Moments(tensors["moments.count"], tensors["moments.mean"], tensors["moments.squares"]),
            shift=tensors["shift"],
            samples=tensors["samples"],
        )


def update_weights(
    weights: Weights,
    memories: tuple[Memory, ...],
    targets: Tensor,
    weight: Tensor,
    codes: list[Tensor],
    architecture: Architecture,
    hyperparameters: AMMemHyperparameters,
) -> Weights:
    """Algorithm 2.3, updateWeights with Mem = yes, after its call of updateMemory.

    Args:
        weights: W^1 … W^{L+1}, W¹ in the coordinates of `memories[0]`.
        memories: of layers 1 … L, this block included.
        targets, weight: (n,).
        codes: updated c^1 … c^L.
    Returns: new W^1 … W^{L+1}. The layers do not read each other's results, so their order is free.
    Differs from the paper: block mean of the weighted gradient at the top; solvers as in `models.solvers`.
    """
    top_input = append_one(architecture.sigma(codes[-1]))  # (n, n_L + 1)
    gradient = losses.multinomial_gradient(top_input @ weights[-1].T, targets) * weight.unsqueeze(1)  # (n, m)
    top = weights[-1] - (hyperparameters.eta / targets.shape[0]) * gradient.T @ top_input
    solve = hyperparameters.weight_solver()
    hidden = [solve(W, memory.A, memory.B) for W, memory in zip(weights, memories, strict=False)]
    return (*hidden, top)


class AMMem:
    """The paper's AM-mem as a `Learner`.

    Args:
        architecture: of the net.
        hyperparameters: see `AMMemHyperparameters`.
        scale: how inputs are scaled.
        seed: of the initial weights; learning itself draws no random numbers.
        device: where state and work live.
    Source: Algorithms 2.1–2.3, eqs. 3–7.
    Differs from the paper: biases, input scaling, sample weights and horizons; per block, codes are solved sample by
        sample and memories updated once.
    """

    def __init__(
        self,
        architecture: Architecture,
        hyperparameters: AMMemHyperparameters,
        *,
        scale: InputScale,
        seed: int,
        device: torch.device,
    ) -> None:
        self.architecture = architecture
        self.hyperparameters = hyperparameters
        self.scale = scale
        self.device = device
        sizes = architecture.sizes
        self.state = AMMemState(
            weights=initial_weights(architecture, seed=seed, top_gain=hyperparameters.top_gain, device=device),
            memories=tuple(empty_memory(n_in, n_out, device) for n_in, n_out in pairwise(sizes[:-1])),
            moments=no_moments(architecture.inputs, device),
            shift=torch.zeros(architecture.inputs, dtype=torch.float64, device=device),
            samples=torch.zeros((), dtype=torch.int64, device=device),
        )
        scale.scaling(self.state.moments)  # raises for a scale of another width

    @torch.no_grad()
    def learn(self, inputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """One step of Algorithm 2.1 on one block; see `Learner.learn`."""
        x, y, w = checked_block(inputs, targets, weight, self.architecture, self.device)
        tensors, finite = unless_poisoned(self._step(self.state, x, y, w).tensors(), self.state.tensors())
        self.state = AMMemState.from_tensors(tensors)
        return finite

    def _step(self, state: AMMemState, x: Tensor, y: Tensor, w: Tensor) -> AMMemState:
        n, sigma, hyper = x.shape[0], self.architecture.sigma, self.hyperparameters

        # The scale moves with the block, W¹ with the scale: the net stays the same function of x.
        moments = state.moments.updated(x.double(), w.double())
        scaling = self.scale.scaling(moments)
        # A feature of which no value was seen has u = 0 throughout: missing is mean, and the mean is the origin.
        shift = torch.where(state.moments.count == 0, scaling.fill, state.shift)
        weights = (scaling.carry(state.weights[0], self.scale.scaling(state.moments)), *state.weights[1:])
        inputs = scaling(x)

        codes = encode_input(inputs, weights[:-1], sigma)
        codes = update_codes(
            codes,
            y,
            weights,
            sigma,
            mu=hyper.mu_after(state.samples),
            iterations=hyper.code_iterations,
            momentum=hyper.code_momentum,
        )

        keep = 1.0 if hyper.horizon is None else math.exp(-n / hyper.horizon)
        below = [inputs, *(sigma(code) for code in codes[:-1])]  # a^0 … a^{L−1}
        blocks = [block_memory(append_one(a), code, w) for a, code in zip(below, codes, strict=True)]
        blocks[0] = blocks[0].mapped(scaling.to_fixed(shift))
        memories = tuple(update_memory(m, b, keep=keep) for m, b in zip(state.memories, blocks, strict=True))

        seen_by_net = (memories[0].mapped(scaling.from_fixed(shift)), *memories[1:])
        weights = update_weights(weights, seen_by_net, y, w, codes, self.architecture, hyper)
        return AMMemState(weights, memories, moments, shift, state.samples + n)

    def predictor(self) -> Predictor:
        state = self.state  # one version, whatever another thread learns meanwhile
        return Predictor(state.weights, self.scale.scaling(state.moments), self.architecture.sigma)

    def predict(self, inputs: Tensor) -> Tensor:
        return self.predictor()(inputs)

    def state_dict(self) -> dict[str, Tensor]:
        return self.state.tensors()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.state = AMMemState.from_tensors(checked_state(state, self.state.tensors()))
