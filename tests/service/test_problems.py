"""Problems as RFC 9457 writes them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from service import problems
from service.problems import FieldError, Forbidden, Invalid, Problem, Unavailable, UnknownModel


def kinds(of: type[Problem] = Problem) -> list[type[Problem]]:
    return [kind for child in of.__subclasses__() for kind in (child, *kinds(child))]


def test_every_problem_is_in_the_tree_with_its_status() -> None:
    assert problems.__doc__ is not None
    lines = problems.__doc__.splitlines()
    for kind in kinds():
        [line] = [line for line in lines if kind.__name__ in line.replace(",", "").split()]
        assert str(kind.status) in line
        assert 400 <= kind.status < 600
        assert kind.title != Problem.title


def test_a_problem_names_its_type_title_status_and_detail() -> None:
    assert Forbidden("no").as_json() == {
        "type": "urn:amstream:problem:forbidden",
        "title": "Forbidden",
        "status": 403,
        "detail": "no",
    }
    assert UnknownModel("m").as_json()["errors"] == [{"field": "model", "value": "m", "message": "unknown"}]


def test_the_detail_of_an_invalid_request_names_the_first_field_and_counts_the_others() -> None:
    errors = [FieldError(f"f{i}", i, "must be less") for i in range(3)]
    assert Invalid(*errors).detail == "f0 = 0: must be less (and 2 more)"
    assert Invalid(errors[0]).detail == "f0 = 0: must be less"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (1.5, 1.5),
        ("x", "x"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (10**4000, "1" + "0" * 199 + "…"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "…"),
        ([1, "a"], "[1, 'a']"),
        ("\ud800", "?"),
        (list(range(1000)), repr(list(range(1000)))[:200] + "…"),
    ],
)
def test_values_are_shown_short_and_as_json(value: Any, shown: Any) -> None:
    as_json = FieldError("f", value, "is wrong").as_json()
    assert as_json == {"field": "f", "value": shown, "message": "is wrong"}
    json.dumps(as_json, allow_nan=False, ensure_ascii=False).encode()


def test_unavailable_always_says_when_to_try_again() -> None:
    assert Unavailable("away").retry_after_s == 1
    assert Unavailable("away", retry_after_s=10).retry_after_s == 10
    assert Forbidden("no").retry_after_s is None
