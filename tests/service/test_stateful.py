"""Any sequence of calls and restarts against a simple model of what the service promises."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from service.settings import Settings
from tests.service.api import assembled, running
from tests.service.learning import samples

PROBE = {"x": [[0.5, -1.0, 2.0], [None, 0.0, 1.0]]}


@dataclass
class Expected:
    """What the service must say of one model."""

    seed: int
    learned: int = 0
    entries: int = 0
    predictions: Any = None
    snapshots: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        return {
            "inputs": 3,
            "hidden": [6],
            "classes": ["no", "yes"],
            "seed": self.seed,
            "block": {"size": 4, "wait_ms": 0},
        }


class Api(RuleBasedStateMachine):
    redis_url: ClassVar[str]

    models = Bundle("models")
    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="amstream-stateful-")
        self.expected: dict[str, Expected] = {}
        self.named = 0

    @initialize()
    def start(self) -> None:
        data_dir = Path(self.directory.name)
        services = assembled(Settings(data_dir=data_dir), self.redis_url, f"sqlite:///{data_dir / 'amstream.db'}")
        self.application: AbstractContextManager[TestClient] = running(services)
        self.http = self.application.__enter__()

    def teardown(self) -> None:
        if hasattr(self, "application"):
            self.application.__exit__(None, None, None)
        self.directory.cleanup()

    def ask(self, name: str, min_entry: str | None = None) -> Any:
        parameters = {} if min_entry is None else {"min_entry": min_entry}
        answer = self.http.post(f"/v1/models/{name}/predictions", json=PROBE, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["probabilities"]

    @rule()
    def restart(self) -> None:
        self.application.__exit__(None, None, None)
        self.start()

    @rule(target=models, seed=st.integers(0, 3))
    def create(self, seed: int) -> str:
        self.named += 1
        name = f"model-{self.named}"
        self.expected[name] = Expected(seed)
        assert self.http.put(f"/v1/models/{name}", json=self.expected[name].spec).status_code == 201
        self.expected[name].predictions = self.ask(name)
        return name

    @rule(name=models)
    def create_again(self, name: str) -> None:
        assert self.http.put(f"/v1/models/{name}", json=self.expected[name].spec).status_code == 200
        other = self.expected[name].spec | {"seed": self.expected[name].seed + 1}
        assert self.http.put(f"/v1/models/{name}", json=other).status_code == 409

    @rule(name=models, n=st.integers(1, 10), seed=st.integers(0, 9), times=st.integers(1, 2))
    def learn(self, name: str, n: int, seed: int, times: int) -> None:
        """`times`: how often the same post arrives."""
        block = samples(n, seed=seed)
        body = {"samples": [{"x": x.tolist(), "y": y} for x, y in zip(block.x, block.y, strict=True)]}
        expected = self.expected[name]
        key = {"Idempotency-Key": f"post-{expected.entries}-{n}-{seed}"}
        answers = [self.http.post(f"/v1/models/{name}/samples", json=body, headers=key) for _ in range(times)]
        assert {answer.status_code for answer in answers} == {202}
        assert [answer.json()["repeated"] for answer in answers] == [False, True][:times]
        assert len({str(answer.json()["entries"]) for answer in answers}) == 1
        entries = answers[0].json()["entries"]
        assert len(entries) == -(-n // 4)
        expected.learned += n
        expected.entries += len(entries)
        expected.predictions = self.ask(name, entries[-1])

    @rule(target=snapshots, name=models)
    def snapshot(self, name: str) -> tuple[str, str]:
        expected = self.expected[name]
        snapshot = f"s{len(expected.snapshots)}"
        answer = self.http.post(f"/v1/models/{name}/snapshots", json={"name": snapshot})
        assert answer.status_code == 201, answer.text
        assert answer.json()["samples_learned"] == expected.learned
        expected.entries += 1
        expected.snapshots[snapshot] = expected.predictions
        return name, snapshot

    @rule(taken=snapshots)
    def restore(self, taken: tuple[str, str]) -> None:
        name, snapshot = taken
        if name not in self.expected:
            return
        expected = self.expected[name]
        answer = self.http.post(f"/v1/models/{name}/restore", json={"snapshot": snapshot})
        assert answer.status_code == 200, answer.text
        expected.entries += 1
        expected.predictions = expected.snapshots[snapshot]

    @rule(name=consumes(models))
    def delete(self, name: str) -> None:
        assert self.http.delete(f"/v1/models/{name}").status_code == 204
        assert self.http.get(f"/v1/models/{name}").status_code == 404
        del self.expected[name]

    @invariant()
    def everything_is_as_expected(self) -> None:
        if not hasattr(self, "http"):
            return
        for name, expected in self.expected.items():
            model = self.http.get(f"/v1/models/{name}").json()
            assert (model["samples_learned"], model["model_version"]) == (expected.learned, expected.entries)
            assert self.ask(name) == expected.predictions
            snapshots = self.http.get(f"/v1/models/{name}/snapshots").json()["snapshots"]
            assert [snapshot["name"] for snapshot in snapshots] == list(expected.snapshots)


@pytest.fixture
def machine(redis_url: str) -> type[Api]:
    Api.redis_url = redis_url
    return Api


@pytest.mark.parametrize("examples", [8, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_any_sequence_of_calls_and_restarts_keeps_every_promise(machine: type[Api], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
