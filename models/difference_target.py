"""Difference target propagation, the baseline of the paper's binary nets.

Every hidden layer gets a target: the highest by a step down the loss's gradient, each one below through a learned
inverse of the layer above it. Then every layer takes a step on its own squared distance from its target. No derivative
passes from layer to layer, so layers may talk to each other in signs.

Source: Lee, Zhang, Fischer & Bengio 2015, arXiv 1412.7525, Algorithm 1 and section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.backprop import empty_slots
from models.block_learner import BlockLearner
from models.errors import ArgumentError
from models.layers import Dense, append_one
from models.learner_state import LearnerState
from models.losses import Loss
from models.network import Architecture, Net, Weights, initial_weights
from models.noise import first_key, gaussian, next_key
from models.optimisers import Adam
from models.scaling import InputScale


@dataclass(frozen=True)
class DifferenceTargetHyperparameters:
    """Hyper-parameters of difference target propagation.

    Args:
        lr: step size of the forward weights W, > 0.
        inverse_lr: step size of the inverses' weights V, > 0.
        target_step: η̂, by how much the highest hidden layer's target follows the gradient of a sample's loss, > 0.
        noise: deviation of what is added to a layer's values while its inverse learns, ≥ 0.
        discrete_feedback: whether the inverse across a link of signs sees signs as well.
    Raises: ArgumentError.
    """

    lr: float = 1e-3
    inverse_lr: float = 1e-3
    target_step: float = 1.0
    noise: float = 0.1
    discrete_feedback: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "inverse_lr", "target_step"):
            if not 0 < getattr(self, name) < math.inf:
                raise ArgumentError(name, "positive", getattr(self, name))
        if not 0 <= self.noise < math.inf:
            raise ArgumentError("noise", "at least 0", self.noise)


@dataclass(frozen=True)
class Hidden:
    """Hidden layer l as target propagation sees it: a value h_l, and a signal that the layer above receives.

    They are one, a^l = σ(c^l), unless σ is the sign: then h = tanh(c), and sign(h) = sign(c) is sent. Sizes and σ are
    those of `layer`.

    Args:
        layer: of the net.
        discrete_feedback: whether an inverse that ends in this layer sees signs, if this layer sends them.
    """

    layer: Dense
    discrete_feedback: bool = False

    @property
    def discrete(self) -> bool:
        return self.layer.activation.name == "sign"

    def value(self, codes: Tensor) -> Tensor:
        """h_l of c^l, any shape."""
        return codes.tanh() if self.discrete else self.layer.activate(codes)

    def signal(self, values: Tensor) -> Tensor:
        """What the layer above sees of h_l."""
        return self.layer.activate(values) if self.discrete else values

    def forward(self, W: Tensor, signal: Tensor) -> Tensor:
        """f_l: signal of the layer below (n, fan_in) → h_l (n, units)."""
        return self.value(self.layer.encode(W, signal))

    def inverse(self, V: Tensor, above: Tensor) -> Tensor:
        """g_{l+1}: h_{l+1} (n, k) → what h_l may have been, (n, units). V is (units, k + 1), its last column the bias."""
        if self.discrete and self.discrete_feedback:
            above = torch.where(above < 0, -1.0, 1.0).to(above.dtype)
        return self.value(append_one(above) @ V.T)


def values_of(inputs: Tensor, weights: Sequence[Tensor], hidden: Sequence[Hidden]) -> list[Tensor]:
    """h_1 … h_L of scaled inputs (n, N): (n, n_l) each."""
    values: list[Tensor] = []
    signal = inputs
    for layer, W in zip(hidden, weights, strict=False):
        values.append(layer.forward(W, signal))
        signal = layer.signal(values[-1])
    return values


def top_gradients(signal: Tensor, W: Tensor, loss: Loss, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Of the loss in a^L, per sample and unweighted, (n, n_L); and of its weighted block mean in W, W's shape.

    Args: signal: a^L, (n, n_L); W: W^{L+1}; targets: (n,) classes or (n, m) values; weight: (n,).
    """
    with torch.enable_grad():
        signal, W = signal.detach().requires_grad_(), W.detach().requires_grad_()
        losses = loss(append_one(signal) @ W.T, targets)
        (of_signal,) = torch.autograd.grad(losses.sum(), signal, retain_graph=True)
        (of_weights,) = torch.autograd.grad((losses * weight).mean(), W)
    return of_signal, of_weights


def targets_of(
    values: Sequence[Tensor], top: Tensor, inverses: Sequence[Tensor], hidden: Sequence[Hidden]
) -> list[Tensor]:
    """ĥ_1 … ĥ_L with ĥ_{l−1} = h_{l−1} + g_l(ĥ_l) − g_l(h_l).

    Where g_l inverts f_l exactly, h_{l−1} and g_l(h_l) cancel and ĥ_{l−1} = g_l(ĥ_l); where it does not, a target that
    asks for nothing (ĥ_l = h_l) still asks for nothing below.

    Args: values: h_1 … h_L, (n, n_l); top: ĥ_L; inverses: V^2 … V^L; hidden: 1 … L.
    Source: Lee et al. 2015, eq. 15.
    """
    targets = [top]
    for below in range(len(values) - 2, -1, -1):
        layer, V = hidden[below], inverses[below]
        difference = layer.inverse(V, targets[0]) - layer.inverse(V, values[below + 1])
        targets.insert(0, values[below] + difference)
    return targets


