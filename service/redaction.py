"""Keys and passwords are taken out of whatever is logged, should they ever get there."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

_SECRETS = (
    (re.compile(r"amk_[\w-]+"), "amk_…"),
    (re.compile(r"(\w://)[^\s/@]*:[^\s/@]*@"), r"\1…@"),
    (re.compile(r"(?i)(bearer\s+)[\w~+/.=-]+"), r"\1…"),
)


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog."""
    for name, value in event.items():
        event[name] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, replacement in _SECRETS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {name: _redacted(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return value
