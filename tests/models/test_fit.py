from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from models import (
    LEARNERS,
    AMAdam,
    AMLocalHyperparameters,
    AMMem,
    AMMemHyperparameters,
    Architecture,
    ArgumentError,
    Learner,
    NoScale,
    create_learner,
    fit,
    refit_top,
)
from models.block_learner import BlockLearner

MakeBlocks = Callable[..., list[tuple[Tensor, Tensor, Tensor]]]
CPU = torch.device("cpu")
NET = Architecture(5, (8,), 3)


def create(name: str, net: Architecture = NET, **hyperparameters: Any) -> Learner:
    return create_learner(name, net, hyperparameters=hyperparameters, scale=NoScale(), seed=0, device=CPU)


def digits() -> tuple[Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float32)[order] / 16, torch.tensor(y)[order]


def same(one: Learner, other: Learner) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_epochs_are_the_learners_own_steps_in_a_new_order_each(make_blocks: MakeBlocks) -> None:
    [(x, y, w)] = make_blocks([20], seed=0)
    fitted, by_hand = create("adam"), create("adam")
    seen: list[int] = []
    assert fit(fitted, x, y, w, epochs=2, block=8, seed=4, on_epoch=seen.append) == 0
    generator = torch.Generator().manual_seed(4)
    for _ in range(2):
        for i in torch.randperm(20, generator=generator).tensor_split([8, 16]):
            by_hand.learn(x[i], y[i], w[i])
    assert same(fitted, by_hand)
    assert seen == [1, 2]


@pytest.mark.parametrize("name", ["am-mem-paper", "am-adam"])
def test_offline_an_epoch_is_one_iteration_over_the_whole_set(name: str, make_blocks: MakeBlocks) -> None:
    [(x, y, w)] = make_blocks([20], seed=0)
    offline, by_hand = create(name), create(name)
    fit(offline, x, y, w, epochs=3, block=None)
    for _ in range(3):
        by_hand.learn(x, y, w)
    assert same(offline, by_hand)


def test_schedules_that_count_epochs_move_on_at_their_ends(make_blocks: MakeBlocks) -> None:
    [(x, y, _)] = make_blocks([20], seed=0)
    am_mem = AMMem(
        NET, AMMemHyperparameters(mu=0.1, mu_multiplier=2.0, mu_max=0.3), scale=NoScale(), seed=0, device=CPU
    )
    fit(am_mem, x, y, epochs=1, block=10)
    assert am_mem.hyperparameters.mu_after(am_mem.state.samples).item() == pytest.approx(0.2)
    fit(am_mem, x, y, epochs=1, block=10)
    assert am_mem.hyperparameters.mu_after(am_mem.state.samples).item() == pytest.approx(0.3)
    am_adam = AMAdam(NET, AMLocalHyperparameters(lr=0.1, decay=0.5), scale=NoScale(), seed=0, device=CPU)
    fit(am_adam, x, y, epochs=3, block=10)
    assert am_adam.hyperparameters.lr == pytest.approx(0.1 / 8)


def test_blocks_that_are_discarded_are_counted(make_blocks: MakeBlocks) -> None:
    [(x, y, _)] = make_blocks([20], seed=0)
    x[3] = torch.inf
    assert fit(create("sgd"), x, y, epochs=2, block=5) == 2


@pytest.mark.parametrize(("argument", "value"), [("epochs", 0), ("block", 0), ("block", -1)])
def test_counts_out_of_range_are_refused_by_name(argument: str, value: int) -> None:
    arguments: Any = {"epochs": 1, "block": 5, argument: value}
    with pytest.raises(ArgumentError, match=f"{argument} must be at least 1"):
        fit(create("sgd"), torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64), **arguments)


@pytest.mark.parametrize("name", ["am-mem-paper", "am-adam"])
def test_offline_variants_learn_the_digits(name: str) -> None:
    x, y = digits()
    learner = create(name, Architecture(64, (60,), 10), **({"lr": 0.01} if name == "am-adam" else {"eta": 0.5}))
    before = (learner.predict(x[1500:]).argmax(dim=1) == y[1500:]).float().mean()
    assert fit(learner, x[:1500], y[:1500], epochs=40, block=None) == 0
    after = (learner.predict(x[1500:]).argmax(dim=1) == y[1500:]).float().mean()
    assert before < 0.3
    assert after > 0.7


@pytest.mark.parametrize("name", LEARNERS)
def test_refitting_the_top_layer_lowers_its_objective_to_where_its_gradient_vanishes(name: str) -> None:
    x, y = digits()
    learner = create(name, Architecture(64, (30,), 10))
    assert isinstance(learner, BlockLearner)
    fit(learner, x[:1000], y[:1000], epochs=1, block=50)
    hidden = learner.state_dict()["W.1"]
    before, after = refit_top(learner, x[:1000], y[:1000], ridge=1e-3, iterations=300)
    assert after < before
    assert torch.equal(learner.state_dict()["W.1"], hidden)
    top = learner.state_dict()["W.2"].clone().requires_grad_()
    a = learner.predictor().top_activations(x[:1000])
    outputs = torch.cat([a, torch.ones(1000, 1)], dim=1) @ top.T
    objective = torch.nn.functional.cross_entropy(outputs, y[:1000]) + 1e-3 * top[:, :-1].square().sum()
    torch.testing.assert_close(objective.detach(), after)
    assert torch.autograd.grad(objective, top)[0].abs().max() < 1e-3


def test_a_refit_of_squared_loss_is_the_ridge_regression_of_the_closed_form(make_blocks: MakeBlocks) -> None:
    [(x, y, w)] = make_blocks([60], seed=0, missing=0.0)
    values = torch.stack([y.float(), x[:, 0]], dim=1)
    learner = create("am-adam", Architecture(5, (8,), 2, loss_name="squared"))
    assert isinstance(learner, BlockLearner)
    learner.learn(x, values, w)
    refit_top(learner, x, values, w, ridge=0.01, iterations=500)
    a = learner.predictor().top_activations(x)
    rows = torch.cat([a, torch.ones(60, 1)], dim=1).double()
    penalty = 0.01 * torch.diag(torch.tensor([1.0] * 8 + [0.0])).double()
    gram = rows.T @ (rows * w.double().unsqueeze(1)) / 60 + penalty
    expected = torch.linalg.solve(gram, rows.T @ (values * w.unsqueeze(1)).double() / 60).T
    torch.testing.assert_close(learner.state_dict()["W.2"].double(), expected, rtol=1e-2, atol=1e-2)


def test_what_cannot_be_refitted_is_refused_and_changes_nothing() -> None:
    learner = create("am-adam")
    assert isinstance(learner, BlockLearner)
    x, y = torch.randn(9, 5), torch.zeros(9, dtype=torch.int64)
    before = learner.state_dict()["W.2"]
    with pytest.raises(ArgumentError, match="ridge must be at least 0, not -1"):
        refit_top(learner, x, y, ridge=-1)
    with pytest.raises(ArithmeticError, match="not finite"):
        refit_top(learner, x.fill_(torch.inf), y)
    assert torch.equal(learner.state_dict()["W.2"], before)
