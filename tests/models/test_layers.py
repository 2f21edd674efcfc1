"""Every layer is a product with rows, and its bounds hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import ArgumentError, ConvolutionalNet, ElmanNet, Filters
from models.activations import ACTIVATIONS, RELU
from models.layers import Convolution, Dense, Layer, PerStep, Recurrent, squared_spectral_norm
from models.network import encode_input, initial_weights, sigmas_of

DRAW = torch.Generator().manual_seed(0)
TANH = ACTIVATIONS["tanh"]

LAYERS: dict[str, tuple[Layer, Tensor]] = {
    "dense": (Dense(12, 5, RELU), torch.randn(4, 12, generator=DRAW)),
    "dense on an image": (Dense(12, 5, RELU), torch.randn(4, 3, 2, 2, generator=DRAW)),
    "per step": (PerStep(3, 2, RELU), torch.randn(4, 6, 3, generator=DRAW)),
    "recurrent": (Recurrent(2 + 5, 5, TANH, features=2), torch.randn(4, 6 * 2, generator=DRAW)),
    "convolution": (
        Convolution(2 * 9, 5, RELU, size=(6, 4), kernel=3, padding=1, pool=2),
        torch.randn(4, 2, 6, 4, generator=DRAW),
    ),
    "convolution of a flat input": (
        Convolution(2 * 9, 5, RELU, size=(6, 4), kernel=3),
        torch.randn(4, 48, generator=DRAW),
    ),
}


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> tuple[Layer, Tensor, Tensor]:
    layer, below = LAYERS[request.param]
    W = torch.randn(layer.units, layer.fan_in + 1, generator=torch.Generator().manual_seed(1)).double()
    return layer, W, below.double()


def test_codes_are_rows_times_weights(case: tuple[Layer, Tensor, Tensor]) -> None:
    """`encode` has a way of its own in a convolution and over time; memories and local steps go by the rows."""
    layer, W, below = case
    codes = layer.encode(W, below)
    rows = layer.rows(below, codes)
    assert rows.shape == (layer.per_row(codes).shape[0], layer.fan_in + 1)
    torch.testing.assert_close(rows @ W.T, layer.per_row(codes))
    torch.testing.assert_close(layer.anchor(W, below, codes, codes), codes)


def test_values_per_unit_meet_the_codes_of_that_unit(case: tuple[Layer, Tensor, Tensor]) -> None:
    layer, W, below = case
    codes = layer.encode(W, below)
    values = torch.arange(layer.units).double()
    shifted = layer.per_row(codes + layer.per_unit(values)) - layer.per_row(codes)
    torch.testing.assert_close(shifted, values.expand(len(shifted), -1))


def jacobian(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    def flat(x: Tensor) -> Tensor:
        return function(x.view_as(at)).flatten()

    found: Tensor = torch.autograd.functional.jacobian(flat, at.flatten())  # type: ignore[no-untyped-call]
    return found


def test_stretch_is_the_largest_singular_value_squared_from_below(case: tuple[Layer, Tensor, Tensor]) -> None:
    layer, W, below = case
    if isinstance(layer, PerStep):
        exact = torch.linalg.matrix_norm(W[:, :-1], 2).square()
    else:
        one = below[:1]
        exact = torch.linalg.matrix_norm(jacobian(lambda a: layer.encode(W, a), one), 2).square()
        if isinstance(layer, Recurrent):  # nothing lies below it whose codes could be updated
            return
    assert 0.9 * exact <= layer.stretch(W) <= exact * (1 + 1e-9)


def test_self_stretch_bounds_how_far_codes_and_anchor_part(case: tuple[Layer, Tensor, Tensor]) -> None:
    layer, W, below = case
    W = W.clone()
    codes = torch.randn(layer.encode(W, below)[:1].shape, generator=DRAW, dtype=torch.float64)
    forward = layer.encode(W, below[:1])
    apart = jacobian(lambda c: c - layer.anchor(W, below[:1], c, forward), codes)
    assert torch.linalg.matrix_norm(apart, 2).square() <= torch.as_tensor(layer.self_stretch(W)) * (1 + 1e-6)


def test_a_recurrent_layer_is_elmans_equations_step_by_step() -> None:
    layer, x = LAYERS["recurrent"]
    W = torch.randn(5, 8, generator=DRAW)
    U, recurrent, b = W[:, :2], W[:, 2:7], W[:, 7]
    for sequence, codes in zip(x.view(4, 6, 2), layer.encode(W, x), strict=True):
        h = torch.zeros(5)
        for x_t, c_t in zip(sequence, codes, strict=True):
            c = U @ x_t + recurrent @ h + b  # eq. 17
            torch.testing.assert_close(c_t, c)
            h = c.tanh()  # eq. 14


def test_lenet_5_has_its_sizes_and_is_torchs_own_convolutions() -> None:
    net = ConvolutionalNet()
    weights = initial_weights(net.layers, seed=0, top_gain=1.0, device=torch.device("cpu"))
    assert [tuple(W.shape) for W in weights] == [(6, 26), (16, 151), (120, 401), (84, 121), (10, 85)]
    x = torch.randn(3, 784, generator=DRAW)
    output = encode_input(x, weights, net.layers, sigmas_of(net.layers))[-1]

    a = x.view(3, 1, 28, 28)
    for W, channels, padding in ((weights[0], 1, 2), (weights[1], 6, 0)):
        c = functional.conv2d(a, W[:, :-1].view(-1, channels, 5, 5), W[:, -1], padding=padding)
        a = functional.avg_pool2d(c.relu(), 2)
    a = a.flatten(1)
    for W in weights[2:4]:
        a = functional.linear(a, W[:, :-1], W[:, -1]).relu()
    torch.testing.assert_close(output, functional.linear(a, weights[4][:, :-1], weights[4][:, -1]))
    assert (net.inputs, net.name) == (784, "6c5-16c5-120-84-10")


def test_an_elman_net_reads_out_every_step_and_classifies_the_sequence() -> None:
    net = ElmanNet(steps=6, units=5, outputs=3)
    weights = initial_weights(net.layers, seed=0, top_gain=1.0, device=torch.device("cpu"))
    assert [tuple(W.shape) for W in weights] == [(5, 7), (1, 6), (3, 7)]
    c, z, o = encode_input(torch.randn(4, 6, generator=DRAW), weights, net.layers, sigmas_of(net.layers))
    V, b, top = weights[1][:, :-1], weights[1][:, -1], weights[2]
    torch.testing.assert_close(z, c.tanh() @ V.T + b)  # eq. 15
    torch.testing.assert_close(o, z.flatten(1).relu() @ top[:, :-1].T + top[:, -1])  # eq. 16
    assert net.inputs == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvolutionalNet(image=(1, 27, 28)), r"filters must be such that every image side .* not 27 x 28"),
        (lambda: ConvolutionalNet(image=(1, 3, 3), filters=(Filters(2, 5),)), r"filters must .* not -1 x -1"),
        (lambda: ConvolutionalNet(image=(0, 3, 3)), "image must be at least 1, not 0"),
        (lambda: ConvolutionalNet(activation="gelu"), "activation must be one of .* not 'gelu'"),
        (lambda: ElmanNet(0, 3, 2), "steps must be at least 1, not 0"),
    ],
)
def test_impossible_nets_are_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


MATRICES = {
    **{f"random {m}x{n}": torch.randn(m, n, generator=DRAW) for m, n in ((10, 100), (100, 100), (100, 10), (1, 7))},
    "rank one": torch.outer(torch.randn(9, generator=DRAW), torch.randn(20, generator=DRAW)),
    "zero": torch.zeros(5, 8),
    "longest row orthogonal to the rest": torch.tensor([[1.01] + 19 * [0.0]] + 10 * [[0.0, 1.0] + 18 * [0.0]]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_squared_spectral_norm_is_the_svds_from_below_within_a_tenth(name: str) -> None:
    exact = torch.linalg.matrix_norm(MATRICES[name].double(), 2).square().item()
    estimate = squared_spectral_norm(MATRICES[name]).item()
    assert 0.9 * exact <= estimate <= exact * (1 + 1e-5)
