from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import amstream_client

PACKAGE_ROOT = Path(amstream_client.__file__).parents[1]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=False)


def test_the_client_works_where_the_command_line_and_the_service_cannot_be_imported() -> None:
    blocked = ("typer", "rich", "torch", "models", "service")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import amstream_client, amstream_client.testing"
    result = run_python("-c", code)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_package_runs_as_a_module_with_all_its_commands() -> None:
    result = run_python("-m", "amstream_client", "--help")
    assert result.returncode == 0
    for command in ("models", "learn", "predict", "snapshots", "restore"):
        assert command in result.stdout
