"""SLDA, random-feature ridge and the features that both stand on."""

from __future__ import annotations

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from benchmarks.continual.features import FrozenFeatures
from benchmarks.continual.random_ridge import RandomRidge
from benchmarks.continual.slda import SLDA
from benchmarks.datasets import digits
from models import Architecture
from models.network import initial_weights

NET = Architecture(64, (50,), 10)
X, Y = digits().shuffled(0)
BLOCKS = list(zip(X.split(200), Y.split(200), strict=True))  # type: ignore[no-untyped-call]


def test_features_start_like_a_learner_of_the_seed_and_stay() -> None:
    features = FrozenFeatures(NET, seed=3)
    first = features(X[:200])
    mean, deviation = X[:200].mean(), X[:200].std()
    W = initial_weights(NET.layers, seed=3, top_gain=1.0, device=torch.device("cpu"))[0]
    torch.testing.assert_close(first, (((X[:200] - mean) / deviation) @ W[:, :-1].T).relu())
    features(100 * X)
    assert torch.equal(features(X[:200]), first)
    assert set(features.state_dict()) == {"W.1", "scale"}


@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_slda_is_scikit_learns_lda(shrinkage: float) -> None:
    slda = SLDA(FrozenFeatures(None, seed=0), 10, shrinkage)
    for x, y in BLOCKS:
        slda.learn(x, y)
    z = slda.features(X).double().numpy()
    priors = [0.1] * 10
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=(Y.bincount() / len(Y)).tolist())
    lda.fit(z, Y.numpy())
    torch.testing.assert_close(slda.covariance(), torch.tensor(lda.covariance_), rtol=1e-6, atol=1e-6)
    equal = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=priors)
    agreed = slda.predict(X).argmax(dim=1).numpy() == equal.fit(z, Y.numpy()).predict(z)
    assert agreed.mean() > 0.99  # its covariance is weighted by the priors


def test_slda_neither_depends_on_the_order_nor_predicts_a_class_without_samples() -> None:
    in_turn, mixed = (SLDA(FrozenFeatures(NET, seed=0), 12, 1e-3) for _ in range(2))
    assert in_turn.predict(X[:2]).shape == (2, 12)
    in_turn.features(X)
    mixed.features(X)
    order = Y.argsort()
    for x, y in zip(X[order].split(100), Y[order].split(100), strict=True):  # type: ignore[no-untyped-call]
        in_turn.learn(x, y)
    for x, y in BLOCKS:
        mixed.learn(x, y)
    torch.testing.assert_close(in_turn.covariance(), mixed.covariance())
    assert set(in_turn.predict(X).argmax(dim=1).tolist()) == set(range(10))
    assert float((in_turn.predict(X).argmax(dim=1) == Y).float().mean()) > 0.93


def test_random_ridge_is_the_closed_form_whatever_the_blocks() -> None:
    ridge = RandomRidge(FrozenFeatures(NET, seed=0), 10, 1e-4)
    assert float(ridge.predict(X[:2]).abs().max()) == 0
    for x, y in BLOCKS:
        ridge.learn(x, y)
    phi = torch.cat([ridge.features(X), torch.ones(len(X), 1)], dim=1).double()
    penalty = 1e-4 * float((phi.T @ phi).diagonal().mean())
    closed = Ridge(alpha=penalty, fit_intercept=False).fit(phi.numpy(), torch.nn.functional.one_hot(Y).double().numpy())
    torch.testing.assert_close(
        ridge.predict(X).double(), torch.tensor(closed.predict(phi.numpy())), rtol=1e-3, atol=1e-4
    )
    assert set(ridge.state_dict()) == {"A", "B", "W.1", "scale"}
