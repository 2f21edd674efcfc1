"""What all learners do alike around one step: check the block, discard a poisoned update, hand out versions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.blocks import checked_block, checked_state, unless_poisoned
from models.learner_state import LearnerState
from models.network import Net, initial_weights
from models.normalisation import folded, initial_norms
from models.predictor import Predictor
from models.scaling import InputScale, no_moments


class BlockLearner:
    """Base of the learners of this package; see `models.learner.Learner` for what they promise.

    Args:
        net: to be learned.
        scale: how inputs are scaled.
        seed: of the initial weights, and of what a rule draws while it learns: that lies in its state.
        top_gain: factor on the top layer's initial weights.
        biases: deviation of the hidden layers' initial biases.
        device: where state and work live.
    """

    state: LearnerState

    def __init__(
        self,
        net: Net,
        *,
        scale: InputScale,
        seed: int,
        top_gain: float,
        device: torch.device,
        biases: float = 0.0,
    ) -> None:
        self.net = net
        self.scale = scale
        self.device = device
        self.state = LearnerState(
            weights=initial_weights(net.layers, seed=seed, top_gain=top_gain, device=device, biases=biases),
            moments=no_moments(net.inputs, device),
            samples=torch.zeros((), dtype=torch.int64, device=device),
            norms=initial_norms(net, device),
        )
        scale.scaling(self.state.moments)  # raises for a scale of another width
        self._unsolved: int | None = None
        """Samples since the last full solve, where a rule has such a schedule: counted by the host, for asking the device
        would mean waiting. A block that is discarded counts too."""

    @torch.no_grad()
    def learn(self, inputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """One step on one block; see `Learner.learn`."""
        x, y, w = checked_block(inputs, targets, weight, self.net, self.device)
        new = self._step(self.state, x, y, w)
        tensors, finite = unless_poisoned(new.tensors(), self.state.tensors())
        self.state = new.like(tensors)
        return finite

    def _step(self, state: LearnerState, x: Tensor, y: Tensor, w: Tensor) -> LearnerState:
        raise NotImplementedError

    def _is_due(self, n: int, solve_every: int) -> bool:
        """Whether a block of n samples brings a full solve."""
        if self._unsolved is None:
            return True
        self._unsolved += n
        due = self._unsolved >= solve_every
        if due:
            self._unsolved = 0
        return due

    def end_epoch(self) -> None:
        """See `Learner.end_epoch`; most learners have no such schedule."""

    def predictor(self) -> Predictor:
        state = self.state  # one version, whatever another thread learns meanwhile
        return Predictor(folded(state.weights, state.norms), self.scale.scaling(state.moments), self.net)

    def predict(self, inputs: Tensor) -> Tensor:
        return self.predictor()(inputs)

    def state_dict(self) -> dict[str, Tensor]:
        counted = {} if self._unsolved is None else {"unsolved": torch.tensor(self._unsolved)}
        return self.state.tensors() | counted

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        checked = checked_state(state, self.state_dict())
        self.state = self.state.like(checked)
        if self._unsolved is not None:
            self._unsolved = int(state["unsolved"])
