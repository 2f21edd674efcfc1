"""The script `amstream`: its own commands, and how it says what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer
from typer.testing import CliRunner

from service import __version__
from service.cli import app
from service.data_dir import DataDir
from service.database import connect, sessions
from service.keyring import Keyring
from service.services import Services
from service.spec import ModelSpec
from service.stream import ModelStream

RUN = CliRunner()


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of whoever runs the tests; signals and logs as before."""
    for name in [name for name in os.environ if name.startswith("AMSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AMSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    structlog.reset_defaults()  # `serve` logs to the stderr that it was run with


def commands(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *path, name)


@pytest.mark.parametrize("path", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    shown = RUN.invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    _, _, explanation = shown.output.partition("Usage:")
    sentences = [line for line in explanation.splitlines()[1:] if line.strip(" │╭╰─╮╯")]
    assert sentences[0].strip(" │").endswith((".", ":")) or "Example" in explanation, shown.output


@pytest.mark.parametrize("arguments", ["['--help']", "['version']"])
def test_what_does_not_need_the_service_does_not_wait_for_it(arguments: str) -> None:
    told = f"import sys\nfrom service.cli import app\napp({arguments}, standalone_mode=False)\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    imported = ran.stdout.splitlines()[-1].split()
    assert "typer" in imported
    assert not {"torch", "fastapi", "sqlalchemy", "service.serve"} & set(imported)


def test_the_version_is_told() -> None:
    assert RUN.invoke(app, ["version"]).output == f"{__version__}\n"


def fails(*arguments: str) -> str:
    """The one line on stderr of a command that fails."""
    shown = RUN.invoke(app, list(arguments))
    assert shown.exit_code == 1, shown.output
    assert isinstance(shown.exception, SystemExit)
    *logged, line = shown.stderr.splitlines()
    assert not [other for other in logged if "amstream:" in other or "Traceback" in other]
    assert line.startswith("amstream: ")
    assert "s3cret" not in shown.output
    return line


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "70000", ["AMSTREAM_PORT", "70000"]),
        ("ROLE", "other", ["AMSTREAM_ROLE", "'other'"]),
        ("WAIT_S", "-1", ["AMSTREAM_WAIT_S", "-1"]),
        ("DEVICE", "tpu", ["AMSTREAM_DEVICE", "'tpu'"]),
        ("REDIS_URL", "redis://user:s3cret@127.0.0.1:1/0", ["redis_url", "127.0.0.1:1"]),
        ("REDIS_URL", "http://user:s3cret@host", ["redis_url"]),
        ("REDIS_URL", "unix:///nowhere.sock", ["redis_url", "nowhere.sock"]),
        ("DATABASE_URL", "mysql://user:s3cret@host/db", ["database_url", "sqlite or postgresql", "mysql"]),
        ("DATABASE_URL", "sqlite:////nowhere/at/all.db", ["database_url", "/nowhere/at/all.db"]),
    ],
)
def test_serve_says_in_one_line_which_setting_is_wrong(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, name: str, value: str, says: list[str]
) -> None:
    monkeypatch.setenv("AMSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv(f"AMSTREAM_{name}", value)
    line = fails("serve")
    assert all(word in line for word in says), line


def test_serve_says_that_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("AMSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv("AMSTREAM_DATABASE_URL", "postgresql+psycopg://user:s3cret@127.0.0.1:1/db")
    line = fails("serve")
    assert "127.0.0.1:1/db" in line
    assert "refused" in line


def test_serve_says_that_the_data_directory_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = fails("serve", "--data-dir", str(tmp_path / "file"))
    assert str(tmp_path / "file") in line


def test_serve_says_who_uses_the_data_directory(tmp_path: Path) -> None:
    holder = DataDir(tmp_path / "data")
    try:
        line = fails("serve")
    finally:
        holder.close()
    assert str(tmp_path / "data") in line
    assert str(os.getpid()) in line


def test_serve_says_that_the_port_is_in_use_and_ends_what_it_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(tmp_path / "data"), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode > 0
    last = ended.stderr.splitlines()[-1]
    assert "in use" in last
    assert str(port) in last
    assert "Traceback" not in ended.stderr
    DataDir(tmp_path / "data").close()


# Keys


@pytest.fixture
def schema(tmp_path: Path) -> str:
    (tmp_path / "data").mkdir()
    assert RUN.invoke(app, ["migrate"]).output == "the schema is up to date\n"
    return f"sqlite:///{tmp_path / 'data' / 'amstream.db'}"


def test_an_admin_key_is_made_without_a_server_and_without_a_key(schema: str) -> None:
    made = RUN.invoke(app, ["admin-key", "admin-2"])
    assert made.exit_code == 0
    engine = connect(schema)
    caller = Keyring(sessions(engine)).look_up(made.stdout.strip())
    engine.dispose()
    assert (caller.name, set(caller.scopes), caller.models) == ("admin-2", {"admin"}, None)


def test_what_is_wrong_with_an_admin_key_is_said_in_one_line(schema: str) -> None:
    RUN.invoke(app, ["admin-key", "taken"])
    assert "'taken'" in fails("admin-key", "taken")
    assert "database_url" in fails("admin-key", "k", "--data-dir", "/nowhere")


def test_migrating_twice_changes_nothing(schema: str) -> None:
    assert RUN.invoke(app, ["migrate"]).exit_code == 0


# Loss


def test_a_loss_is_accepted_only_when_confirmed(
    monkeypatch: pytest.MonkeyPatch, services: Services, redis_url: str, sqlite_url: str
) -> None:
    monkeypatch.setenv("AMSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv("AMSTREAM_DATABASE_URL", sqlite_url)
    model, _ = services.catalog.create("m", ModelSpec(inputs=1, classes=[0, 1]))
    stream = ModelStream(services.sync_redis, model.id)
    stream.delete()

    refused = RUN.invoke(app, ["accept-loss", "m"], input="n\n")
    assert refused.exit_code == 1
    assert stream.uuid() is None

    accepted = RUN.invoke(app, ["accept-loss", "m"], input="y\n")
    assert accepted.exit_code == 0, accepted.output
    assert "goes on after 0 samples" in accepted.output
    assert stream.uuid() not in (None, model.stream_uuid)
    assert "nothing is lost" in fails("accept-loss", "m", "--yes")
    stream.delete()
    assert RUN.invoke(app, ["accept-loss", "m", "--yes"]).exit_code == 0


def test_accepting_a_loss_says_what_is_wrong_in_one_line(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, schema: str
) -> None:
    assert "redis_url" in fails("accept-loss", "m", "--yes")
    monkeypatch.setenv("AMSTREAM_REDIS_URL", redis_url)
    assert "'m'" in fails("accept-loss", "m", "--yes")
    monkeypatch.setenv("AMSTREAM_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    assert "database_url" in fails("accept-loss", "m", "--yes")
