"""river's own checks of an estimator; what is skipped says why in `_unit_test_skips`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from river import checks

from models.estimators.river import RiverAMClassifier, RiverAMRegressor

River = RiverAMClassifier | RiverAMRegressor
Check = Callable[[River], None]

MODELS: list[River] = [
    kind(hidden=(16,), learner=learner)
    for kind in (RiverAMClassifier, RiverAMRegressor)
    for learner in ("am-adam", "am-mem")
]


def all_checks() -> Iterator[Any]:
    """The ones that learn 2,000 samples, and those of another learner than the default, are long."""
    for model in MODELS:
        for position, check in enumerate(checks.yield_checks(model)):
            name = f"{type(model).__name__}-{model.learner}-{position}-{check.__name__}"
            slow = model.learner != "am-adam" or check.__name__ == "check_bounded_memory_growth"
            yield pytest.param(model, check, id=name, marks=[pytest.mark.long] if slow else [])


@pytest.mark.parametrize(("model", "check"), list(all_checks()))
def test_a_model_passes_a_check_of_river(model: River, check: Check) -> None:
    if check.__name__ in model._unit_test_skips():
        pytest.skip("one step on a block is not a step on each of its samples")
    check(model.clone())


@pytest.mark.parametrize("kind", [RiverAMClassifier, RiverAMRegressor])
def test_one_check_alone_is_skipped_and_most_are_run(kind: type[River]) -> None:
    names = {check.__name__ for check in checks.yield_checks(kind())}
    assert kind()._unit_test_skips() == {"check_learn_many_matches_learn_one"}
    assert kind()._unit_test_skips() < names  # river asks for it only where pandas is installed
    assert len(names) > 25
