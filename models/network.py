"""Nets as descriptions: fully connected, convolutional and recurrent ones; initial weights and the forward pass.

Weights are plain tuples W^1 … W^{L+1}; W^l is (n_l, fan-in + 1), its last column the bias (see `models.layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from models.activations import ACTIVATIONS, Activation
from models.errors import ArgumentError
from models.layers import Convolution, Dense, Layer, PerStep, Recurrent
from models.losses import LOSSES, Loss

PATCH = 5
"""Side of the patches of `patch_net`."""

Weights = tuple[Tensor, ...]
Sigma = Callable[[Tensor], Tensor]
"""σ_l: codes c^l → activations a^l."""


class Net(Protocol):
    """What a net is before it has learned.

    Attributes:
        inputs: number of features N.
        outputs: length m of the output.
        loss: of the outputs.
        layers: 1 … L + 1; the last one is the output layer, whose nonlinearity is part of the loss.
        batch_norm: whether codes are normalised before σ, see `models.normalisation`.
        name: short, of the sizes.
    """

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def loss(self) -> Loss: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def batch_norm(self) -> bool: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Architecture:
    """A fully connected net: 784-100-100-10 is `Architecture(784, (100, 100), 10)`.

    Args:
        inputs: number of features N.
        hidden: sizes m_1 … m_L of the hidden layers, at least one.
        outputs: number of classes m, or of values to predict.
        activation: name of σ for all hidden layers, or one name a layer.
        loss_name: `multinomial` (classes), `squared` (values) or `binary` (independent yes-or-no questions).
        batch_norm: normalise the codes of hidden layers before σ.
    Raises: ArgumentError.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    activation: str | tuple[str, ...] = "relu"
    loss_name: str = "multinomial"
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if not self.hidden:
            raise ArgumentError("hidden", "sizes of at least one layer", self.hidden)
        _check_sizes(("inputs", self.inputs), ("outputs", self.outputs), *(("hidden", size) for size in self.hidden))
        _check_name("loss_name", LOSSES, self.loss_name)
        for name in self._activation_names():
            _check_name("activation", ACTIVATIONS, name)
        if len(self._activation_names()) != len(self.hidden):
            raise ArgumentError("activation", f"one name, or {len(self.hidden)}: one a hidden layer", self.activation)

    def _activation_names(self) -> tuple[str, ...]:
        return (self.activation,) * len(self.hidden) if isinstance(self.activation, str) else self.activation

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_0 … n_{L+1}."""
        return (self.inputs, *self.hidden, self.outputs)

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def loss(self) -> Loss:
        return LOSSES[self.loss_name]

    @property
    def layers(self) -> tuple[Layer, ...]:
        sigmas = [ACTIVATIONS[name] for name in (*self._activation_names(), "identity")]
        return tuple(Dense(n_in, n_out, s) for (n_in, n_out), s in zip(pairwise(self.sizes), sigmas, strict=True))


@dataclass(frozen=True)
class Filters:
    """One convolutional layer of a `ConvolutionalNet`. Args: channels: it puts out; pool: side of its mean pooling."""

    channels: int
    kernel: int
    padding: int = 0
    pool: int = 1


@dataclass(frozen=True)
class ConvolutionalNet:
    """Convolutions, then fully connected layers. The defaults are LeNet-5 on 28 × 28 pixels.

    Args:
        image: channels, height, width of an input, which arrives as a flat row of their product.
        filters: the convolutions.
        hidden: sizes of the fully connected hidden layers above; none, where the filters are all there is.
        outputs: number of classes, or of values to predict.
        activation: name of σ for all hidden layers.
        loss_name: as of `Architecture`.
    Raises: ArgumentError.
    Source: LeCun et al. 1998, Figure 2; the paper's section 4 and appendix B.
    Differs from the paper: nothing known; it gives no sizes.
    """

    image: tuple[int, int, int] = (1, 28, 28)
    filters: tuple[Filters, ...] = (Filters(6, 5, padding=2, pool=2), Filters(16, 5, pool=2))
    hidden: tuple[int, ...] = (120, 84)
    outputs: int = 10
    activation: str = "relu"
    batch_norm: bool = False
    loss_name: str = "multinomial"

    def __post_init__(self) -> None:
        _check_name("loss_name", LOSSES, self.loss_name)
        _check_sizes(*(("image", side) for side in self.image), *(("hidden", size) for size in self.hidden))
        _check_sizes(("outputs", self.outputs))
        _check_name("activation", ACTIVATIONS, self.activation)
        for layer in self.layers[: len(self.filters)]:
            assert isinstance(layer, Convolution)
            height, width = layer.codes_size
            if min(height, width) < 1 or height % layer.pool or width % layer.pool:
                rule = f"such that every image side is a positive multiple of pool, not {height} x {width}"
                raise ArgumentError("filters", rule, self.filters)

    @property
    def inputs(self) -> int:
        channels, height, width = self.image
        return channels * height * width

    @property
    def name(self) -> str:
        return "-".join([*(f"{f.channels}c{f.kernel}" for f in self.filters), *map(str, (*self.hidden, self.outputs))])

    @property
    def loss(self) -> Loss:
        return LOSSES[self.loss_name]

    @property
    def layers(self) -> tuple[Layer, ...]:
        sigma = ACTIVATIONS[self.activation]
        channels, height, width = self.image
        layers: list[Layer] = []
        for f in self.filters:
            fan_in = channels * f.kernel**2
            layer = Convolution(fan_in, f.channels, sigma, (height, width), f.kernel, f.padding, f.pool)
            layers.append(layer)
            channels, height, width = f.channels, *(side // f.pool for side in layer.codes_size)
        sizes = (channels * height * width, *self.hidden, self.outputs)
        sigmas = [sigma] * len(self.hidden) + [ACTIVATIONS["identity"]]
        return (*layers, *(Dense(n_in, n_out, s) for (n_in, n_out), s in zip(pairwise(sizes), sigmas, strict=True)))


def patch_net(
    image: tuple[int, int, int], units: int, outputs: int, loss_name: str = "multinomial"
) -> ConvolutionalNet:
    """One layer of 5 × 5 patches, pooled over a 4 × 4 grid of the image, then the output layer: for the preset `never-forget`.

    Args:
        image: channels, height, width; height and width multiples of 4 from 8 on.
        units: activations, a multiple of 16: of units/16 filters.
    Raises: ArgumentError.
    Source: random filters under pooling, as in Jarrett et al. 2009 and Saxe et al. 2011.
    """
    _check_sizes(*(("image", side) for side in image), ("hidden", units), ("outputs", outputs))
    channels, height, width = image
    if height != width or height % 4 or height < 8:
        raise ArgumentError("image", "of equal sides that are multiples of 4, from 8 on", image)
    if units % 16:
        raise ArgumentError(
            "hidden", "a multiple of 16 where there is an image: of activations on its 4 x 4 grid", units
        )
    filters = Filters(units // 16, PATCH, pool=(height - PATCH + 1) // 4)
    return ConvolutionalNet((channels, height, width), (filters,), (), outputs, loss_name=loss_name)


@dataclass(frozen=True)
class ElmanNet:
    """The recurrent net of appendix C: Elman's tanh layer, z^t = V h^t at every step, and classes from ReLU(z).

    Two sets of codes break the gradient chains: c^t before σ at every step (eq. 17), and the output sequence z.

    Args:
        steps: length T of a sequence, which arrives as a flat row of steps·features numbers, step by step.
        units: d, hidden units.
        outputs: number of classes.
        features: length of one x^t.
        readouts: length of one z^t.
    Raises: ArgumentError.
    Source: appendix C, eqs. 14–17.
    Differs from the paper: biases on z and on the output.
    """

    steps: int
    units: int
    outputs: int
    features: int = 1
    readouts: int = 1

    def __post_init__(self) -> None:
        _check_sizes(*vars(self).items())

    @property
    def inputs(self) -> int:
        return self.steps * self.features

    @property
    def name(self) -> str:
        return f"elman-{self.steps}x{self.features}-{self.units}-{self.outputs}"

    @property
    def loss(self) -> Loss:
        return LOSSES["multinomial"]

    @property
    def batch_norm(self) -> bool:
        return False

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (
            Recurrent(self.features + self.units, self.units, ACTIVATIONS["tanh"], self.features),
            PerStep(self.units, self.readouts, ACTIVATIONS["relu"]),
            Dense(self.steps * self.readouts, self.outputs, ACTIVATIONS["identity"]),
        )


def _check_sizes(*sizes: tuple[str, int]) -> None:
    for name, size in sizes:
        if size < 1:
            raise ArgumentError(name, "at least 1", size)


def _check_name(argument: str, known: dict[str, Activation] | dict[str, Loss], name: str) -> None:
    if name not in known:
        raise ArgumentError(argument, f"one of {', '.join(known)}", name)


def initial_weights(
    layers: Sequence[Layer], *, seed: int, top_gain: float, device: torch.device, biases: float = 0.0
) -> Weights:
    """He's initialisation, N(0, 2 / fan-in), with the top layer times `top_gain`, and hidden biases of N(0, `biases`²).

    A recurrent layer's matrix has N(0, 1 / fan-in) instead, so that its past neither explodes nor dies at once. The
    numbers are drawn on the CPU, so that a seed means the same net on every device.
    Source: He et al. 2015, eq. 10; the small top layer is ours (the paper leaves W_0 open).
    """
    if device.type == "meta":  # shapes alone, however large
        return tuple(torch.empty(layer.units, layer.fan_in + 1, device=device) for layer in layers)
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for layer in layers:
        variance = (1 if isinstance(layer, Recurrent) else 2) / layer.fan_in
        matrix = torch.randn(layer.units, layer.fan_in, generator=generator) * variance**0.5
        bias = torch.zeros(layer.units, 1)
        if biases > 0 and layer is not layers[-1]:
            bias = biases * torch.randn(layer.units, 1, generator=generator)
        weights.append(torch.cat([matrix, bias], dim=1))
    weights[-1] *= top_gain
    return tuple(w.to(device) for w in weights)


def sigmas_of(layers: Sequence[Layer]) -> list[Sigma]:
    """σ_1 … σ_l, without batch normalisation."""
    return [layer.activate for layer in layers]


def encode_input(
    inputs: Tensor, weights: Sequence[Tensor], layers: Sequence[Layer], sigmas: Sequence[Sigma]
) -> list[Tensor]:
    """Algorithm 2.2, encodeInput: c^l = W^l σ_{l−1}(c^{l−1}) for the hidden layers, σ_0 the identity.

    Args:
        inputs: x, scaled, (n, N).
        weights: W^1 … W^L, or all of W^1 … W^{L+1} to get the output layer's linear output as the last code.
        layers: of at least as many layers.
        sigmas: σ_1, …, those between the layers.
    Returns: one (n, …) tensor a layer of `weights`.
    Differs from the paper: biases.
    """
    codes: list[Tensor] = []
    activations = inputs
    for depth, (layer, W) in enumerate(zip(layers, weights, strict=False)):
        if codes:
            activations = sigmas[depth - 1](codes[-1])
        codes.append(layer.encode(W, activations))
    return codes
