"""Training without gradients: the offline ADMM of Taylor et al., the paper's other offline baseline.

Weights, activations a and codes z of all samples are unknowns of one problem, with penalties in the place of z = W a and
a = σ(z). Each unknown has a closed-form minimum given the others; an iteration goes through them once.

Source: Taylor, Burmeister, Xu, Singh, Patel & Goldstein 2016, arXiv 1605.02026.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.activations import ACTIVATIONS
from models.blocks import all_finite, checked_block, checked_state
from models.errors import ArgumentError
from models.layers import append_one
from models.network import Architecture, Weights, initial_weights
from models.predictor import Predictor
from models.scaling import InputScale, Moments, no_moments

MOST_ITERATIONS = 1_000_000
NEGLIGIBLE = 1e-12
"""An eigenvalue of AᵀA below this share of the largest is 0, and its direction gets no weight."""


@dataclass(frozen=True)
class ADMMHyperparameters:
    """Hyper-parameters of `TaylorADMM`. The defaults are Taylor et al.'s.

    The paper's Table 1 has β = 582.8, γ = 54.15 for MNIST and 100 units. Here these hardly learn: without λ an iteration
    moves an output code by at most 1/(2β) away from W a. How its runs weighed the loss is not said.

    Args:
        gamma_prod: β, weight of ‖z − W a‖², > 0; one for all layers, or one for each of 1 … L + 1.
        gamma_nonlin: γ, weight of ‖a − σ(z)‖², > 0; one for all hidden layers, or one for each.
        warm_up: iterations before the multiplier λ moves, ≥ 0.
    Raises: ArgumentError.
    """

    gamma_prod: float | tuple[float, ...] = 1.0
    gamma_nonlin: float | tuple[float, ...] = 10.0
    warm_up: int = 10

    def __post_init__(self) -> None:
        for name in ("gamma_prod", "gamma_nonlin"):
            value = getattr(self, name)
            if not all(0 < penalty < math.inf for penalty in (value if isinstance(value, tuple) else (value,))):
                raise ArgumentError(name, "positive", value)
        if not 0 <= self.warm_up <= MOST_ITERATIONS:
            raise ArgumentError("warm_up", f"an integer from 0 to {MOST_ITERATIONS}", self.warm_up)


@dataclass(frozen=True)
class Piece:
    """σ(z) = slope·z + offset for z in [low, high]."""

    low: float
    high: float
    slope: float
    offset: float


PIECES: dict[str, tuple[Piece, ...]] = {
    "relu": (Piece(-math.inf, 0.0, 0.0, 0.0), Piece(0.0, math.inf, 1.0, 0.0)),
    "hard-sigmoid": (
        Piece(-math.inf, 0.0, 0.0, 0.0),
        Piece(0.0, 1.0, 1.0, 0.0),
        Piece(1.0, math.inf, 0.0, 1.0),
    ),
    "identity": (Piece(-math.inf, math.inf, 1.0, 0.0),),
}
"""The nonlinearities, continuous and piecewise linear, through which codes have a closed form."""


def hidden_codes(a: Tensor, anchor: Tensor, sigma: str, *, gamma: float, beta: float) -> Tensor:
    """argmin over z of γ‖a − σ(z)‖² + β‖z − anchor‖², entry by entry; of equals, the smallest.

    On a piece of σ the objective is a parabola, so its minimum is the vertex, clamped to the piece.

    Args: a: a^l, any shape; anchor: W a^{l−1}, the same; sigma: a key of `PIECES`.
    Source: Algorithm 1; section 3.3.
    """
    best = torch.full_like(a, math.nan)
    least = torch.full_like(a, math.inf)
    for piece in PIECES[sigma]:
        vertex = (gamma * piece.slope * (a - piece.offset) + beta * anchor) / (gamma * piece.slope**2 + beta)
        z = vertex.clamp(piece.low, piece.high)
        value = gamma * (a - piece.slope * z - piece.offset).square() + beta * (z - anchor).square()
        best, least = torch.where(value < least, z, best), torch.minimum(value, least)
    return best


@dataclass(frozen=True)
class Hinge:
    """max(1 − z, 0) where the answer is yes, max(z, 0) where it is no, summed over all outputs.

    Args: yes: (n, m) bool; for classes, one-hot.
    Source: section 4 (of two classes and one output; the sum over outputs, one against all, is ours).
    """

    yes: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """0-dim, the sum."""
        return torch.where(self.yes, 1 - z, z).clamp_min(0).sum()

    def codes(self, anchor: Tensor, multiplier: Tensor, *, beta: float) -> Tensor:
        """argmin over z of this + ⟨z, λ⟩ + β‖z − anchor‖², all (n, m)."""
        free = anchor - multiplier / (2 * beta)  # the minimum where the hinge is flat
        step = 1 / (2 * beta)
        rising = torch.maximum(free, (free + step).clamp_max(1.0))
        falling = torch.minimum(free, (free - step).clamp_min(0.0))
        return torch.where(self.yes, rising, falling)


@dataclass(frozen=True)
class Squares:
    """‖z − y‖², for values y (n, m)."""

    y: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        return (z - self.y).square().sum()

    def codes(self, anchor: Tensor, multiplier: Tensor, *, beta: float) -> Tensor:
        """As `Hinge.codes`."""
        return (self.y + beta * anchor - multiplier / 2) / (1 + beta)


@dataclass(frozen=True)
class Splitting:
    """All unknowns, and what they are weighed with; float64. `z[l − 1]` is the paper's z_l, and so on.

    Args:
        x: a_0, scaled, (n, N).
        weights: W^1 … W^{L+1}, (n_l, n_{l−1} + 1), the last column the bias.
        a: a_1 … a_L, (n, n_l).
        z: z_1 … z_{L+1}, (n, n_l).
        multiplier: λ, (n, m).
        loss: of z_{L+1}.
        sigmas: names of σ_1 … σ_L.
        beta: of layers 1 … L + 1.
        gamma: of layers 1 … L.
    """

    x: Tensor
    weights: Weights
    a: tuple[Tensor, ...]
    z: tuple[Tensor, ...]
    multiplier: Tensor
    loss: Hinge | Squares
    sigmas: tuple[str, ...]
    beta: tuple[float, ...]
    gamma: tuple[float, ...]

    def anchor(self, depth: int) -> Tensor:
        """W a of layer `depth`, counted from 0: (n, n_l)."""
        return append_one(self._below(depth)) @ self.weights[depth].T

    def objective(self) -> Tensor:
        """ℓ(z_{L+1}) + ⟨z_{L+1}, λ⟩ + Σ β‖z − W a‖² + Σ γ‖a − σ(z)‖²: sums over samples and units, 0-dim."""
        total = self.loss(self.z[-1]) + (self.z[-1] * self.multiplier).sum()
        for depth, beta in enumerate(self.beta):
            total = total + beta * (self.z[depth] - self.anchor(depth)).square().sum()
        for a, z, sigma, gamma in zip(self.a, self.z, self.sigmas, self.gamma, strict=False):
            total = total + gamma * (a - ACTIVATIONS[sigma](z)).square().sum()
        return total

    def with_weights(self, depth: int) -> Splitting:
        """W ← z a†, the least squares of smallest norm, by the pseudo-inverse of aᵀa."""
        rows = append_one(self._below(depth))
        inverse = torch.linalg.pinv(rows.T @ rows, rtol=NEGLIGIBLE, hermitian=True)
        return replace(self, weights=_put(self.weights, depth, self.z[depth].T @ rows @ inverse))

    def with_activations(self, depth: int) -> Splitting:
        """a_l ← (β W_{l+1}ᵀ W_{l+1} + γ I)⁻¹ (β W_{l+1}ᵀ z_{l+1} + γ σ(z_l)), the bias taken off z_{l+1}."""
        W, bias = self.weights[depth + 1][:, :-1], self.weights[depth + 1][:, -1]
        beta, gamma = self.beta[depth + 1], self.gamma[depth]
        system = beta * W.T @ W + gamma * torch.eye(W.shape[1], dtype=W.dtype, device=W.device)
        right = beta * (self.z[depth + 1] - bias) @ W + gamma * ACTIVATIONS[self.sigmas[depth]](self.z[depth])
        solved = torch.cholesky_solve(right.T, torch.linalg.cholesky(system)).T
        return replace(self, a=_put(self.a, depth, solved.contiguous()))

    def with_codes(self, depth: int) -> Splitting:
        """z_l ← its minimum, of a hidden layer or the output."""
        anchor, beta = self.anchor(depth), self.beta[depth]
        if depth == len(self.a):
            return replace(self, z=_put(self.z, depth, self.loss.codes(anchor, self.multiplier, beta=beta)))
        codes = hidden_codes(self.a[depth], anchor, self.sigmas[depth], gamma=self.gamma[depth], beta=beta)
        return replace(self, z=_put(self.z, depth, codes))

    def with_multiplier(self) -> Splitting:
        """λ ← λ + β (z_{L+1} − W_{L+1} a_L). The one update that minimises nothing."""
        top = len(self.a)
        return replace(self, multiplier=self.multiplier + self.beta[top] * (self.z[top] - self.anchor(top)))

    def iterated(self, *, multiply: bool) -> Splitting:
        """One iteration of Algorithm 1. Args: multiply: whether λ moves, as it does after the warm-up."""
        new, top = self, len(self.a)
        for depth in range(top):
            new = new.with_weights(depth).with_activations(depth).with_codes(depth)
        new = new.with_weights(top).with_codes(top)
        return new.with_multiplier() if multiply else new

    def _below(self, depth: int) -> Tensor:
        return self.a[depth - 1] if depth else self.x


def _put(tensors: Sequence[Tensor], place: int, tensor: Tensor) -> tuple[Tensor, ...]:
    return (*tensors[:place], tensor, *tensors[place + 1 :])


class TaylorADMM:
    """Algorithm 1 on a whole data set at once.

    `predict` changes nothing; what `predictor` returned stays as it is. `fit` draws its first a and z from `seed` alone,
    so it repeats bit for bit, on the same machine and thread count.

    Args:
        net: fully connected, every σ one of `PIECES`. Loss `multinomial` (classes) and `binary` (yes or no, targets 0 and
            1) mean `Hinge` here, `squared` means `Squares`.
        scale: how inputs are scaled.
        seed: of the first weights, a and z.
        device: where the work is done.
    Source: Taylor et al. 2016, Algorithm 1; the paper's section 4 and appendix D.
    Differs from it: biases; several classes, one against all, and values; one machine. λ's step is β as printed there,
        though the multiplier of β‖·‖² proper would take 2β. a and z start from N(0, 1), as there.
    Raises: ArgumentError.
    """

    def __init__(
        self,
        net: Architecture,
        hyperparameters: ADMMHyperparameters | None = None,
        *,
        scale: InputScale,
        seed: int,
        device: torch.device,
    ) -> None:
        self.sigmas = tuple(layer.activation.name for layer in net.layers[:-1])
        if net.batch_norm or not set(self.sigmas) <= PIECES.keys():
            raise ArgumentError("net", f"without batch normalisation and of {', '.join(PIECES)}", net)
        hyperparameters = hyperparameters or ADMMHyperparameters()
        self.beta = _per_layer("gamma_prod", hyperparameters.gamma_prod, len(net.hidden) + 1)
        self.gamma = _per_layer("gamma_nonlin", hyperparameters.gamma_nonlin, len(net.hidden))
        self.net, self.hyperparameters, self.scale, self.seed, self.device = net, hyperparameters, scale, seed, device
        self.weights = initial_weights(net.layers, seed=seed, top_gain=1.0, device=device)
        self.moments = no_moments(net.inputs, device)
        scale.scaling(self.moments)  # raises for a scale of another width

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        y: Tensor,
        iterations: int,
        on_iteration: Callable[[int, Predictor], None] | None = None,
    ) -> Tensor:
        """Fits the net from the start; what an earlier fit found is forgotten.

        Args:
            x: as posted, (n, N), any float dtype, NaN for a missing value; n ≥ 1.
            y: class indices, (n,) int64; for a loss of values, these, (n, m).
            iterations: of Algorithm 1, the warm-up included, from 1 to MOST_ITERATIONS.
            on_iteration: is told the iteration, from 1, and the net after it.
        Returns: the objective (see `Splitting.objective`) after every iteration, (iterations,) float64.
        Raises: ValueError naming the argument for wrong shapes, dtypes or values, ArithmeticError where a fit leaves
            numbers that are not finite; in either case, or when on_iteration raises, nothing has changed.
        """
        if not 1 <= iterations <= MOST_ITERATIONS:
            raise ArgumentError("iterations", f"an integer from 1 to {MOST_ITERATIONS}", iterations)
        x, y, weight = checked_block(x, y, None, self.net, self.device)
        moments = no_moments(self.net.inputs, self.device).updated(x.double(), weight.double())
        scaled = self.scale.scaling(moments)(x)
        if bool(x.isinf().any()) or not bool(scaled.isfinite().all()):
            raise ArgumentError("x", "finite as float32, or NaN for a missing value", "infinite")
        illegal = weight.isnan()  # what `checked_block` makes of an illegal target
        if self.net.loss_name == "binary":
            illegal = illegal | ((y != 0) & (y != 1)).any(dim=1)
        if bool(illegal.any()):
            rule = {"multinomial": f"classes from 0 to {self.net.outputs - 1}", "binary": "0 or 1"}
            raise ArgumentError("y", rule.get(self.net.loss_name, "finite"), y[illegal][0].tolist())
        splitting = self.start(scaled, y)
        objectives = []
        for iteration in range(1, iterations + 1):
            splitting = splitting.iterated(multiply=iteration > self.hyperparameters.warm_up)
            objectives.append(splitting.objective())
            if on_iteration is not None:
                on_iteration(iteration, self._predictor(_single(splitting.weights), moments))
        weights = _single(splitting.weights)
        if not all_finite(dict(zip(map(str, range(len(weights))), weights, strict=True))):
            raise ArithmeticError("the fit left weights that are not finite; nothing was changed")
        self.weights, self.moments = weights, moments
        return torch.stack(objectives)

    def start(self, scaled: Tensor, y: Tensor) -> Splitting:
        """The unknowns before the first iteration: a and z from N(0, 1), drawn on the CPU; λ = 0.

        Args: scaled: (n, N); y: as `fit` takes it.
        """
        draw = torch.Generator().manual_seed(self.seed)
        n, sizes = len(scaled), self.net.sizes[1:]

        def normal(units: int) -> Tensor:
            return torch.randn(n, units, generator=draw, dtype=torch.float64).to(self.device)

        return Splitting(
            x=scaled.double(),
            weights=tuple(
                W.double() for W in initial_weights(self.net.layers, seed=self.seed, top_gain=1.0, device=self.device)
            ),
            a=tuple(normal(units) for units in sizes[:-1]),
            z=tuple(normal(units) for units in sizes),
            multiplier=torch.zeros(n, sizes[-1], dtype=torch.float64, device=self.device),
            loss=self._loss(y),
            sigmas=self.sigmas,
            beta=self.beta,
            gamma=self.gamma,
        )

    def _loss(self, y: Tensor) -> Hinge | Squares:
        if self.net.loss.classes:
            return Hinge(y.unsqueeze(1) == torch.arange(self.net.outputs, device=self.device))
        return Hinge(y == 1) if self.net.loss_name == "binary" else Squares(y.double())

    def predictor(self) -> Predictor:
        """The net as fitted, immutable. Its probabilities follow z's order, but no likelihood made them: see `predict`."""
        return self._predictor(self.weights, self.moments)

    def _predictor(self, weights: Weights, moments: Moments) -> Predictor:
        if self.net.loss_name != "squared":  # a hinge between 0 and 1 decides at 1/2, a likelihood at 0
            centred = weights[-1].clone()
            centred[:, -1] -= 0.5
            weights = (*weights[:-1], centred)
        return Predictor(weights, self.scale.scaling(moments), self.net)

    def predict(self, x: Tensor) -> Tensor:
        """Of x (n, N): softmax or sigmoid of z − 1/2, uncalibrated; or values. (n, m) float32 on the CPU.

        Raises: ValueError for another shape.
        """
        return self.predictor()(x)

    def state_dict(self) -> dict[str, Tensor]:
        """What predictions depend on. a, z and λ belong to the data of one fit and end with it."""
        named = {f"W.{layer}": W for layer, W in enumerate(self.weights, start=1)}
        return named | {f"moments.{name}": getattr(self.moments, name) for name in ("count", "mean", "squares")}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Raises: ValueError naming the tensor that is missing, superfluous or of the wrong shape or dtype."""
        tensors = checked_state(state, self.state_dict())
        self.weights = tuple(tensors[f"W.{layer}"] for layer in range(1, len(self.weights) + 1))
        self.moments = Moments(*(tensors[f"moments.{name}"] for name in ("count", "mean", "squares")))


def _per_layer(name: str, penalty: float | tuple[float, ...], layers: int) -> tuple[float, ...]:
    penalties = penalty if isinstance(penalty, tuple) else (penalty,) * layers
    if len(penalties) != layers:
        raise ArgumentError(name, f"one number, or {layers}: one a layer", penalty)
    return penalties


def _single(weights: Weights) -> Weights:
    return tuple(W.float().contiguous() for W in weights)
