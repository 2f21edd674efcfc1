"""The core of the learners' contract, on every kind of net and loss, and with every option that changes a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from models import (
    Architecture,
    ArgumentError,
    ConvolutionalNet,
    ElmanNet,
    Filters,
    FixedScale,
    InputScale,
    Learner,
    Net,
    NoScale,
    Predictor,
    RunningScale,
    create_learner,
)
from tests.models.test_learner_contract import NO_WAITING, frozen, stored_and_loaded

Block = tuple[Tensor, Tensor, Tensor]
MakeBlocks = Callable[..., list[Block]]

UNIFORM = FixedScale(0.5, 2.0)
DENSE = Architecture(5, (8, 6), 3)
NETS: dict[str, Net] = {
    "dense": DENSE,
    "deep": Architecture(5, (6,) * 8, 3, "tanh"),
    "binary": Architecture(5, (8, 6), 3, ("sign", "tanh")),
    "normalised": Architecture(5, (8, 6), 3, batch_norm=True),
    "regression": Architecture(5, (8,), 2, "tanh", "squared"),
    "yes or no": Architecture(5, (8,), 2, "sigmoid", "binary"),
    "convolutional": ConvolutionalNet((1, 1, 5), (Filters(3, 3, padding=1), Filters(2, 1)), (4,), 3),
    "convolutional, normalised": ConvolutionalNet((1, 1, 5), (Filters(3, 3, padding=1),), (4,), 3, batch_norm=True),
    "recurrent": ElmanNet(5, 4, 3),
}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "am-mem": [
        {"horizons": (50.0, None)},
        {"recent": 5.0, "wait_for_absent": False},
    ],
    "am-mem-paper": [
        {"window": 3},
        {"rescaling": "minibatch"},
        {"rescaling": "power", "rescaling_power": 2.0},
        {"horizon": 40.0, "solver": "ridge", "solve_every": 10},
        {"lambda_w": 0.1, "lambda_c": 0.01, "sweeps": 2},
        {"objective": "published", "mu": 0.003, "code_step": 0.3, "code_nesterov": True},
        {"parallel": True},
    ],
    "am-adam": [
        {"objective": "published", "mu": 0.003, "code_step": 0.3, "code_nesterov": True, "weight_iterations": 3},
        {"lambda_w": 0.1, "lambda_c": 0.01, "eta": 0.1, "parallel": True},
    ],
    "am-sgd": [{"mu_increment": 0.01, "mu_max": 0.5}],
    "adam": [{"lambda_w": 0.1}],
    "sgd": [{"lambda_w": 0.1, "lr": 0.1}],
}


def can_learn(learner: str, net: Net) -> bool:
    """Some learn fully connected nets alone."""
    return learner not in ("am-mem", "dtp") or (isinstance(net, Architecture) and not net.batch_norm)


@dataclass(frozen=True)
class Case:
    learner: str
    net: str
    scale: InputScale
    hyperparameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        chosen = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        return ", ".join(filter(None, (self.learner, self.net, type(self.scale).__name__, chosen)))

    def create(self, seed: int = 0) -> Learner:
        cpu = torch.device("cpu")
        hyper = self.hyperparameters
        return create_learner(
            self.learner, NETS[self.net], hyperparameters=hyper, scale=self.scale, seed=seed, device=cpu
        )

    def blocks(self, make_blocks: MakeBlocks, sizes: list[int]) -> list[Block]:
        """Targets of the form that the net's loss asks for."""
        net = NETS[self.net]
        blocks = make_blocks(sizes, seed=0)
        if net.loss.classes:
            return blocks
        return [(x, torch.stack([y == 0, y == 1], dim=1).float(), w) for x, y, w in blocks]


CASES = [Case(learner, net, UNIFORM) for learner in OPTIONS for net in NETS if can_learn(learner, NETS[net])] + [
    Case(learner, "dense", RunningScale(), options) for learner, chosen in OPTIONS.items() for options in chosen
]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def learn_all(learner: Learner, blocks: list[Block]) -> Learner:
    for block in blocks:
        assert learner.learn(*block)
    return learner


def test_a_seed_repeats_bit_for_bit_and_learning_changes_the_weights(case: Case, make_blocks: MakeBlocks) -> None:
    blocks = case.blocks(make_blocks, [4, 1, 7])
    first, again, other = (frozen(learn_all(case.create(seed), blocks).state_dict()) for seed in (1, 1, 2))
    fresh = frozen(case.create(1).state_dict())
    assert first == again
    for weights in (name for name in fresh if name.startswith("W.")):
        assert first[weights] != other[weights]
        assert first[weights] != fresh[weights]


def test_a_stored_and_loaded_state_learns_on_bit_for_bit(case: Case, make_blocks: MakeBlocks) -> None:
    blocks = case.blocks(make_blocks, [4, 1, 7, 3, 16])
    running, restored = learn_all(case.create(), blocks[:2]), case.create(seed=1)
    restored.load_state_dict(stored_and_loaded(running.state_dict()))
    for block in blocks[2:]:
        running.learn(*block)
        restored.learn(*block)
    assert frozen(restored.state_dict()) == frozen(running.state_dict())
    assert torch.equal(restored.predict(blocks[0][0]), running.predict(blocks[0][0]))


