"""What the documents say is what the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter
from pathlib import Path

from service import problems
from service.problems import NotFound, Problem
from service.settings import Settings

ROOT = Path(__file__).parents[1]


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    documented = dict(re.findall(r"^\| `(AMSTREAM_\w+)` \|(.*)\|$", text, re.MULTILINE))
    assert documented.keys() == {f"AMSTREAM_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        row = documented[f"AMSTREAM_{name.upper()}"]
        assert field.description is not None
        assert field.description in row
        if field.default_factory is None and field.default is not None:
            assert f"`{field.default}`" in row


def test_every_kind_of_error_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| (`[a-z`, -]+`) \| (\d+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    documented = {(kind, int(status)) for kinds, status in rows for kind in re.findall(r"`([a-z-]+)`", kinds)}
    assert documented == set(_kinds_of_problems())


def _kinds_of_problems() -> Iterator[tuple[str, int]]:
    """(kind, status) of all that the service raises."""
    classes = {name: one for name, one in vars(problems).items() if isinstance(one, type) and issubclass(one, Problem)}
    for path in (ROOT / "service").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in classes:
                raised = classes[call.func.id]
                if raised.__base__ is NotFound:
                    names = [""] * (raised.__init__.__code__.co_argcount - 1)
                    yield raised(*names).kind, raised.status
                    continue
                named = [one.value for one in call.keywords if one.arg == "kind"]
                if not named:
                    yield raised.title.lower().replace(" ", "-"), raised.status
                for kind in named:
                    assert isinstance(kind, ast.Constant), ast.unparse(call)
                    yield str(kind.value), raised.status


def test_every_make_target_of_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    in_code = re.compile(r"(?:^ {4}|`|&& )make ([a-z -]+)", re.MULTILINE)
    named = {target for path in documents for words in in_code.findall(path.read_text()) for target in words.split()}
    assert {"demo", "lint", "types", "test", "test-all", "help"} <= named <= targets


def test_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:models|service|clients|benchmarks|tests|migrations)/[\w/.]*)`", text))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_module_of_the_code_map_exists() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    modules = [name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)]
    assert len(modules) > 50
    present = {path.name for folder in ("models", "service") for path in (ROOT / folder).rglob("*.py")}
    assert [name for name in modules if name.rsplit("/", 1)[-1] not in present] == []


def test_every_test_that_the_guarantees_name_exists() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    named = set(re.findall(r"`(?:tests/[\w/]+/)?(test_\w+\.py)`", text))
    assert named
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_every_function_that_the_architecture_maps_to_the_paper_exists() -> None:
    mapped = re.findall(r"`models\.(\w+)\.([\w.]+)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert mapped
    for module, path in mapped:
        attrgetter(path)(import_module(f"models.{module}"))  # raises AttributeError
