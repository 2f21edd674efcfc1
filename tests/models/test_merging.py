"""Merging and unlearning are exact, whatever the order; where they could not be, they are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models import AnchoredAMMem, Architecture, ArgumentError, FixedScale, NeverForgetHyperparameters, PooledScale
from models.merging import merged, unlearned

CPU = torch.device("cpu")
NET = Architecture(5, (12,), 3)
Block = tuple[Tensor, Tensor, Tensor]
FOLLOWS_THE_STREAM = ("temperature", "presence.recent", "presence.latest", "W.2")
"""What depends on the order of samples: how probable, and how recent."""


def never_forget(seed: int = 0, net: Architecture = NET, scale: Any = None, **hyperparameters: Any) -> AnchoredAMMem:
    chosen = NeverForgetHyperparameters(**hyperparameters)
    return AnchoredAMMem(net, chosen, scale=scale or FixedScale(0.5, 2.0), seed=seed, device=CPU)


def block(n: int, seed: int) -> Block:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=draw), torch.randint(3, (n,), generator=draw), torch.rand(n, generator=draw)


def learned(*blocks: Block) -> AnchoredAMMem:
    learner = never_forget()
    for one in blocks:
        assert learner.learn(*one)
    return learner


def loaded(state: Mapping[str, Tensor]) -> AnchoredAMMem:
    learner = never_forget()
    learner.load_state_dict(state)
    return learner


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    for name, tensor in one.items():
        if name not in FOLLOWS_THE_STREAM:
            torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 20), min_size=3, max_size=3), seed=st.integers(0, 2**32))
def test_merging_is_learning_all_and_its_order_does_not_matter(sizes: list[int], seed: int) -> None:
    a, b, c = (block(n, seed + i) for i, n in enumerate(sizes))
    ab_c = merged(loaded(merged(learned(a), learned(b).state_dict())), learned(c).state_dict())
    a_bc = merged(learned(a), merged(learned(b), learned(c).state_dict()))
    assert_equal(ab_c, a_bc)
    assert_equal(ab_c, merged(learned(c, b), learned(a).state_dict()))
    assert_equal(ab_c, learned(a, b, c).state_dict())
    assert loaded(ab_c).learn(*a)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 20), min_size=3, max_size=3), seed=st.integers(0, 2**32))
def test_unlearning_a_block_is_never_having_learned_it(sizes: list[int], seed: int) -> None:
    a, b, c = (block(n, seed + i) for i, n in enumerate(sizes))
    assert_equal(unlearned(learned(a, b, c), *b), learned(a, c).state_dict())
    assert_equal(unlearned(loaded(unlearned(learned(a, b), *b)), *a), never_forget().state_dict())


def test_predictions_after_unlearning_are_those_of_a_learner_that_never_saw_the_block() -> None:
    a, b = block(40, 0), block(40, 1)
    x = block(20, 2)[0]
    forgot, never = loaded(unlearned(learned(a, b), *b)), learned(a)
    scores = [torch.log(learner.predict(x)) / learner.state.slots["temperature"] for learner in (forgot, never)]
    differences = [one - one[:, :1] for one in scores]
    torch.testing.assert_close(*differences, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("argument", "learner"),
    [
        ("share", never_forget(share=0.1, horizons=(8.0, None))),
        ("horizons", never_forget(horizons=(100.0,))),
        ("top_loss", never_forget(top_loss="multinomial")),
        ("solve_every", never_forget(solve_every=5)),
        ("scale", never_forget(scale=PooledScale())),
    ],
)
def test_where_memories_are_no_sums_it_is_refused_by_name(argument: str, learner: AnchoredAMMem) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument} must be"):
        merged(learner, learner.state_dict())
    with pytest.raises(ArgumentError, match=f"^{argument} must be"):
        unlearned(learner, *block(3, 0))


def test_missing_values_cannot_be_taken_out() -> None:
    x, y, w = block(3, 0)
    with pytest.raises(ArgumentError, match="inputs must be without missing values"):
        unlearned(learned((x, y, w)), x.masked_fill(x > 0, torch.nan), y, w)


def test_other_features_and_blocks_that_were_not_learned_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"other must be the state of a learner with the same W\.1"):
        merged(learned(block(3, 0)), never_forget(seed=1).state_dict())
    with pytest.raises(ValueError, match="must be"):
        merged(learned(block(3, 0)), never_forget(net=Architecture(5, (11,), 3)).state_dict())
    with pytest.raises(ArgumentError, match="inputs must be a block that was learned"):
        unlearned(learned(block(30, 0)), *block(31, 1))
