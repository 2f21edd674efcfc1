"""Input scaling: running moments per feature, and the affine maps that keep layer 1 exact while they move.

Three coordinates of an input are in play, all with the bias's 1 appended where a matrix acts on them:

    x  as posted
    u  = x − shift           fixed; layer 1's memories live here
    z  = (x − center)/scale  what the net sees; `center` and `scale` may move with every block
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CLIP = 10.0
RESOLUTION = 1e-7
"""A deviation below this share of the mean is float32's rounding, not variation."""


@dataclass(frozen=True)
class Affine:
    """v ↦ diag·v + offset on vectors with an appended 1; diag and offset are (n,)."""

    diag: Tensor
    offset: Tensor

    def congruence(self, A: Tensor) -> Tensor:
        """M A Mᵀ for a symmetric A (n + 1, n + 1), M this map's matrix; exactly symmetric, for so is every term."""
        diag, offset = self._padded()
        last = diag * A[-1] + offset * (A[-1, -1] / 2)
        cross = torch.outer(offset, last).add_(torch.outer(last, offset))
        return torch.outer(diag, diag).mul_(A).add_(cross)

    def right(self, B: Tensor) -> Tensor:
        """B Mᵀ for B (k, n + 1)."""
        diag, offset = self._padded()
        mapped = B * diag
        return mapped + torch.outer(mapped[:, -1], offset)

    def _padded(self) -> tuple[Tensor, Tensor]:
        return torch.cat([self.diag, self.diag.new_ones(1)]), torch.cat([self.offset, self.offset.new_zeros(1)])


@dataclass(frozen=True)
class Moments:
    """Per feature, over the values that were not missing: Σ w, mean, and Σ w (x − mean)², all (N,) float64."""

    count: Tensor
    mean: Tensor
    squares: Tensor

    def updated(self, inputs: Tensor, weight: Tensor) -> Moments:
        """With one block added: inputs (n, N) float64 with NaN for missing, weight (n,) float64."""
        present = ~inputs.isnan()
        shares = weight.unsqueeze(1) * present
        values = torch.where(present, inputs, 0)
        count = shares.sum(dim=0)
        mean = (shares * values).sum(dim=0) / _positive(count)
        squares = (shares * (values - mean).square()).sum(dim=0)
        return self.merged(Moments(count, mean, squares))

    def merged(self, other: Moments) -> Moments:
        """Of both sets of values.

        Source: Chan, Golub, LeVeque 1979, pairwise update of mean and sum of squares.
        """
        total = self.count + other.count
        share = other.count / _positive(total)
        delta = other.mean - self.mean
        return Moments(
            count=total,
            mean=self.mean + delta * share,
            squares=self.squares + other.squares + delta.square() * self.count * share,
        )

    def without(self, other: Moments) -> Moments:
        """The inverse of `merged`."""
        count = self.count - other.count
        mean = torch.where(count > 0, self.mean - (other.mean - self.mean) * other.count / _positive(count), 0)
        between = (other.mean - mean).square() * count * other.count / _positive(self.count)
        return Moments(count, mean, (self.squares - other.squares - between).clamp_min(0))

    def mean_or(self, other: Tensor) -> Tensor:
        """The mean; `other` for a feature of which no value was seen yet."""
        return torch.where(self.count > 0, self.mean, other)


def _positive(total: Tensor) -> Tensor:
    """A divisor for sums of weights, which are 0 when there was nothing to sum."""
    return total.clamp_min(torch.finfo(total.dtype).tiny)


def no_moments(inputs: int, device: torch.device) -> Moments:
    return Moments(*(torch.zeros(inputs, dtype=torch.float64, device=device) for _ in range(3)))


