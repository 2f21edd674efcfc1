from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from models import Architecture, ConvolutionalNet, FixedScale, NoScale, create_learner
from models.difference_target import (
    Hidden,
    forward_gradient,
    inverse_gradient,
    targets_of,
    top_gradients,
    values_of,
)
from models.losses import MULTINOMIAL
from models.noise import gaussian

Array = NDArray[np.float64]
Matrices = dict[int, Array]
MakeBlocks = Callable[..., list[tuple[Tensor, Tensor, Tensor]]]

CPU = torch.device("cpu")
ACTIVATIONS = [
    ("tanh", "tanh", "tanh"),
    ("sign", "tanh", "relu"),
    ("relu", "sign", "sigmoid"),
    ("tanh", "relu", "sign"),
]
SIZES = (5, 7, 6, 4, 3)
STEP = 0.7


def value(name: str, c: Array) -> tuple[Array, Array]:
    """h and dh/dc."""
    if name in ("tanh", "sign"):
        return np.tanh(c), 1 - np.tanh(c) ** 2
    if name == "sigmoid":
        s = 1 / (1 + np.exp(-c))
        return s, s * (1 - s)
    return np.maximum(c, 0), (c > 0).astype(float)


def sent(name: str, h: Array) -> Array:
    return np.where(h < 0, -1.0, 1.0) if name == "sign" else h


def one(v: Array) -> Array:
    return np.append(v, 1.0)


def of_one_sample(
    x: Array, y: int, noise: Matrices, W: Matrices, V: Matrices, names: tuple[str, ...], discrete: bool
) -> tuple[Matrices, Matrices, Matrices]:
    """Targets ĥ_l, and gradients in W^l and V^l, of one sample of weight 1: Algorithm 1, spelled out."""
    L = len(names)
    h, slope, signal = {0: x}, {}, {0: x}
    for k in range(1, L + 1):
        h[k], slope[k] = value(names[k - 1], W[k] @ one(signal[k - 1]))
        signal[k] = sent(names[k - 1], h[k])
    outputs = W[L + 1] @ one(signal[L])
    of_outputs = np.exp(outputs) / np.exp(outputs).sum() - np.eye(len(outputs))[y]
    of_top = W[L + 1][:, :-1].T @ of_outputs
    target = {L: h[L] - STEP * of_top}

    def g(k: int, above: Array) -> tuple[Array, Array, Array]:
        seen = one(sent("sign", above) if discrete and names[k - 2] == "sign" else above)
        return *value(names[k - 2], V[k] @ seen), seen

    for k in range(L, 1, -1):
        target[k - 1] = h[k - 1] + g(k, target[k])[0] - g(k, h[k])[0]
    of_W = {L + 1: np.outer(of_outputs, one(signal[L]))}
    for k in range(1, L + 1):
        of_W[k] = np.outer(2 * (h[k] - target[k]) * slope[k], one(signal[k - 1]))
    of_V = {}
    for k in range(2, L + 1):
        noisy = h[k - 1] + noise[k - 1]
        encoded, _ = value(names[k - 1], W[k] @ one(sent(names[k - 2], noisy)))
        back, back_slope, seen = g(k, encoded)
        of_V[k] = np.outer(2 * (back - noisy) * back_slope, seen)
    return target, of_W, of_V


def weighted_mean(terms: list[Matrices], w: Tensor) -> Matrices:
    return {
        k: sum((float(w[i]) * term[k] for i, term in enumerate(terms)), start=np.zeros_like(terms[0][k])) / len(terms)
        for k in terms[0]
    }


