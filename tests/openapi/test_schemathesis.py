"""schemathesis over the whole description: no failure, no status and no answer that is not documented."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
UNENDING = "/v1/models/{name}/events"
"""A stream that ends with the server; tests/service/test_api_events.py has it."""
CHECKS = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""
"""A model that has learned nothing yet says 503, as documented; 500 would be a defect."""
EXCLUDED = "positive_data_acceptance"
"""How wide inputs are and which labels there may be is a matter of each model, which no schema can say."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", environment={"AMSTREAM_WAIT_S": "2"}) as server:
        # the first spec of a process loads parts of torch, which may take seconds where much else runs
        call(server, "PUT", "/v1/models/first", json={"inputs": 3, "classes": ["no", "yes"], "hidden": [8]})
        yield server


def call(server: Server, method: str, path: str, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    answer = httpx.request(method, server.url + path, headers=headers, timeout=30, trust_env=False, **options)
    assert answer.is_success, answer.text
    return answer.json()


def run(server: Server, tmp_path: Path, *options: str, parameters: str = "", unselected: int = 1) -> None:
    """Args: parameters: in TOML; unselected: how many operations the options leave out."""
    (tmp_path / "schemathesis.toml").write_text(parameters + CHECKS)
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.openapi.hooks", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    known = ["--header", f"Authorization: Bearer {server.admin_key}", "--exclude-path", UNENDING]
    how = ["--checks", "all", "--exclude-checks", EXCLUDED, "--continue-on-failure", "--request-timeout", "120"]
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "run", f"{server.url}/openapi.json", *known, *how, *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    described = call(server, "GET", "/openapi.json")["paths"]
    operations = sum(len(methods) for methods in described.values())
    assert f"Selected: {operations - unselected}/{operations}" in done.stdout, done.stdout
    assert '"defect"' not in server.log


def test_models_that_come_and_go(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path, "--max-examples", "30")


def test_a_model_that_has_everything(server: Server, tmp_path: Path) -> None:
    model = "/v1/models/boiler"
    call(server, "PUT", model, json={"inputs": 3, "classes": ["no"], "max_classes": 50, "hidden": [8]})
    call(server, "POST", f"{model}/samples", json={"samples": [{"x": [1, 2, 3], "y": "no"}]})
    call(server, "POST", f"{model}/snapshots", json={"name": "monday"})
    tracked = call(server, "POST", f"{model}/predictions", params={"track": True}, json={"x": [[1, 2, 3]]})
    given = {"path.name": "boiler", "path.snapshot": "monday", "path.prediction": tracked["ids"][0]}
    lines = [f'"{name}" = "{value}"' for name, value in given.items()]
    parameters = "\n".join(["[parameters]", *lines])
    # stateful tests would delete the model; the other run has them
    phases = ["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--exclude-path", "/v1/models/{name}"]
    run(server, tmp_path, *phases, parameters=parameters, unselected=4)
    assert call(server, "GET", model)["learner"] == "learning"
