"""Adding what two learners remember, and taking a block out again: exact where memories are sums over frozen features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.anchored import AnchoredAMMem
from models.blocks import checked_state
from models.errors import ArgumentError
from models.scaling import FixedScale, Moments, NoScale
from models.top_memory import TopMemory


@torch.no_grad()
def merged(learner: AnchoredAMMem, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a learner that has seen the samples of both: A = A₁ + A₂, B = B₁ + B₂, and the weights that follow.

    Commutative and associative up to rounding, and the same as learning all samples in one learner.

    Args:
        learner: with frozen features and one memory that never forgets, as of the preset `never-forget`.
        other: `state_dict` of another one, made alike with the same seed.
    Returns: for `load_state_dict`.
    Raises: ArgumentError for another kind of learner, or other hidden weights; ValueError for a state that does not fit.
    """
    _require_sums(learner)
    state = learner.state_dict()
    other = checked_state(other, state)
    for name in _hidden(learner):
        if not torch.equal(state[name], other[name]):
            raise ArgumentError("other", f"the state of a learner with the same {name}", "another one")
    sums = {name: state[name] + other[name] for name in state if _is_sum(name)}
    if "temperature" in state:
        share = (other["samples"] / sums["samples"].clamp_min(1)).float()
        sums["temperature"] = torch.lerp(state["temperature"], other["temperature"], share)
    return _solved(learner, state | sums | _named(_moments(state).merged(_moments(other))))


@torch.no_grad()
def unlearned(
    learner: AnchoredAMMem, inputs: Tensor, targets: Tensor, weight: Tensor | None = None
) -> dict[str, Tensor]:
    """The state of a learner that never saw this block: its share is subtracted, and the weights solved anew.

    What it did to the temperature of the probabilities, and to which classes count as recent, stays.

    Args: learner: as in `merged`. inputs, targets, weight: a block as it was learned, see `Learner.learn`.
    Returns: for `load_state_dict`.
    Raises: ArgumentError for another kind of learner, or a block that was not learned; ValueError for wrong shapes.
    """
    _require_sums(learner)
    if inputs.isnan().any():
        raise ArgumentError("inputs", "without missing values: what stood for them is not known any more", "NaN")
    state = learner.state_dict()
    alone = AnchoredAMMem(learner.net, learner.hyperparameters, scale=learner.scale, seed=0, device=learner.device)
    alone.load_state_dict(alone.state_dict() | {name: state[name] for name in _hidden(learner)})
    if not alone.learn(inputs, targets, weight):
        raise ArgumentError("inputs", "a block that can be learned", tuple(inputs.shape))
    block = alone.state_dict()
    rest = {name: state[name] - block[name] for name in state if _is_sum(name) and "recent" not in name}
    if rest["samples"] < 0 or (rest["A.top1"].diagonal() < -1e-6 * state["A.top1"].diagonal()).any():
        raise ArgumentError("inputs", "a block that was learned", tuple(inputs.shape))
    return _solved(learner, state | rest | _named(_moments(state).without(_moments(block))))


def _require_sums(learner: AnchoredAMMem) -> None:
    hyper = learner.hyperparameters
    rules = {
        "share": (hyper.share == 0, 0, hyper.share),
        "horizons": (hyper.horizons == (None,), (None,), hyper.horizons),
        "top_loss": (hyper.top_loss == "squared", "squared", hyper.top_loss),
        "solve_every": (hyper.solve_every == 1, 1, hyper.solve_every),
        "scale": (isinstance(learner.scale, FixedScale | NoScale), "fixed or none", learner.scale),
    }
    for name, (holds, rule, value) in rules.items():
        if not holds:
            raise ArgumentError(name, f"{rule!r} for merging and unlearning, where memories must be plain sums", value)


def _hidden(learner: AnchoredAMMem) -> list[str]:
    return [f"W.{layer}" for layer in range(1, len(learner.net.layers))]


def _is_sum(name: str) -> bool:
    return name in ("samples", "A.top1", "B.top1", "mass.top1") or name.startswith("presence.")


def _solved(learner: AnchoredAMMem, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With V, λ and the output layer that follow from A and B."""
    memory = TopMemory.from_tensors(state, 1)
    h, m = memory.V.shape[1], memory.V.shape[0]
    nothing, keep = memory.V.new_zeros(1, h), memory.mass.new_tensor([1.0, 0.0])
    solved = memory.updated(
        nothing, memory.V.new_zeros(1, m), nothing[:, 0], keep, ridge=learner.hyperparameters.top_ridge, renew=True
    )
    top = f"W.{len(learner.net.layers)}"
    return state | solved.tensors(1) | {top: state.get("temperature", 1.0) * solved.V}


def _moments(state: Mapping[str, Tensor]) -> Moments:
    return Moments(*(state[f"moments.{name}"] for name in ("count", "mean", "squares")))


def _named(moments: Moments) -> dict[str, Tensor]:
    return {f"moments.{name}": tensor for name, tensor in vars(moments).items()}
