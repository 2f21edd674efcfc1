"""What of the memories is served: one matrix, whatever the shares."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.ensemble import ACTIVATIONS_PER_SAMPLE, DISTRUST, Ensemble, views, weighted_sum
from models.error_rates import ErrorRates
from models.top_memory import View
from tests.models.test_learner_contract import frozen, stored_and_loaded

CPU = torch.device("cpu")
VIEWS = views((1.0, 50.0, math.inf), 9, 2, averaged=True)
ROW = torch.randn(1, 9, generator=torch.Generator().manual_seed(0))
INPUTS = torch.tensor([[0.5, -2.0]])


def ensemble(horizons: tuple[float, ...] = (1.0, 50.0, math.inf)) -> Ensemble:
    return Ensemble.unknown(views(horizons, 9, 2, averaged=True), 3, CPU, multinomial=False, low_rank=False)


def learned(one: Ensemble, n: int, seed: int = 0) -> Ensemble:
    draw = torch.Generator().manual_seed(seed)
    a, z = torch.randn(n, 9, generator=draw).relu(), torch.randn(n, 2, generator=draw)
    y = torch.nn.functional.one_hot((a[:, 0] > a[:, 1]).long() + (z[:, 0] > 1).long(), 3).float()
    for start in range(0, n, 4):
        at = slice(start, start + 4)
        rows = [view.rows(a[at], z[at]) for view in one.candidates]
        wanted, weight = y[at], torch.ones(4)

        def errors(scores: Tensor, wanted: Tensor = wanted) -> Tensor:
            return scores.argmax(-1) != wanted.argmax(-1)

        one = remembered(one.judged(one.scores(rows), errors, wanted, weight, tau=100.0), rows, wanted, start)
    return one


def remembered(one: Ensemble, rows: list[Tensor], y: Tensor, samples: int, *, holds: bool = False) -> Ensemble:
    return one.updated(
        rows,
        y,
        torch.ones(len(y)),
        holds=torch.tensor(holds),
        samples=torch.tensor(samples),
        ridge=4.0,
        renew=True,
        classes=True,
    )


def with_rates(rates: list[float]) -> Ensemble:
    return replace(learned(ensemble(), 40), rates=ErrorRates(torch.tensor(rates).double(), torch.tensor(1.0).double()))


def test_memories_see_no_more_than_they_can_tell_apart_and_one_sees_the_inputs_alone() -> None:
    assert (
        View(1.0, ACTIVATIONS_PER_SAMPLE, 2, averaged=False),
        View(50.0, 9, 2, averaged=False),
        View(50.0, 0, 2, averaged=False),
        View(math.inf, 9, 2, averaged=True),
    ) == VIEWS
    assert [view.inputs for view in views((1.0, math.inf), 9, 0, averaged=False)] == [0, 0]


@pytest.mark.parametrize("horizons", [(1.0, 50.0, math.inf), (math.inf,)])
def test_one_matrix_says_what_the_weighted_candidates_say(horizons: tuple[float, ...]) -> None:
    one = learned(ensemble(horizons), 40)
    whole = torch.cat([ROW, INPUTS, torch.ones(1, 1)], dim=1)
    scores = one.scores([view.rows(ROW, INPUTS) for view in one.candidates])
    for shares in (one.mixture(), one.shares(0.0), torch.linspace(-1, 2, len(scores))):
        torch.testing.assert_close(whole @ one.combined(shares).T, weighted_sum(shares, scores), rtol=1e-4, atol=1e-4)


def test_the_longest_serves_alone_where_it_is_close_to_the_mixture() -> None:
    """Rates: three live memories, the reflex, the stack, the mixture, the longest."""
    alone = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    assert torch.equal(with_rates([0.3, 0.2, 0.3, 0.4, 0.2, 0.2, 0.205]).shares(0.01), alone)
    mixed = with_rates([0.3, 0.2, 0.3, 0.4, 0.3, 0.2, 0.22]).shares(0.01)
    torch.testing.assert_close(mixed, torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]), rtol=0, atol=1e-6)
    stacked = with_rates([0.3, 0.3, 0.3, 0.4, 0.1, 0.1, 0.3])
    torch.testing.assert_close(stacked.shares(0.0)[:-1], stacked.stack.shares(), rtol=0, atol=1e-6)


def test_long_memories_are_distrusted_where_the_short_sighted_err_less() -> None:
    assert with_rates([0.3, 0.1, 0.3, 0.4, 0.1, 0.1, 0.2]).trust() == 1
    trust = with_rates([0.1, 0.4, 0.4, 0.4, 0.1, 0.1, 0.13]).trust().item()
    assert trust == pytest.approx(math.exp(-0.03 / DISTRUST), rel=1e-4)


def test_codes_take_their_targets_from_the_longest_live_memory_on_features() -> None:
    assert ensemble().longest_live().tolist() == [0, 1, 0, 0, 0]


def test_a_memory_that_holds_forgets_nothing_and_counts_its_past_in_full() -> None:
    one = learned(ensemble((1.0, 8.0)), 40)
    assert one.memories[-1].mass < 9
    rows = [view.rows(ROW, INPUTS) for view in one.candidates]
    held = remembered(one, rows, torch.zeros(1, 3), 40, holds=True)
    assert held.memories[-1].mass == pytest.approx(41)
    assert held.memories[0].mass < 9


@pytest.mark.parametrize("horizons", [(1.0, 50.0, math.inf), (math.inf,)])
def test_a_stored_and_loaded_state_goes_on_bit_for_bit(horizons: tuple[float, ...]) -> None:
    one = learned(ensemble(horizons), 20)
    loaded = ensemble(horizons).like(stored_and_loaded(one.tensors()))
    assert frozen(learned(loaded, 20, 1).tensors()) == frozen(learned(one, 20, 1).tensors())
