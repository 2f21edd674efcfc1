"""AM-SGD and AM-Adam, and what every AM variant does with codes and layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from models import (
    AMAdam,
    AMLocalHyperparameters,
    AMSgd,
    Architecture,
    ArgumentError,
    NoScale,
    create_learner,
    fit,
)
from models.am import Block
from models.layers import append_one
from models.network import encode_input, sigmas_of

MakeBlocks = Callable[..., list[tuple[Tensor, Tensor, Tensor]]]
CPU = torch.device("cpu")
NET = Architecture(5, (8, 6), 3)


def am_sgd(net: Architecture = NET, **hyperparameters: Any) -> AMSgd:
    return AMSgd(net, AMLocalHyperparameters(**hyperparameters), scale=NoScale(), seed=0, device=CPU)


def eq_3(weights: list[Tensor], codes: list[Tensor], x: Tensor, y: Tensor, w: Tensor, mu: float) -> Tensor:
    """The objective's block mean, written out."""
    below = [x, *(code.relu() for code in codes)]
    outputs = append_one(below[-1]) @ weights[-1].T
    loss = torch.nn.functional.cross_entropy(outputs, y, reduction="none")
    for W, a, code in zip(weights, below, codes, strict=False):
        loss = loss + mu * (code - append_one(a) @ W.T).square().sum(dim=1)
    return (w * loss).mean()


def test_am_sgd_descends_eq_3_at_the_updated_codes(make_blocks: MakeBlocks) -> None:
    [(x, y, w)] = make_blocks([9], seed=0, missing=0.0)
    learner = am_sgd(lr=0.05, eta=0.2, mu=0.3)
    before = list(learner.state.weights)
    codes = updated_codes(learner, x, y)
    assert learner.learn(x, y, w)
    variables = [W.clone().requires_grad_() for W in before]
    gradients = torch.autograd.grad(eq_3(variables, codes, x, y, w, 0.3), variables)
    for W, gradient, lr, new in zip(before, gradients, (0.05, 0.05, 0.2), learner.state.weights, strict=True):
        torch.testing.assert_close(new, W - lr * gradient, rtol=1e-5, atol=1e-6)


def updated_codes(learner: AMSgd, x: Tensor, y: Tensor) -> list[Tensor]:
    """The codes that a learner finds, read where it would update its weights with them."""
    found: list[Block] = []

    class Spy(AMSgd):
        def update_weights(self, state: Any, block: Block) -> Any:
            found.append(block)
            return super().update_weights(state, block)

    spy = Spy(learner.net, learner.hyperparameters, scale=NoScale(), seed=0, device=CPU)
    spy.load_state_dict(learner.state_dict())
    spy.learn(x, y)
    return found[0].codes


def test_no_gradient_crosses_a_layer(make_blocks: MakeBlocks) -> None:
    """At given codes, what W^l becomes depends on W^l, c^{l−1} and c^l alone; and none of it on an autograd graph."""
    [(x, y, w)] = make_blocks([9], seed=0, missing=0.0)
    draw = torch.Generator().manual_seed(0)
    learner = AMAdam(NET, AMLocalHyperparameters(lr=0.05), scale=NoScale(), seed=0, device=CPU)
    codes = [torch.randn(9, units, generator=draw) for units in NET.hidden]

    def updated(weights: tuple[Tensor, ...], codes: list[Tensor]) -> tuple[Tensor, ...]:
        state = replace(learner.state, weights=weights)
        scaling = learner.scale.scaling(state.moments)
        block = Block(x, y, w, codes, sigmas_of(NET.layers[:-1]), torch.tensor(0.1), scaling)
        new = learner.update_weights(state, block).weights
        assert not any(W.requires_grad for W in new)
        return new

    base = learner.state.weights
    reference = updated(base, codes)
    for changed in range(3):
        weights = tuple(W + (layer == changed) for layer, W in enumerate(base))
        differs = [not torch.equal(a, b) for a, b in zip(updated(weights, codes), reference, strict=True)]
        assert differs == [layer == changed for layer in range(3)]
    for changed in range(2):
        others = [c + 3 * (layer == changed) for layer, c in enumerate(codes)]
        differs = [not torch.equal(a, b) for a, b in zip(updated(base, others), reference, strict=True)]
        assert differs == [layer in (changed, changed + 1) for layer in range(3)]


def test_the_published_objective_is_minimised_like_its_authors_code_does_it(make_blocks: MakeBlocks) -> None:
    """Against torch's own losses and SGD: mean CE/μ + mean squared error at the top, mean squared errors below."""
    [(x, y, _)] = make_blocks([9], seed=0, missing=0.0)
    chosen: Any = {"objective": "published", "mu": 0.003, "code_step": 0.3, "code_nesterov": True, "top_gain": 1.0}
    learner = am_sgd(**chosen)
    codes = updated_codes(learner, x, y)
    W = learner.state.weights
    forward = encode_input(x, W[:-1], NET.layers, sigmas_of(NET.layers))
    mse, cross_entropy = torch.nn.functional.mse_loss, torch.nn.functional.cross_entropy
    above: Tensor | None = None
    for depth in (1, 0):
        code = forward[depth].clone().requires_grad_()
        optimiser = torch.optim.SGD([code], lr=0.3, momentum=0.9, nesterov=True)
        for _ in range(5):
            outputs = append_one(code.relu()) @ W[depth + 1].T
            fit = cross_entropy(outputs, y) / 0.003 if above is None else mse(outputs, above)
            optimiser.zero_grad()
            (fit + mse(code, forward[depth])).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
        above = code.detach()
        torch.testing.assert_close(codes[depth], above, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["am-mem-paper", "am-adam", "am-sgd"])
