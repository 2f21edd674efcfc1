"""`python -m tests.golden.make`: writes a small data directory as this version of amstream leaves it, with what it holds.

Two models, each with a snapshot, checkpoints, and entries that no checkpoint includes, because the server was killed.
No key is in it, nor a key's hash: the next start makes a new one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from amstream_client import Client, Spec
from amstream_client.wire import Block
from service import __version__
from service.data_dir import lock_file
from tests.server import Server

FOLDER = Path(__file__).parent
LEFT_OUT = ("admin.key", "lock", "*.lock", "*.log", "*.pid")
SNAPSHOT = "first"
BLOCK: Block = {"size": 4, "wait_ms": 1}
MODELS: dict[str, Spec] = {
    "running": {"inputs": 4, "hidden": [8], "classes": ["red", "green", "blue"], "block": BLOCK},
    "pooled": {
        "inputs": 4,
        "hidden": [8, 8],
        "classes": [0, 1, 2],
        "learner": "am-mem-paper",
        "scale": "pooled",
        "block": BLOCK,
    },
}
ONLY_WHEN_TOLD = {"AMSTREAM_CHECKPOINT_SAMPLES": "1000000", "AMSTREAM_CHECKPOINT_S": "1000000"}
PROBE = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def learn(client: Client, model: str, n: int, seed: int) -> str:
    """Posts samples of three classes, waits until they are learned, and returns the last entry."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, 4)).astype(np.float32)
    classes = client.model(model).spec["classes"]
    last = client.learn(model, x, [classes[int(i)] for i in x[:, :3].argmax(axis=1)]).entries[-1]
    client.predict(model, x, min_entry=last)
    return last


def described(client: Client, model: str) -> dict[str, Any]:
    """What a later version must find."""
    resource = client.model(model)
    return {
        "model_version": resource.model_version,
        "applied_entry": resource.applied_entry,
        "samples_learned": resource.samples_learned,
        "probabilities": client.predict(model, PROBE).probabilities,
    }


def live(server: Server) -> dict[str, Any]:
    """A service's life up to its kill. Returns: what each model holds, and held when its snapshot was taken."""
    expected: dict[str, Any] = {}
    server.start()
    with Client(server.url, server.admin_key) as client:
        for name, spec in MODELS.items():
            client.create_model(name, spec)
            learn(client, name, 40, seed=1)
            digest = client.create_snapshot(name, SNAPSHOT).digest
            expected[name] = {"snapshot": described(client, name) | {"digest": digest}}
            learn(client, name, 20, seed=2)
    server.stop()  # writes a checkpoint
    server.start()
    with Client(server.url, server.admin_key) as client:
        for name in MODELS:
            expected[name]["checkpointed_samples"] = client.model(name).samples_learned
            learn(client, name, 10, seed=3)
            expected[name] |= described(client, name) | {"x": PROBE.tolist()}
    server.kill()
    while (lock := lock_file(server.data_dir / "valkey.lock")) is None:  # Valkey writes its file to the end
        time.sleep(0.05)
    lock.close()
    return expected


def without_keys(database: Path) -> None:
    """Removes the API keys, and what the file remembers of them; closing it merges the write-ahead log."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM api_keys")
        connection.execute("VACUUM")


def make(folder: Path) -> None:
    with TemporaryDirectory(prefix="amstream-golden-") as temporary:
        server = Server(Path(temporary) / "data", environment=ONLY_WHEN_TOLD)
        expected = live(server)
        secret = server.admin_key.encode()
        key_hash = hashlib.sha256(secret).hexdigest().encode()
        assert key_hash in (server.data_dir / "amstream.db").read_bytes()
        without_keys(server.data_dir / "amstream.db")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(server.data_dir, folder / "data", ignore=shutil.ignore_patterns(*LEFT_OUT))
    for file in (folder / "data").rglob("*"):
        if file.is_file():
            assert secret not in file.read_bytes()
            assert key_hash not in file.read_bytes()
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    make(FOLDER / f"v{__version__}")
