from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from models import LEARNERS, AMMem, Architecture, RunningScale, SgdBackprop, create_learner

NET = Architecture(4, (3,), 2)
CPU = torch.device("cpu")


def create(name: str, **hyperparameters: Any) -> object:
    return create_learner(name, NET, hyperparameters=hyperparameters, scale=RunningScale(), seed=0, device=CPU)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_name_makes_the_learner_that_the_table_says(name: str) -> None:
    assert type(create(name)) is LEARNERS[name][1]


def test_hyperparameters_arrive() -> None:
    sgd, am_mem = create("sgd", lr=0.5), create("am-mem-paper", mu=0.25, solver="ridge")
    assert isinstance(sgd, SgdBackprop)
    assert isinstance(am_mem, AMMem)
    assert sgd.hyperparameters.lr == 0.5
    assert (am_mem.hyperparameters.mu, am_mem.hyperparameters.solver) == (0.25, "ridge")


def test_an_unknown_learner_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        ValueError,
        match="learner must be one of am-mem, never-forget, am-mem-paper, am-adam, am-sgd, adam, sgd, dtp, not 'rmsprop'",
    ):
        create("rmsprop")


def test_an_unknown_hyperparameter_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="learning_rate"):
        create("adam", learning_rate=0.1)


NAN, INF = float("nan"), float("inf")
OUT_OF_RANGE: list[tuple[str, str, Any]] = [
    *(
        ("am-mem-paper", name, value)
        for name in ("mu", "eta", "ridge", "top_gain", "horizon")
        for value in (0, -1, NAN, INF)
    ),
    *(("am-mem-paper", "mu_increment", value) for value in (-1e-9, NAN, INF)),
    *(("am-mem-paper", "mu_max", value) for value in (0.05, NAN, INF)),
    *(("am-mem-paper", "code_iterations", value) for value in (-1, 2.5)),
    *(("am-mem-paper", "code_momentum", value) for value in (-0.1, 1.0, NAN)),
    *(("am-mem-paper", "sweeps", value) for value in (0, 1.5)),
    ("am-mem-paper", "solver", "newton"),
    *(("am-mem", name, value) for name in ("ridge", "mu", "averaging", "top_ridge") for value in (0, -1, NAN, INF)),
    *(("am-mem", "share", value) for value in (-1, NAN, INF)),
    *(("am-mem", "horizons", value) for value in ((), (5.0,), (0.5, 3.0), (9.0, 3.0), (None, 3.0), (3.0, NAN))),
    *(("am-mem", name, -1) for name in ("recent", "tolerance", "code_iterations", "code_momentum")),
    *((learner, "lr", value) for learner in ("adam", "sgd") for value in (0, -1, NAN, INF)),
    *(("dtp", name, value) for name in ("lr", "inverse_lr", "target_step") for value in (0, -1, NAN, INF)),
    *(("dtp", "noise", value) for value in (-1, NAN, INF)),
]


@pytest.mark.parametrize(("learner", "name", "value"), OUT_OF_RANGE)
def test_a_hyperparameter_out_of_range_is_refused_with_name_and_value(learner: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, not {re.escape(repr(value))}$"):
        create(learner, **{name: value})