def test_a_predictors_tensors_make_it_again_and_it_keeps_its_version(case: Case, make_blocks: MakeBlocks) -> None:
    blocks = case.blocks(make_blocks, [8, 8])
    learner = learn_all(case.create(), blocks[:1])
    x, predictor = blocks[0][0], learner.predictor()
    before = predictor(x)
    learn_all(learner, blocks[1:])
    again = Predictor.from_tensors(predictor.tensors(), NETS[case.net])
    assert torch.equal(predictor(x), before)
    assert torch.equal(again(x), before)
    assert before.shape == (8, NETS[case.net].outputs)


def test_learning_never_waits_for_the_device(case: Case, make_blocks: MakeBlocks) -> None:
    learner = case.create()
    with NO_WAITING:
        finite = [learner.learn(*block) for block in case.blocks(make_blocks, [8, 1, 8])]
    assert all(finite)


def test_a_poisoned_block_is_reported_and_leaves_no_trace(case: Case, make_blocks: MakeBlocks) -> None:
    blocks = case.blocks(make_blocks, [8, 8])
    learner = learn_all(case.create(), blocks[:1])
    before = frozen(learner.state_dict())
    x, y, w = blocks[1]
    second = torch.arange(8) == 1
    poisons = [(x.masked_fill(second.unsqueeze(1), torch.inf), y, w), (x, y, w.masked_fill(second, torch.nan))]
    if NETS[case.net].loss.classes:
        poisons.append((x, y.masked_fill(second, 3), w))
    else:
        poisons.append((x, y.masked_fill(second.unsqueeze(1), torch.nan), w))
        if NETS[case.net].loss.name == "binary":
            poisons.append((x, y.masked_fill(second.unsqueeze(1), 1.5), w))
    for poison in poisons:
        assert not learner.learn(*poison)
        after = frozen(learner.state_dict())
        assert after | {"unsolved": b""} == before | {
            "unsolved": b""
        }  # how much there is to solve counts blocks as they come


def test_what_a_sample_of_weight_zero_holds_does_not_matter(case: Case, make_blocks: MakeBlocks) -> None:
    one, other = case.create(), case.create()
    for x, y, w in case.blocks(make_blocks, [8, 3, 8]):
        w = w.masked_fill(torch.arange(len(w)) == 0, 0.0)
        another_x, another_y = x.clone(), y.clone()
        another_x[0], another_y[0] = torch.tensor([7.0, -3.0, torch.nan, 0.0, 2.0]), 1 - y[0].clamp(max=1)
        assert one.learn(x, y, w)
        assert other.learn(another_x, another_y, w)
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


LINEAR = {
    "am-mem-paper": ("A.", "B."),
    "am-sgd": ("W.",),
    "sgd": ("W.",),
    "am-adam": ("first.",),
    "adam": ("first.",),
    "dtp": ("first.",),
}
"""What of a learner's state moves by the mean (or, in a memory, the sum) of what its samples would do one by one."""


@pytest.mark.parametrize(
    ("learner", "net"),
    [
        (learner, name)
        for learner, (name, net) in product(LINEAR, NETS.items())
        if not net.batch_norm and can_learn(learner, net)
    ],
)
def test_a_block_does_what_the_mathematics_says_of_its_samples_one_by_one(
    learner: str, net: str, make_blocks: MakeBlocks
) -> None:
    case = Case(learner, net, UNIFORM, {"noise": 0.0} if learner == "dtp" else {})
    first, (x, y, w) = case.blocks(make_blocks, [8, 6])
    start = learn_all(case.create(), [first])
    before = start.state_dict()

    def change(x: Tensor, y: Tensor, w: Tensor) -> dict[str, Tensor]:
        learner = case.create()
        learner.load_state_dict(before)
        assert learner.learn(x, y, w)
        after = learner.state_dict()
        return {
            name: after[name].double() - before[name].double()
            for name in after
            if name.startswith(LINEAR[case.learner])
        }

    x = torch.where(x.isnan(), torch.zeros(()), x)  # a missing value counts as its mean, which the block moves
    together = change(x, y, w)
    alone = [change(x[i : i + 1], y[i : i + 1], w[i : i + 1]) for i in range(6)]
    assert together
    for name, moved in together.items():
        total = torch.stack([one[name] for one in alone]).sum(dim=0)
        torch.testing.assert_close(moved, total if learner == "am-mem-paper" else total / 6, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("scale", [RunningScale(), FixedScale(0.0, (1.0, 2.0, 3.0, 4.0, 5.0))], ids=str)
@pytest.mark.parametrize("net", ["convolutional", "recurrent"])
def test_memories_of_patches_and_steps_take_no_scale_that_moves_or_tells_features_apart(
    net: str, scale: InputScale
) -> None:
    with pytest.raises(ArgumentError, match="scale must be fixed, one for all features, or none"):
        Case("am-mem-paper", net, scale).create()
    Case("am-adam", net, scale).create()
    Case("am-mem-paper", net, NoScale()).create()
