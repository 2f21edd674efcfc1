"""A disk is full: no write of a process succeeds, or grows a file. Predictions go on, nothing accepted is lost or doubled.

RLIMIT_FSIZE makes the writes of a process fail from a size on (EFBIG), for any user, and can be taken back while it runs.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from amstream_client import Client, Spec
from amstream_client.errors import Unavailable
from service import embedded
from service.embedded import EmbeddedValkey
from service.spec import ModelSpec
from tests.faults.evidence import accepted, check_newest_checkpoint, folded, recorded
from tests.faults.producer import Producer
from tests.server import Server

pytestmark = [
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are set on Linux alone"),
    pytest.mark.timeout(300),
]

SPEC: Spec = {
    "inputs": 64,
    "hidden": [64],
    "classes": list(range(10)),
    "scale": "pooled",
    "block": {"size": 8, "wait_ms": 1},
    "retain_s": 86_400,
}
OFTEN = {"AMSTREAM_CHECKPOINT_SAMPLES": "100", "AMSTREAM_CHECKPOINT_S": "0.3"}
MODEL, PROBE = "digits", "probe"
X = np.zeros((1, 64), np.float32)
A_WHILE_S = 2.0
"""Long enough for several checkpoints, each of which fails."""
DEADLINE_S = 60


class Disk:
    """Of a Valkey, which would die of SIGXFSZ if it did not ignore it; a new one finds the disk as it is."""

    def __init__(self) -> None:
        self.most_bytes = resource.RLIM_INFINITY

    def for_child(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _limit(0, self.most_bytes)

    def fill(self, valkey: EmbeddedValkey, *, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        with contextlib.suppress(ProcessLookupError):  # it ended of the full disk
            _limit(int(valkey.pid_file.read_text()), most_bytes)

    def clear(self, valkey: EmbeddedValkey) -> None:
        self.fill(valkey, most_bytes=resource.RLIM_INFINITY)


def _limit(pid: int, most_bytes: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))


@contextlib.contextmanager
def at_work(server: Server) -> Iterator[Producer]:
    """A model that has checkpoints, and a producer that goes on."""
    with Client(server.url, server.admin_key, timeout_s=30) as client:
        client.create_model(MODEL, SPEC)
        client.create_model(PROBE, SPEC)
        producer = Producer(server, MODEL)
        producer.start()
        producer.wait_for_more(50)
        yield producer


def first_refusal(server: Server) -> Unavailable:
    """Of posts to a model of their own."""
    with Client(server.url, server.admin_key, retries=0) as client:
        while True:
            try:
                client.learn(PROBE, X, [0])
            except Unavailable as refused:
                return refused


def check(server: Server, producer: Producer, redis_url: str) -> None:
    """Ends the producer, and the server: everything accepted is learned once, in order, to the bit."""
    last = producer.finish()
    with Client(server.url, server.admin_key, timeout_s=30) as client:
        deadline = time.monotonic() + DEADLINE_S
        while (model := client.model(MODEL)).applied_entry != last:
            assert time.monotonic() < deadline, (model, server.log)
            time.sleep(0.05)
    entries = recorded(redis_url, model.id)
    spec = ModelSpec.model_validate(SPEC)
    assert np.array_equal(accepted(entries, spec), producer.inputs)
    assert model.samples_learned == len(producer.inputs)
    assert server.stop() == 0
    database_url = f"sqlite:///{server.data_dir / 'amstream.db'}"
    check_newest_checkpoint(database_url, model.id, folded(entries, spec))


def test_while_the_server_can_write_nothing_posts_go_into_the_log_and_are_learned_later(
    tmp_path: Path, redis_url: str
) -> None:
    """No database, no log of its own: the server's SQLite and stderr are on the full disk, Valkey is not."""
    server = Server(tmp_path / "data", environment=OFTEN | {"AMSTREAM_REDIS_URL": redis_url})
    with server, at_work(server) as producer, Client(server.url, server.admin_key, retries=0) as client:
        assert server.process is not None
        _limit(server.process.pid, 1)
        with pytest.raises(Unavailable, match="the database is away") as refused:
            client.create_model("another", SPEC)
        assert (refused.value.status, refused.value.retry_after_s) == (503, 1)
        time.sleep(A_WHILE_S)
        producer.wait_for_more(50)
        assert client.predict(MODEL, X).labels
        _limit(server.process.pid, resource.RLIM_INFINITY)
        producer.wait_for_more(50)
        client.create_model("another", SPEC)
        check(server, producer, redis_url)


@pytest.mark.parametrize("sync_always", [False, pytest.param(True, marks=pytest.mark.long)])
def test_while_valkey_cannot_write_its_file_posts_are_refused_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_always: bool
) -> None:
    """One that syncs once a second refuses writes; one that syncs each write ends, and is started again and again."""
    disk = Disk()
    monkeypatch.setattr(embedded, "_die_with_parent", disk.for_child)
    directory = tmp_path / "valkey"
    directory.mkdir()
    valkey = EmbeddedValkey(directory, sync_always=sync_always)
    valkey.start()
    server = Server(tmp_path / "data", environment=OFTEN | {"AMSTREAM_REDIS_URL": valkey.url})
    try:
        with server, at_work(server) as producer:
            file = max((directory / "appendonlydir").iterdir(), key=lambda file: file.stat().st_size)
            disk.fill(valkey, most_bytes=file.stat().st_size + 20_000)
            refused = first_refusal(server)
            accepted_before = len(producer.posted)
            assert (refused.status, refused.retry_after_s) == (503, 1)
            assert (
                refused.detail
                == f"redis {'is away' if sync_always else 'refuses to write'}; the service's log says why"
            )
            time.sleep(A_WHILE_S)
            assert len(producer.posted) <= accepted_before + 1  # one may have been accepted before the first refusal
            with Client(server.url, server.admin_key, retries=0) as client:
                assert client.predict(MODEL, X).labels
            disk.clear(valkey)
            producer.wait_for_more(50)
            check(server, producer, valkey.url)
    finally:
        valkey.stop()
