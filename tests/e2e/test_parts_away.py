"""What docs/deployment.md says of a part that is away, and of large models."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from amstream_client import Client
from amstream_client.errors import Unavailable
from amstream_client.wire import Spec
from tests.e2e.stack import Part, Stack
from tests.e2e.waiting import wait_until
from tests.postgres import Postgres

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("parts-away")]

SPEC: Spec = {"inputs": 3, "hidden": [8], "classes": ["no", "yes"], "block": {"size": 4, "wait_ms": 1.0}}
X = [[0.0, 1.0, 2.0], [1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [1.0, 2.0, 2.0]]
Y = ["no", "yes", "no", "yes"]

WIDE: Spec = {"inputs": 16, "hidden": [6000, 2000], "classes": ["no", "yes"], "learner": "never-forget"}
"""Its weights have 48 MB; Valkey's default cuts off subscribers that are 32 MB behind."""


@pytest.fixture
def impatient(stack: Stack) -> Iterator[Client]:
    with Client(stack.api.url, stack.api.admin_key, retries=0, timeout_s=30) as client:
        yield client


def unready(part: Part) -> list[str]:
    """What /readyz says is away."""
    answer = httpx.get(part.url + "/readyz", timeout=30, trust_env=False)
    return [error["field"] for error in answer.json()["errors"]] if answer.status_code == 503 else []


def refused(client: Client, model: str) -> bool:
    try:
        client.predict(model, X)
    except Unavailable:
        return True
    return False


def test_without_valkey_predictions_go_on_and_posts_are_refused_until_it_is_back(
    stack: Stack, client: Client, impatient: Client
) -> None:
    client.create_model("valkey", SPEC)
    before = client.predict("valkey", X, min_entry=client.learn("valkey", X, Y).entries[-1])
    stack.valkey.kill()
    assert unready(stack.api) == unready(stack.learner) == ["redis"]
    with pytest.raises(Unavailable):
        impatient.learn("valkey", X, Y)
    assert impatient.predict("valkey", X) == before
    stack.valkey.start()
    after = client.predict("valkey", X, min_entry=client.learn("valkey", X, Y).entries[-1])
    assert after.model_version == 2
    assert client.model("valkey").samples_learned == 8
    assert unready(stack.api) == unready(stack.learner) == []


def test_without_postgresql_requests_are_refused_within_seconds_until_it_is_back(
    stack: Stack, postgres: Postgres, client: Client, impatient: Client
) -> None:
    client.create_model("postgresql", SPEC)
    client.predict("postgresql", X, min_entry=client.learn("postgresql", X, Y).entries[-1])
    postgres.stop_server()
    try:
        assert unready(stack.api) == unready(stack.learner) == ["database"]
        wait_until(lambda: refused(impatient, "postgresql"))
    finally:
        postgres.start_server()
    after = client.predict("postgresql", X, min_entry=client.learn("postgresql", X, Y).entries[-1])
    assert after.model_version == 2
    assert client.model("postgresql").samples_learned == 8
    assert unready(stack.api) == unready(stack.learner) == []


def test_weights_of_a_model_too_large_for_valkeys_default_limit_reach_the_api(stack: Stack, client: Client) -> None:
    client.create_model("wide", WIDE)
    x = np.random.default_rng(0).standard_normal((64, 16))
    for start in range(0, 64, 16):
        last = client.learn("wide", x[start : start + 16], ["no", "yes"] * 8).entries[-1]
    assert client.predict("wide", x, min_entry=last).applied_entry == last
    client.delete_model("wide")
