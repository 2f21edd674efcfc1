"""What the values of a state from a file hold to, whatever it learned; where they do not, it was made up or is damaged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.scaling import Moments
from service.fold import Fold
from service.problems import FieldError, Invalid
from service.spec import ModelSpec
from service.state import FoldState

MOST_SAMPLES = 2**62
"""Counters stay far from where int64 wraps."""
INDEFINITE = 1e-3
"""A may be so far from positive semidefinite, its diagonal scaled to 1: block products are rounded to float32."""
NEGLIGIBLE = 1e-4
"""Share of the largest diagonal element of A below which another is not told from 0, for the same reason."""
PROBES = 16


def check_values(name: str, tensor: Tensor) -> None:
    """What every state that was learned holds to, whatever it learned."""
    kind = name.removeprefix("ratio.").split(".")[0]
    if tensor.is_floating_point():
        _require(name, tensor, tensor.isfinite(), "must be finite")
    elif name == "metrics.last":
        _require(name, tensor, (tensor >= -1) & (tensor <= MOST_SAMPLES), "must be a class, or -1 for none")
    elif name == "metrics.periods.length":
        _require(name, tensor, (tensor > 0) & (tensor <= MOST_SAMPLES), "must be positive")
    else:
        _require(name, tensor, (tensor >= 0) & (tensor <= MOST_SAMPLES), f"must be from 0 to {MOST_SAMPLES}")
    kinds = ("second", "errors", "presence", "temperature", "mass", "ridge")
    if name.removeprefix("target.") in ("count", "squares", "moments.count", "moments.squares") or kind in kinds:
        _require(name, tensor, tensor >= 0, "must not be negative")
    if kind == "A":
        _require(name, tensor, tensor == tensor.T, "must be symmetric")


def check_memories(tensors: Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Every A is positive semidefinite as the net sees it.

    Layer 1's is kept in fixed coordinates, in which a feature that moved far from where it began, or is small beside the
    others, is a difference of large sums: its own square may well be rounded below 0.
    """
    for name, A in tensors.items():
        if not name.startswith("A."):
            continue
        if name == "A.1" and "shift" in tensors:
            moments = Moments(*(tensors[f"moments.{part}"] for part in ("count", "mean", "squares")))
            A = spec.input_scale().scaling(moments).from_fixed(tensors["shift"]).congruence(A)
        order = _indefinite_order(A)
        if order:
            rule = "must be positive semidefinite, as sums of squares are"
            raise Invalid(FieldError(f"tensors.{name}", f"leading minor {order} is negative", rule))


def _require(name: str, tensor: Tensor, holds: Tensor, rule: str) -> None:
    if not bool(holds.all()):
        [index, *_] = (~holds).nonzero().tolist()
        field = ".".join(["tensors", name, *map(str, index)])
        raise Invalid(FieldError(field, tensor[tuple(index)].item(), rule))


def _indefinite_order(A: Tensor) -> int:
    """The order of the first leading minor of A that is negative, to INDEFINITE; 0 when none is.

    Each unit is measured by its own diagonal element, unless that is lost in the rounding of what the largest ones once were.
    """
    diagonal = A.diagonal().abs()
    smallest = max(NEGLIGIBLE * float(diagonal.max()), torch.finfo(torch.float32).tiny)
    scale = diagonal.clamp_min(smallest).sqrt()
    scaled = A / scale / scale.unsqueeze(1)
    scaled.diagonal().add_(INDEFINITE)
    factor, info = torch.linalg.cholesky_ex(scaled)
    return int(info) or (0 if bool(factor.isfinite().all()) else len(A))


def check_adoptable(fold: Fold, state: FoldState) -> None:
    """A fresh learner takes the state over, as `adopt` will, and predicts: for usual, extreme and unknown inputs."""
    try:
        fold.restore(state)
    except ValueError as error:
        raise Invalid(FieldError("manifest.header", dict(state.header), str(error))) from error
    probabilities = fold.version().predictor(_probes(fold.spec))
    if not bool(probabilities.isfinite().all()):
        raise Invalid(FieldError("tensors", probabilities.tolist(), "must give predictions that are finite"))


def _probes(spec: ModelSpec) -> Tensor:
    """Some usual inputs, some at the ends of what the scale lets through, in either direction, and one unknown."""
    draw = torch.Generator().manual_seed(0)
    usual = torch.randn(PROBES, spec.inputs, generator=draw)
    ends = torch.randn(PROBES, spec.inputs, generator=draw).sign() * (1e3 if spec.scale == "none" else 1e15)
    return torch.cat([usual, ends, torch.full((1, spec.inputs), torch.nan)])
