"""The data directory: one process at a time serves from it."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path
from typing import IO


class DataDirInUse(Exception):
    """Another process serves from this directory."""


class DataDir:
    """Created 0700 if missing, and locked for as long as this object is open.

    Raises: DataDirInUse naming the process that holds it; OSError when the directory cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock_file(path / "lock")
        if self._lock is None:
            holder = (path / "lock").read_text().strip() or "unknown"
            raise DataDirInUse(f"the data directory {path} is in use by another amstream (process {holder})")
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    @property
    def node(self) -> str:
        """A name that no other running process has, and that stays the same over restarts."""
        file = self.path / "node"
        if not file.exists():
            file.write_text(str(uuid.uuid4()))
        return file.read_text().strip()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()


def lock_file(path: Path) -> IO[str] | None:
    """The file, open and exclusively locked until it and every inherited copy of it is closed; None if it is locked."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.seek(0)
    return file
