"""docker-compose.yml as Compose reads it: parsed, and its variables replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<rule>:\?|:-)(?P<rest>[^}]*)\}")
ASSIGNMENT = re.compile(r"^(?P<comment># )?(?P<name>[A-Z_]+)=(?P<value>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Variables:
    """Args: optional: with their defaults."""

    required: set[str]
    optional: dict[str, str]


def load() -> dict[str, Any]:
    """The file with its anchors and merges resolved, its variables as they are written."""
    parsed: dict[str, Any] = YAML(typ="safe").load(FILE)
    return parsed


def variables(node: Any) -> Variables:
    """Those that a part of the file names; every one must either be required or have a default."""
    found = Variables(set(), {})
    for text in texts(node):
        assert "$" not in VARIABLE.sub("", text), f"neither required nor with a default: {text}"
        for match in VARIABLE.finditer(text):
            if match["rule"] == ":?":
                found.required.add(match["name"])
            else:
                found.optional[match["name"]] = match["rest"]
    return found


def interpolated(node: Any, environment: Mapping[str, str]) -> Any:
    """Raises: KeyError for a required variable that is not set, or empty."""
    if isinstance(node, dict):
        return {key: interpolated(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, environment) for value in node]
    return VARIABLE.sub(lambda match: _value(match, environment), node) if isinstance(node, str) else node


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    value = environment.get(match["name"], "")
    if value:
        return value
    if match["rule"] == ":?":
        raise KeyError(f"{match['name']}: {match['rest']}")
    return match["rest"]


def example() -> Variables:
    """What .env.example sets, and what it shows commented out."""
    found = Variables(set(), {})
    for match in ASSIGNMENT.finditer(EXAMPLE.read_text()):
        if match["comment"]:
            found.optional[match["name"]] = match["value"]
        else:
            found.required.add(match["name"])
    return found


def texts(node: Any) -> Iterator[str]:
    """Every string in a part of the file, keys excepted."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from texts(value)
