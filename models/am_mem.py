"""AM-mem: Algorithm 2.1 with Mem = yes.

A,B ← update_memory(A, B, C)                a^{l−1} = σ(c^{l−1}) and c^l, both after the update
W^l ← argmin of the quadratic (7)           by column sweeps, or an exact ridge solve
W⁺  ← top layer: one step of SGD            Algorithm 2.3, line 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from models import solvers
from models.am import MOST_ITERATIONS, AMHyperparameters, Block, OnlineAM, Rules, is_count
from models.errors import ArgumentError
from models.layers import Dense
from models.learner_state import LearnerState
from models.memory import Memory, block_memory, empty_memory, minibatch_keep, power_keep, update_memory
from models.network import Net
from models.scaling import FixedScale, InputScale, NoScale, Scaling


@dataclass(frozen=True)
class AMMemHyperparameters(AMHyperparameters):
    """Hyper-parameters of AM-mem; those of `AMHyperparameters`, and:

    Args:
        eta: η of Algorithm 2.1, the top layer's step on the mean gradient of a block, > 0.
        solver: `columns` (block-coordinate descent), `ridge` (exact, towards zero) or `proximal-ridge` (exact, towards
            the current weights). With lambda_w > 0 only `columns`.
        sweeps: passes of the `columns` solver per solve, from 1 to MOST_ITERATIONS.
        ridge: λ of the exact solvers over the mean of diag A, > 0.
        solve_every: samples from one solve to the next; memories take every block meanwhile. 1 solves after every block.
        horizon: samples after which a memory keeps the share 1/e; None never forgets.
        rescaling: of the past instead of a horizon: `minibatch` (Mairal et al. 2009), `power` (2010) or `none`.
        rescaling_power: ρ of `power`, ≥ 0.
        window: the surrogate of the last so many blocks alone (eq. 6 with t′ > 1); None for all. Kept as their
            memories, no sample is.
    Raises: ArgumentError.
    """

    eta: float = 0.2
    solver: Literal["columns", "ridge", "proximal-ridge"] = "columns"
    sweeps: int = 1
    ridge: float = 1e-3
    solve_every: int = 1
    horizon: float | None = None
    rescaling: Literal["none", "minibatch", "power"] = "none"
    rescaling_power: float = 1.0
    window: int | None = None

    def _rules(self) -> Rules:
        solver_names, rescalings = ("columns", "ridge", "proximal-ridge"), ("none", "minibatch", "power")
        forgetting = (self.horizon is not None, self.rescaling != "none", self.window is not None)
        return (
            *super()._rules(),
            ("eta", 0 < self.eta < math.inf, "positive"),
            ("solver", self.solver in solver_names, "one of " + ", ".join(solver_names)),
            ("solver", self.solver == "columns" or self.lambda_w == 0, "'columns' when lambda_w is positive"),
            ("sweeps", is_count(self.sweeps, least=1), f"an integer from 1 to {MOST_ITERATIONS}"),
            ("ridge", 0 < self.ridge < math.inf, "positive"),
            ("solve_every", isinstance(self.solve_every, int) and self.solve_every >= 1, "an integer of at least 1"),
            ("horizon", self.horizon is None or 0 < self.horizon < math.inf, "positive, or None"),
            ("rescaling", self.rescaling in rescalings, "one of " + ", ".join(rescalings)),
            ("rescaling_power", 0 <= self.rescaling_power < math.inf, "at least 0"),
            ("window", self.window is None or is_count(self.window, least=1), f"from 1 to {MOST_ITERATIONS}, or None"),
            (
                "horizon",
                sum(forgetting) <= 1,
                "None when there is a rescaling or a window, and of these only one given",
            ),
        )

    def weight_solver(self) -> solvers.Solver:
        if self.lambda_w > 0:
            return partial(solvers.sweep_columns_sparsely, sweeps=self.sweeps, lambda_w=self.lambda_w)
        if self.solver == "columns":
            return partial(solvers.sweep_columns, sweeps=self.sweeps)
        exact = solvers.solve_ridge if self.solver == "ridge" else solvers.solve_proximal_ridge
        return partial(exact, ridge=self.ridge)


class AMMem(OnlineAM):
    """The paper's AM-mem as a `Learner`.

    Args:
        net: any; one whose first layer is not fully connected takes an input scale that does not move, equal for all
            features, because memories of patches or steps cannot follow each feature by itself.
        hyperparameters: see `AMMemHyperparameters`.
        initial: A_0 and B_0 per hidden layer, from an earlier run's `state.memories`, say; all zeros when omitted. Layer 1's
            are in coordinates fixed by the first block, so those of a net with a moving scale come with `state_dict`.
    Source: Algorithms 2.1–2.3, eqs. 3–7.
    Differs from the paper: biases, input scaling, sample weights, forgetting; per block, codes are solved sample by
        sample and memories updated once. The top layer's step is on the block mean.
    """

    hyperparameters: AMMemHyperparameters

    def __init__(
        self,
        net: Net,
        hyperparameters: AMMemHyperparameters,
        *,
        scale: InputScale,
        seed: int,
        device: torch.device,
        initial: tuple[Memory, ...] | None = None,
    ) -> None:
        super().__init__(net, hyperparameters, scale=scale, seed=seed, device=device)
        hidden = net.layers[:-1]
        self._moving_scale = not _is_same_for_all(scale)
        if self._moving_scale and type(hidden[0]) is not Dense:
            raise ArgumentError("scale", "fixed, one for all features, or none, for this net", scale)
        empty = tuple(empty_memory(layer.fan_in, layer.units, device) for layer in hidden)
        slots = {"shift": torch.zeros(net.inputs, dtype=torch.float64, device=device)}
        if hyperparameters.rescaling == "minibatch":
            slots["blocks"] = torch.zeros((), dtype=torch.int64, device=device)
        if hyperparameters.window is not None:
            for layer, memory in enumerate(empty, start=1):
                slots |= {
                    f"window.{name}.{layer}": matrix.new_zeros(hyperparameters.window, *matrix.shape)
                    for name, matrix in (("A", memory.A), ("B", memory.B))
                }
        memories = empty if initial is None else _checked_memories(initial, like=empty)
        self.state = replace(self.state, memories=memories, slots=slots)
        self._unsolved = 0 if hyperparameters.solve_every > 1 else None

    def _carried(self, state: LearnerState, scaling: Scaling) -> tuple[Tensor, ...]:
        """The scale moves with the block, W¹ with the scale: the net stays the same function of x."""
        if not self._moving_scale:
            return state.weights
        return (scaling.carry(state.weights[0], self.scale.scaling(state.moments)), *state.weights[1:])

    def update_weights(self, state: LearnerState, block: Block) -> LearnerState:
        """Algorithm 2.3, updateWeights with Mem = yes. The layers do not read each other's results."""
        hyper, n = self.hyperparameters, len(block.weight)
        solve = hyper.weight_solver()
        due = self._is_due(n, hyper.solve_every)
        # A feature of which no value was seen has u = 0 throughout: missing is mean, and the mean is the origin.
        shift = torch.where(self.state.moments.count == 0, block.scaling.fill, state.slots["shift"])
        regressions = block.regressions(self.net)
        keep = self._keep(state, n)

        def update(depth: int) -> tuple[Tensor, Memory | None, dict[str, Tensor]]:
            W = state.weights[depth]
            if depth == len(regressions):
                return W - hyper.eta * block.top_gradient(W, self.net), None, {}
            maps = depth == 0 and self._moving_scale
            regression = regressions[depth]
            new = block_memory(regression.rows, regression.codes, regression.weight)
            new = new.mapped(block.scaling.to_fixed(shift)) if maps else new
            memory, slots = self._remembered(state, depth, new, keep)
            seen = memory.mapped(block.scaling.from_fixed(shift)) if maps else memory
            return solve(W, seen.A, seen.B) if due else W, memory, slots

        results = self._for_each_layer(update)
        slots = dict(state.slots) | {"shift": shift}
        if "blocks" in slots:
            slots["blocks"] = slots["blocks"] + 1
        for _, _, own in results:
            slots |= own
        memories = tuple(memory for _, memory, _ in results if memory is not None)
        return replace(state, weights=tuple(W for W, _, _ in results), memories=memories, slots=slots)

    def _remembered(
        self, state: LearnerState, depth: int, new: Memory, keep: Tensor | float
    ) -> tuple[Memory, dict[str, Tensor]]:
        """The memory with one block more; of a window also the memories of its blocks, oldest first."""
        if self.hyperparameters.window is None:
            return update_memory(state.memories[depth], new, keep=keep), {}
        names = (f"window.A.{depth + 1}", f"window.B.{depth + 1}")
        A, B = (
            torch.cat([state.slots[name][1:], matrix.unsqueeze(0)])
            for name, matrix in zip(names, (new.A, new.B), strict=True)
        )
        return Memory(A.sum(dim=0), B.sum(dim=0)), dict(zip(names, (A, B), strict=True))

    def _keep(self, state: LearnerState, n: int) -> Tensor | float:
        """Share of the past that a block of n samples leaves in the memories."""
        hyper = self.hyperparameters
        if hyper.rescaling == "minibatch":
            return minibatch_keep(state.slots["blocks"], n)
        if hyper.rescaling == "power":
            return power_keep(state.samples, n, hyper.rescaling_power)
        return 1.0 if hyper.horizon is None else math.exp(-n / hyper.horizon)


def _is_same_for_all(scale: InputScale) -> bool:
    """Whether the scale neither moves nor tells features apart."""
    return isinstance(scale, NoScale) or (isinstance(scale, FixedScale) and scale.is_uniform)


def _checked_memories(initial: tuple[Memory, ...], *, like: tuple[Memory, ...]) -> tuple[Memory, ...]:
    shapes = [[tuple(matrix.shape) for matrix in (m.A, m.B)] for m in initial]
    expected = [[tuple(matrix.shape) for matrix in (m.A, m.B)] for m in like]
    if shapes != expected:
        raise ArgumentError("initial", f"memories of shapes {expected}", shapes)
    return tuple(Memory(m.A.to(own.A), m.B.to(own.B)) for m, own in zip(initial, like, strict=True))
