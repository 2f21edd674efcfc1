"""The recommended AM-mem: the memory A never forgets, the targets in B are anchored to the current weights.

The paper's rule, solved exactly, is W ← W + Σ (c − W a) aᵀ (A + λI)⁻¹ with A the sum over all samples: over averages
Ā = A/t a step of 1/t, which stalls. Here Ā stays what the step is measured in, and B = W(Ā + λI) + share·Σ (c − W a) aᵀ
takes every sample with the same share: W ← B(Ā + λI)⁻¹. B follows from W and A, so it is not stored. The output layer has
memories too (`models.top_memory`), with several horizons; predictions come from their mixture, or from the longest alone
where it has lately been no worse. While classes that the stream knows well are absent, the hidden layers wait and the
longest memory forgets nothing. Where inputs have shifted, inputs of before are left to it (`models.density_ratio`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from models.anchored_hyperparameters import AnchoredHyperparameters
from models.anchored_layers import AnchoredLayers, Encoded
from models.block_learner import BlockLearner
from models.density_ratio import DensityRatio
from models.ensemble import Ensemble, views, weighted_sum
from models.errors import ArgumentError
from models.layers import append_one
from models.learner_state import LearnerState
from models.losses import one_hot
from models.network import Architecture, ConvolutionalNet, Net, Weights, encode_input, sigmas_of
from models.predictor import Past, Predictor
from models.presence import Presence
from models.scaling import InputScale
from models.temperature import START, updated_temperature

TOLERANCE_WHILE_ABSENT = 0.1
"""In error rate, among the classes present, or on older inputs: then hardly anything speaks against the longest memory."""

BIASES = 0.5
"""Deviation of the initial biases: without them all features bend at one point, which few inputs do not make up for."""


class AnchoredAMMem(BlockLearner):
    """The recommended AM-mem as a `Learner`.

    Args: net: fully connected, or, with share 0, convolutional; without batch normalisation; else see `BlockLearner`.
    Source: eqs. 3–7, Algorithms 2.1–2.3; what differs is derived in docs/learning.md.
    """

    net: Architecture | ConvolutionalNet

    def __init__(
        self, net: Net, hyperparameters: AnchoredHyperparameters, *, scale: InputScale, seed: int, device: torch.device
    ) -> None:
        fits = isinstance(net, Architecture) or (isinstance(net, ConvolutionalNet) and hyperparameters.share == 0)
        if not fits or net.batch_norm:
            raise ArgumentError(
                "net", "fully connected (convolutional: share 0), without batch normalisation", net.name
            )
        if hyperparameters.top_loss == "multinomial" and not net.loss.classes:
            raise ArgumentError("top_loss", "'squared' for a net of values", hyperparameters.top_loss)
        biases = BIASES if isinstance(net, Architecture) else 0.0
        super().__init__(net, scale=scale, seed=seed, top_gain=0.0, device=device, biases=biases)
        assert isinstance(net, Architecture | ConvolutionalNet)
        self._sigmas = sigmas_of(net.layers[:-1])
        self._activations = net.layers[-1].fan_in
        few = net.inputs <= self._activations
        self.hyperparameters = hyperparameters = replace(
            hyperparameters, direct=few if hyperparameters.direct is None else hyperparameters.direct
        )
        self._direct = net.inputs if hyperparameters.direct else 0
        if isinstance(net, Architecture):
            self._layers = AnchoredLayers(replace(net, loss_name="squared"), self._sigmas, hyperparameters)
        if hyperparameters.solve_every > 1:
            self._unsolved = hyperparameters.solve_every - 1  # so that the first block is solved
        self._ensemble = Ensemble.unknown(
            views(hyperparameters.all_horizons, self._activations, self._direct, averaged=hyperparameters.share > 0),
            net.outputs,
            device,
            multinomial=hyperparameters.top_loss == "multinomial",
            low_rank=hyperparameters.solve_every > 1,
        )
        hidden = self.state.weights[:-1]
        top = torch.zeros(net.outputs, self._activations + self._direct + 1, device=device)
        self.state = replace(self.state, weights=(*hidden, top), slots=self._first_slots(hidden))

    def _first_slots(self, hidden: Weights) -> dict[str, Tensor]:
        hyper, net, device = self.hyperparameters, self.net, self.device
        slots = self._ensemble.tensors()
        if hyper.share > 0:
            slots["shift"] = torch.zeros(net.inputs, dtype=torch.float64, device=device)
            slots |= DensityRatio.unknown(net.inputs, device).tensors() | {
                "served": torch.zeros(len(self._ensemble.candidates), device=device)
            }
            for layer, W in enumerate(hidden, start=1):
                slots[f"averaged.{layer}"] = W.clone()
                slots[f"A.{layer}"] = torch.zeros(W.shape[1], W.shape[1], dtype=torch.float64, device=device)
                if hyper.solve_every > 1:
                    slots[f"P.{layer}"] = torch.zeros(W.shape[1], W.shape[1], device=device)
        if net.loss.classes:
            slots |= Presence.unknown(net.outputs, device).tensors()
            slots["temperature"] = torch.tensor(START, device=device)
        return slots

    # One step

    def _step(self, state: LearnerState, x: Tensor, y: Tensor, w: Tensor) -> LearnerState:
        hyper = self.hyperparameters
        moments = state.moments.updated(x.double(), w.double())
        scaling = self.scale.scaling(moments)
        slots, ensemble = dict(state.slots), self._ensemble.like(state.slots)
        targets = one_hot(y, self.net.outputs).float() if self.net.loss.classes else y
        renew = self._is_due(len(x), hyper.solve_every)
        hidden, averaged = state.weights[:-1], self._averaged(state)

        encoded = self._encoded(scaling(x), hidden, averaged)
        waits, ensemble = self._judged(state, slots, ensemble, encoded, y, targets, w)
        if hyper.share > 0:
            slots["shift"] = torch.where(state.moments.count == 0, scaling.fill, slots["shift"])
            top = ensemble.combined(ensemble.longest_live())
            share = torch.where(waits, 0.0, hyper.share * ensemble.trust())
            hidden = self._layers.learned(slots, encoded, hidden, top, targets, w, share, scaling, renew)
            averaged = self._new_averages(state, averaged, hidden, len(x))
            slots |= {f"averaged.{layer}": W for layer, W in enumerate(averaged, start=1)}
            encoded = self._encoded(encoded.inputs, hidden, averaged)
        ensemble = ensemble.updated(
            self._rows(encoded),
            targets,
            w,
            holds=waits | self._shifted(slots),
            samples=state.samples,
            ridge=hyper.top_ridge,
            renew=renew,
            classes=self.net.loss.classes,
        )
        shares = self._shares(ensemble, waits)
        if hyper.share > 0:
            slots["served"] = shares
        top = slots.get("temperature", 1.0) * ensemble.combined(shares)
        return LearnerState((*hidden, top), moments, state.samples + len(x), slots=slots | ensemble.tensors())

    def _judged(
        self,
        state: LearnerState,
        slots: dict[str, Tensor],
        ensemble: Ensemble,
        encoded: Encoded,
        y: Tensor,
        targets: Tensor,
        w: Tensor,
    ) -> tuple[Tensor, Ensemble]:
        """Whether to wait for absent classes, and what the block says about the memories, before it is learned."""
        tau, waits = self.hyperparameters.recent, torch.zeros((), dtype=torch.bool, device=w.device)
        scores = ensemble.scores(self._rows(encoded))
        served = weighted_sum(self._shares(ensemble, waits), scores)
        if not self.net.loss.classes:
            counts = torch.where(state.samples == 0, 0, w)  # the first predictions say nothing

            def distances(o: Tensor) -> Tensor:
                return (o - targets).square().sum(dim=-1)

            self._judge_ratio(slots, encoded.inputs, distances(torch.stack([served, scores[-1]])), counts)
            return waits, ensemble.judged(scores, distances, targets, counts, tau=tau)
        presence = Presence.from_tensors(slots)
        counts = torch.where((targets * presence.known()).sum(dim=1) > 0, w, 0)
        slots["temperature"] = updated_temperature(slots["temperature"], served, targets, counts, tau=tau / 5)
        presence = presence.updated(targets, w, tau=tau)
        slots |= presence.tensors()
        waits = self._waits(presence, state.samples + len(w))
        masked = waits & ~presence.present()

        def errors(o: Tensor) -> Tensor:
            return torch.where(masked, -torch.inf, o).argmax(dim=-1) != y

        self._judge_ratio(slots, encoded.inputs, errors(torch.stack([served, scores[-1]])), counts)
        return waits, ensemble.judged(scores, errors, targets, counts, tau=tau)

    def _judge_ratio(self, slots: dict[str, Tensor], inputs: Tensor, wrong: Tensor, counts: Tensor) -> None:
        if self.hyperparameters.share > 0:
            ratio = DensityRatio.from_tensors(slots)
            slots |= ratio.judged(append_one(inputs), wrong.T, counts, tau=self.hyperparameters.recent).tensors()

    def _shifted(self, slots: Mapping[str, Tensor]) -> Tensor:
        """Whether older inputs are left to the longest memory, if it knows any; it forgets nothing meanwhile."""
        if self.hyperparameters.share == 0 or self.hyperparameters.all_horizons[-1] <= self.hyperparameters.recent:
            return torch.zeros((), dtype=torch.bool, device=self.device)
        return DensityRatio.from_tensors(slots).tells(TOLERANCE_WHILE_ABSENT)

    def _waits(self, presence: Presence, samples: Tensor) -> Tensor:
        """Whether classes are absent for which the hidden layers wait, once enough samples were seen to tell."""
        grown = samples >= min(self.hyperparameters.recent, 20.0 * self.net.outputs)
        return presence.absent() & grown & self.hyperparameters.wait_for_absent

    def _shares(self, ensemble: Ensemble, waits: Tensor) -> Tensor:
        return ensemble.shares(torch.where(waits, TOLERANCE_WHILE_ABSENT, self.hyperparameters.tolerance))

    def _rows(self, encoded: Encoded) -> list[Tensor]:
        return [encoded.rows(view) for view in self._ensemble.candidates]

    def _new_averages(self, state: LearnerState, averaged: Weights, hidden: Weights, n: int) -> Weights:
        horizon = torch.clamp(self.hyperparameters.averaging * state.samples, min=n)
        share = torch.where(state.samples == 0, 1.0, 1 - torch.exp(-n / horizon))
        return tuple(old + share * (new - old) for old, new in zip(averaged, hidden, strict=True))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """As `BlockLearner`'s; a state from before there was a density ratio knows nothing about it."""
        newer = {name for name in self.state.slots if name == "served" or name.startswith("ratio.")}
        if newer and self.state_dict().keys() - state.keys() == newer:
            waits = torch.zeros((), dtype=torch.bool)
            if self.net.loss.classes:
                waits = self._waits(Presence.from_tensors(state), state["samples"])
            served = self._shares(self._ensemble.like(state), waits)
            state = {**state, **DensityRatio.unknown(self.net.inputs, self.device).tensors(), "served": served}
        super().load_state_dict(state)

    # Reading

    def predictor(self) -> Predictor:
        """Hidden layers as what is served knows them: averaged for the longest memory, else as they are.

        Waits for the device.
        """
        state = self.state
        hidden, top, slots = state.weights[:-1], state.weights[-1], state.slots
        past = None
        if self.hyperparameters.share > 0:
            averaged = self._averaged(state)
            if slots["served"][-1] == 1:
                hidden = averaged
            elif self._shifted(slots):
                ensemble = self._ensemble.like(slots)
                longest = slots.get("temperature", 1.0) * ensemble.combined(ensemble.longest())
                past = Past((*averaged, longest), DensityRatio.from_tensors(slots).g[0])
        scaling = self.scale.scaling(state.moments)
        return Predictor((*hidden, top), scaling, self.net, direct=bool(self._direct), past=past)

    def _averaged(self, state: LearnerState) -> Weights:
        if self.hyperparameters.share == 0:
            return state.weights[:-1]
        return tuple(state.slots[f"averaged.{layer}"] for layer in range(1, len(self.net.layers)))

    def _encoded(self, inputs: Tensor, hidden: Weights, averaged: Weights) -> Encoded:
        codes = encode_input(inputs, hidden, self.net.layers, self._sigmas)
        top = self._sigmas[-1](codes[-1]).flatten(1)
        smooth = top
        if self.hyperparameters.share > 0:
            smooth = self._sigmas[-1](encode_input(inputs, averaged, self.net.layers, self._sigmas)[-1])
        return Encoded(inputs, codes, top, smooth)
