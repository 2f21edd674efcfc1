from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from models import ADMMHyperparameters, Architecture, FixedScale, NoScale, Predictor, RunningScale, TaylorADMM
from models.activations import ACTIVATIONS
from models.admm import PIECES, Hinge, Splitting, Squares, hidden_codes

CPU = torch.device("cpu")
NET = Architecture(5, (8, 6), 3)
BETA, GAMMA = (0.7, 1.3, 2.0), (4.0, 0.5)


def data(n: int = 40, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=draw)
    return 2 * torch.randn(3, 5, generator=torch.Generator().manual_seed(9))[y] + torch.randn(n, 5, generator=draw), y


def admm(net: Architecture = NET, seed: int = 0, device: torch.device = CPU, **hyperparameters: Any) -> TaylorADMM:
    return TaylorADMM(net, ADMMHyperparameters(**hyperparameters), scale=RunningScale(), seed=seed, device=device)


def started(sigma: str, loss: str = "multinomial", *, multiplied: bool = True) -> Splitting:
    """The unknowns after two iterations, with a λ that is not 0."""
    x, y = data()
    targets = {"multinomial": y, "squared": torch.randn(40, 3), "binary": (y.unsqueeze(1) == torch.arange(3)).float()}
    net = replace(NET, activation=sigma, loss_name=loss)
    splitting = admm(net, gamma_prod=BETA, gamma_nonlin=GAMMA).start(x, targets[loss])
    for _ in range(2):
        splitting = splitting.iterated(multiply=multiplied)
    return splitting


@pytest.mark.parametrize("sigma", PIECES)
def test_the_pieces_are_those_of_the_activation(sigma: str) -> None:
    z = torch.linspace(-3, 3, 601, dtype=torch.float64)
    reached = torch.zeros_like(z, dtype=torch.bool)
    for piece in PIECES[sigma]:
        inside = (z >= piece.low) & (z <= piece.high)
        torch.testing.assert_close(piece.slope * z[inside] + piece.offset, ACTIVATIONS[sigma](z[inside]))
        reached |= inside
    assert reached.all()


GRID = torch.linspace(-12, 12, 12_001, dtype=torch.float64)


def assert_least(z: Tensor, objective: Callable[[Tensor], Tensor]) -> None:
    """z (k,) minimises `objective`, which takes (g, k) or (k,) and judges entry by entry; the grid's step is 2e-3."""
    at_z, on_grid = objective(z), objective(GRID.unsqueeze(1).expand(-1, len(z))).min(dim=0).values
    assert (at_z <= on_grid + 1e-12).all()
    assert (on_grid - at_z).max() < 1e-3


