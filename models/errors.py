"""Errors of the library: all are `ValueError`.

ValueError
├── ArgumentError     an argument of a constructor is out of its range
└── UnknownLabel      a label that is not a declared class (in `models.labels`)
"""

from __future__ import annotations


class ArgumentError(ValueError):
    """`argument` must be `rule`, and is not: it is `value`."""

    def __init__(self, argument: str, rule: str, value: object) -> None:
        super().__init__(f"{argument} must be {rule}, not {value!r}")
        self.argument = argument
        self.rule = rule
        self.value = value
