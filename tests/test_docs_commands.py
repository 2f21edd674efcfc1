"""docs/cli.md, the README files and the commands that there are say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from amstream_client.cli import register
from service.cli import app

ROOT = Path(__file__).parents[1]


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(full name, command) of all that can be run."""
    if not hasattr(command, "commands"):
        yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, f"{path} {name}")


def groups(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from groups(child, f"{path} {name}")


COMMANDS = dict(leaves(get_command(app), "amstream"))
GROUPS = dict(groups(get_command(app), "amstream"))


def first_sentence(command: Any) -> str:
    found = re.match(r".*?\.(?=\s|$)", command.help or "", re.DOTALL)
    return "" if found is None else " ".join(found[0].split())


def arguments(command: Any) -> list[str]:
    """As usage lines show them."""
    pieces = command.collect_usage_pieces(typer.Context(command))
    return [piece.replace("{", "").replace("}", "") for piece in pieces if piece != "[OPTIONS]"]


def test_every_command_stands_in_the_document_with_its_arguments_and_its_first_sentence() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    documented = re.findall(r"^\| `(amstream[^`]*)` \| (.*) \|$", text, re.MULTILINE)
    have = {" ".join([name, *arguments(command)]): first_sentence(command) for name, command in COMMANDS.items()}
    assert dict(documented) == have
    assert len(documented) == len(have)


def test_the_client_s_own_script_has_all_that_speaks_http() -> None:
    alone = typer.Typer()
    register(alone)
    others = COMMANDS.keys() - dict(leaves(get_command(alone), "amstream")).keys()
    assert others == {f"amstream {name}" for name in ("serve", "migrate", "accept-loss", "admin-key", "version")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_each_option_and_argument_and_gives_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert first_sentence(command), name
    assert re.search(rf"(Example: |Examples:.*){name}\b", command.help, re.DOTALL), command.help
    shown = [p for p in command.params if p.name not in ("install_completion", "show_completion")]
    assert [p.name for p in shown if not (getattr(p, "help", None) or "").strip()] == []


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_of_commands_explains_itself(name: str) -> None:
    assert GROUPS[name].help


def test_every_command_that_a_document_shows_exists() -> None:
    paths = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "clients" / "python" / "README.md"]
    paths += (ROOT / "docs").rglob("*.md")
    known = COMMANDS.keys() | GROUPS.keys()
    shown = [(path.name, words) for path in paths for words in _shown(path.read_text())]
    assert len(shown) > 50
    assert [
        each for each in shown if " ".join(each[1][: 3 if " ".join(each[1][:2]) in GROUPS else 2]) not in known
    ] == []


def _shown(text: str) -> Iterator[list[str]]:
    """The words that begin each command in the code of a document: indented, fenced or quoted."""
    fenced = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for part, begin in ((text, r"(?:^ {4}|`|&& |exec [a-z-]+ )"), (fenced, "^")):
        for found in re.finditer(begin + r"(amstream [a-z][a-z-]*(?: [a-z][a-z-]*)?)", part, re.MULTILINE):
            yield found[1].split()
