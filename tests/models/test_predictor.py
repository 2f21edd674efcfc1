from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models import Architecture, Predictor, RunningScale
from models.network import encode_input, initial_weights, sigmas_of
from models.predictor import Past
from models.scaling import no_moments

NET = Architecture(4, (6, 5), 3)
X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1


def predictor(device: torch.device) -> Predictor:
    moments = no_moments(4, device).updated(X.double().to(device), torch.ones(20, device=device).double())
    weights = initial_weights(NET.layers, seed=0, top_gain=1.0, device=device)
    return Predictor(weights, RunningScale().scaling(moments), NET)


def test_probabilities_are_the_softmax_of_the_scaled_nets_output(device: torch.device) -> None:
    probabilities = predictor(device)(X)
    z = (X - X.mean(dim=0)) / X.std(dim=0, correction=0)
    weights = initial_weights(NET.layers, seed=0, top_gain=1.0, device=torch.device("cpu"))
    outputs = encode_input(z, weights, NET.layers, sigmas_of(NET.layers))[-1]
    torch.testing.assert_close(probabilities, outputs.softmax(dim=1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(20))
    assert probabilities.dtype == torch.float32
    assert probabilities.device.type == "cpu"


def test_inputs_may_have_any_float_dtype_and_missing_values(device: torch.device) -> None:
    predict = predictor(device)
    torch.testing.assert_close(predict(X.double()), predict(X), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(predict(torch.full((1, 4), torch.nan)), predict(X.double().mean(0, keepdim=True)))


def test_a_block_of_none_gives_none(device: torch.device) -> None:
    assert predictor(device)(torch.zeros(0, 4)).shape == (0, 3)


@pytest.mark.parametrize("shape", [(4,), (2, 1), (2, 5), (1, 2, 4)])
def test_another_shape_is_refused_not_broadcast(shape: tuple[int, ...], device: torch.device) -> None:
    with pytest.raises(ValueError, match=r"inputs must have shape \(n, 4\), not \("):
        predictor(device)(torch.zeros(shape))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("direct", [False, True])
def test_what_is_served_is_what_the_layers_make_of_it(direct: bool, older: bool, device: torch.device) -> None:
    """Up to rounding: one input of a fully connected net goes a shorter way through torch."""
    plain = predictor(device)
    tops = [torch.randn(3, 6 + 4 * direct, generator=torch.Generator().manual_seed(seed)).to(device) for seed in (1, 2)]
    now, before = ((*plain.weights[:-1], top) for top in tops)
    likely = torch.tensor([0.5, 0, 0, 0, 0.7], device=device)
    served = replace(plain, weights=now, direct=direct, past=Past(before, likely) if older else None)
    z = served.scaling(X.to(device))
    outputs = served.codes(z)[-1]
    if older:
        assert 0 < int((z[:, 0] < 0).sum()) < len(X)
        outputs = torch.where(z[:, :1] < 0, replace(served, weights=before).codes(z)[-1], outputs)
    for inputs, expected in ((X, outputs), (X[:1], outputs[:1])):
        torch.testing.assert_close(served(inputs), expected.softmax(dim=1).cpu(), rtol=1e-4, atol=1e-6)
    assert served.products == (5 * 6 + 7 * 5 + tops[0].numel()) * (1 + older)


def test_tensors_make_the_same_predictor_again(device: torch.device) -> None:
    original = predictor(device)
    again = Predictor.from_tensors(original.tensors(), NET)
    assert torch.equal(again(X), original(X))
    assert again.tensors().keys() == original.tensors().keys()
