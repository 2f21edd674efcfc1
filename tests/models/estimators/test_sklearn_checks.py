"""scikit-learn's own checks of an estimator, on every learner; the one that is expected to fail says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, parametrize_with_checks

from models import LEARNERS
from models.estimators.sklearn import AMClassifier, AMRegressor

HYPERPARAMETERS: dict[str, dict[str, float]] = {
    "am-sgd": {"lr": 0.02},  # the others' defaults are steps for much longer streams than these checks have
    "adam": {"lr": 5e-3},
    "sgd": {"lr": 0.02},
}
"""Beside the defaults."""

DEFAULTS = [AMClassifier(), AMRegressor()]
OTHERS = [
    type(default)(learner=learner, hyperparameters=HYPERPARAMETERS.get(learner))
    for default in DEFAULTS
    for learner in LEARNERS
    if learner not in (default.learner, "am-mem-paper")  # am-mem is the same rule as am-mem-paper
]


def expected_failures(estimator: object) -> dict[str, str]:
    return {
        "check_sample_weight_equivalence_on_dense_data": "time counts samples whatever they weigh: a sample of weight 2 is "
        "one sample of a block, one repeated is two"
    }


@parametrize_with_checks(DEFAULTS, expected_failed_checks=expected_failures, xfail_strict=True)  # type: ignore[untyped-decorator]
def test_the_defaults_pass_a_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.long
@parametrize_with_checks(OTHERS, expected_failed_checks=expected_failures, xfail_strict=True)  # type: ignore[untyped-decorator]
def test_another_learner_passes_a_check_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", DEFAULTS, ids=repr)
def test_names_of_columns_are_kept_and_compared(estimator: Any) -> None:
    """A check that scikit-learn runs on its own estimators alone; it needs pandas."""
    __import__("pandas")
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


ARRAY_API = """
from sklearn.utils.estimator_checks import check_array_api_input
from models.estimators.sklearn import AMClassifier, AMRegressor
for estimator in (AMClassifier(), AMRegressor()):
    check_array_api_input(type(estimator).__name__, estimator, "numpy", expect_only_array_outputs=False)
"""


def test_arrays_pass_the_check_that_is_skipped_above() -> None:
    """scipy reads the variable when it is imported."""
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-W", "error", "-c", ARRAY_API], env=environment, check=True)
