"""Clients that send slowly, much or nothing, against a real server; and what its log says of all that."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from tests.server import Server
from tests.service.conftest import SPEC

SLOW_S = 1.0
MOST_HEAD = 2048
PATIENCE_S = 30
"""For this test; the server's own is SLOW_S."""

LABEL, FEATURE = "s3cret-label", 271828.1828


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "AMSTREAM_SLOW_S": str(SLOW_S),
        "AMSTREAM_MAX_HEADER_BYTES": str(MOST_HEAD),
        "AMSTREAM_MAX_CONNECTIONS": "20",
        "AMSTREAM_LOG_LEVEL": "debug",
        "AMSTREAM_TRUSTED_HOSTS": "127.0.0.1, amstream.example",
    }
    with Server(tmp_path_factory.mktemp("hostile") / "data", environment=environment) as server:
        with connected(server) as http:
            assert http.put("/v1/models/m", json=SPEC | {"classes": ["no", LABEL]}).status_code == 201
        yield server


@contextmanager
def connected(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=PATIENCE_S) as http:
        yield http


@contextmanager
def connection(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as opened:
        yield opened


def head(server: Server, *lines: str, method: str = "POST", key: str | None = None) -> bytes:
    key = server.admin_key if key is None else key
    rest = (f"Authorization: Bearer {key}", "Content-Type: application/json", *lines)
    return "\r\n".join([f"{method} /v1/models/m/samples HTTP/1.1", "Host: 127.0.0.1", *rest, "", ""]).encode()


def until_closed(opened: socket.socket) -> bytes:
    """What the server says before it closes the connection."""
    said = b""
    while True:
        try:
            part = opened.recv(65_536)
        except ConnectionResetError:
            return said
        if not part:
            return said
        said += part


def problem(said: bytes) -> tuple[int, dict[str, Any]]:
    """Status and body of one answer that ends the connection."""
    top, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in top, said
    assert b"connection: close" in top.lower()
    status = int(top.split(b" ")[1])
    parsed: dict[str, Any] = json.loads(body)
    assert parsed["status"] == status
    return status, parsed


def test_a_head_that_trickles_is_given_up(server: Server) -> None:
    with connection(server) as opened:
        opened.sendall(head(server)[:40])
        status, said = problem(until_closed(opened))
    assert status == 408
    assert "head" in said["detail"]


def test_a_connection_on_which_nothing_comes_is_closed(server: Server) -> None:
    with connection(server) as opened:
        assert until_closed(opened) == b""


@pytest.mark.parametrize("size", [MOST_HEAD + 100, 3 * MOST_HEAD, 300_000])
def test_a_head_that_is_too_large_is_refused(server: Server, size: int) -> None:
    with connection(server) as opened:
        with suppress(ConnectionError):
            opened.sendall(head(server, f"X-Long: {'x' * size}"))
        said = until_closed(opened)
    if said or size <= 3 * MOST_HEAD:  # a client that still sends may lose the answer
        assert problem(said)[0] == 431


def test_what_is_no_http_is_told_so(server: Server) -> None:
    with connection(server) as opened:
        opened.sendall(b"amk_s3cret is my key\r\n\r\n")
        assert problem(until_closed(opened))[0] == 400


def test_a_body_that_trickles_is_given_up_and_nothing_of_it_is_learned(server: Server) -> None:
    with connection(server) as opened:
        opened.sendall(head(server, "Content-Length: 1000") + b'{"samples": [')
        status, said = problem(until_closed(opened))
    assert status == 408
    assert said["type"] == "urn:amstream:problem:request-timeout"
    assert "13 bytes" in said["detail"]


def test_a_long_body_may_take_its_time_as_long_as_it_comes(server: Server) -> None:
    sample = {"x": [1, 2, 3], "y": "no"}
    body = json.dumps({"samples": [sample] * 2}).encode().ljust(65_536)
    with connection(server) as opened:
        opened.sendall(head(server, f"Content-Length: {len(body)}", "Connection: close"))
        for start in range(0, len(body), 16_384):
            time.sleep(0.5 * SLOW_S)
            opened.sendall(body[start : start + 16_384])
        assert until_closed(opened).startswith(b"HTTP/1.1 202")


def test_a_body_that_nobody_reads_does_not_keep_the_connection(server: Server) -> None:
    with connection(server) as opened:
        opened.sendall(head(server, "Content-Length: 1000", key="amk_unknown") + b"{")
        assert until_closed(opened).startswith(b"HTTP/1.1 401")


def test_whoever_listens_to_events_is_not_hurried(server: Server) -> None:
    with connected(server) as http, http.stream("GET", "/v1/models/m/events") as events:
        lines = events.iter_lines()
        next(lines)
        time.sleep(2 * SLOW_S)
        assert http.post("/v1/models/m/samples", json={"samples": [{"x": [1, 2, 3], "y": "no"}]}).status_code == 202
        assert any(line.startswith("event: learned") for line in lines)


def test_there_are_only_so_many_connections(server: Server) -> None:
    opened = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) for _ in range(20)]
    try:
        answer = httpx.get(f"{server.url}/livez", trust_env=False)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:amstream:problem:unavailable"
        assert answer.headers["Retry-After"] == "1"
    finally:
        for each in opened:
            each.close()
    deadline = time.monotonic() + PATIENCE_S
    while not server.answers("/livez"):
        assert time.monotonic() < deadline


def test_another_host_is_refused_but_for_probes(server: Server) -> None:
    with connected(server) as http:
        for host in ("amstream.example", "AMSTREAM.example:8707", f"127.0.0.1:{server.port}"):
            assert http.get("/v1/models", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "amstream.example.evil", ""):
            answer = http.get("/v1/models", headers={"Host": host})
            assert answer.status_code == 421
            assert answer.json()["errors"][0]["value"] == host
            assert http.get("/readyz", headers={"Host": host}).status_code == 200


def test_the_log_has_neither_keys_nor_what_was_sent(server: Server) -> None:
    with connected(server) as http:
        made = http.post("/v1/keys", json={"name": "sensor", "scopes": ["learn", "predict"]}).json()
        bearer = {"Authorization": f"Bearer {made['key']}"}
        model, row = "/v1/models/m", [FEATURE, 2, 3]
        for sent in (
            {"json": {"samples": [{"x": row, "y": LABEL}]}},
            {"json": {"samples": [{"x": row, "y": "other-s3cret"}]}},
            {
                "content": f'{{"samples": [{FEATURE}, "{LABEL}"'.encode(),
                "headers": {"Content-Type": "application/json"},
            },
            {"content": f"{FEATURE}{LABEL}".encode(), "headers": {"Content-Type": "application/s3cret"}},
        ):
            http.post(f"{model}/samples", **sent)
        http.get(f"{model}/predictions", params={"x": f"{FEATURE},2,3"}, headers=bearer)
        http.get(f"{model}/predictions", params={"x": f"{FEATURE},2", "key": made["key"]}, headers=bearer)
        http.get(f"/v1/{made['key']}")
        http.get("/v1/models", headers={"Authorization": "Bearer amk_s3cret-that-nobody-has"})
        http.post(f"{model}/snapshots/import", params={"name": "s"}, content=LABEL.encode())
        http.post(f"{model}/snapshots", json={"name": "s"})
        assert http.delete(f"/v1/keys/{made['id']}").status_code == 204
    log = server.log
    assert '"action": "revoke-key"' in log
    for secret in (server.admin_key, made["key"], "s3cret", str(FEATURE)):
        assert secret not in log
