"""What the river estimators promise beyond river's own checks."""

from __future__ import annotations

import math
import pickle
from collections.abc import Hashable
from typing import Any

import pandas as pd
import pytest
from river import datasets, dummy, evaluate, linear_model, metrics, optim, preprocessing, stats

from models import RunningScale
from models.estimators.river import RiverAMClassifier, RiverAMRegressor

Sample = tuple[dict[Hashable, Any], Any]


@pytest.fixture(scope="module")
def phishing() -> list[Sample]:
    return list(datasets.Phishing())


def prequential(models: dict[str, Any], stream: list[Sample], metric: Any) -> dict[str, float]:
    """Each sample is predicted before it is learned."""
    found = {name: evaluate.progressive_val_score(stream, model, metric.clone()) for name, model in models.items()}
    measured = {name: round(metric.get(), 3) for name, metric in found.items()}
    print(measured)  # noqa: T201  # shown by pytest -rP
    return measured


def test_a_stream_is_predicted_better_than_by_the_majority(phishing: list[Sample]) -> None:
    models: dict[str, Any] = {name: RiverAMClassifier(hidden=(50,), learner=name) for name in ("am-adam", "am-mem")}
    models["LogisticRegression"] = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.1))
    accuracy = prequential(models, phishing, metrics.Accuracy())
    positive = sum(y for _, y in phishing)
    majority = max(positive, len(phishing) - positive) / len(phishing)
    assert min(accuracy["am-adam"], accuracy["am-mem"]) > majority


@pytest.mark.long
def test_a_stream_of_values_is_predicted_better_than_by_the_mean() -> None:
    """By the default; AM-mem, whose best blocks are larger, is no better than the mean at blocks of one sample."""
    models: dict[str, Any] = {name: RiverAMRegressor(hidden=(50,), learner=name) for name in ("am-adam", "am-mem")}
    models["LinearRegression"] = preprocessing.StandardScaler() | linear_model.LinearRegression(intercept_lr=0.1)
    models["mean"] = dummy.StatisticRegressor(stats.Mean())
    error = prequential(models, list(datasets.TrumpApproval()), metrics.MAE())
    assert error["am-adam"] < error["mean"]


def test_a_new_feature_changes_no_prediction_until_it_varies(phishing: list[Sample]) -> None:
    model, plain = RiverAMClassifier(hidden=(10,)), RiverAMClassifier(hidden=(10,))
    for x, y in phishing[:100]:
        model.learn_one(x, y)
        plain.learn_one(x, y)
    x, y = phishing[100]
    before = model.predict_proba_one(x)
    assert model.predict_proba_one(x | {"unheard of": 7.0}) == before
    model.learn_one(x | {"unheard of": 7.0}, y)
    plain.learn_one(x, y)
    for label, p in plain.predict_proba_one(phishing[101][0]).items():
        assert math.isclose(model.predict_proba_one(phishing[101][0])[label], p, abs_tol=1e-5)


def test_features_that_appear_are_used_and_may_disappear() -> None:
    model = RiverAMClassifier(hidden=(16,))
    for i in range(50):
        model.learn_one({"noise": i % 3}, bool(i % 2))
    for i in range(400):
        model.learn_one({"noise": i % 3, "signal": float(i % 2)}, bool(i % 2))
    assert model.predict_one({"signal": 1.0}) is True
    assert model.predict_one({"signal": 0.0, "noise": 1}) is False
    both = model.predict_proba_one({})
    assert model.predict_proba_one({"signal": None}) == both
    assert model.predict_proba_one({"signal": float("nan"), "other": 3}) == both
    assert abs(both[True] - 0.5) < abs(model.predict_proba_one({"signal": 1.0})[True] - 0.5)


def test_classes_appear_without_changing_the_order_of_the_old_ones() -> None:
    model = RiverAMClassifier(hidden=(16,))
    assert (model.predict_proba_one({"a": 1.0}), model.predict_one({"a": 1.0})) == ({}, None)
    labels = ["low", "high"]
    for i in range(200):
        model.learn_one({"a": float(i % 2)}, labels[i % 2])
    before = model.predict_proba_one({"a": 0.0})
    for i in range(600):
        model.learn_one({"a": float(i % 3)}, [*labels, "higher"][i % 3])
        if i == 2:
            assert list(model.predict_proba_one({"a": 0.0})) == ["low", "high", "higher"]
    assert before["low"] > before["high"]
    assert [model.predict_one({"a": float(i)}) for i in range(3)] == ["low", "high", "higher"]


