from __future__ import annotations

from models import ArgumentError


def test_an_argument_error_is_a_value_error_that_carries_argument_rule_and_value() -> None:
    error = ArgumentError("eta", "positive", -1.0)
    assert isinstance(error, ValueError)
    assert str(error) == "eta must be positive, not -1.0"
    assert (error.argument, error.rule, error.value) == ("eta", "positive", -1.0)
