from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import local_service
from benchmarks.local_service import LocalService, ServiceError, processes_of

STUB = """
import http.server, os, signal, subprocess, sys
directory, port = sys.argv[3], int(sys.argv[5])
child = subprocess.Popen(["sleep", "60"], cwd=directory)  # a store of its own, as the real service has
def end(number, frame):
    if "forgetful" not in os.listdir(directory):
        child.terminate()
        child.wait()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "ready"}')
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalService]:
    monkeypatch.setattr(local_service, "GRACE_S", 0.3)
    (tmp_path / "stub.py").write_text(STUB)
    (tmp_path / "data").mkdir()
    service = LocalService(tmp_path / "data", [sys.executable, str(tmp_path / "stub.py")])
    yield service
    service.stop()


def test_a_stopped_service_has_left_nothing(service: LocalService) -> None:
    service.launch()
    service.wait_ready()
    assert len(processes_of(service.directory)) == 2
    assert service.stop() == []
    assert processes_of(service.directory) == {}


def test_what_a_stopped_service_left_behind_is_ended_and_told(service: LocalService) -> None:
    (service.directory / "forgetful").touch()
    service.launch()
    service.wait_ready()
    (left,) = service.stop()
    assert "sleep 60" in left
    assert processes_of(service.directory) == {}


def test_a_paused_service_answers_once_it_is_resumed_and_may_be_stopped_as_it_is(service: LocalService) -> None:
    service.launch()
    service.wait_ready()
    service.pause()
    with pytest.raises(ServiceError, match="was not ready"):
        service.wait_ready(deadline_s=0.1)
    service.resume()
    service.wait_ready()
    service.pause()
    assert service.stop() == []


def test_the_orphan_of_a_killed_service_is_ended_too(service: LocalService) -> None:
    service.launch()
    service.wait_ready()
    service.kill()
    (orphan,) = processes_of(service.directory).values()
    assert orphan == "sleep 60"
    service.stop()
    assert processes_of(service.directory) == {}


def test_a_valkey_that_does_not_run_is_not_killed_nor_whoever_has_its_pid_now(service: LocalService) -> None:
    bystander = subprocess.Popen(["sleep", "60"], cwd=service.directory.parent)
    try:
        with pytest.raises(ServiceError, match="no Valkey runs"):
            service.kill_valkey()
        (service.directory / "valkey.pid").write_text(f"{bystander.pid}\n")
        with pytest.raises(ServiceError, match="no Valkey runs"):
            service.kill_valkey()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_service_that_ends_while_starting_fails_with_its_log(tmp_path: Path) -> None:
    service = LocalService(tmp_path, [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"])
    service.launch()
    with pytest.raises(ServiceError, match=r"ended by itself while starting\n.*\nno such model"):
        service.wait_ready()
    assert service.stop() == []


def test_a_service_that_never_answers_fails_at_its_deadline(tmp_path: Path) -> None:
    service = LocalService(tmp_path, [sys.executable, "-c", "import time; time.sleep(60)"])
    service.launch()
    with pytest.raises(ServiceError, match="was not ready after 0 s"):
        service.wait_ready(deadline_s=0.3)
    service.stop()


def test_processes_of_another_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    bystander = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    try:
        assert processes_of(tmp_path / "mine") == {}
        assert LocalService(tmp_path / "mine").stop() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
