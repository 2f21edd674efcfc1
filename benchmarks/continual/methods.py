"""The rivals by name, each with its grid: every method is tuned over as many points as the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.continual.ewc import EWC
from benchmarks.continual.features import FrozenFeatures
from benchmarks.continual.random_ridge import RandomRidge
from benchmarks.continual.replay import Replay
from benchmarks.continual.slda import SLDA
from benchmarks.continual.state_size import state_floats
from benchmarks.prequential import Learns
from benchmarks.scenario import Variant
from models import Architecture, ConvolutionalNet, Learner, PooledScale, create_learner, patch_net
from models.network import PATCH

UNTUNED: Mapping[str, Variant] = {"am-mem": {}, "never-forget": {}}
"""AM-mem's default and its preset, with what they are measured at; none of it is tuned."""
PATCHES: Variant = {"patches": PATCH}
"""Of never-forget where inputs are images, and one hidden layer is asked for: so many activations of pooled patches."""
JOINT = "joint"
"""The upper bound: Adam on all tasks at once, in random order, several epochs."""
JOINT_EPOCHS = 5
EQUAL = "replay-equal"
"""Replay with as many samples as make its state that of am-mem on the same net."""
CAPACITIES = {"replay-200": 200, "replay-1000": 1000}


class Keeps(Learns, Protocol):
    """A learner that can say what it keeps from one block to the next."""

    def state_dict(self) -> Mapping[str, Tensor]: ...


def _grid(**values: Sequence[float]) -> list[Variant]:
    return [dict(zip(values, point, strict=True)) for point in product(*values.values())]


_REPLAY = _grid(lr=(0.1, 0.2), steps=(1, 2))
GRIDS: Mapping[str, list[Variant]] = {
    "sgd": _grid(lr=(0.01, 0.03, 0.1, 0.3)),
    "adam": _grid(lr=(2e-4, 5e-4, 2e-3, 5e-3)),
    "ewc": _grid(lr=(0.03, 0.1), strength=(10.0, 100.0)),
    **dict.fromkeys((*CAPACITIES, EQUAL), _REPLAY),
    "slda": _grid(shrinkage=(1e-3, 1e-2, 1e-1, 3e-1)),
    "slda-random": _grid(shrinkage=(1e-5, 1e-4, 1e-3, 1e-2)),
    "random-ridge": _grid(ridge=(1e-6, 1e-5, 1e-4, 1e-3)),
    JOINT: _grid(lr=(5e-4, 2e-3, 5e-3, 1e-2)),
}
"""Method → its points, four each."""


def grid() -> Iterator[tuple[str, Variant]]:
    for method, points in GRIDS.items():
        for variant in points:
            yield method, variant


def create(net: Architecture, method: str, variant: Variant, seed: int) -> Keeps:
    """Raises: KeyError for a name that is neither a learner's nor here."""
    number = {name: float(value) for name, value in variant.items()}
    if method == "ewc":
        return EWC(net, lr=number["lr"], strength=number["strength"], seed=seed)
    if method in CAPACITIES or method == EQUAL:
        capacity = CAPACITIES[method] if method in CAPACITIES else equal_capacity(net)
        sgd = _learner(net, "sgd", {"lr": number["lr"]}, seed)
        return Replay(sgd, capacity=capacity, steps=int(number["steps"]), inputs=net.inputs, seed=seed)
    if method == "slda":
        return SLDA(FrozenFeatures(None, seed), net.outputs, number["shrinkage"])
    if method == "slda-random":
        return SLDA(FrozenFeatures(net, seed), net.outputs, number["shrinkage"])
    if method == "random-ridge":
        return RandomRidge(FrozenFeatures(net, seed), net.outputs, number["ridge"])
    if "patches" in variant:
        side = math.isqrt(net.inputs)
        patches = patch_net((1, side, side), net.hidden[0] // 16 * 16, net.outputs)
        return _learner(patches, method, {}, seed)
    return _learner(net, "adam" if method == JOINT else method, variant, seed)


def equal_capacity(net: Architecture) -> int:
    """Samples whose numbers, with a plain net's, make the state of am-mem; at least one."""
    spare = state_floats(_learner(net, "am-mem", UNTUNED["am-mem"], 0).state_dict())
    spare -= state_floats(_learner(net, "sgd", {}, 0).state_dict())
    return max(1, spare // (net.inputs + 1))


def _learner(net: Architecture | ConvolutionalNet, name: str, hyperparameters: Variant, seed: int) -> Learner:
    device = torch.device("cpu")
    return create_learner(name, net, hyperparameters=hyperparameters, scale=PooledScale(), seed=seed, device=device)
