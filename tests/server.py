"""`amstream serve` as a process of its own, as an operator would run it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server process on a free port; `environment` holds its AMSTREAM_ settings.

    Use as a context manager: it ends, with its Valkey, what it started.
    """

    def __init__(self, data_dir: Path, *, role: str = "all", environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.role = role
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("AMSTREAM_")} | dict(
            environment or {}
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        options = ["--data-dir", str(self.data_dir), "--port", str(self.port), "--role", self.role]
        return [sys.executable, "-m", "service", "serve", *options]

    @property
    def log(self) -> str:
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    def start(self) -> None:
        """Returns once the server is ready."""
        self.spawn()
        self.wait_ready()

    def wait_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers("/readyz"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server does not get ready:\n{self.log}")
            time.sleep(0.05)

    def spawn(self) -> None:
        with (self.data_dir.parent / f"{self.data_dir.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def answers(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def admin_key(self) -> str:
        return (self.data_dir / "admin.key").read_text().strip()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return status

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is None:  # killed: a last start adopts the Valkey that may have been left, and ends it
            self.start()
        self.stop()
