from __future__ import annotations

import errno
import io
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