def forward_gradient(W: Tensor, layer: Hidden, signal: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """∂/∂W of Σ w‖f_l(h_{l−1}) − ĥ_l‖² / n, W's shape.

    Args: signal: of the layer below, (n, fan_in); target: ĥ_l, (n, units), a constant; weight: (n,).
    """
    with torch.enable_grad():
        W = W.detach().requires_grad_()
        return _gradient(layer.forward(W, signal), target, weight, W)


def inverse_gradient(V: Tensor, W: Tensor, below: Hidden, above: Hidden, noisy: Tensor, weight: Tensor) -> Tensor:
    """∂/∂V of Σ w‖g_l(f_l(h + ε)) − (h + ε)‖² / n, V's shape; f_l is a constant.

    Args: V: of g_l; W: of f_l; below, above: layers l − 1 and l; noisy: h_{l−1} + ε, (n, n_{l−1}); weight: (n,).
    """
    encoded = above.forward(W, below.signal(noisy))
    with torch.enable_grad():
        V = V.detach().requires_grad_()
        return _gradient(below.inverse(V, encoded), noisy, weight, V)


def _gradient(reached: Tensor, wanted: Tensor, weight: Tensor, of: Tensor) -> Tensor:
    loss = ((reached - wanted).square().sum(dim=1) * weight).mean()
    (gradient,) = torch.autograd.grad(loss, of)
    return gradient


class DifferenceTarget(BlockLearner):
    """Difference target propagation, one step a block, as a `Learner`. Args: see `BlockLearner`.

    Targets come from the weights before the block; then inverses and layers step, each on its own loss's block mean.

    Source: Lee et al. 2015, Algorithm 1; section 3.2 for layers that send signs.
    Differs from it: biases, sample weights, Adam in the place of RMSprop, initial weights by `initial_weights`; η̂ is on
        the gradient of a sample's loss, whatever the block's size; a discrete highest hidden layer (it has none) passes
        the loss's gradient straight through; the inverse across a link of signs sees values unless `discrete_feedback`.
    Raises: ArgumentError for a net that is not fully connected, or normalises its codes.
    """

    optimiser = Adam()

    def __init__(
        self,
        net: Net,
        hyperparameters: DifferenceTargetHyperparameters,
        *,
        scale: InputScale,
        seed: int,
        device: torch.device,
    ) -> None:
        if not isinstance(net, Architecture) or net.batch_norm:
            raise ArgumentError("net", "fully connected, without batch normalisation", net)
        super().__init__(net, scale=scale, seed=seed, top_gain=1.0, device=device)
        self.hyperparameters = hyperparameters
        self.hidden = [Hidden(layer, hyperparameters.discrete_feedback) for layer in net.layers[:-1]]
        inverses = _initial_inverses(net, seed=seed, device=device)
        slots = empty_slots(self.optimiser, self.state.weights) | {"noise": first_key(seed, device)}
        for depth, V in enumerate(inverses, start=2):
            slots |= {f"V.{depth}": V} | {f"V.{name}.{depth}": torch.zeros_like(V) for name in self.optimiser.slots}
        self.state = replace(self.state, slots=slots)

    def _step(self, state: LearnerState, x: Tensor, y: Tensor, w: Tensor) -> LearnerState:
        hyper, hidden, weights = self.hyperparameters, self.hidden, state.weights
        moments = state.moments.updated(x.double(), w.double())
        scaled = self.scale.scaling(moments)(x)
        inverses = [state.slots[f"V.{depth}"] for depth in range(2, len(hidden) + 1)]

        values = values_of(scaled, weights, hidden)
        signals = [scaled, *(layer.signal(h) for layer, h in zip(hidden, values, strict=True))]
        of_signal, of_top = top_gradients(signals[-1], weights[-1], self.net.loss, y, w)
        targets = targets_of(values, values[-1] - hyper.target_step * of_signal, inverses, hidden)

        slots = {"steps": state.slots["steps"] + 1, "noise": next_key(state.slots["noise"])}
        for depth, V in enumerate(inverses, start=2):
            h = values[depth - 2]
            noisy = h + hyper.noise * gaussian(slots["noise"], tuple(h.shape), stream=depth)
            gradient = inverse_gradient(V, weights[depth - 1], hidden[depth - 2], hidden[depth - 1], noisy, w)
            V, own = self._stepped(V, gradient, state, slots["steps"], f"V.{{}}.{depth}", hyper.inverse_lr)
            slots |= {f"V.{depth}": V} | own

        gradients = [
            forward_gradient(W, layer, signal, target, w)
            for W, layer, signal, target in zip(weights, hidden, signals, targets, strict=False)
        ]
        new = []
        for depth, (W, gradient) in enumerate(zip(weights, [*gradients, of_top], strict=True), start=1):
            W, own = self._stepped(W, gradient, state, slots["steps"], f"{{}}.{depth}", hyper.lr)
            new.append(W)
            slots |= own
        return LearnerState(tuple(new), moments, state.samples + len(x), slots=slots)

    def _stepped(
        self, W: Tensor, gradient: Tensor, state: LearnerState, steps: Tensor, key: str, lr: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """W and its own slots after a step of the optimiser; `key` makes a slot's name in the state of its short one."""
        own = {name: state.slots[key.format(name)] for name in self.optimiser.slots}
        W, own_new = self.optimiser.step(W, gradient, own, steps=steps, lr=lr)
        return W, {key.format(name): tensor for name, tensor in own_new.items()}


def _initial_inverses(net: Architecture, *, seed: int, device: torch.device) -> Weights:
    """V^2 … V^L, (n_{l−1}, n_l + 1)."""
    backward = [Dense(layer.units, layer.fan_in, layer.activation) for layer in net.layers[1:-1]]
    return initial_weights(backward, seed=(seed + 1) % 2**32, top_gain=1.0, device=device) if backward else ()
