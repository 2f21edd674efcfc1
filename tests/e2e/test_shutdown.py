from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from amstream_client import Client
from tests.server import Server

NEVER = "99999999999999-0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", environment={"AMSTREAM_WAIT_S": "4"}) as server:
        with Client(server.url, server.admin_key) as client:
            client.create_model("m", {"inputs": 2, "classes": [0, 1]})
            client.learn("m", [[1, 2]], [1])
        yield server


class SlowRequest(threading.Thread):
    """Waits for an entry that never comes, for as long as the server lets it."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self.status: int | None = None

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._server.admin_key}"}
        url = f"{self._server.url}/v1/models/m/predictions?x=1,2&min_entry={NEVER}"
        try:
            self.status = httpx.get(url, headers=headers, timeout=20, trust_env=False).status_code
        except httpx.TransportError:
            self.status = 0


def running(server: Server) -> subprocess.Popen[bytes]:
    assert server.process is not None
    return server.process


def test_a_signal_lets_requests_in_flight_end_and_learned_samples_stay(server: Server) -> None:
    request = SlowRequest(server)
    request.start()
    while not server.answers("/readyz"):
        pass
    assert server.stop() == 0
    request.join()
    assert request.status == 503  # its own bounded wait, answered
    server.start()
    with Client(server.url, server.admin_key) as client:
        assert client.model("m").samples_learned == 1


def test_a_second_signal_ends_the_server_at_once(server: Server) -> None:
    request = SlowRequest(server)
    request.start()
    server.answers("/readyz")  # the request before it is on its way
    process = running(server)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(3) == 128 + signal.SIGTERM
    server.process = None
    request.join()
    assert request.status == 0
    server.start()  # Valkey ended by itself, or is adopted
    with Client(server.url, server.admin_key) as client:
        assert client.model("m").samples_learned == 1
