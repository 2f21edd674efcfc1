"""kill -9 at random moments: every accepted sample is learned exactly once, and the state is that of one fold."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from amstream_client import Client, Spec
from service.embedded import EmbeddedValkey
from service.entries import Samples
from service.spec import ModelSpec
from tests.faults.evidence import accepted, check_newest_checkpoint, folded, recorded
from tests.server import Server

KILLS = 20
SPEC: Spec = {
    "inputs": 64,
    "hidden": [32, 32],
    "classes": list(range(10)),
    "scale": "pooled",
    "block": {"size": 8, "wait_ms": 1},
    "retain_s": 86_400,
}


class Producer(threading.Thread):
    """Posts digits with the client's retries until told to stop; `posted` holds what was accepted."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._client = Client(url=server.url, key=server.admin_key, retries=1000, timeout_s=20, sleep=_briefly)
        self._stopping = threading.Event()
        self.posted: list[Samples] = []
        self.error: Exception | None = None

    def wait_for_more(self) -> None:
        """Until another post is accepted: after a restart, the server is at work again."""
        before = len(self.posted)
        while len(self.posted) == before and self.error is None:
            time.sleep(0.001)

    def run(self) -> None:
        x, y = load_digits(return_X_y=True)
        draw = random.Random(0)
        try:
            while not self._stopping.is_set():
                start, size = draw.randrange(len(y) - 20), draw.randrange(1, 20)
                xs, ys = x[start : start + size].astype(np.float32), y[start : start + size].tolist()
                self._client.learn("digits", xs, ys)
                self.posted.append(Samples(xs, ys, None))
        except Exception as error:  # told to the test's own thread
            self.error = error

    def finish(self) -> None:
        self._stopping.set()
        self.join(timeout=60)
        self._client.close()
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def _briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


@pytest.mark.timeout(400)
def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    often = {"AMSTREAM_CHECKPOINT_SAMPLES": "100", "AMSTREAM_CHECKPOINT_S": "0.3"}
    draw = random.Random(20)
    with contextlib.ExitStack() as cleanup:
        server = cleanup.enter_context(Server(tmp_path / "data", environment=often))
        client = cleanup.enter_context(Client(url=server.url, key=server.admin_key))
        client.create_model("digits", SPEC)
        producer = Producer(server)
        producer.start()
        for _ in range(KILLS):
            time.sleep(draw.uniform(0.0, 0.8))  # the random moment, from right after readiness on
            server.kill()
            server.start()
        producer.finish()
        posted = sum(map(len, producer.posted))
        last = client.learn("digits", producer.posted[0].x, producer.posted[0].y).entries[-1]
        while client.model("digits").applied_entry != last:
            time.sleep(0.05)
        model = client.model("digits")
        entries = recorded(EmbeddedValkey(tmp_path / "data").url, model.id)
        assert server.stop() == 0
        server.start()  # its end, by the context manager, is part of what is tested: a clean start after a clean stop

    spec = ModelSpec.model_validate(SPEC)
    expected = np.concatenate([samples.x for samples in [*producer.posted, producer.posted[0]]])
    assert posted > 20 * KILLS  # the kills fell into work
    assert np.array_equal(
        accepted(entries, spec), expected
    )  # nothing lost, doubled or out of order on the way into the log
    assert model.samples_learned == len(expected)  # nor on the way out of it
    check_newest_checkpoint(f"sqlite:///{tmp_path / 'data' / 'amstream.db'}", model.id, folded(entries, spec))
