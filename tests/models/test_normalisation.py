from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models import Architecture, ConvolutionalNet, Filters, NoScale, create_learner
from models.network import Net, encode_input, initial_weights
from models.normalisation import EPSILON, folded, initial_norms, learning_sigmas, running_norms

MakeBlocks = Callable[..., list[tuple[Tensor, Tensor, Tensor]]]
CPU = torch.device("cpu")
DENSE = Architecture(5, (8, 6), 3, batch_norm=True)
CONVOLUTIONAL = ConvolutionalNet((1, 4, 6), (Filters(3, 3, padding=1, pool=2),), (4,), 3, batch_norm=True)


def draw(net: Net, n: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, net.inputs, generator=generator)
    weights = initial_weights(net.layers, seed=0, top_gain=1.0, device=CPU)
    return x, tuple(W + 0.1 * torch.randn(W.shape, generator=generator) for W in weights)


def test_a_step_of_sgd_is_that_of_torchs_own_batch_normalisation(make_blocks: MakeBlocks) -> None:
    learner = create_learner("sgd", DENSE, hyperparameters={"lr": 0.1}, scale=NoScale(), seed=3, device=CPU)
    modules: list[nn.Module] = []
    for W in initial_weights(DENSE.layers, seed=3, top_gain=1.0, device=CPU):
        linear = nn.Linear(W.shape[1] - 1, W.shape[0])
        linear.weight.data, linear.bias.data = W[:, :-1].clone(), W[:, -1].clone()
        modules += [linear, nn.BatchNorm1d(W.shape[0], eps=EPSILON, affine=False), nn.ReLU()]
    net = nn.Sequential(*modules[:-2])
    oracle = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y, _ in make_blocks([8] * 10, seed=0, missing=0.0):
        assert learner.learn(x, y)
        oracle.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        oracle.step()
    linears = [module for module in net if isinstance(module, nn.Linear)]
    for layer, linear in enumerate(linears, start=1):
        expected = torch.cat([linear.weight, linear.bias.unsqueeze(1)], dim=1).detach()
        torch.testing.assert_close(learner.state_dict()[f"W.{layer}"], expected, rtol=1e-4, atol=1e-5)


def test_folded_weights_predict_what_normalising_by_the_running_moments_would() -> None:
    for net in (DENSE, CONVOLUTIONAL):
        x, weights = draw(net, 40)
        norms = initial_norms(net, CPU)
        codes = encode_input(x, weights, net.layers, learning_sigmas(torch.ones(40), net, norms))
        norms = running_norms(norms, codes, torch.ones(40), net, samples=torch.tensor(0))
        normalising = [norm.sigma(layer) for norm, layer in zip(norms, net.layers, strict=False)]
        plain = [layer.activate for layer in net.layers]
        expected = encode_input(x, weights, net.layers, normalising)[-1]
        torch.testing.assert_close(
            encode_input(x, folded(weights, norms), net.layers, plain)[-1], expected, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            codes[-1], expected, rtol=1e-4, atol=1e-5
        )  # the first block's moments are taken whole


def test_a_shift_or_scale_common_to_a_block_changes_no_activation() -> None:
    x, weights = draw(DENSE, 20)
    sigma = learning_sigmas(torch.ones(20), DENSE, initial_norms(DENSE, CPU))[0]
    codes = DENSE.layers[0].encode(weights[0], x)
    torch.testing.assert_close(sigma(3 * codes + 100), sigma(codes), rtol=1e-3, atol=1e-3)


def test_a_block_of_one_takes_the_running_moments_and_moves_none() -> None:
    x, weights = draw(DENSE, 1)
    norms = initial_norms(DENSE, CPU)
    codes = encode_input(x, weights, DENSE.layers, learning_sigmas(torch.ones(1), DENSE, norms))
    torch.testing.assert_close(codes[0], encode_input(x, weights, DENSE.layers, [h.activate for h in DENSE.layers])[0])
    moved = running_norms(norms, codes, torch.ones(1), DENSE, samples=torch.tensor(0))
    assert all(
        torch.equal(a.mean, b.mean) and torch.equal(a.variance, b.variance) for a, b in zip(norms, moved, strict=True)
    )
