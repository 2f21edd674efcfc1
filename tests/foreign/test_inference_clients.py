"""Clients of the Open Inference Protocol from the package index, unchanged, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from amstream_client import Client
from service import __version__
from tests.foreign.environments import run
from tests.server import Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.xdist_group("foreign")]

ROWS = [[1.0, 2.0, 3.0], [-4.0, 0.0, 5.0]]


@dataclass(frozen=True)
class Served:
    """A model `m` on a server, and what amstream's own client is told about ROWS."""

    server: Server
    labels: list[Any]
    probabilities: list[list[float]]
    version: str

    def arguments(self, address: str) -> list[str]:
        return [address, self.server.admin_key, "m", json.dumps(ROWS)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    x = np.random.default_rng(0).normal(size=(200, 3)) * 3
    y = np.where(x[:, 0] > 0, "yes", "no")
    with Server(tmp_path_factory.mktemp("served") / "data") as server:
        with Client(server.url, key=server.admin_key) as client:
            client.create_model("m", {"inputs": 3, "classes": ["no", "yes"], "hidden": [16]})
            entry = client.learn("m", x, y).entries[-1]
            known = client.predict("m", np.array(ROWS), min_entry=entry)
        yield Served(server, known.labels, np.array(known.probabilities).tolist(), str(known.model_version))


def test_tritonclient_works_with_its_defaults(served: Served) -> None:
    found = run("tritonclient", *served.arguments(served.server.url.removeprefix("http://")))
    readiness = {name: found[name] for name in ("live", "ready", "model_ready", "version_ready", "unknown_ready")}
    assert readiness == dict.fromkeys(readiness, True) | {"unknown_ready": False}
    assert (found["server"]["name"], found["server"]["version"]) == ("amstream", __version__)
    assert found["model"]["versions"] == [served.version]
    assert found["version"] == found["model"]
    for way, seen in found["infer"].items():
        assert seen["labels"] == served.labels, way
        assert np.allclose(seen["probabilities"], served.probabilities), way
    assert found["repeated"] == [label for label in served.labels for _ in range(100)]
    assert [text.split(":")[2] for text in found["top"]] == served.labels
    assert found["id"] == "mine"
    statuses = {name: int(status) for name, (status, _) in found["errors"].items()}
    assert statuses == {"unknown": 404, "shape": 400, "key": 401, "version": 404}
    messages = {name: message for name, (_, message) in found["errors"].items()}
    assert "unknown" in messages["unknown"]
    assert "[n, 3]" in messages["shape"]
    assert served.version in messages["version"]


def test_the_protocols_own_generated_client_works(served: Served) -> None:
    found = run("open-inference", *served.arguments(served.server.url))
    assert (found["server"]["name"], found["server"]["version"]) == ("amstream", __version__)
    assert found["model"]["versions"] == [served.version]
    assert found["version"] == found["model"]
    for way, seen in found["infer"].items():
        assert seen["label"] == served.labels, way
        assert np.allclose(np.reshape(seen["probabilities"], (2, 2)), served.probabilities), way
    assert list(found["infer"]["outputs"]) == ["probabilities", "label"]
    assert found["id"] == "mine"
    kinds = {name: (kind, status) for name, (kind, status, _) in found["errors"].items()}
    assert kinds == {
        "unknown": ("NotFoundError", 404),
        "shape": ("BadRequestError", 400),
        "key": ("ApiError", 401),
        "version": ("NotFoundError", 404),
    }
    assert "[n, 3]" in found["errors"]["shape"][2]
