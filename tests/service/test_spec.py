"""Specs: checked, completed, and equal however they were written."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from service.api.problem_handlers import invalid
from service.problems import Invalid
from service.spec import ModelSpec

LEAST: dict[str, Any] = {"inputs": 3, "classes": ["no", "yes"]}


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate_json(json.dumps(LEAST | changes))


def refused(**changes: Any) -> list[tuple[str, Any]]:
    with pytest.raises((ValidationError, Invalid)) as caught:
        spec(**changes)
    problem = invalid(caught.value) if isinstance(caught.value, ValidationError) else caught.value
    assert isinstance(problem, Invalid)
    return [(error["field"], error["value"]) for error in problem.as_json()["errors"]]


def test_only_inputs_and_classes_must_be_given() -> None:
    completed = spec()
    assert completed.label_type == "string"
    assert completed.hidden == [100, 100]
    assert {"mu", "share", "horizons"} <= completed.hyperparameters.keys()
    assert refused(inputs=None) == [("inputs", None)]
    with pytest.raises(Invalid, match="inputs"):
        ModelSpec(classes=["a", "b"])
    assert ModelSpec(features=["x", "y"], classes=["a", "b"]).inputs == 2


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"classes": [True, False]},
        {"classes": [-(2**63), 2**63 - 1]},
        {"classes": ["", "ü☃\0", "a" * 256]},
        {"scale": {"mean": [1, 2, 3], "deviation": 0.5}},
        {"scale": {"mean": 0.1}},
        {"hyperparameters": {"mu": 1, "share": 0, "horizons": [100, None]}},
        {"classes": [], "label_type": "integer"},
        {"classes": ["a"], "max_classes": 7},
        {"task": "regression", "classes": []},
        {"task": "regression", "classes": [], "targets": 3},
        {"features": ["age", "größe", "a"]},
        {"image": [1, 8, 8], "inputs": 64, "learner": "never-forget", "scale": "pooled", "hidden": [160]},
        {"seed": 2**63 - 1, "retain_s": 1e-3, "block": {"wait_ms": 0}},
    ],
)
def test_a_spec_that_is_stored_and_read_is_equal(changes: dict[str, Any]) -> None:
    created = spec(**changes)
    assert created.targets or created.labels is created.labels
    read = ModelSpec.model_validate_json(created.model_dump_json())
    assert read == created
    assert [type(label) for label in read.classes] == [type(label) for label in created.classes]
    assert read.model_dump_json() == created.model_dump_json()


def test_integers_and_floats_that_are_the_same_number_make_equal_specs() -> None:
    assert spec(hyperparameters={"mu": 1, "horizons": [9, 99]}) == spec(
        hyperparameters={"horizons": [9.0, 99.0], "mu": 1.0}
    )
    assert spec(retain_s=5, block={"wait_ms": 5}) == spec(retain_s=5.0)
    assert spec(scale={"mean": 1}) == spec(scale={"mean": 1.0, "deviation": 1})


def test_booleans_and_integers_make_different_specs() -> None:
    assert spec(classes=[True, False]) != spec(classes=[1, 0])


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"extra": 1}, "extra", 1),
        ({"task": "ranking"}, "task", "ranking"),
        ({"task": "regression"}, "classes", "['no', 'yes']"),
        ({"task": "regression", "classes": [], "label_type": "string"}, "label_type", "string"),
        ({"task": "regression", "classes": [], "learner": "am-mem-paper"}, "learner", "am-mem-paper"),
        ({"targets": 2}, "targets", 2),
        ({"classes": []}, "classes", "[]"),
        ({"max_classes": 2, "classes": ["a", "b", "c"]}, "max_classes", 2),
        ({"inputs": 2, "features": ["a", "b", "c"]}, "inputs", 2),
        ({"inputs": 3, "features": ["a", "b", "a"]}, "features", "a"),
        ({"image": [1, 1, 3]}, "image", "[1, 1, 3]"),
        ({"image": [1, 8, 8], "inputs": 64, "learner": "never-forget", "scale": "pooled"}, "hidden", "[100, 100]"),
        ({"image": [1, 8, 8], "learner": "never-forget", "scale": "pooled", "hidden": [16]}, "image", "[1, 8, 8]"),
        ({"image": [1, 8, 8], "inputs": 64, "learner": "never-forget", "hidden": [16]}, "scale", "running"),
        (
            {"image": [1, 8, 8], "inputs": 64, "learner": "never-forget", "scale": "pooled", "hidden": [17]},
            "hidden",
            17,
        ),
        (
            {"image": [1, 7, 7], "inputs": 49, "learner": "never-forget", "scale": "pooled", "hidden": [16]},
            "image",
            "(1, 7, 7)",
        ),
        ({"inputs": 0}, "inputs", 0),
        ({"inputs": 1_000_001}, "inputs", 1_000_001),
        ({"inputs": 10**40}, "inputs", str(10**40)),
        ({"inputs": 3.0}, "inputs", 3.0),
        ({"inputs": True}, "inputs", True),
        ({"inputs": "3"}, "inputs", "3"),
        ({"hidden": []}, "hidden", "[]"),
        ({"hidden": None}, "hidden", None),
        ({"hidden": [8, 0]}, "hidden.1", 0),
        ({"classes": ["a"]}, "classes", "['a']"),
        ({"classes": ["a", "a"]}, "classes", "['a', 'a']"),
        ({"classes": ["a", 1]}, "classes", "['a', 1]"),
        ({"classes": [True, 1]}, "classes", "[True, 1]"),
        ({"classes": ["a", None]}, "classes.1", None),
        ({"classes": ["a", 1.5]}, "classes.1", 1.5),
        ({"classes": [1, 2**63]}, "classes.1", str(2**63)),
        ({"classes": [1, -(2**63) - 1]}, "classes.1", str(-(2**63) - 1)),
        ({"classes": ["a", "b" * 257]}, "classes.1", "b" * 200 + "…"),
        ({"classes": [None] * 90_000}, "classes.0", None),
        ({"label_type": "integer"}, "label_type", "integer"),
        ({"label_type": "float"}, "label_type", "float"),
        ({"activation": "tanh"}, "activation", "tanh"),
        ({"learner": "other"}, "learner", "other"),
        ({"seed": -1}, "seed", -1),
        ({"seed": 2**63}, "seed", str(2**63)),
        ({"scale": "other"}, "scale", "other"),
        ({"scale": {"mean": "1"}}, "scale", "{'mean': '1'}"),
        ({"scale": {"mean": 0, "deviation": 0}}, "scale", "{'mean': 0, 'deviation': 0}"),
        ({"scale": {"mean": 0, "deviation": [1, -1, 1]}}, "scale", "{'mean': 0, 'deviation': [1, -1, 1]}"),
        ({"scale": {"mean": float("nan")}}, "scale", "{'mean': nan}"),
        ({"scale": {"mean": [1, 2]}}, "scale.mean", "2 numbers"),
        ({"scale": {"mean": 0, "deviation": [1, 2]}}, "scale.deviation", "2 numbers"),
        ({"block": {"size": 0}}, "block.size", 0),
        ({"block": {"size": 1.5}}, "block.size", 1.5),
        ({"block": {"wait_ms": -1}}, "block.wait_ms", -1),
        ({"block": {"wait_ms": 10_001}}, "block.wait_ms", 10_001),
        ({"block": {"wait": 1}}, "block.wait", 1),
        ({"retain_s": -1}, "retain_s", -1),
        ({"retain_s": float("nan")}, "retain_s", "nan"),
        ({"retain_s": float("inf")}, "retain_s", "inf"),
        ({"hyperparameters": {"mux": 1}}, "hyperparameters.mux", 1),
        ({"hyperparameters": {"mu": 0}}, "hyperparameters.mu", 0.0),
        ({"hyperparameters": {"mu": "1"}}, "hyperparameters.mu", "1"),
        ({"hyperparameters": {"mu": True}}, "hyperparameters.mu", True),
        ({"hyperparameters": {"mu": float("nan")}}, "hyperparameters.mu", "nan"),
        ({"hyperparameters": {"mu": {"a": [1]}}}, "hyperparameters.mu", "{'a': [1]}"),
        ({"learner": "am-mem-paper", "hyperparameters": {"solver": "other"}}, "hyperparameters.solver", "other"),
        ({"hyperparameters": []}, "hyperparameters", "[]"),
    ],
)
def test_a_bad_spec_is_refused_naming_the_field_and_the_value(changes: dict[str, Any], field: str, value: Any) -> None:
    assert refused(**changes) == [(field, value)]


def test_several_bad_fields_are_all_named() -> None:
    assert [field for field, _ in refused(inputs=0, seed=-1, block={"size": 0})] == ["inputs", "seed", "block.size"]


def test_the_state_is_as_large_as_it_says() -> None:
    paper = {"learner": "am-mem-paper"}
    windowed = paper | {"hyperparameters": {"window": 3}}
    for changes in (
        {},
        paper,
        windowed,
        {"hidden": [7]},
        {"inputs": 50, "hidden": [30, 20, 10], "classes": [*"abcdef"]},
    ):
        asked = spec(**changes)
        tensors = asked.create_learner("cpu").state_dict().values()
        assert asked.state_bytes() == sum(t.numel() * t.element_size() for t in tensors)


def test_a_spec_that_no_machine_could_hold_is_measured_without_building_it() -> None:
    assert spec(inputs=1_000_000, hidden=[1_000_000] * 64).state_bytes() > 2**49


def test_the_same_seed_makes_the_same_net() -> None:
    first, second, other = (spec(seed=seed).create_learner("cpu").state_dict()["W.1"] for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
