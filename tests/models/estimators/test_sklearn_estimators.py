"""What the scikit-learn estimators promise beyond scikit-learn's own checks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, make_regression
from sklearn.model_selection import train_test_split

from models import Architecture, RunningScale, create_learner
from models.estimators.sklearn import AMClassifier, AMRegressor
from models.target_scale import TargetScale

CPU = torch.device("cpu")
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X, y


def frozen(learner: Any) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in learner.state_dict().items()}


@pytest.mark.parametrize("learner", ["am-mem", "am-adam", "adam"])
def test_partial_fit_is_the_learners_steps_bit_for_bit(learner: str, digits: tuple[Array, Array]) -> None:
    X, y = (array[:100] for array in digits)
    weight = np.linspace(0, 2, 100)
    model = AMClassifier(hidden=(20,), learner=learner, block_size=8, random_state=3)
    model.partial_fit(X[:30], y[:30], classes=range(10)).partial_fit(X[30:], y[30:], sample_weight=weight[30:])
    net = Architecture(64, (20,), 10)
    alone = create_learner(learner, net, scale=RunningScale(), seed=3, device=CPU)
    for start, end, by in ((0, 30, None), (30, 100, weight)):
        for i in range(start, end, 8):
            rows = slice(i, min(i + 8, end))
            alone.learn(torch.tensor(X[rows]), torch.tensor(y[rows]), None if by is None else torch.tensor(by[rows]))
    assert frozen(model.learner_) == frozen(alone)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict(torch.tensor(X)).numpy(), atol=1e-5)


def test_partial_fit_of_values_is_the_learners_steps_on_standardised_targets_bit_for_bit() -> None:
    X, y = load_diabetes(return_X_y=True)
    model = AMRegressor(hidden=(20,), learner="am-mem-paper", block_size=50).fit(X[:100], y[:100])
    net = Architecture(10, (20,), 1, loss_name="squared")
    eta = {"eta": 1 / 84}
    alone = create_learner("am-mem-paper", net, hyperparameters=eta, scale=RunningScale(), seed=0, device=CPU)
    alone.load_state_dict(model.learner_.state_dict())
    model.partial_fit(X[100:150], y[100:150])
    targets = torch.tensor(y).unsqueeze(1)
    before = TargetScale.unknown(1).with_block(targets[:100], torch.ones(100))
    after = before.with_block(targets[100:150], torch.ones(50))
    after.carry(alone, before)
    alone.learn(torch.tensor(X[100:150]), after.standardised(targets[100:150]))
    assert frozen(model.learner_) == frozen(alone)


@pytest.mark.parametrize("learner", ["am-mem", "am-adam", "adam"])
def test_digits_are_told_apart(learner: str, digits: tuple[Array, Array]) -> None:
    X, X_test, y, y_test = train_test_split(*digits, test_size=0.25, random_state=0, stratify=digits[1])
    accuracy = AMClassifier(learner=learner, epochs=4).fit(X, y).score(X_test, y_test)
    majority = np.bincount(y_test).max() / len(y_test)
    print(f"digits, 4 epochs: {learner} {accuracy:.3f}, majority {majority:.3f}")  # noqa: T201  # shown by pytest -rP
    assert accuracy > 5 * majority


@pytest.mark.parametrize("data", ["diabetes", "make_regression"])
@pytest.mark.parametrize("learner", ["am-mem", "am-adam", "adam"])
def test_values_are_predicted_better_than_by_their_mean(learner: str, data: str) -> None:
    if data == "diabetes":
        X, y = load_diabetes(return_X_y=True)
    else:
        X, y = make_regression(400, 10, n_informative=5, noise=10.0, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    r2 = AMRegressor(learner=learner).fit(X, y).score(X_test, y_test)
    print(f"R² on {data}: {learner} {r2:.3f}, the mean 0.000")  # noqa: T201  # the same
    assert r2 > 0


def test_fit_equals_itself_and_another_random_state_does_not(digits: tuple[Array, Array]) -> None:
    X, y = (array[:100] for array in digits)
    first, again, other = (AMClassifier(hidden=(10,), epochs=2, random_state=s).fit(X, y) for s in (1, 1, 2))
    assert frozen(first.learner_) == frozen(again.learner_)
    assert frozen(first.learner_) != frozen(other.learner_)


def test_a_pickled_estimator_goes_on_bit_for_bit(digits: tuple[Array, Array]) -> None:
    X, y = (array[:100] for array in digits)
    model = AMClassifier(hidden=(10,), epochs=2).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert frozen(copy.partial_fit(X, y).learner_) == frozen(model.partial_fit(X, y).learner_)


@pytest.mark.parametrize(
    "labels", [["no", "yes", "maybe"], [-5, 0, 7], [False, True]], ids=["string", "integer", "boolean"]
)
def test_labels_come_back_as_they_went_in(labels: list[Any], digits: tuple[Array, Array]) -> None:
    rows = digits[1] < len(labels)
    X, y = digits[0][rows], np.array(labels)[digits[1][rows]]
    model = AMClassifier(hidden=(20,), epochs=2).fit(X, y)
    predicted = model.predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) <= set(labels)
    assert (predicted == y).mean() > 0.9
    assert model.classes_.tolist() == sorted(labels)


def test_a_sample_of_weight_zero_does_not_matter_and_a_heavy_one_does(digits: tuple[Array, Array]) -> None:
    X, y = (array[:64].copy() for array in digits)
    weight = np.ones(64)
    weight[:8] = 0
    model, nonsense, heavy = (AMClassifier(hidden=(10,), epochs=2) for _ in range(3))
    model.fit(X, y, sample_weight=weight)
    heavy.fit(X, y, sample_weight=np.where(weight == 0, 5.0, 1.0))
    X[:8], y[:8] = 1e3, y[8]
    classes = np.unique(np.concatenate([digits[1][:64], y]))
    assert np.array_equal(classes, np.unique(y))  # so that both know the same classes
    nonsense.fit(X, y, sample_weight=weight)
    assert frozen(model.learner_) == frozen(nonsense.learner_)
    assert frozen(model.learner_) != frozen(heavy.learner_)


def test_missing_values_are_learned_from_and_predicted_for(digits: tuple[Array, Array]) -> None:
    X, y = (array[:200] for array in digits)
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    assert AMClassifier(hidden=(20,), epochs=4).fit(gaps, y).score(gaps, y) > 0.8


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("hidden", (), r"hidden must be sizes of at least one layer, not \(\)"),
        ("hidden", (10, -1), "hidden must be at least 1, not -1"),
        ("hidden", 100, "hidden must be a tuple of layer sizes, not 100"),
        ("learner", "lbfgs", "learner must be one of am-mem, .*, not 'lbfgs'"),
        ("activation", "gelu9", "activation must be one of .*, not 'gelu9'"),
        ("hyperparameters", {"mu": -1.0}, r"mu must be positive, not -1\.0"),
        (
            "hyperparameters",
            {"nu": 1.0},
            r"hyperparameters must be .* keys among .*, not \{'nu': 1\.0\}",
        ),
        ("scale", "robust", "scale must be one of running, pooled, none, .*, not 'robust'"),
        ("block_size", 0, "block_size must be a positive integer, not 0"),
        ("epochs", 1.5, r"epochs must be a positive integer, not 1\.5"),
        ("device", "tpu", "device must be auto, cpu or cuda, not 'tpu'"),
    ],
)
@pytest.mark.parametrize("kind", [AMClassifier, AMRegressor])
def test_an_error_names_the_parameter_and_its_value(kind: type, parameter: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{parameter: value}).fit([[0.0], [1.0], [2.0]], [0, 1, 1])


def test_classes_are_declared_at_the_first_call_and_stay() -> None:
    model = AMClassifier(hidden=(4,))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit([[0.0]], ["a"])
    model.partial_fit([[0.0]], ["a"], classes=["a", "b"])
    with pytest.raises(ValueError, match=r"classes must be those of the first call, \['a', 'b'\], not \['a', 'c'\]"):
        model.partial_fit([[0.0]], ["a"], classes=["a", "c"])
    with pytest.raises(ValueError, match=r"y must be of the classes \['a', 'b'\], not 'c'"):
        model.partial_fit([[0.0], [1.0]], ["a", "c"])


@pytest.mark.parametrize("kind", [AMClassifier, AMRegressor])
def test_a_block_that_would_leave_a_number_that_is_not_finite_is_an_error_and_leaves_no_trace(kind: type) -> None:
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    model = kind(hidden=(4,), scale="none").fit(X, y)
    before = frozen(model.learner_)
    with pytest.raises(ValueError, match=r"X and y must be of sizes .* X: 1e\+200 and y: 1"):
        model.partial_fit(X * 1e200 / X.max(), y)
    assert frozen(model.learner_) == before


def test_values_that_do_not_vary_are_predicted_exactly() -> None:
    model = AMRegressor(hidden=(4,)).fit([[0.0], [1.0], [2.0]], [1e6, 1e6, 1e6])
    assert model.predict([[5.0], [7.0]]).tolist() == [1e6, 1e6]


def test_moving_targets_change_no_prediction_until_they_are_learned() -> None:
    X, y = load_diabetes(return_X_y=True)
    model = AMRegressor(hidden=(10,), epochs=2).fit(X, y)
    before = model.predict(X)
    moved = model.target_scale_.with_block(torch.tensor([[1000.0], [-500.0]]), torch.ones(2))
    moved.carry(model.learner_, model.target_scale_)
    model.target_scale_ = moved
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-4)
