"""`models` needs neither scikit-learn nor river; the examples in the estimators' docstrings are true."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from importlib import import_module

import pytest

WITHOUT = """
import sys
sys.modules |= {"sklearn": None, "river": None}  # importing them is an ImportError
import models, models.growth, models.estimators
"""


def test_models_can_be_imported_without_scikit_learn_and_river() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", WITHOUT], env=environment, check=True)


@pytest.mark.parametrize("module", ["growth", "estimators.sklearn", "estimators.river", "target_scale"])
def test_the_examples_are_true(module: str) -> None:
    results = doctest.testmod(import_module(f"models.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
