"""A learner's hyper-parameters as they come from outside: checked, and completed by its defaults."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from models import LEARNERS, ArgumentError
from service.problems import FieldError, Invalid

_adapter = cache(TypeAdapter)


def complete(learner: str, given: dict[str, Any]) -> dict[str, Any]:
    """All of them, as they come back from a database: lists, no tuples. Raises: Invalid naming each that is wrong."""
    kind = LEARNERS[learner][0]
    known = sorted(field.name for field in fields(kind))
    for name, value in given.items():
        if name not in known:
            raise Invalid(FieldError(f"hyperparameters.{name}", value, f"is unknown; {learner} has {', '.join(known)}"))
    try:
        checked = _adapter(kind).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise Invalid(*map(_field_error, error.errors())) from error
    completed: dict[str, Any] = json.loads(json.dumps(vars(checked)))
    return completed


def _field_error(details: ErrorDetails) -> FieldError:
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, ArgumentError):
        return FieldError(f"hyperparameters.{cause.argument}", cause.value, f"must be {cause.rule}")
    return FieldError(".".join(map(str, ("hyperparameters", *details["loc"]))), details["input"], details["msg"])
