from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import amstream_client

PACKAGE_ROOT = Path(amstream_client.__file__).parents[1]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=False)


def test_the_client_works_where_the_command_line_and_the_service_cannot_be_imported() -> None:
    blocked = ("typer", "rich", "torch", "models", "service")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import amstream_client, amstream_client.testing"
    result = run_python("-c", code)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_wheel_installs_and_works_where_nothing_else_is(tmp_path: Path) -> None:
    """With its dependencies from the package index, in an environment of its own."""
    source = tmp_path / "source"
    shutil.copytree(PACKAGE_ROOT, source, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build"))
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source)
    [wheel] = tmp_path.glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", wheel)
    code = "import importlib.util as u; print([m for m in ('torch', 'pandas', 'fastapi', 'service') if u.find_spec(m)])"
    assert run(python, "-I", "-c", code) == "[]\n"
    code = """
from amstream_client import Client
from amstream_client.testing import FakeService
fake = FakeService()
with Client(key=fake.key, transport=fake.transport()) as client:
    client.create_model("iris", {"inputs": 1, "classes": [1, 2]})
    with client.producer("iris") as producer:
        producer.send([0.5], 2)
    print(client.predict_one("iris", [0.5]).label)
"""
    assert run(python, "-I", "-c", code) == "2\n"
    assert "learn" in run(python, "-I", "-m", "amstream_client", "--help")
    assert (next((tmp_path / "venv" / "lib").iterdir()) / "site-packages" / "amstream_client" / "py.typed").exists()


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_runs_as_a_module_with_all_its_commands() -> None:
    result = run_python("-m", "amstream_client", "--help")
    assert result.returncode == 0
    for command in ("models", "learn", "predict", "evaluate", "watch", "snapshots", "restore", "doctor"):
        assert command in result.stdout
