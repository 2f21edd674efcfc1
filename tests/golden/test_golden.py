"""Data directories of earlier versions: everything in them is still there, pending entries are learned, learning goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from amstream_client import Client
from tests.golden.make import FOLDER, SNAPSHOT, learn
from tests.server import Server

VERSIONS = sorted(path.parent for path in FOLDER.glob("*/expected.json"))
TOLERANCE = 5e-3
"""Of probabilities: other machines, thread counts and versions of torch round otherwise, and learning goes on from there."""


def test_there_is_a_data_directory() -> None:
    assert VERSIONS


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_data_directory_is_taken_over(folder: Path, tmp_path: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    shutil.copytree(folder / "data", tmp_path / "data")
    with Server(tmp_path / "data") as server, Client(server.url, server.admin_key, timeout_s=30) as client:
        assert {model.name for model in client.models()} == expected.keys()
        for name, was in expected.items():
            predictions = client.predict(name, was["x"], min_entry=was["applied_entry"])
            assert np.allclose(predictions.probabilities, was["probabilities"], atol=TOLERANCE)
            model = client.model(name)
            assert (model.model_version, model.samples_learned) == (was["model_version"], was["samples_learned"])
            assert model.samples_learned > was["checkpointed_samples"]  # what was pending was learned

            snapshot = client.snapshot(name, SNAPSHOT)
            assert snapshot.digest == was["snapshot"]["digest"]
            assert snapshot.samples_learned == was["snapshot"]["samples_learned"]
            client.restore(name, SNAPSHOT)
            restored = client.predict(name, was["x"]).probabilities
            assert np.allclose(restored, was["snapshot"]["probabilities"], atol=TOLERANCE)

            learn(client, name, 10, seed=4)
            assert client.model(name).samples_learned == was["samples_learned"] + 10
