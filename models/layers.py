"""The layers that nets are made of: one linear map c = W·a each, and the nonlinearity σ above it.

Whatever a layer looks like, its map is a product with *rows*: vectors of activations with an appended 1, one per
sample, per position of a convolution or per time step. So W is always a matrix (units, fan_in + 1) whose last column is
the bias, and what AM does with rows and codes (memories, solves, local steps) is the same for every layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.activations import Activation

POWER_ITERATIONS = 16


def append_one(activations: Tensor) -> Tensor:
    """(n, k) → (n, k + 1): the constant 1 that meets the bias column."""
    return torch.cat([activations, activations.new_ones(activations.shape[0], 1)], dim=1)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer. Codes are (n, units); activations below, of any shape, are flattened.

    Args: fan_in: activations below, the bias not counted; units: codes.
    """

    fan_in: int
    units: int
    activation: Activation

    def rows(self, below: Tensor, codes: Tensor | None = None) -> Tensor:
        """What W is multiplied with, (N, fan_in + 1).

        Args: below: a^{l−1}, (n, …); codes: c^l, on which only the rows of a recurrent layer depend.
        """
        return append_one(below.flatten(1))

    def per_row(self, codes: Tensor) -> Tensor:
        """c^l, (n, …) → (N, units), in the order of `rows`."""
        return codes

    def encode(self, W: Tensor, below: Tensor) -> Tensor:
        """W·a^{l−1}: (n, …)."""
        return append_one(below.flatten(1)) @ W.T

    def anchor(self, W: Tensor, below: Tensor, codes: Tensor, forward: Tensor) -> Tensor:
        """W·a^{l−1} as a function of c^l, given that `encode` answered `forward`; constant but in a recurrent layer."""
        return forward

    def activate(self, codes: Tensor) -> Tensor:
        """a^l = σ(c^l)."""
        return self.activation(codes)

    def per_unit(self, values: Tensor) -> Tensor:
        """(units,), shaped to meet codes."""
        return values

    def stretch(self, W: Tensor) -> Tensor:
        """By how much the map a ↦ W·a lengthens vectors at most, squared, 0-dim."""
        return squared_spectral_norm(W[:, :-1])

    def self_stretch(self, W: Tensor) -> Tensor | float:
        """The same of c ↦ c − anchor(c)."""
        return 1.0


@dataclass(frozen=True)
class PerStep(Dense):
    """The same small map at every time step: activations (n, T, fan_in), codes (n, T, units)."""

    def rows(self, below: Tensor, codes: Tensor | None = None) -> Tensor:
        return append_one(below.flatten(0, 1))

    def per_row(self, codes: Tensor) -> Tensor:
        return codes.flatten(0, 1)

    def encode(self, W: Tensor, below: Tensor) -> Tensor:
        return (append_one(below.flatten(0, 1)) @ W.T).view(*below.shape[:2], self.units)


@dataclass(frozen=True)
class Recurrent(Dense):
    """Elman's layer: c^t = U x^t + W h^{t−1} + b, h^t = σ(c^t), h^0 = 0, with [U W b] as its one matrix.

    Activations below are the sequence x, (n, T·features); codes are (n, T, units). Source: eqs. 14 and 17.
    """

    features: int = 1

    def _sequence(self, below: Tensor) -> Tensor:
        return below.reshape(len(below), -1, self.features)  # (n, T, features)

    def _past(self, codes: Tensor) -> Tensor:
        """h^{t−1}, (n, T, units)."""
        return functional.pad(self.activation(codes[:, :-1]), (0, 0, 1, 0))

    def rows(self, below: Tensor, codes: Tensor | None = None) -> Tensor:
        assert codes is not None
        return append_one(torch.cat([self._sequence(below), self._past(codes)], dim=2).flatten(0, 1))

    def per_row(self, codes: Tensor) -> Tensor:
        return codes.flatten(0, 1)

    def encode(self, W: Tensor, below: Tensor) -> Tensor:
        codes: list[Tensor] = []
        for driven in self._driven(W, below).unbind(dim=1):
            codes.append(driven + self.activation(codes[-1]) @ self._recurrent(W).T if codes else driven)
        return torch.stack(codes, dim=1)

    def anchor(self, W: Tensor, below: Tensor, codes: Tensor, forward: Tensor) -> Tensor:
        return self._driven(W, below) + self._past(codes) @ self._recurrent(W).T

    def _driven(self, W: Tensor, below: Tensor) -> Tensor:
        """U x^t + b, (n, T, units)."""
        return self._sequence(below) @ W[:, : self.features].T + W[:, -1]

    def _recurrent(self, W: Tensor) -> Tensor:
        return W[:, self.features : -1]

    def self_stretch(self, W: Tensor) -> Tensor | float:
        recurrent = self._recurrent(W)
        return torch.square(1 + self.activation.slope * squared_spectral_norm(recurrent).sqrt())