@pytest.mark.parametrize("kind", [RiverAMClassifier, RiverAMRegressor])
def test_a_stream_may_begin_with_nothing_and_with_one_value(kind: Any) -> None:
    model = kind(hidden=(4,))
    model.learn_one({}, 1)
    model.learn_one({}, 1)
    assert model.predict_one({}) == 1
    model.learn_one({"a": 1.0}, 0)
    assert math.isfinite(model.predict_one({"a": 2.0}))


def test_a_mini_batch_is_one_step_and_frames_come_back_like_they_went_in(phishing: list[Sample]) -> None:
    X = pd.DataFrame([x for x, _ in phishing[:64]], index=range(100, 164))
    y = pd.Series(["bad" if y else "good" for _, y in phishing[:64]])
    model = RiverAMClassifier(hidden=(16,), learner="am-mem")
    assert model.predict_proba_many(X).shape == (64, 0)
    assert model.predict_many(X).tolist() == [None] * 64
    for _ in range(40):
        model.learn_many(X, y)
    p = model.predict_proba_many(X)
    assert p.index.equals(X.index)
    assert set(p.columns) == {"good", "bad"}
    labels = model.predict_many(X)
    assert labels.index.equals(X.index)
    assert labels.tolist() == [model.predict_one(x) for x, _ in phishing[:64]]
    assert (labels.to_numpy() == y.to_numpy()).mean() > 0.8
    model.learn_many(X[:0], y[:0])
    assert model.predict_proba_many(X).equals(p)


def test_a_mini_batch_of_values_is_one_step() -> None:
    stream = list(datasets.TrumpApproval().take(128))
    X, y = pd.DataFrame([x for x, _ in stream]), pd.Series([y for _, y in stream])
    model = RiverAMRegressor(hidden=(16,))
    assert model.predict_many(X).tolist() == [0.0] * 128
    for _ in range(30):
        for start in range(0, 128, 16):
            model.learn_many(X[start : start + 16], y[start : start + 16])
    residual = model.predict_many(X) - y
    assert residual.abs().mean() < (y - y.mean()).abs().mean()


@pytest.mark.parametrize("learner", ["am-adam", "am-mem"])
def test_a_pickled_model_goes_on_like_the_one_it_was(learner: str, phishing: list[Sample]) -> None:
    model = RiverAMClassifier(hidden=(8,), learner=learner)
    for x, y in phishing[:20]:
        model.learn_one(x, y)
    copy = pickle.loads(pickle.dumps(model))
    for x, y in phishing[20:40]:
        assert copy.predict_proba_one(x) == model.predict_proba_one(x)
        copy.learn_one(x, y)
        model.learn_one(x, y)


def test_errors_name_the_parameter_the_feature_and_the_value() -> None:
    with pytest.raises(ValueError, match=r"learner must be one of am-mem, .*, not 'lbfgs'"):
        RiverAMClassifier(learner="lbfgs")
    with pytest.raises(ValueError, match=r"mu must be positive, not 0\.0"):
        RiverAMRegressor(hyperparameters={"mu": 0.0})
    model, regressor = RiverAMClassifier(hidden=(4,), scale=RunningScale()), RiverAMRegressor(hidden=(4,))
    with pytest.raises(ValueError, match="feature 'a' must be a finite number, or None where it is missing, not inf"):
        model.learn_one({"a": math.inf}, 1)
    with pytest.raises(ValueError, match="feature 'a' must be a number, or None where it is missing, not 'red'"):
        model.predict_one({"a": "red"})
    with pytest.raises(ValueError, match="feature 'a' must be finite, or missing, not inf"):
        model.learn_many(pd.DataFrame({"a": [1.0, math.inf]}), [0, 1])
    with pytest.raises(ValueError, match="y must be a number, not nan"):
        regressor.learn_one({"a": 1.0}, math.nan)
