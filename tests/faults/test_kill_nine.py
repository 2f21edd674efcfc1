"""kill -9 at random moments: every accepted sample is learned exactly once, and the state is that of one fold."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import numpy as np
import pytest

from amstream_client import Client, Spec
from service.embedded import EmbeddedValkey
from service.spec import ModelSpec
from tests.faults.evidence import accepted, check_newest_checkpoint, folded, recorded
from tests.faults.producer import Producer
from tests.server import Server

SPEC: Spec = {
    "inputs": 64,
    "hidden": [32, 32],
    "classes": list(range(10)),
    "scale": "pooled",
    "block": {"size": 8, "wait_ms": 1},
    "retain_s": 86_400,
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.long)])
def test_kills_lose_and_double_nothing(tmp_path: Path, kills: int) -> None:
    often = {"AMSTREAM_CHECKPOINT_SAMPLES": "100", "AMSTREAM_CHECKPOINT_S": "0.3"}
    draw = random.Random(20)
    with contextlib.ExitStack() as cleanup:
        server = cleanup.enter_context(Server(tmp_path / "data", environment=often))
        client = cleanup.enter_context(Client(url=server.url, key=server.admin_key))
        client.create_model("digits", SPEC)
        producer = Producer(server, "digits")
        producer.start()
        for _ in range(kills):
            time.sleep(draw.uniform(0.0, 0.8))  # the random moment, from right after readiness on
            server.kill()
            server.start()
        last = producer.finish()
        while client.model("digits").applied_entry != last:
            time.sleep(0.05)
        model = client.model("digits")
        entries = recorded(EmbeddedValkey(tmp_path / "data").url, model.id)
        assert server.stop() == 0
        server.start()  # its end, by the context manager, is part of what is tested: a clean start after a clean stop

    spec = ModelSpec.model_validate(SPEC)
    assert len(producer.inputs) > 20 * kills  # the kills fell into work
    # nothing lost, doubled or out of order on the way into the log
    assert np.array_equal(accepted(entries, spec), producer.inputs)
    assert model.samples_learned == len(producer.inputs)  # nor on the way out of it
    check_newest_checkpoint(f"sqlite:///{tmp_path / 'data' / 'amstream.db'}", model.id, folded(entries, spec))