@dataclass(frozen=True)
class Scaling:
    """z = clip((x − center) / deviation), 0 for a feature that has not varied yet; a missing value counts as its mean.

    Args:
        center, deviation: (N,) float64; deviation > 0.
        varied: (N,) bool, False where nothing is known about the feature's scale.
        fill: what stands for a missing value, in x, (N,).
        clip: bound on |z|, +inf for none.
    """

    center: Tensor
    deviation: Tensor
    varied: Tensor
    fill: Tensor
    clip: float = CLIP

    def __call__(self, inputs: Tensor) -> Tensor:
        """(n, N) posted, any float dtype, NaN for missing → (n, N) float32."""
        x = inputs.double()
        x = torch.where(x.isnan(), self.fill, x)
        z = (x - self.center) / self.deviation
        return torch.where(self.varied, z, 0).clamp(-self.clip, self.clip).float()

    def from_fixed(self, shift: Tensor) -> Affine:
        """u ↦ z."""
        inverse = torch.where(self.varied, 1 / self.deviation, 0)
        return Affine(inverse, (shift - self.center) * inverse)

    def to_fixed(self, shift: Tensor) -> Affine:
        """z ↦ u."""
        return Affine(self.deviation, self.center - shift)

    def carry(self, first_weights: Tensor, previous: Scaling) -> Tensor:
        """W¹ (n_1, N + 1) in `previous`'s coordinates → the same function of x in these.

        A feature that had not varied before carries nothing over: its weights, unused so far, are taken as they are.
        """
        weights = first_weights.double()
        ratio = torch.where(previous.varied, self.deviation / previous.deviation, 1)
        moved = torch.where(previous.varied, (self.center - previous.center) / previous.deviation, 0)
        bias = weights[:, -1] + weights[:, :-1] @ moved
        return torch.cat([weights[:, :-1] * ratio, bias.unsqueeze(1)], dim=1).to(first_weights.dtype)

    def tensors(self) -> dict[str, Tensor]:
        """Copies, because safetensors refuses tensors that share memory, as a center and a fill do."""
        clip = torch.tensor(self.clip, dtype=torch.float64)
        named = {"center": self.center, "deviation": self.deviation, "varied": self.varied, "fill": self.fill}
        return {name: t.clone(memory_format=torch.contiguous_format) for name, t in named.items()} | {"clip": clip}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Scaling:
        clip = float(tensors["clip"])
        return cls(tensors["center"], tensors["deviation"], tensors["varied"], tensors["fill"], clip)


@dataclass(frozen=True)
class RunningScale:
    """Each feature by its own running mean and deviation; the default."""

    def scaling(self, moments: Moments) -> Scaling:
        deviation = (moments.squares / _positive(moments.count)).sqrt()
        varied = deviation > RESOLUTION * moments.mean.abs()
        return Scaling(moments.mean, torch.where(varied, deviation, 1), varied, moments.mean)


@dataclass(frozen=True)
class PooledScale:
    """All features by one running mean and deviation, for features of one kind (pixels, spectra, sensor arrays)."""

    def scaling(self, moments: Moments) -> Scaling:
        count = moments.count.sum()
        mean = (moments.count * moments.mean).sum() / _positive(count)
        between = (moments.count * (moments.mean - mean).square()).sum()
        deviation = ((moments.squares.sum() + between) / _positive(count)).sqrt()
        varied = deviation > RESOLUTION * mean.abs()
        center, deviations, all_varied = (
            one.expand_as(moments.mean) for one in (mean, torch.where(varied, deviation, 1), varied)
        )
        return Scaling(center, deviations, all_varied, moments.mean_or(center))


@dataclass(frozen=True)
class FixedScale:
    """By means and deviations that are known beforehand: numbers, or one a feature.

    Raises: ValueError for a mean that is not finite, a deviation that is not positive and finite, and, from `scaling`,
        for more or fewer numbers than there are features.
    """

    mean: float | tuple[float, ...]
    deviation: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        for mean in _numbers(self.mean):
            if not math.isfinite(mean):
                raise ValueError(f"mean must be finite, not {mean}")
        for deviation in _numbers(self.deviation):
            if not 0 < deviation < math.inf:
                raise ValueError(f"deviation must be positive, not {deviation}")

    @property
    def is_uniform(self) -> bool:
        """Whether all features have the same mean and deviation."""
        return not isinstance(self.mean, tuple) and not isinstance(self.deviation, tuple)

    def scaling(self, moments: Moments) -> Scaling:
        center, deviation = self._per_feature("mean", moments.mean), self._per_feature("deviation", moments.mean)
        return Scaling(center, deviation, torch.ones_like(center, dtype=torch.bool), moments.mean_or(center))

    def _per_feature(self, name: str, like: Tensor) -> Tensor:
        numbers = _numbers(getattr(self, name))
        if len(numbers) not in (1, len(like)):
            raise ValueError(f"{name} must be one number or {len(like)}, not {len(numbers)}")
        return torch.tensor(numbers, dtype=like.dtype, device=like.device).expand_as(like)


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True)
class NoScale:
    """Inputs as they are, unclipped."""

    def scaling(self, moments: Moments) -> Scaling:
        like = moments.mean
        varied = torch.ones_like(like, dtype=torch.bool)
        return Scaling(torch.zeros_like(like), torch.ones_like(like), varied, moments.mean, clip=float("inf"))


InputScale = RunningScale | PooledScale | FixedScale | NoScale
