from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from service.data_dir import lock_file
from service.embedded import EmbeddedValkey
from service.redis_clients import sync_client

DEADLINE_S = 20

# Starts a Valkey in argv[1] and stays; with argv[2] = orphan, it is one that outlives its starter.
STARTER = """
import sys, time, pathlib
from service import embedded, logs
logs.configure("error")
if sys.argv[2:] == ["orphan"]:
    embedded._die_with_parent = lambda: None
valkey = embedded.EmbeddedValkey(pathlib.Path(sys.argv[1]))
valkey.start()
print("started", flush=True)
time.sleep(600)
"""


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def server_pid(valkey: EmbeddedValkey) -> int:
    with contextlib.closing(sync_client(valkey.url)) as client:
        return int(client.info("server")["process_id"])


def servers_in(directory: Path) -> int:
    """Live Valkey processes whose working directory this is."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_valkey = (process / "comm").read_text().strip().startswith("valkey-server")
            count += is_valkey and (process / "cwd").readlink() == directory
    return count


def is_free(directory: Path) -> bool:
    lock = lock_file(directory / "valkey.lock")
    if lock is not None:
        lock.close()
    return lock is not None


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if not is_free(tmp_path):
        last = EmbeddedValkey(tmp_path)
        last.start()
        last.stop()


def start_elsewhere(directory: Path, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(directory), *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_what_was_written_is_there_after_a_stop_and_a_start(directory: Path) -> None:
    first = EmbeddedValkey(directory)
    first.start()
    with contextlib.closing(sync_client(first.url)) as client:
        client.set("key", "value")
    first.stop()
    assert servers_in(directory) == 0
    second = EmbeddedValkey(directory)
    second.start()
    with contextlib.closing(sync_client(second.url)) as client:
        assert client.get("key") == b"value"
    second.stop()


def test_the_server_dies_with_a_killed_parent(directory: Path) -> None:
    parent = start_elsewhere(directory)
    assert servers_in(directory) == 1
    parent.kill()
    parent.communicate()
    eventually(lambda: is_free(directory))
    assert servers_in(directory) == 0


def test_a_server_left_alive_is_adopted_never_doubled_and_ended_with_its_adopter(directory: Path) -> None:
    parent = start_elsewhere(directory, "orphan")
    valkey = EmbeddedValkey(directory)
    before = server_pid(valkey)
    parent.kill()
    parent.communicate()
    valkey.start()
    assert server_pid(valkey) == before
    assert servers_in(directory) == 1
    valkey.stop()
    assert servers_in(directory) == 0


def test_a_server_that_is_killed_is_started_again_with_its_data(directory: Path) -> None:
    valkey = EmbeddedValkey(directory)
    valkey.start()
    with contextlib.closing(sync_client(valkey.url)) as client:
        client.set("key", "value")
        client.waitaof(1, 0, 5000)
        before = server_pid(valkey)
        os.kill(before, signal.SIGKILL)

        def is_back() -> bool:
            with contextlib.suppress(redis.RedisError):
                return client.get("key") == b"value" and server_pid(valkey) != before
            return False

        eventually(is_back)
    assert servers_in(directory) == 1
    valkey.stop()


def test_a_server_that_cannot_be_started_at_once_is_started_later(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey = EmbeddedValkey(directory)
    valkey.start()
    failed = []

    def no_descriptor(path: Path) -> None:
        failed.append(path)
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("service.embedded.lock_file", no_descriptor)
        os.kill(int(valkey.pid_file.read_text()), signal.SIGKILL)
        eventually(lambda: len(failed) > 1)
    with contextlib.closing(sync_client(valkey.url)) as client:
        eventually(lambda: valkey._answers(client))
    valkey.stop()


def test_an_adopted_server_on_its_way_out_is_replaced(directory: Path) -> None:
    parent = start_elsewhere(directory, "orphan")
    valkey = EmbeddedValkey(directory)
    before = server_pid(valkey)
    parent.kill()
    parent.communicate()
    os.kill(before, signal.SIGTERM)
    valkey.start()

    def is_new() -> bool:
        with contextlib.suppress(redis.RedisError):
            return server_pid(valkey) != before
        return False

    eventually(is_new)
    assert servers_in(directory) == 1
    valkey.stop()