def random_matrices(draw: torch.Generator, *, inverse: bool) -> dict[int, Tensor]:
    pairs = [(SIZES[k - 1], SIZES[k]) if inverse else (SIZES[k], SIZES[k - 1]) for k in range(1, len(SIZES))]
    made = {k: torch.randn(m, width + 1, generator=draw).double() / 2 for k, (m, width) in enumerate(pairs, start=1)}
    return {k: M for k, M in made.items() if not inverse or 2 <= k < len(SIZES) - 1}


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("names", ACTIVATIONS)
def test_targets_and_gradients_are_those_of_a_loop_over_samples(
    names: tuple[str, ...], discrete: bool, make_blocks: MakeBlocks
) -> None:
    draw = torch.Generator().manual_seed(0)
    net = Architecture(5, SIZES[1:-1], 3, names)
    hidden = [Hidden(layer, discrete) for layer in net.layers[:-1]]
    W, V = random_matrices(draw, inverse=False), random_matrices(draw, inverse=True)
    [(x, y, w)] = make_blocks([6], seed=1, missing=0.0)
    x, w = x.double(), w.double()
    noise = {k: 0.3 * torch.randn(6, SIZES[k], generator=draw).double() for k in (1, 2)}

    values = values_of(x, list(W.values()), hidden)
    signals = [x, *(layer.signal(h) for layer, h in zip(hidden, values, strict=True))]
    of_signal, of_top = top_gradients(signals[-1], W[4], MULTINOMIAL, y, w)
    targets = targets_of(values, values[-1] - STEP * of_signal, list(V.values()), hidden)
    of_W = {k: forward_gradient(W[k], hidden[k - 1], signals[k - 1], targets[k - 1], w) for k in (1, 2, 3)} | {
        4: of_top
    }
    of_V = {
        k: inverse_gradient(V[k], W[k], hidden[k - 2], hidden[k - 1], values[k - 2] + noise[k - 1], w) for k in (2, 3)
    }

    loops = [
        of_one_sample(
            x[i].numpy(), int(y[i]), {k: e[i].numpy() for k, e in noise.items()},
            {k: M.numpy() for k, M in W.items()}, {k: M.numpy() for k, M in V.items()}, names, discrete,
        )
        for i in range(6)
    ]  # fmt: skip
    for k in (1, 2, 3):
        np.testing.assert_allclose(targets[k - 1], np.stack([t[k] for t, _, _ in loops]), rtol=1e-10, atol=1e-12)
    for got, of in ((of_W, 1), (of_V, 2)):
        expected = weighted_mean([loop[of] for loop in loops], w)
        assert got.keys() == expected.keys()
        for k, gradient in expected.items():
            np.testing.assert_allclose(got[k], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("names", ACTIVATIONS)
def test_a_learners_first_step_has_the_gradients_of_the_loop(names: tuple[str, ...], make_blocks: MakeBlocks) -> None:
    net = Architecture(5, SIZES[1:-1], 3, names)
    hyper = {"target_step": STEP, "noise": 0.3, "lr": 0.01, "inverse_lr": 0.02}
    learner = create_learner("dtp", net, hyperparameters=hyper, scale=NoScale(), seed=0, device=CPU)
    before = learner.state_dict()
    [(x, y, w)] = make_blocks([6], seed=1, missing=0.0)
    learner.learn(x, y, w)
    after = learner.state_dict()
    W = {k: before[f"W.{k}"].double().numpy() for k in (1, 2, 3, 4)}
    V = {k: before[f"V.{k}"].double().numpy() for k in (2, 3)}
    noise = {k: 0.3 * gaussian(after["noise"], (6, SIZES[k]), stream=k + 1).double().numpy() for k in (1, 2)}
    loops = [
        of_one_sample(x[i].double().numpy(), int(y[i]), {k: e[i] for k, e in noise.items()}, W, V, names, False)
        for i in range(6)
    ]
    for prefix, of, lr in (("", 1, 0.01), ("V.", 2, 0.02)):
        for k, gradient in weighted_mean([loop[of] for loop in loops], w).items():
            np.testing.assert_allclose(after[f"{prefix}first.{k}"] / 0.1, gradient, rtol=1e-3, atol=1e-5)
            matrix = f"{prefix or 'W.'}{k}"
            step = (before[matrix] - after[matrix]).numpy()
            clear = np.abs(gradient) > 1e-3  # where the first step of Adam is lr times the gradient's sign
            np.testing.assert_allclose(step[clear], lr * np.sign(gradient[clear]), rtol=1e-3, atol=1e-6)


def invertible(n: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """c = W a, and its exact inverse, biases included."""
    matrix = torch.eye(n).double() + 0.3 * torch.randn(n, n, generator=draw).double()
    bias = torch.randn(n, 1, generator=draw).double()
    back = torch.linalg.inv(matrix)
    return torch.cat([matrix, bias], dim=1), torch.cat([back, -back @ bias], dim=1)


def test_with_exact_inverses_the_layers_above_take_a_target_to_the_top_target() -> None:
    draw = torch.Generator().manual_seed(0)
    net = Architecture(4, (4, 4, 4), 3, "identity")
    hidden = [Hidden(layer) for layer in net.layers[:-1]]
    pairs = [invertible(4, draw) for _ in range(3)]
    values = values_of(torch.randn(9, 4, generator=draw).double(), [W for W, _ in pairs], hidden)
    top = values[-1] + torch.randn(9, 4, generator=draw).double()
    targets = targets_of(values, top, [V for _, V in pairs[1:]], hidden)
    for k in (1, 2):
        reached = targets[k - 1]
        for layer, (W, _) in zip(hidden[k:], pairs[k:], strict=True):
            reached = layer.forward(W, reached)
        torch.testing.assert_close(reached, top, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(targets[k - 1], hidden[k - 1].inverse(pairs[k][1], targets[k]))


def test_a_top_target_that_asks_for_nothing_asks_for_nothing_below() -> None:
    draw = torch.Generator().manual_seed(0)
    net = Architecture(5, SIZES[1:-1], 3, ("sign", "tanh", "relu"))
    hidden = [Hidden(layer) for layer in net.layers[:-1]]
    W, V = random_matrices(draw, inverse=False), random_matrices(draw, inverse=True)
    values = values_of(torch.randn(9, 5, generator=draw).double(), list(W.values()), hidden)
    assert all(map(torch.equal, targets_of(values, values[-1], list(V.values()), hidden), values))


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x).float()[order], torch.tensor(y)[order]


def digits_accuracy(activation: str | tuple[str, ...], epochs: int, **hyperparameters: Any) -> float:
    x, y = digits()
    learner = create_learner(
        "dtp", Architecture(64, (60, 40), 10, activation),
        hyperparameters=hyperparameters, scale=FixedScale(5.0, 6.0), seed=0, device=CPU,
    )  # fmt: skip
    for start in list(range(0, 1400, 20)) * epochs:
        assert learner.learn(x[start : start + 20], y[start : start + 20])
    return float((learner.predict(x[1400:]).argmax(dim=1) == y[1400:]).float().mean())


@pytest.mark.parametrize(
    ("activation", "discrete", "least"),
    [("tanh", False, 0.9), ("relu", False, 0.9), (("sign", "tanh"), False, 0.9), (("sign", "tanh"), True, 0.87)],
)
def test_it_learns_digits_through_tanh_relu_and_signs(
    activation: str | tuple[str, ...], discrete: bool, least: float
) -> None:
    assert digits_accuracy(activation, 3, lr=0.003, inverse_lr=0.003, discrete_feedback=discrete) >= least


def test_its_targets_teach_more_than_the_top_layer_alone_learns() -> None:
    still = digits_accuracy(
        ("sign", "tanh"), 2, lr=0.003, target_step=1e-30
    )  # the hidden layers stay as they were drawn
    assert digits_accuracy(("sign", "tanh"), 2, lr=0.003) > still + 0.05


@pytest.mark.parametrize("discrete", [False, True])
def test_nets_of_signs_keep_the_contract(discrete: bool, device: torch.device, make_blocks: MakeBlocks) -> None:
    """Whose other checks see a net of ReLUs: stored and loaded, hit by poison, or given other samples of weight 0."""
    net = Architecture(5, (8, 6), 3, ("sign", "tanh"))
    plain, other = (
        create_learner(
            "dtp", net, hyperparameters={"discrete_feedback": discrete}, scale=NoScale(), seed=seed, device=device
        )
        for seed in (0, 1)
    )
    blocks = make_blocks([4, 7, 2, 16], seed=0, missing=0.0)
    assert plain.learn(*blocks[0])
    other.load_state_dict({name: tensor.cpu().clone() for name, tensor in plain.state_dict().items()})
    for x, y, w in blocks[1:]:
        w[0] = 0.0
        another = x.clone()
        another[0] = 1e6
        assert plain.learn(x, y, w)
        assert not other.learn(x.double() * 1e300, y, w)
        assert other.learn(another, (y + torch.eye(1, len(y), dtype=torch.int64)[0]) % 3, w)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize("net", [ConvolutionalNet(), Architecture(3, (2,), 2, batch_norm=True)])
def test_other_nets_are_refused(net: Architecture | ConvolutionalNet) -> None:
    with pytest.raises(ValueError, match=r"^net must be fully connected, without batch normalisation"):
        create_learner("dtp", net, scale=NoScale(), seed=0, device=CPU)


def test_a_net_of_one_hidden_layer_needs_no_inverse(make_blocks: MakeBlocks) -> None:
    learner = create_learner("dtp", Architecture(5, (4,), 3), scale=NoScale(), seed=0, device=CPU)
    assert all(learner.learn(*block) for block in make_blocks([4, 4], seed=0))
    assert not any(name.startswith("V.") for name in learner.state_dict())


def test_a_net_of_values_learns_too() -> None:
    draw = torch.Generator().manual_seed(0)
    net = Architecture(3, (20, 20), 1, "tanh", loss_name="squared")
    hyper = {"lr": 0.01, "target_step": 0.1}
    learner = create_learner("dtp", net, hyperparameters=hyper, scale=NoScale(), seed=0, device=CPU)
    for _ in range(200):
        x = torch.randn(20, 3, generator=draw)
        learner.learn(x, torch.sin(x[:, :1]) * x[:, 1:2])
    x = torch.randn(500, 3, generator=draw)
    y = torch.sin(x[:, :1]) * x[:, 1:2]
    assert (learner.predict(x) - y).square().mean() < 0.35 * y.square().mean()
