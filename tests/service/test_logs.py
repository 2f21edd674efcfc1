from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from service import logs


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    logs.configure("info")
    yield
    structlog.reset_defaults()


def test_a_log_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger().warning("told")
    assert '"event": "told"' in capsys.readouterr().err


def test_what_libraries_log_goes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import logging; from service import logs; logs.configure('info');"
        "logging.getLogger('uvicorn.error').warning('told by %s', 'uvicorn'); logging.getLogger('x').info('not told')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [line] = map(json.loads, done.stderr.splitlines())
    assert (line["event"], line["level"], line["logger"]) == ("told by uvicorn", "warning", "uvicorn.error")


@pytest.mark.parametrize("at_terminal", [False, True])
def test_a_traceback_shows_no_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_terminal)
    logs.configure("info")

    def fail(bearer_key: str) -> None:
        raise ZeroDivisionError

    try:
        fail("amk_never-to-be-" + "seen")
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "never-to-be-seen" not in told


def test_a_log_on_a_full_disk_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", FullDisk())
    structlog.get_logger().warning("lost")


def test_keys_and_passwords_that_get_into_a_log_are_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError("at redis://:s3cret@host:6379/0 with amk_s3cret-_0")
    except RuntimeError:
        structlog.get_logger().exception(
            "said amk_s3cret", url="postgresql+psycopg://user:s3cret@host/db", headers={"a": ["Bearer s3cret.x=="]}
        )
    told = capsys.readouterr().err
    assert "s3cret" not in told
    assert all(word in told for word in ("host:6379/0", "host/db", "amk_", "RuntimeError"))