@dataclass(frozen=True)
class Convolution(Dense):
    """A convolution of stride 1 over unfolded patches, and mean pooling above its nonlinearity.

    Activations below are (n, channels, height, width) or flat; codes are (n, units, height′, width′).

    Args: fan_in: channels·kernel²; units: output channels; size: height and width below; pool: side of the pooled squares.
    Source: LeCun et al. 1998 (there with trained factors in the pooling); Chellapilla et al. 2006 for the patches.
    """

    size: tuple[int, int] = (1, 1)
    kernel: int = 1
    padding: int = 0
    pool: int = 1

    @property
    def channels(self) -> int:
        return self.fan_in // self.kernel**2

    @property
    def codes_size(self) -> tuple[int, int]:
        height, width = (side + 2 * self.padding - self.kernel + 1 for side in self.size)
        return height, width

    def _image(self, below: Tensor) -> Tensor:
        return below.reshape(-1, self.channels, *self.size)

    def rows(self, below: Tensor, codes: Tensor | None = None) -> Tensor:
        patches = functional.unfold(self._image(below), self.kernel, padding=self.padding)  # (n, fan_in, positions)
        return append_one(patches.transpose(1, 2).flatten(0, 1))

    def per_row(self, codes: Tensor) -> Tensor:
        return codes.flatten(2).transpose(1, 2).flatten(0, 1)

    def encode(self, W: Tensor, below: Tensor) -> Tensor:
        return functional.conv2d(self._image(below), self._filters(W), W[:, -1], padding=self.padding)

    def activate(self, codes: Tensor) -> Tensor:
        activations = self.activation(codes)
        if self.pool == 1:
            return activations
        pooled: Tensor = functional.avg_pool2d(activations, self.pool)
        return pooled

    def per_unit(self, values: Tensor) -> Tensor:
        return values[:, None, None]

    def stretch(self, W: Tensor) -> Tensor:
        """By power iteration with the convolution itself; from below, like `squared_spectral_norm`."""
        filters = self._filters(W)
        image = torch.arange(1, self.channels * self.size[0] * self.size[1] + 1, dtype=W.dtype, device=W.device)
        image = self._image(image.sin().unsqueeze(0))
        norm: Tensor = torch.linalg.vector_norm(image)
        for _ in range(POWER_ITERATIONS):
            codes = functional.conv2d(image / norm.clamp_min(torch.finfo(W.dtype).tiny), filters, padding=self.padding)
            image = functional.conv_transpose2d(codes, filters, padding=self.padding)
            norm = torch.linalg.vector_norm(image)
        return norm

    def _filters(self, W: Tensor) -> Tensor:
        return W[:, :-1].reshape(self.units, self.channels, self.kernel, self.kernel)


Layer = Dense | PerStep | Recurrent | Convolution


def squared_spectral_norm(matrix: Tensor) -> Tensor:
    """‖M‖₂² from below, by power iteration: no synchronisation with the device, no SVD, deterministic.

    It starts at the longest row of the smaller Gram matrix and, because that can be orthogonal to the vector sought, at
    one in general position too. An estimate that is too small lengthens a step of 1/Lipschitz, and the heavy ball is
    stable up to steps of 2(1 + momentum)/Lipschitz.
    """
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    tiny = torch.finfo(gram.dtype).tiny
    longest = gram[gram.diagonal().argmax().unsqueeze(0)].squeeze(0)
    general = gram @ torch.arange(1, gram.shape[0] + 1, dtype=gram.dtype, device=gram.device).sin()
    vectors = torch.stack([longest, general], dim=1)
    for _ in range(POWER_ITERATIONS):
        vectors = gram @ (vectors / torch.linalg.vector_norm(vectors, dim=0).clamp_min(tiny))
    return torch.amax(torch.linalg.vector_norm(vectors, dim=0))
