"""A net that grew is the net that it was, and learns on like one that was large from the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models import LEARNERS, Architecture, InputScale, Learner, NoScale, PooledScale, RunningScale, create_learner
from models.growth import grown_state

Block = tuple[Tensor, Tensor, Tensor]
MakeBlocks = Callable[..., list[Block]]

SMALL, WIDE, TALL = (Architecture(n, (8, 6), m) for n, m in ((5, 3), (7, 3), (7, 5)))
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in LEARNERS if name != "am-mem"] + [
    ("am-mem", {"direct": True}),
    ("am-mem", {"direct": False}),
    ("am-mem", {"direct": True, "solve_every": 9}),
    ("am-mem", {"share": 0.0, "horizons": (None,), "direct": True}),
    ("am-mem-paper", {"window": 3}),
    ("am-mem-paper", {"rescaling": "minibatch"}),
    ("am-mem-paper", {"solve_every": 8}),
]


@pytest.fixture(params=VARIANTS, ids=str)
def create(request: pytest.FixtureRequest, device: torch.device) -> Callable[..., Learner]:
    name, hyperparameters = request.param

    def make(net: Architecture, seed: int = 0, scale: InputScale | None = None) -> Learner:
        return create_learner(
            name, net, hyperparameters=hyperparameters, scale=scale or RunningScale(), seed=seed, device=device
        )

    return make


def grown(learner: Learner, larger: Learner) -> Learner:
    larger.load_state_dict(grown_state(learner.state_dict(), larger.state_dict()))
    return larger


def widened(block: Block) -> Block:
    """With two more features that no sample has."""
    x, y, w = block
    return torch.cat([x, x.new_full((len(x), 2), torch.nan)], dim=1), y, w


@pytest.mark.parametrize("scale", [RunningScale(), PooledScale(), NoScale()], ids=lambda scale: type(scale).__name__)
def test_new_features_and_classes_change_no_prediction_of_what_was_known(
    create: Callable[..., Learner], make_blocks: MakeBlocks, scale: InputScale
) -> None:
    learner = create(SMALL, scale=scale)
    blocks = make_blocks([8] * 6, seed=0)
    for block in blocks:
        learner.learn(*block)
    x = torch.cat([block[0] for block in blocks])
    before = learner.predict(x)
    wider = torch.cat([x, torch.randn(len(x), 2)], dim=1)
    torch.testing.assert_close(grown(learner, create(WIDE, 1, scale)).predict(wider), before)
    after = grown(learner, create(TALL, 1, scale)).predict(wider)
    torch.testing.assert_close(after[:, :3] / after[:, :3].sum(dim=1, keepdim=True), before)
    assert (after[:, 3:] <= 1 / 4 + 1e-6).all()
    assert torch.equal(after.argmax(dim=1), before.argmax(dim=1))


def test_a_net_that_grew_learns_like_one_that_had_the_features_from_the_start(
    create: Callable[..., Learner], make_blocks: MakeBlocks
) -> None:
    small, wide = create(SMALL), create(WIDE, 1)
    wide.load_state_dict(grown_state(small.state_dict(), wide.state_dict()))
    for block in make_blocks([8] * 4, seed=0):
        assert small.learn(*block)
        assert wide.learn(*widened(block))
    small = grown(small, create(WIDE, 2))
    for block in make_blocks([8] * 4, seed=1, inputs=7):
        assert small.learn(*block)
        assert wide.learn(*block)
    for name, tensor in wide.state_dict().items():
        torch.testing.assert_close(small.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_new_features_and_classes_are_learned(create: Callable[..., Learner], make_blocks: MakeBlocks) -> None:
    learner = create(SMALL)
    for block in make_blocks([8] * 4, seed=0):
        learner.learn(*block)
    learner = grown(learner, create(TALL))
    before = learner.state_dict()
    for block in make_blocks([8] * 4, seed=1, inputs=7, classes=5):
        assert learner.learn(*block)
    after = learner.state_dict()
    frozen = torch.equal(after["W.1"], before["W.1"])
    layer, columns = ("W.3", slice(-3, -1)) if frozen else ("W.1", slice(5, 7))  # a frozen net's output layer sees them
    assert (after[layer][:, columns] != before[layer][:, columns]).any()
    assert (after["W.3"][3:] != before["W.3"][3:]).any(dim=1).all()


def test_a_state_that_is_not_smaller_is_refused_by_name(create: Callable[..., Learner]) -> None:
    small, wide = create(SMALL).state_dict(), create(WIDE).state_dict()
    with pytest.raises(ValueError, match=r"state tensor 'W\.1' cannot grow from \(8, 8\) to \(8, 6\)"):
        grown_state(wide, small)
    with pytest.raises(ValueError, match=r"state tensor 'W\.3' is missing"):
        grown_state({name: tensor for name, tensor in small.items() if name != "W.3"}, wide)
