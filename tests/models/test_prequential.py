"""Prequential metrics, against scikit-learn's and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from torch import Tensor

from models.prequential import RECENT, ClassificationMetrics
from models.prequential_values import RegressionMetrics
from tests.models.test_learner_contract import frozen, stored_and_loaded

Block = tuple[Tensor, Tensor, Tensor]


def classified(n: int, seed: int = 0, classes: int = 3) -> Block:
    """Probabilities that lean towards the class, classes, weights of which some are 0."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=draw)
    scores = torch.randn(n, classes, generator=draw) + 2 * torch.nn.functional.one_hot(y, classes)
    return scores.softmax(dim=1), y, (torch.rand(n, generator=draw) > 0.1).float()


def cut(block: Block, size: int) -> list[Block]:
    return list(zip(*(torch.split(tensor, size) for tensor in block), strict=True))


@pytest.mark.parametrize("size", [1, 16, 300])
def test_figures_of_classification_are_scikit_learns(size: int) -> None:
    block = classified(300)
    metrics = ClassificationMetrics.unknown(3)
    for part in cut(block, size):
        metrics = metrics.updated(*part)
    p, y, w = (tensor.numpy() for tensor in block)
    p, y = p[w > 0], y[w > 0]
    figures, predicted, exact = metrics.ever.figures(), p.argmax(axis=1), p.astype(np.float64)
    assert figures["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert figures["kappa"] == pytest.approx(cohen_kappa_score(y, predicted))
    assert figures["log_loss"] == pytest.approx(log_loss(y, exact / exact.sum(axis=1, keepdims=True)), rel=1e-6)
    torch.testing.assert_close(metrics.ever.seen, torch.tensor(np.bincount(y)).double())
    if size == 1:
        assert figures["no_change"] == pytest.approx(np.mean([0, *(y[1:] == y[:-1])]))
        majority = [np.bincount(y[:i], minlength=3).argmax() if i else -1 for i in range(len(y))]
        assert figures["majority"] == pytest.approx(np.mean(y == majority))


def test_recent_figures_forget_however_the_stream_is_cut() -> None:
    block = classified(400)
    right = (block[0].argmax(dim=1) == block[1]).double() * block[2]
    share = torch.exp(-torch.arange(399, -1, -1, dtype=torch.float64) / RECENT)
    expected = float((share * right).sum() / (share * block[2]).sum())
    for size in (1, 7, 400):
        metrics = ClassificationMetrics.unknown(3)
        for part in cut(block, size):
            metrics = metrics.updated(*part)
        assert metrics.recent.figures()["accuracy"] == pytest.approx(expected)


def test_before_anything_counted_there_are_no_figures() -> None:
    p, y, w = classified(5)
    for metrics in (ClassificationMetrics.unknown(3), ClassificationMetrics.unknown(3).updated(p, y, 0 * w)):
        assert set(metrics.ever.figures().values()) == {None}
        assert metrics.last == -1
    assert set(RegressionMetrics.unknown(1).ever.figures().values()) == {None}


def test_a_class_more_changes_no_figure_and_errors_on_it_are_no_drift() -> None:
    metrics = ClassificationMetrics.unknown(2)
    p, y = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(500, 1), torch.tensor([0, 1]).repeat(500)
    for part in cut((p, y, torch.ones(1000)), 100):
        metrics = metrics.updated(*part)
    grown = metrics.grown(3)
    assert grown.ever.figures() == metrics.ever.figures()
    new = grown.updated(p, torch.full((1000,), 2), torch.ones(1000))  # all wrong: nobody knew this class
    assert new.alarms.count == 0
    drifted = metrics.updated(p, 1 - y, torch.ones(1000))
    assert drifted.alarms.count >= 1
    assert 1000 < drifted.alarms.last <= 1100


def test_forgetting_is_read_from_recalls_of_periods() -> None:
    """Class 0 is known, then not seen, then wrong; class 1 stays right."""
    metrics = ClassificationMetrics.unknown(2)
    for period, classes in enumerate(([0, 1], [1], [1], [0, 1])):
        y = torch.tensor(classes).repeat(1000 // len(classes))
        predicted = torch.ones_like(y) if period == 3 else y
        metrics = metrics.updated(torch.nn.functional.one_hot(predicted, 2).float(), y, torch.ones(1000))
    recalls = metrics.periods.recalls()
    torch.testing.assert_close(recalls[:4, 0], torch.tensor([1.0, math.nan, math.nan, 0.0]).double(), equal_nan=True)
    assert metrics.periods.seen.sum() == 4000
    retention = metrics.retention()
    assert (retention.average_accuracy, retention.backward_transfer, retention.forgetting) == (0.5, -0.5, 0.5)


def test_periods_double_when_all_are_used_and_no_sample_is_lost() -> None:
    metrics = ClassificationMetrics.unknown(2)
    for seed in range(80):
        metrics = metrics.updated(*classified(500, seed, classes=2))
    periods = metrics.periods
    assert periods.length == 2000
    assert periods.seen.sum() == periods.samples == metrics.ever.seen.sum()
    assert (periods.seen[:15].sum(dim=1) - 2000).abs().max() <= 500


def values(n: int, seed: int = 0) -> Block:
    draw = torch.Generator().manual_seed(seed)
    y = 5 + torch.randn(n, 2, generator=draw)
    return y + 0.3 * torch.randn(n, 2, generator=draw), y, (torch.rand(n, generator=draw) > 0.1).float()


@pytest.mark.parametrize("size", [1, 16, 300])
def test_figures_of_regression_are_scikit_learns(size: int) -> None:
    block = values(300)
    metrics = RegressionMetrics.unknown(2)
    for part in cut(block, size):
        metrics = metrics.updated(*part)
    predicted, y, w = (tensor.double().numpy() for tensor in block)
    predicted, y = predicted[w > 0], y[w > 0]
    figures = metrics.ever.figures()
    assert figures["mae"] == pytest.approx(mean_absolute_error(y, predicted))
    assert figures["rmse"] == pytest.approx(root_mean_squared_error(y.ravel(), predicted.ravel()))
    assert figures["r2"] == pytest.approx(r2_score(y, predicted, multioutput="variance_weighted"), rel=1e-6)
    assert figures["no_change"] is not None
    assert metrics.ever.count == (w > 0).sum()


def test_values_that_jump_are_a_drift_and_steady_ones_are_not() -> None:
    metrics = RegressionMetrics.unknown(2)
    for seed in range(100):
        metrics = metrics.updated(*values(100, seed))
    assert metrics.alarms.count == 0
    predicted, y, w = values(400, 1000)
    assert metrics.updated(predicted + 10, y, w).alarms.count >= 1


@pytest.mark.parametrize("kind", [ClassificationMetrics, RegressionMetrics])
def test_a_stored_and_loaded_state_goes_on_bit_for_bit(
    kind: type[ClassificationMetrics] | type[RegressionMetrics],
) -> None:
    make = classified if kind is ClassificationMetrics else values
    metrics = kind.unknown(3 if kind is ClassificationMetrics else 2).updated(*make(40))
    loaded = kind.from_tensors(stored_and_loaded(metrics.tensors()))
    assert frozen(loaded.updated(*make(30, 1)).tensors()) == frozen(metrics.updated(*make(30, 1)).tensors())
