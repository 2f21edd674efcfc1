"""What everything that learns block by block looks like from outside, and how to make one by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from models.am_local import AMAdam, AMLocalHyperparameters, AMSgd
from models.am_mem import AMMem, AMMemHyperparameters
from models.anchored import AnchoredAMMem
from models.anchored_hyperparameters import AnchoredHyperparameters, NeverForgetHyperparameters
from models.backprop import AdamBackprop, BackpropHyperparameters, SgdBackprop
from models.difference_target import DifferenceTarget, DifferenceTargetHyperparameters
from models.network import Net
from models.predictor import Predictor
from models.scaling import InputScale


class Learner(Protocol):
    """A net that learns from blocks of labelled samples, each seen once and in order.

    `learn` replaces tensors and never writes into them, so what `predictor` returned stays one consistent version.

    Attributes:
        hyperparameters: a frozen dataclass, with everything decided that depends on the net.
    """

    @property
    def hyperparameters(self) -> Any: ...

    def learn(self, inputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """One step on one block.

        Args:
            inputs: x as posted, (n, N), any float dtype, NaN for a missing value; n ≥ 1.
            targets: class indices, (n,) int64; for a loss of values, these, (n, m) of any float dtype.
            weight: (n,), non-negative; all 1 when omitted. It multiplies the sample's loss and its terms of moments and
                memories; block means stay means over n, and time counts samples, whatever they weigh.
        Returns: a 0-dim bool tensor on the learner's device: False when the update was discarded whole, because it
            would have left a number that is not finite, or because a target is no class or a weight negative.
        Raises: ValueError naming the argument for wrong shapes or dtypes.
        """
        ...

    def end_epoch(self) -> None:
        """Tells the schedules that count epochs that one is over. Streams have none: `models.fit` calls it."""
        ...

    def predictor(self) -> Predictor:
        """The current version, immutable."""
        ...

    def predict(self, inputs: Tensor) -> Tensor:
        """Class probabilities (or values) (n, m) float32 of x (n, N); changes nothing. Raises: ValueError for another shape."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that later learning depends on, by name. The tensors are never written to."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises: ValueError naming the tensor that is missing, superfluous or of the wrong shape or dtype."""
        ...


LEARNERS: dict[str, tuple[type, Callable[..., Learner]]] = {
    "am-mem": (AnchoredHyperparameters, AnchoredAMMem),
    "never-forget": (NeverForgetHyperparameters, AnchoredAMMem),
    "am-mem-paper": (AMMemHyperparameters, AMMem),
    "am-adam": (AMLocalHyperparameters, AMAdam),
    "am-sgd": (AMLocalHyperparameters, AMSgd),
    "adam": (BackpropHyperparameters, AdamBackprop),
    "sgd": (BackpropHyperparameters, SgdBackprop),
    "dtp": (DifferenceTargetHyperparameters, DifferenceTarget),
}
"""Name → (hyper-parameter type, learner type)."""


def create_learner(
    name: str,
    net: Net,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    scale: InputScale,
    seed: int,
    device: torch.device,
) -> Learner:
    """A learner with its initial weights.

    Raises: ValueError for an unknown name or a hyper-parameter out of range, TypeError for an unknown hyper-parameter.
    """
    if name not in LEARNERS:
        raise ValueError(f"learner must be one of {', '.join(LEARNERS)}, not {name!r}")
    hyperparameter_type, learner_type = LEARNERS[name]
    chosen = hyperparameter_type(**(hyperparameters or {}))
    return learner_type(net, chosen, scale=scale, seed=seed, device=device)