@pytest.mark.parametrize("sigma", PIECES)
@pytest.mark.parametrize(("gamma", "beta"), [(10.0, 1.0), (0.3, 2.0), (1.0, 1.0)])
def test_hidden_codes_are_the_best_of_a_fine_grid(sigma: str, gamma: float, beta: float) -> None:
    a, anchor = 2 * torch.randn(2, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = hidden_codes(a, anchor, sigma, gamma=gamma, beta=beta)
    assert_least(z, lambda z: gamma * (a - ACTIVATIONS[sigma](z)).square() + beta * (z - anchor).square())


@pytest.mark.parametrize("beta", [0.2, 1.0, 30.0])
@pytest.mark.parametrize("loss", ["hinge", "squares"])
def test_output_codes_are_the_best_of_a_fine_grid(loss: str, beta: float) -> None:
    draw = torch.Generator().manual_seed(0)
    anchor, y, multiplier = torch.randn(3, 200, generator=draw, dtype=torch.float64) * 1.5
    multiplier = multiplier / 5
    of_entry: dict[str, Callable[[Tensor], Tensor]] = {
        "hinge": lambda z: torch.where(y > 0, (1 - z).clamp_min(0), z.clamp_min(0)),
        "squares": lambda z: (z - y).square(),
    }
    function = Hinge(y > 0) if loss == "hinge" else Squares(y)
    z = function.codes(anchor, multiplier, beta=beta)
    assert_least(z, lambda z: of_entry[loss](z) + multiplier * z + beta * (z - anchor).square())
    torch.testing.assert_close(function(z), of_entry[loss](z).sum())


@pytest.mark.parametrize("sigma", PIECES)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_weights_are_the_least_squares_of_codes_by_activations(sigma: str, depth: int) -> None:
    before = started(sigma)
    after = before.with_weights(depth)
    below = before.a[depth - 1] if depth else before.x
    rows = torch.cat([below, torch.ones(40, 1)], dim=1)
    expected = torch.linalg.lstsq(rows, before.z[depth]).solution.T
    torch.testing.assert_close(after.weights[depth], expected, rtol=1e-6, atol=1e-8)


def test_weights_that_the_data_leave_open_are_the_shortest() -> None:
    splitting = started("relu")
    splitting = replace(splitting, x=torch.cat([splitting.x[:, :3], splitting.x[:, :2]], dim=1))
    rows = torch.cat([splitting.x, torch.ones(40, 1)], dim=1)
    expected = splitting.z[0].T @ torch.linalg.pinv(rows).T
    torch.testing.assert_close(splitting.with_weights(0).weights[0], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sigma", PIECES)
@pytest.mark.parametrize("depth", [0, 1])
def test_the_objective_is_flat_in_the_activations_after_their_update(sigma: str, depth: int) -> None:
    after = started(sigma).with_activations(depth)
    a = after.a[depth].clone().requires_grad_()
    moved = replace(after, a=tuple(a if place == depth else other for place, other in enumerate(after.a)))
    (gradient,) = torch.autograd.grad(moved.objective(), a)
    assert gradient.abs().max() < 1e-9


@pytest.mark.parametrize("loss", ["multinomial", "binary", "squared"])
@pytest.mark.parametrize("sigma", PIECES)
def test_no_update_of_a_block_raises_the_objective(sigma: str, loss: str) -> None:
    new = started(sigma, loss)
    assert new.multiplier.abs().max() > 0
    for _ in range(5):
        for depth in range(3):
            steps = [Splitting.with_weights, Splitting.with_activations, Splitting.with_codes]
            for step in steps if depth < 2 else (steps[0], steps[2]):
                old, new = new, step(new, depth)
                assert new.objective() <= old.objective() * (1 + 1e-12) + 1e-9


def test_an_iteration_is_its_updates_in_the_order_of_the_algorithm() -> None:
    start = started("relu")
    expected = start
    for depth in (0, 1):
        expected = expected.with_weights(depth).with_activations(depth).with_codes(depth)
    expected = expected.with_weights(2).with_codes(2)
    rows = torch.cat([expected.a[1], torch.ones(40, 1)], dim=1)
    after = start.iterated(multiply=True)
    for mine, theirs in ((after.weights, expected.weights), (after.a, expected.a), (after.z, expected.z)):
        assert all(map(torch.equal, mine, theirs))
    multiplier = start.multiplier + BETA[2] * (expected.z[2] - rows @ expected.weights[2].T)
    torch.testing.assert_close(after.multiplier, multiplier)
    assert torch.equal(start.iterated(multiply=False).multiplier, start.multiplier)


def test_the_multiplier_moves_after_the_warm_up_and_until_then_the_objective_falls() -> None:
    x, y = data()
    objectives = admm(warm_up=12).fit(x, y, 12)
    assert (objectives.diff() <= 1e-9).all()
    earlier, later = (admm(warm_up=warm_up).fit(x, y, 8) for warm_up in (5, 6))
    assert torch.equal(earlier[:5], later[:5])
    assert earlier[5] != later[5]


def frozen(fitted: TaylorADMM) -> dict[str, bytes]:
    return {name: tensor.cpu().numpy().tobytes() for name, tensor in fitted.state_dict().items()}


def test_a_seed_repeats_bit_for_bit_and_another_does_not(device: torch.device) -> None:
    x, y = data()
    first, again, other = (admm(seed=seed, device=device) for seed in (1, 1, 2))
    objectives = [fitted.fit(x, y, 15) for fitted in (first, again, other)]
    assert frozen(first) == frozen(again)
    assert torch.equal(objectives[0], objectives[1])
    assert frozen(first) != frozen(other)
    again.fit(x, y, 15)  # from the start, not from where it was
    assert frozen(first) == frozen(again)


def test_predicting_changes_nothing_and_what_was_fitted_can_be_stored(device: torch.device) -> None:
    x, y = data()
    fitted, restored = admm(device=device), admm(seed=5, device=device)
    fitted.fit(x, y, 15)
    before, first = frozen(fitted), fitted.predict(x)
    assert torch.equal(fitted.predict(x), first)
    assert frozen(fitted) == before
    torch.testing.assert_close(first.sum(dim=1), torch.ones(40))
    restored.load_state_dict(fitted.state_dict())
    assert torch.equal(restored.predict(x), first)
    predictor = fitted.predictor()
    fitted.fit(x, (y + 1) % 3, 15)
    assert torch.equal(predictor(x), first)
    with pytest.raises(ValueError, match=r"state tensor 'W\.2' is missing"):
        restored.load_state_dict({name: t for name, t in fitted.state_dict().items() if name != "W.2"})


def test_every_iteration_shows_the_net_it_made() -> None:
    x, y = data()
    seen: list[tuple[int, Predictor]] = []
    fitted = admm()
    fitted.fit(x, y, 4, lambda iteration, predictor: seen.append((iteration, predictor)))
    assert [iteration for iteration, _ in seen] == [1, 2, 3, 4]
    assert torch.equal(seen[-1][1](x), fitted.predict(x))
    assert not torch.equal(seen[0][1](x), seen[1][1](x))


REFUSED = [
    ("x", "infinite", lambda x, y: (x.masked_fill(torch.eye(40, 5) == 1, torch.inf), y, 3)),
    ("x", "infinite", lambda x, y: (x.double().masked_fill(torch.eye(40, 5) == 1, 1e300), y, 3)),
    ("y", "3", lambda x, y: (x, y + 1, 3)),
    ("y", "-1", lambda x, y: (x, y - 1, 3)),
    ("iterations", "0", lambda x, y: (x, y, 0)),
    ("inputs", "", lambda x, y: (x[:, :4], y, 3)),
    ("targets", "", lambda x, y: (x, y.float(), 3)),
]


@pytest.mark.parametrize(("argument", "value", "spoil"), REFUSED)
def test_what_cannot_be_fitted_is_refused_by_name_and_changes_nothing(
    argument: str, value: str, spoil: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, int]]
) -> None:
    x, y = data()
    fitted = TaylorADMM(NET, scale=NoScale(), seed=0, device=CPU)
    fitted.fit(x, y, 3)
    before = frozen(fitted)
    with pytest.raises(ValueError, match=rf"^{argument} must .*{value}"):
        fitted.fit(*spoil(x, y))
    assert frozen(fitted) == before


