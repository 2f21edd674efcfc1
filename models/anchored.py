"""The recommended AM-mem: the memory A never forgets, the targets in B are anchored to the current weights.

The paper's rule, solved exactly, is W ← W + Σ (c − W a) aᵀ (A + λI)⁻¹ with A the sum over all samples: over averages
Ā = A/t a step of 1/t, which stalls. Here Ā stays what the step is measured in, and B = W(Ā + λI) + share·Σ (c − W a) aᵀ
takes every sample with the same share: W ← B(Ā + λI)⁻¹. B follows from W and A, so it is not stored. The output layer has
memories too (`models.top_memory`), with several horizons; predictions use the longest that has lately been no worse than
the best. While classes that the stream knows well are absent, the hidden layers wait and the longest memory forgets nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from models.am import MOST_ITERATIONS, is_count
from models.block_learner import BlockLearner
from models.codes import CodeDescent, update_codes
from models.errors import ArgumentError
from models.horizon_choice import ErrorRates
from models.layers import append_one
from models.learner_state import LearnerState
from models.losses import one_hot
from models.memory import co_activations
from models.network import Architecture, Net, Weights, encode_input, sigmas_of
from models.predictor import Predictor
from models.presence import Presence
from models.scaling import InputScale
from models.temperature import START, updated_temperature
from models.top_memory import TopMemories, no_top_memories

TOLERANCE_WHILE_ABSENT = 0.1
"""In error rate, among the classes present: then hardly anything speaks against the longest memory."""


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
        top_ridge: λ over the mean of diag A, for the top memories, > 0.
        recent: samples that count as recent where error rates are compared and absent classes noticed, ≥ 1.
        tolerance: in error rate: the longest horizon within it of the best is used, ≥ 0.
        wait_for_absent: hold the hidden layers and the longest memory while classes are absent.
    Raises: ArgumentError.
    """

    share: float = 0.03
    ridge: float = 1.0
    mu: float = 0.03
    code_iterations: int = 5
    code_momentum: float = 0.9
    averaging: float = 0.2
    horizons: tuple[float | None, ...] = (250.0, 4000.0, 30000.0)
    top_ridge: float = 1e-2
    recent: float = 1000.0
    tolerance: float = 0.005
    wait_for_absent: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizons", tuple(self.horizons))  # JSON has lists alone
        horizons = self.all_horizons
        increasing = len(horizons) >= 2 and horizons[0] >= 1 and all(a < b for a, b in pairwise(horizons))
        rules: tuple[tuple[str, bool, str], ...] = (
            ("share", 0 <= self.share < math.inf, "at least 0"),
            ("ridge", 0 < self.ridge < math.inf, "positive"),
            ("mu", 0 < self.mu < math.inf, "positive"),
            ("code_iterations", is_count(self.code_iterations, least=0), f"an integer from 0 to {MOST_ITERATIONS}"),
            ("code_momentum", 0 <= self.code_momentum < 1, "in [0, 1)"),
            ("averaging", 0 < self.averaging < math.inf, "positive"),
            ("horizons", increasing, "two or more, from 1 on, each above the one before, None after all numbers"),
            ("top_ridge", 0 < self.top_ridge < math.inf, "positive"),
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


class AnchoredAMMem(BlockLearner):
    """The recommended AM-mem as a `Learner`.

    Args: net: fully connected, without batch normalisation; else see `BlockLearner`.
    Source: eqs. 3–7, Algorithms 2.1–2.3; what differs is derived in docs/learning.md.
    """

    net: Architecture

    def __init__(
        self, net: Net, hyperparameters: AnchoredHyperparameters, *, scale: InputScale, seed: int, device: torch.device
    ) -> None:
        if not isinstance(net, Architecture) or net.batch_norm:
            raise ArgumentError("net", "fully connected, without batch normalisation", net.name)
        super().__init__(net, scale=scale, seed=seed, top_gain=0.0, device=device)
        self.hyperparameters = hyperparameters
        self._sigmas = sigmas_of(net.layers[:-1])
        self._code_net = replace(net, loss_name="squared")
        self._horizons = torch.tensor(hyperparameters.all_horizons, dtype=torch.float64, device=device)
        count, hidden = len(self._horizons), self.state.weights[:-1]
        slots = {"shift": torch.zeros(net.inputs, dtype=torch.float64, device=device)}
        slots |= {f"averaged.{layer}": W.clone() for layer, W in enumerate(hidden, start=1)}
        for layer, W in enumerate(hidden, start=1):
            slots[f"A.{layer}"] = torch.zeros(W.shape[1], W.shape[1], dtype=torch.float64, device=device)
        tops = no_top_memories(count, net.hidden[-1] + 1, net.outputs, device)
        slots |= {name: tensor.clone() for name, tensor in tops.tensors().items()}
        slots |= _named("errors", ErrorRates.unknown(count, device))
        if net.loss.classes:
            slots |= Presence.unknown(net.outputs, device).tensors()
            slots["temperature"] = torch.tensor(START, device=device)
        self.state = replace(self.state, slots=slots)

    # One step

    def _step(self, state: LearnerState, x: Tensor, y: Tensor, w: Tensor) -> LearnerState:
        hyper, n = self.hyperparameters, len(x)
        moments = state.moments.updated(x.double(), w.double())
        scaling, before = self.scale.scaling(moments), self.scale.scaling(state.moments)
        hidden, averaged = (
            (scaling.carry(first, before), *rest) for first, *rest in (state.weights[:-1], self._averaged(state))
        )
        slots = dict(state.slots)
        slots["shift"] = torch.where(state.moments.count == 0, scaling.fill, slots["shift"])
        inputs = scaling(x)
        targets = one_hot(y, self.net.outputs).float() if self.net.loss.classes else y
        tops = TopMemories.from_tensors(slots)

        codes, rows = self._encoded(inputs, hidden, averaged)
        waits, rates = self._judged(state, slots, tops.scores(rows), y, targets, w)

        learns = torch.where(waits, 0.0, hyper.share)
        weights = (*hidden, tops.V.index_select(0, rates.errors[:-1].argmin().unsqueeze(0))[0])
        if hyper.share > 0:
            descent, net = hyper.descent, self._code_net
            updated = update_codes(codes, inputs, targets, weights, net, self._sigmas, descent, mu=hyper.mu)
            below = [inputs, *(sigma(c) for sigma, c in zip(self._sigmas, codes, strict=True))]
            moved = []
            for layer, (W, a, new, old) in enumerate(zip(hidden, below, updated, codes, strict=False), start=1):
                rows_below = append_one(a)
                block = co_activations(rows_below, w * ~waits)
                block = scaling.to_fixed(slots["shift"]).congruence(block) if layer == 1 else block
                A = slots[f"A.{layer}"] = slots[f"A.{layer}"] + block
                seen = scaling.from_fixed(slots["shift"]).congruence(A) if layer == 1 else A
                moved.append(self._anchored(W, seen, rows_below, new - old, w, learns))
            hidden = tuple(moved)
            horizon = torch.clamp(hyper.averaging * state.samples, min=n)
            share = torch.where(state.samples == 0, 1.0, 1 - torch.exp(-n / horizon))
            averaged = tuple(old + share * (new - old) for old, new in zip(averaged, hidden, strict=True))
            _, rows = self._encoded(inputs, hidden, averaged)

        tops = self._remembered(state, tops, rows, targets, w, waits)
        slots |= {f"averaged.{layer}": W for layer, W in enumerate(averaged, start=1)} | tops.tensors()
        slots |= _named("errors", rates)
        top = tops.V.index_select(0, self._choice(rates, waits).unsqueeze(0))[0]
        return LearnerState((*hidden, slots.get("temperature", 1.0) * top), moments, state.samples + n, slots=slots)

    def _judged(
        self, state: LearnerState, slots: dict[str, Tensor], scores: Tensor, y: Tensor, targets: Tensor, w: Tensor
    ) -> tuple[Tensor, ErrorRates]:
        """Whether to wait for absent classes, and the error rates of what would have been predicted; scores (K, n, m)."""
        tau, waits = self.hyperparameters.recent, torch.zeros((), dtype=torch.bool, device=w.device)
        rates = ErrorRates(slots["errors.errors"], slots["errors.mass"])
        counts = torch.where(state.samples == 0, 0, w)  # the first predictions say nothing
        if not self.net.loss.classes:
            return waits, rates.updated((scores - targets).square().sum(dim=2).T, counts, tau=tau)
        served = scores.index_select(0, self._choice(rates, waits).unsqueeze(0))[0]
        slots["temperature"] = updated_temperature(slots["temperature"], served, targets, counts, tau=tau / 5)
        presence = Presence.from_tensors(slots).updated(targets, w, tau=tau)
        slots |= presence.tensors()
        waits = self._waits(presence, state.samples + len(w))
        scores = torch.where(waits & ~presence.present(), -torch.inf, scores)
        return waits, rates.updated((scores.argmax(dim=2) != y).T, counts, tau=tau)

    def _waits(self, presence: Presence, samples: Tensor) -> Tensor:
        """Whether classes are absent for which the hidden layers wait, once enough samples were seen to tell."""
        grown = samples >= min(self.hyperparameters.recent, 20.0 * self.net.outputs)
        return presence.absent() & grown & self.hyperparameters.wait_for_absent

    def _choice(self, rates: ErrorRates, waits: Tensor) -> Tensor:
        hyper = self.hyperparameters
        longest = rates.choice(self._horizons, tolerance=hyper.tolerance)
        return torch.where(waits, rates.choice(self._horizons, tolerance=TOLERANCE_WHILE_ABSENT), longest)

    def _anchored(self, W: Tensor, A: Tensor, rows: Tensor, residuals: Tensor, w: Tensor, share: Tensor) -> Tensor:
        """B(Ā + λI)⁻¹ with B = W(Ā + λI) + share·Σ w(c − W a)aᵀ; the share falls where a block leans on few directions."""
        tiny = torch.finfo(A.dtype).tiny
        average = A / A[-1, -1].clamp_min(tiny)
        live = (A.diagonal() > 0).sum().clamp_min(1)  # a feature without a value so far says nothing about the others
        strength = self.hyperparameters.ridge * average.diagonal().sum() / live + tiny
        identity = torch.eye(len(A), dtype=A.dtype, device=A.device)
        factor, failed = torch.linalg.cholesky_ex(
            torch.where(A[-1, -1] > 0, average + strength * identity, identity).float()
        )
        measured = torch.cholesky_solve(rows.T, factor).T  # a (Ā + λI)⁻¹, (n, n_in + 1)
        weighted = measured * w.unsqueeze(1)
        leverage = (weighted * rows).sum() / len(w)
        moved = W + share / (1 + share * leverage / 4) * residuals.T @ weighted
        return torch.where(failed == 0, moved, torch.nan)

    def _remembered(
        self, state: LearnerState, tops: TopMemories, rows: Tensor, targets: Tensor, w: Tensor, waits: Tensor
    ) -> TopMemories:
        """The top memories with one block more. While it waits, the longest counts all of the past alike."""
        keep = torch.exp(-len(w) / self._horizons)
        longest = torch.zeros_like(keep)
        longest[-1] = 1
        holds = waits & (longest > 0) & (tops.mass > 0)
        past = torch.where(holds, state.samples / torch.where(tops.mass > 0, tops.mass, 1), 1)
        keep = torch.where(holds, 1, keep)
        return tops.scaled(past).updated(rows, targets, w, keep, ridge=self.hyperparameters.top_ridge)

    # Reading

    def predictor(self) -> Predictor:
        """Hidden layers as the chosen top memory knows them: averaged for the longest, else as they are."""
        state = self.state
        rates = ErrorRates(state.slots["errors.errors"], state.slots["errors.mass"])
        waits = torch.zeros((), dtype=torch.bool, device=self.device)
        if self.net.loss.classes:
            waits = self._waits(Presence.from_tensors(state.slots), state.samples)
        longest = self._choice(rates, waits) == len(self._horizons) - 1
        pairs = zip(self._averaged(state), state.weights[:-1], strict=True)
        hidden = tuple(torch.where(longest, averaged, W) for averaged, W in pairs)
        return Predictor((*hidden, state.weights[-1]), self.scale.scaling(state.moments), self.net)

    def _averaged(self, state: LearnerState) -> Weights:
        return tuple(state.slots[f"averaged.{layer}"] for layer in range(1, len(self.net.layers)))

    def _encoded(self, inputs: Tensor, hidden: Weights, averaged: Weights) -> tuple[list[Tensor], Tensor]:
        """Codes, and a^L with the appended 1 as each top memory sees it, (K, n, h): the last one by the averaged weights."""
        codes, smooth = (encode_input(inputs, W, self.net.layers, self._sigmas) for W in (hidden, averaged))
        own, last = (append_one(self._sigmas[-1](c[-1])) for c in (codes, smooth))
        return codes, torch.stack([own] * (len(self._horizons) - 1) + [last])


def _named(prefix: str, rates: ErrorRates) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in rates.tensors().items()}
