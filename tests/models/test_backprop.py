from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models import Architecture, NoScale, create_learner
from models.layers import append_one
from models.network import initial_weights

MakeBlocks = Callable[..., list[tuple[Tensor, Tensor, Tensor]]]

NET = Architecture(5, (8, 6), 3)
CPU = torch.device("cpu")


def torch_net() -> nn.Sequential:
    """The same initial net of torch's own layers."""
    layers: list[nn.Module] = []
    for W in initial_weights(NET.layers, seed=3, top_gain=1.0, device=CPU):
        linear = nn.Linear(W.shape[1] - 1, W.shape[0])
        linear.weight.data, linear.bias.data = W[:, :-1].clone(), W[:, -1].clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def weights_of(net: nn.Sequential) -> list[Tensor]:
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    return [torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1).detach() for layer in linears]


@pytest.mark.parametrize(("name", "optimiser"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_are_those_of_torchs_optimiser_on_the_block_mean_of_the_weighted_loss(
    name: str, optimiser: type[torch.optim.Optimizer], weighted: bool, make_blocks: MakeBlocks
) -> None:
    learner = create_learner(name, NET, hyperparameters={"lr": 0.01}, scale=NoScale(), seed=3, device=CPU)
    net = torch_net()
    oracle = optimiser(net.parameters(), lr=0.01)  # type: ignore[call-arg]  # both take lr
    for x, y, w in make_blocks([8] * 20 + [1, 30], seed=0, missing=0.0):
        learner.learn(x, y, w if weighted else None)
        losses = nn.functional.cross_entropy(net(x), y, reduction="none")
        oracle.zero_grad()
        (losses * (w if weighted else 1)).mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        oracle.step()
    for layer, expected in enumerate(weights_of(net), start=1):
        torch.testing.assert_close(learner.state_dict()[f"W.{layer}"], expected, rtol=1e-5, atol=1e-6)


def test_a_sample_of_weight_zero_only_dilutes_the_block_mean(make_blocks: MakeBlocks) -> None:
    [(x, y, w)] = make_blocks([4], seed=0)
    with_zero = create_learner("sgd", NET, hyperparameters={"lr": 0.1}, scale=NoScale(), seed=3, device=CPU)
    without = create_learner("sgd", NET, hyperparameters={"lr": 0.1 * 3 / 4}, scale=NoScale(), seed=3, device=CPU)
    with_zero.learn(x, y, w * torch.tensor([1, 1, 1, 0]))
    without.learn(x[:3], y[:3], w[:3])
    for name in without.state_dict().keys() - {"samples"}:
        torch.testing.assert_close(with_zero.state_dict()[name], without.state_dict()[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_learning_works_where_the_caller_has_switched_gradients_off(name: str, make_blocks: MakeBlocks) -> None:
    on, off = (create_learner(name, NET, scale=NoScale(), seed=3, device=CPU) for _ in range(2))
    [block] = make_blocks([4], seed=0)
    on.learn(*block)
    with torch.no_grad():
        off.learn(*block)
    assert all(torch.equal(tensor, off.state_dict()[key]) for key, tensor in on.state_dict().items())
    assert not any(tensor.requires_grad for tensor in on.state_dict().values())


def test_on_a_net_with_signs_backprop_is_the_straight_through_estimator(make_blocks: MakeBlocks) -> None:
    """The derivative of the step is left out, that of the tanh beneath it stays: c ↦ tanh c + (sign c − tanh c, a constant)."""
    net = Architecture(5, (8, 6), 3, ("sign", "tanh"))
    learner = create_learner("sgd", net, hyperparameters={"lr": 0.1}, scale=NoScale(), seed=3, device=CPU)
    [(x, y, w)] = make_blocks([8], seed=0, missing=0.0)
    before = [learner.state_dict()[f"W.{layer}"].clone().requires_grad_() for layer in (1, 2, 3)]
    c = append_one(x) @ before[0].T
    binary = c.tanh() + (torch.where(c < 0, -1.0, 1.0) - c.tanh()).detach()
    output = append_one((append_one(binary) @ before[1].T).tanh()) @ before[2].T
    loss = (nn.functional.cross_entropy(output, y, reduction="none") * w).mean()
    gradients = torch.autograd.grad(loss, before)
    assert learner.learn(x, y, w)
    assert gradients[0].abs().max() > 0
    for layer, (W, gradient) in enumerate(zip(before, gradients, strict=True), start=1):
        torch.testing.assert_close(
            learner.state_dict()[f"W.{layer}"], W.detach() - 0.1 * gradient, rtol=1e-4, atol=1e-5
        )