def test_a_callback_that_raises_leaves_the_last_fit_as_it_was() -> None:
    def stop(iteration: int, predictor: Predictor) -> None:
        raise KeyboardInterrupt

    x, y = data()
    fitted = admm()
    fitted.fit(x, y, 3)
    before = frozen(fitted)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(x, y + 0, 3, stop)
    assert frozen(fitted) == before


@pytest.mark.parametrize("bad", [torch.tensor([[0.5]]), torch.tensor([[-1.0]]), torch.tensor([[torch.nan]])])
def test_yes_or_no_is_one_or_zero(bad: Tensor) -> None:
    net = Architecture(2, (3,), 1, loss_name="binary")
    with pytest.raises(ValueError, match=r"^y must be 0 or 1, not"):
        admm(net).fit(torch.ones(1, 2), bad, 1)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *((name, value) for name in ("gamma_prod", "gamma_nonlin") for value in (0.0, -1.0, torch.inf, (1.0, 2.0, 3.0, 4.0))),
        ("gamma_prod", (1.0, 0.0, 1.0)),
        ("warm_up", -1),
    ],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be"):
        admm(**{argument: value})


@pytest.mark.parametrize("net", [replace(NET, activation="tanh"), replace(NET, batch_norm=True)])
def test_other_nets_are_refused(net: Architecture) -> None:
    with pytest.raises(ValueError, match=r"^net must be without batch normalisation and of relu"):
        admm(net)


def test_missing_values_are_taken() -> None:
    x, y = data()
    fitted = admm()
    assert fitted.fit(x.masked_fill(torch.eye(40, 5) == 1, torch.nan), y, 5).isfinite().all()


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x).float()[:800], torch.tensor(y)[:800]


@pytest.mark.parametrize("sigma", ["relu", "hard-sigmoid"])
def test_it_fits_digits(sigma: str) -> None:
    x, y = digits()
    net = Architecture(64, (80,), 10, sigma)
    fitted = TaylorADMM(net, scale=FixedScale(0.0, 16.0), seed=0, device=CPU)
    fitted.fit(x, y, 20)
    assert (fitted.predict(x).argmax(dim=1) == y).float().mean() >= 0.9


def test_one_output_decides_between_two_classes_at_a_half_of_z() -> None:
    """Taylor et al.'s own case: one output, and the hinge of two classes."""
    x, y = digits()
    even = (y % 2 == 0).float().unsqueeze(1)
    net = Architecture(64, (80,), 1, loss_name="binary")
    fitted = TaylorADMM(net, scale=FixedScale(0.0, 16.0), seed=0, device=CPU)
    fitted.fit(x, even, 20)
    assert ((fitted.predict(x) > 0.5) == (even == 1)).float().mean() >= 0.9


def test_values_are_fitted_too() -> None:
    x, _ = data(200)
    y = (x[:, :1] - 2 * x[:, 1:2]).abs()
    fitted = admm(Architecture(5, (20,), 1, loss_name="squared"))
    fitted.fit(x, y, 30)
    assert (fitted.predict(x) - y).square().mean() < 0.4 * y.var()
