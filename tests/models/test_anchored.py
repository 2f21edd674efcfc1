"""The recommended AM-mem: what it is made of, and what it is for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from models import (
    AnchoredAMMem,
    AnchoredHyperparameters,
    Architecture,
    ArgumentError,
    ConvolutionalNet,
    FixedScale,
    Learner,
    PooledScale,
    create_learner,
)
from models.presence import Presence
from models.temperature import START, updated_temperature

CPU = torch.device("cpu")
NET = Architecture(64, (100, 100), 10)


def digits(seed: int = 0) -> tuple[Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]


def am_mem(net: Architecture = NET, seed: int = 0, **hyperparameters: Any) -> AnchoredAMMem:
    return AnchoredAMMem(net, AnchoredHyperparameters(**hyperparameters), scale=PooledScale(), seed=seed, device=CPU)


def prequential(learner: Learner, x: Tensor, y: Tensor, block: int) -> Tensor:
    """Which samples were predicted right before they were learned, (n,) bool."""
    right = []
    for start in range(0, len(y), block):
        at = slice(start, start + block)
        right.append(learner.predict(x[at]).argmax(dim=1) == y[at])
        assert learner.learn(x[at], y[at])
    return torch.cat(right)


def test_the_papers_rule_solved_exactly_is_a_share_of_one_over_t() -> None:
    """W_t = B_t A_t⁻¹ with sums A, B is W_{t−1} + (1/t)(c − W_{t−1} a)aᵀ Ā_t⁻¹ with the average Ā."""
    draw = torch.Generator().manual_seed(0)
    a, c = (torch.randn(40, k, generator=draw, dtype=torch.float64) for k in (5, 3))
    W = c[:10].T @ a[:10] @ torch.linalg.inv(a[:10].T @ a[:10])
    for t in range(11, 41):
        average = a[:t].T @ a[:t] / t
        residual = torch.outer(c[t - 1] - W @ a[t - 1], a[t - 1])
        W = W + residual @ torch.linalg.inv(average) / t
        torch.testing.assert_close(W, c[:t].T @ a[:t] @ torch.linalg.inv(a[:t].T @ a[:t]))


def test_digits_in_blocks_of_8_are_predicted_better_than_by_tuned_adam() -> None:
    """0.945 over two seeds; Adam with its best step size 0.888 (`benchmarks run online.digits`)."""
    x, y = digits()
    assert prequential(am_mem(), x, y, 8).float().mean() > 0.93


def test_after_the_first_256_samples_it_hardly_matters_how_the_stream_is_cut() -> None:
    x, y = digits()
    later = [prequential(am_mem(), x, y, block)[256:].float().mean().item() for block in (8, 64)]
    assert abs(later[0] - later[1]) < 0.02
    assert min(later) > 0.94


def test_classes_that_come_one_after_the_other_are_not_forgotten() -> None:
    """Five tasks of two digits, all classes declared, one pass; Adam ends with the last two classes alone."""
    x, y = digits()
    order = torch.cat([(y[:1400] // 2 == task).nonzero().flatten() for task in range(5)])
    accuracy = {}
    for name in ("am-mem", "adam"):
        hyperparameters = {"recent": 100.0} if name == "am-mem" else {"lr": 0.005}
        learner = create_learner(name, NET, hyperparameters=hyperparameters, scale=PooledScale(), seed=0, device=CPU)
        for start in range(0, len(order), 10):
            at = order[start : start + 10]
            assert learner.learn(x[at], y[at])
        accuracy[name] = (learner.predict(x[1400:]).argmax(dim=1) == y[1400:]).float().mean().item()
    assert accuracy["adam"] < 0.5
    assert accuracy["am-mem"] > 0.85


def test_probabilities_mean_what_they_say() -> None:
    """Mean confidence and accuracy of predictions before learning lie close together."""
    x, y = digits()
    learner = am_mem()
    confidence, right = [], []
    for start in range(0, len(y), 8):
        at = slice(start, start + 8)
        p = learner.predict(x[at])
        confidence.append(p.amax(dim=1))
        right.append(p.argmax(dim=1) == y[at])
        learner.learn(x[at], y[at])
    apart = torch.cat(confidence)[400:].mean() - torch.cat(right)[400:].float().mean()
    assert abs(apart) < 0.03


def test_a_share_of_zero_freezes_the_hidden_layers_and_order_does_not_matter_then() -> None:
    """Memories are sums: with horizons that never end, a stream and its reverse leave the same net."""
    x, y = digits()
    frozen: Any = {"share": 0.0, "horizons": (1e9, None), "wait_for_absent": False}
    scale = FixedScale(4.9, 6.0)  # a running one depends on the order
    nets = [AnchoredAMMem(NET, AnchoredHyperparameters(**frozen), scale=scale, seed=0, device=CPU) for _ in range(2)]
    hidden = nets[0].state.weights[1]
    for start in range(0, 400, 20):
        for net, at in zip(nets, (slice(start, start + 20), slice(380 - start, 400 - start)), strict=True):
            assert net.learn(x[at], y[at])
    assert torch.equal(nets[0].state.weights[1], hidden)
    for k in (1, 2):
        for name in ("A", "B"):
            one, other = (net.state_dict()[f"{name}.top{k}"] for net in nets)
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


def test_the_temperature_goes_where_the_log_loss_is_least() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.rand(4000, 5, generator=draw)
    labels = torch.distributions.Categorical(logits=12 * scores).sample()  # type: ignore[no-untyped-call]  # the same
    target = torch.nn.functional.one_hot(labels, 5).float()
    beta = torch.tensor(START)
    for start in range(0, 4000, 8):
        at = slice(start, start + 8)
        beta = updated_temperature(beta, scores[at], target[at], torch.ones(8), tau=1000.0)
    fitted = torch.tensor(12.0, requires_grad=True)
    optimiser = torch.optim.LBFGS([fitted])

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(fitted * scores, labels)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]  # the same
    assert beta.item() == pytest.approx(fitted.item(), rel=0.1)


def test_a_class_is_missed_that_made_up_much_of_the_past_and_none_that_is_merely_rare() -> None:
    presence = Presence.unknown(3, CPU)
    eye = torch.eye(3)
    for _ in range(300):
        presence = presence.updated(eye[[0, 1] * 5], torch.ones(10), tau=100.0)
    assert presence.absent()  # of the third class, the prior expects more
    for _ in range(1500):
        presence = presence.updated(eye[[0, 1] * 5], torch.ones(10), tau=100.0)
    assert not presence.absent()  # by now it counts as rare
    for _ in range(100):
        presence = presence.updated(eye[[0] * 10], torch.ones(10), tau=100.0)
    assert presence.absent()
    assert presence.present().tolist() == [True, False, False]


@pytest.mark.parametrize("net", [ConvolutionalNet(), Architecture(4, (3,), 2, batch_norm=True)])
def test_other_nets_are_refused_by_name(net: Any) -> None:
    with pytest.raises(ArgumentError, match="without batch normalisation"):
        create_learner("am-mem", net, scale=PooledScale(), seed=0, device=CPU)
