"""From what users of an estimator write down to a learner, with errors that name the parameter and the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral
from typing import Any

from models.am_mem import AMMemHyperparameters
from models.device import choose_device
from models.errors import ArgumentError
from models.learner import LEARNERS, Learner, create_learner
from models.losses import LOSSES
from models.network import Architecture
from models.scaling import InputScale, NoScale, PooledScale, RunningScale

SCALES: dict[str, InputScale] = {"running": RunningScale(), "pooled": PooledScale(), "none": NoScale()}


def new_learner(
    *,
    inputs: int,
    outputs: int,
    loss_name: str,
    hidden: Any,
    activation: Any,
    learner: Any,
    hyperparameters: Any,
    scale: Any,
    seed: int,
    device: Any,
) -> Learner:
    """A learner of a fully connected net; the parameters are an estimator's, unchecked.

    With the loss `squared`, η of AM-mem is 1/(2 · curvature · (units below + 1)) unless given: the top layer's Hessian
    is at most curvature · ‖a‖², which grows with the units, while the multinomial loss saturates.
    Raises: ArgumentError, ValueError.
    """
    if isinstance(hidden, str) or not isinstance(hidden, tuple | list) or not all(is_integer(n) for n in hidden):
        raise ArgumentError("hidden", "a tuple of layer sizes", hidden)
    if not isinstance(learner, str) or learner not in LEARNERS:
        raise ArgumentError("learner", f"one of {', '.join(LEARNERS)}", learner)
    activations = tuple(activation) if isinstance(activation, list) else activation
    net = Architecture(inputs, tuple(int(n) for n in hidden), outputs, activations, loss_name)
    kind = LEARNERS[learner][0]
    known = {field.name for field in fields(kind)}
    given = {} if hyperparameters is None else hyperparameters
    if not isinstance(given, Mapping) or not given.keys() <= known:
        raise ArgumentError("hyperparameters", f"None, or a dict with keys among {', '.join(sorted(known))}", given)
    if loss_name == "squared" and issubclass(kind, AMMemHyperparameters):
        given = {"eta": 1 / (2 * LOSSES[loss_name].curvature * (net.hidden[-1] + 1))} | dict(given)
    return create_learner(
        learner, net, hyperparameters=given, scale=chosen_scale(scale), seed=seed, device=choose_device(device)
    )


def chosen_scale(scale: Any) -> InputScale:
    if isinstance(scale, InputScale):
        return scale
    if not isinstance(scale, str) or scale not in SCALES:
        raise ArgumentError("scale", f"one of {', '.join(SCALES)}, or a scale of models", scale)
    return SCALES[scale]


def is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked_count(name: str, value: Any) -> int:
    """A positive integer. Raises: ArgumentError."""
    if not is_integer(value) or value < 1:
        raise ArgumentError(name, "a positive integer", value)
    return int(value)
