from __future__ import annotations

import torch

from benchmarks.continual.ewc import EWC, diagonal_fisher
from benchmarks.datasets import digits
from models import Architecture
from models.network import encode_input, initial_weights, sigmas_of

NET = Architecture(64, (12, 9), 10)
X, Y = digits().x[:40], digits().y[:40]


def test_the_fisher_information_is_the_expected_square_of_every_samples_gradient() -> None:
    weights = initial_weights(NET.layers, seed=0, top_gain=1.0, device=torch.device("cpu"))
    inputs = X[:5] / 16
    expected = [torch.zeros_like(W) for W in weights]
    for x in inputs:
        own = [W.clone().requires_grad_() for W in weights]
        log_p = encode_input(x.unsqueeze(0), own, NET.layers, sigmas_of(NET.layers))[-1].log_softmax(dim=1)[0]
        for k in range(10):
            for F, gradient in zip(expected, torch.autograd.grad(log_p[k], own, retain_graph=True), strict=True):
                F += log_p[k].detach().exp() * gradient.square() / 5
    for F, by_hand in zip(diagonal_fisher(inputs, weights, NET.layers), expected, strict=True):
        torch.testing.assert_close(F, by_hand)


def test_without_an_earlier_task_it_is_plain_sgd() -> None:
    bound, free = (EWC(NET, lr=0.1, strength=strength, seed=0) for strength in (1e6, 0.0))
    for learner in (bound, free):
        learner.learn(X, Y)
    assert all(map(torch.equal, bound.sgd.state.weights, free.sgd.state.weights))


def test_a_step_minimises_distance_to_sgds_result_plus_the_penalty() -> None:
    lr, strength = 0.05, 300.0
    learner, plain = (EWC(NET, lr=lr, strength=s, seed=0) for s in (strength, 0.0))
    for one in (learner, plain):
        one.learn(X, Y)
        one.end_task(X)
    anchor, fisher = learner.anchor, learner.fisher
    for one in (learner, plain):
        one.learn(X.flip(1), Y)
    for W, target, F, old in zip(learner.sgd.state.weights, plain.sgd.state.weights, fisher, anchor, strict=True):
        slope = (W - target) / lr + strength * F * (W - old)
        assert float(slope.abs().max()) < 1e-4
    assert any(not torch.equal(W, t) for W, t in zip(learner.sgd.state.weights, plain.sgd.state.weights, strict=True))


def test_an_infinite_penalty_holds_what_mattered_and_a_second_task_adds_to_it() -> None:
    learner = EWC(NET, lr=0.1, strength=1e12, decay=0.5, seed=0)
    learner.learn(X, Y)
    learner.end_task(X)
    first = learner.fisher
    learner.learn(X.flip(1), Y)
    moved = [
        (W - old)[F > 1e-6].abs() for W, old, F in zip(learner.sgd.state.weights, learner.anchor, first, strict=True)
    ]
    assert max(float(part.max()) for part in moved) < 1e-5
    learner.end_task(X)
    assert all(bool((0.5 * before <= F).all()) for F, before in zip(learner.fisher, first, strict=True))
    assert len(learner.state_dict()) == len(learner.sgd.state_dict()) + 6
    assert learner.predict(X).shape == (40, 10)
