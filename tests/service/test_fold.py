"""Whose states a model takes over."""

from __future__ import annotations

from typing import Any

import pytest

from service.fold import Fold
from service.spec import ModelSpec
from service.state import FoldState

SPEC = ModelSpec(inputs=3, hidden=[4], classes=["a", "b"])


def stored(**hyperparameters: Any) -> FoldState:
    state = Fold(SPEC, device="cpu").state()
    kept = {name: value for name, value in state.header["hyperparameters"].items() if name != "tolerance"}
    return FoldState(dict(state.header) | {"hyperparameters": kept | hyperparameters}, state.tensors)


def test_a_state_of_a_version_with_fewer_hyperparameters_is_one_with_their_defaults() -> None:
    Fold(SPEC, device="cpu").restore(stored())
    other = ModelSpec(inputs=3, hidden=[4], classes=["a", "b"], hyperparameters={"tolerance": 0.1})
    with pytest.raises(ValueError, match="hyperparameters is"):
        Fold(other, device="cpu").restore(stored())


@pytest.mark.parametrize("differing", [{"mu": 7.0}, {"surprise": 1}])
def test_a_state_under_other_hyperparameters_is_refused(differing: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="hyperparameters is"):
        Fold(SPEC, device="cpu").restore(stored(**differing))
