from __future__ import annotations

import pytest
import torch

from models import Architecture
from models.activations import RELU
from models.layers import append_one
from models.network import encode_input, initial_weights, sigmas_of

CPU = torch.device("cpu")
NET = Architecture(784, (100, 60), 10)


def test_sizes_and_name_list_all_layers() -> None:
    assert NET.sizes == (784, 100, 60, 10)
    assert NET.name == "784-100-60-10"
    assert {layer.activation for layer in NET.layers[:-1]} == {RELU}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (3,), 2), "inputs must be at least 1, not 0"),
        ((4, (), 2), "hidden must be sizes of at least one layer"),
        ((4, (3, -1), 2), "hidden must be at least 1, not -1"),
        ((4, (3,), 0), "outputs must be at least 1, not 0"),
        ((4, (3,), 2, "gelu"), "activation must be one of relu, tanh, .*, not 'gelu'"),
        ((4, (3,), 2, ("relu", "tanh")), "activation must be one name, or 1: one a hidden layer"),
        ((4, (3,), 2, "relu", "hinge"), "loss_name must be one of multinomial, squared, binary, not 'hinge'"),
    ],
)
def test_impossible_shapes_are_refused_by_name(arguments: tuple[int, tuple[int, ...], int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(*arguments)


def test_initial_weights_have_he_variance_zero_biases_and_a_small_top() -> None:
    weights = initial_weights(NET.layers, seed=0, top_gain=0.1, device=CPU)
    assert [tuple(W.shape) for W in weights] == [(100, 785), (60, 101), (10, 61)]
    for W, gain in zip(weights, (1.0, 1.0, 0.1), strict=True):
        assert torch.equal(W[:, -1], torch.zeros(len(W)))
        assert W.dtype == torch.float32
        assert W[:, :-1].std().item() == pytest.approx(gain * (2 / (W.shape[1] - 1)) ** 0.5, rel=0.1)


def test_a_seed_means_the_same_net_and_leaves_the_global_generator_alone(device: torch.device) -> None:
    before = torch.get_rng_state()
    first, again, other = (initial_weights(NET.layers, seed=s, top_gain=1.0, device=device) for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    on_cpu = initial_weights(NET.layers, seed=5, top_gain=1.0, device=CPU)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(first, on_cpu, strict=True))


def test_append_one_adds_a_last_column_of_ones() -> None:
    assert append_one(torch.zeros(2, 3)).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]


def test_encode_input_is_algorithm_2_2_layer_by_layer() -> None:
    draw = torch.Generator().manual_seed(0)
    W1, W2, x = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((4, 4), (2, 5), (3, 3)))
    layers = Architecture(3, (4,), 2).layers
    codes = encode_input(x, (W1, W2), layers, sigmas_of(layers))
    for sample in range(3):
        c1 = W1[:, :-1] @ x[sample] + W1[:, -1]  # σ_0 is the identity
        c2 = W2[:, :-1] @ c1.clamp(min=0) + W2[:, -1]
        torch.testing.assert_close(codes[0][sample], c1)
        torch.testing.assert_close(codes[1][sample], c2)