def test_layers_updated_in_parallel_end_bit_for_bit_where_they_end_one_by_one(
    name: str, make_blocks: MakeBlocks
) -> None:
    one, other = (
        create_learner(name, NET, hyperparameters={"parallel": p}, scale=NoScale(), seed=0, device=CPU)
        for p in (False, True)
    )
    for block in make_blocks([8] * 5, seed=0):
        assert one.learn(*block)
        assert other.learn(*block)
    assert all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in one.state_dict().items())


def test_several_weight_iterations_are_as_many_steps_at_the_same_codes(make_blocks: MakeBlocks) -> None:
    [(x, y, w)] = make_blocks([9], seed=0, missing=0.0)
    learner = am_sgd(lr=0.05, mu=0.3, weight_iterations=3)
    weights, codes = list(learner.state.weights), updated_codes(learner, x, y)
    assert learner.learn(x, y, w)
    for _ in range(3):
        variables = [W.clone().requires_grad_() for W in weights]
        gradients = torch.autograd.grad(eq_3(variables, codes, x, y, w, 0.3), variables)
        weights = [W - 0.05 * gradient for W, gradient in zip(weights, gradients, strict=True)]
    for new, expected in zip(learner.state.weights, weights, strict=True):
        torch.testing.assert_close(new, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["am-mem-paper", "am-adam", "am-sgd", "adam", "sgd"])
def test_l1_makes_weights_exactly_zero_and_spares_biases(name: str, make_blocks: MakeBlocks) -> None:
    dense, sparse = (
        create_learner(name, NET, hyperparameters={"lambda_w": strength}, scale=NoScale(), seed=0, device=CPU)
        for strength in (0.0, 5.0)
    )
    for block in make_blocks([8] * 60, seed=0):
        assert dense.learn(*block)
        assert sparse.learn(*block)
    zeros = [(learner.state_dict()["W.1"][:, :-1] == 0).float().mean().item() for learner in (dense, sparse)]
    assert zeros[0] == 0
    assert zeros[1] > 0.02
    assert (sparse.state_dict()["W.1"][:, -1] != 0).any()


def test_l1_on_codes_makes_codes_exactly_zero(make_blocks: MakeBlocks) -> None:
    [(x, y, _)] = make_blocks([9], seed=0, missing=0.0)
    shares = [[(c == 0).float().mean() for c in updated_codes(am_sgd(lambda_c=s), x, y)] for s in (0.0, 2.0)]
    assert max(shares[0]) == 0
    assert min(shares[1]) > 0.05


def test_the_epochs_schedule_multiplies_mu_and_decays_steps() -> None:
    hyper = AMLocalHyperparameters(
        mu=0.1, mu_increment=0.001, mu_multiplier=1.5, mu_max=0.5, lr=0.1, eta=0.2, decay=0.9
    )
    later = hyper.after_epoch(100)
    assert later.mu_after(torch.tensor(100)).item() == pytest.approx(1.5 * 0.2)
    assert later.mu_after(torch.tensor(150)).item() == pytest.approx(1.5 * 0.2 + 0.05)
    assert (later.lr, later.eta) == pytest.approx((0.09, 0.18))
    latest = later.after_epoch(200)
    assert latest.mu_after(torch.tensor(200)).item() == latest.mu_after(torch.tensor(900)).item() == 0.5


@pytest.mark.parametrize(
    ("argument", "value"),
    [("lr", 0), ("eta", -1.0), ("weight_iterations", 0), ("decay", 1.5), ("mu_multiplier", 0.9), ("code_step", 0)],
)
def test_arguments_out_of_range_are_refused_by_name(argument: str, value: Any) -> None:
    arguments: dict[str, Any] = {argument: value}
    with pytest.raises(ArgumentError, match=f"^{argument} must be .*, not {value!r}"):
        AMLocalHyperparameters(**arguments)


def digits() -> tuple[Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float32)[order] / 16, torch.tensor(y)[order]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", ("sign", "tanh")])
def test_am_adam_learns_digits_with_every_activation(activation: str | tuple[str, ...]) -> None:
    x, y = digits()
    net = Architecture(64, (60, 60), 10, activation)
    learner = create_learner(
        "am-adam", net, hyperparameters={"lr": 0.01, "top_gain": 1.0}, scale=NoScale(), seed=0, device=CPU
    )
    for _ in range(3):
        for start in range(0, 1500, 20):
            assert learner.learn(x[start : start + 20], y[start : start + 20])
    right = (learner.predict(x[1500:]).argmax(dim=1) == y[1500:]).float().mean()
    assert right > 0.75


def test_twenty_layers_are_all_reached_and_learn() -> None:
    """64-32-…-32-10 with 20 hidden layers of tanh, 5 epochs: 0.94 of held-out digits; SGD by backpropagation 0.12."""
    x, y = digits()
    net = Architecture(64, (32,) * 20, 10, "tanh")
    learner = AMAdam(net, AMLocalHyperparameters(lr=0.005, top_gain=1.0), scale=NoScale(), seed=0, device=CPU)
    before = learner.state.weights
    assert fit(learner, x[:1500], y[:1500], epochs=5, block=20) == 0
    moved = [((new - old).norm() / old.norm()).item() for new, old in zip(learner.state.weights, before, strict=True)]
    assert min(moved) > 0.1
    assert (learner.predict(x[1500:]).argmax(dim=1) == y[1500:]).float().mean() > 0.8
