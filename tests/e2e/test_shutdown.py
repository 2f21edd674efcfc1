from __future__ import annotations

import contextlib
import http.client
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


@contextlib.contextmanager
def slow_request(server: Server) -> Iterator[http.client.HTTPConnection]:
    """A request that the server has received and answers after AMSTREAM_WAIT_S: it waits for an entry that never comes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    connection.request("GET", f"/v1/models/m/predictions?x=1,2&min_entry={NEVER}", headers=headers)
    assert server.answers("/readyz")  # on a later connection: the one before has been read
    yield connection
    connection.close()


def test_a_signal_lets_requests_in_flight_end_and_learned_samples_stay(server: Server) -> None:
    with slow_request(server) as connection:
        assert server.stop() == 0
        assert connection.getresponse().status == 503  # its own bounded wait, answered
    server.start()
    with Client(server.url, server.admin_key) as client:
        assert client.model("m").samples_learned == 1


def test_whoever_listens_to_events_is_let_go_cleanly(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx.stream("GET", f"{server.url}/v1/models/m/events", headers=headers, timeout=20) as listening:
        lines = listening.iter_lines()
        assert next(lines) == ": listening"
        ended = threading.Thread(target=lambda: [*lines])  # raises if the connection is cut
        ended.start()
        assert server.stop() == 0
        ended.join(20)
        assert not ended.is_alive()
    assert "Traceback" not in server.log


def test_a_second_signal_ends_the_server_at_once(server: Server) -> None:
    with slow_request(server) as connection:
        process = server.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 128 + signal.SIGTERM
        server.process = None
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
    server.start()  # Valkey ended by itself, or is adopted
    with Client(server.url, server.admin_key) as client:
        assert client.model("m").samples_learned == 1
