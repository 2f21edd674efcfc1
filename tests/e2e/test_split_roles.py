"""The roles api and learner in processes of their own, as docker-compose.yml runs them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from amstream_client import Client
from amstream_client.wire import Model, Predictions, Spec
from service.database import connect, sessions
from service.repositories import checkpoints, leases
from tests.e2e.stack import Part, Stack
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.xdist_group("split-roles")

BLOCK = 32
SPEC: Spec = {
    "inputs": 64,
    "hidden": [32],
    "classes": list(range(10)),
    "block": {"size": BLOCK, "wait_ms": 1000.0},
    "seed": 7,
}
POSTS = 20

X, Y = load_digits(return_X_y=True)
HELD_OUT = X[-500:]


def block(number: int) -> tuple[NDArray[np.float64], list[int]]:
    """One post that fills a block, so that whoever posts the same numbers makes the same entries."""
    start = number * BLOCK % 1024
    return X[start : start + BLOCK], Y[start : start + BLOCK].tolist()


def post(client: Client, model: str, numbers: range) -> str:
    """The last entry."""
    last = [client.learn(model, *block(number)).entries[-1] for number in numbers]
    return last[-1]


@contextlib.contextmanager
def posting(client: Client, model: str, numbers: range) -> Iterator[Callable[[], str]]:
    """Posts in the background; call the result to wait for the end, and for the last entry."""
    entries: list[str] = []

    def run() -> None:
        for number in numbers:
            entries.append(post(client, model, range(number, number + 1)))
            time.sleep(0.01)

    thread = threading.Thread(target=run)
    thread.start()

    def finish() -> str:
        thread.join()
        assert len(entries) == len(numbers)
        return entries[-1]

    try:
        yield finish
    finally:
        thread.join()


def accuracy(predicted: Predictions) -> float:
    return float(np.mean(np.array(predicted.labels) == Y[-len(predicted.labels) :]))


def test_samples_posted_to_the_api_are_learned_by_the_learner_and_predicted_by_the_api(client: Client) -> None:
    client.create_model("basic", SPEC)
    before = client.predict("basic", HELD_OUT)
    last = post(client, "basic", range(POSTS))
    after = client.predict("basic", HELD_OUT, min_entry=last)
    assert before.model_version == 0
    assert after.model_version == POSTS
    assert after.applied_entry == last
    assert accuracy(after) > 0.75 > 0.3 > accuracy(before)
    model = client.model("basic")
    assert (model.samples_learned, model.entries_lag) == (POSTS * BLOCK, 0)


def test_the_admin_key_is_written_where_the_api_runs(stack: Stack) -> None:
    assert stack.api.admin_key.startswith("amk_")
    assert not (stack.learner.data_dir / "admin.key").exists()


def test_the_learner_serves_probes_and_nothing_of_the_api(stack: Stack) -> None:
    with httpx.Client(base_url=stack.learner.url, trust_env=False) as http:
        assert http.get("/livez").status_code == 200
        assert http.get("/readyz").json() == {"status": "ready", "redis": "ok", "database": "ok"}
        refused = http.get("/v1/models", headers={"Authorization": f"Bearer {stack.api.admin_key}"})
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"


def test_the_health_checks_of_the_compose_file_tell_a_running_process_from_none(stack: Stack) -> None:
    assert stack.api.is_healthy()
    assert stack.learner.is_healthy()
    assert not stack.part("api", "never-started").is_healthy()


def test_a_snapshot_is_taken_and_restored_through_the_api(client: Client) -> None:
    client.create_model("snapped", SPEC)
    post(client, "snapped", range(POSTS))
    snapshot = client.create_snapshot("snapped", "good")
    assert snapshot.samples_learned == POSTS * BLOCK
    good = client.predict("snapped", HELD_OUT, min_entry=snapshot.entry)
    for number in range(POSTS):
        x, y = block(number)
        worse = client.learn("snapped", x, [(label + 1) % 10 for label in y])
    assert accuracy(client.predict("snapped", HELD_OUT, min_entry=worse.entries[-1])) < accuracy(good)
    restored = client.restore("snapped", "good")
    again = client.predict("snapped", HELD_OUT, min_entry=restored.entry)
    assert again.probabilities == good.probabilities
    assert again.model_version > good.model_version


def test_a_learner_that_is_killed_while_it_learns_ends_where_one_that_was_not_does(
    stack: Stack, client: Client
) -> None:
    for name in ("killed", "spared"):
        client.create_model(name, SPEC)
    numbers = range(3 * POSTS)
    with posting(client, "killed", numbers) as finish:
        wait_until(lambda: client.model("killed").samples_learned > 200)
        assert client.model("killed").samples_learned < len(numbers) * BLOCK
        stack.learner.kill()
        stack.learner.start()
        last = finish()
    killed = client.predict("killed", HELD_OUT, min_entry=last)
    spared = client.predict("spared", HELD_OUT, min_entry=post(client, "spared", numbers))
    assert client.model("killed").samples_learned == len(numbers) * BLOCK
    assert killed.model_version == spared.model_version == len(numbers)
    assert killed.probabilities == spared.probabilities


def test_an_api_that_was_killed_goes_on_from_the_weights_that_the_learner_repeats(stack: Stack, client: Client) -> None:
    client.create_model("resumed", SPEC)
    last = post(client, "resumed", range(POSTS))
    before = client.predict("resumed", HELD_OUT, min_entry=last)
    stack.api.kill()
    stack.api.start()
    after = client.predict("resumed", HELD_OUT, min_entry=last)
    assert (after.model_version, after.probabilities) == (before.model_version, before.probabilities)


def test_an_api_without_a_learner_predicts_from_the_newest_checkpoint_and_still_accepts(
    stack: Stack, client: Client
) -> None:
    client.create_model("checkpointed", SPEC)
    post(client, "checkpointed", range(POSTS))
    snapshot = client.create_snapshot("checkpointed", "kept")  # writes a checkpoint
    before = client.predict("checkpointed", HELD_OUT, min_entry=snapshot.entry)
    stack.learner.kill()
    stack.api.kill()
    stack.api.start()
    alone = client.predict("checkpointed", HELD_OUT)
    assert (alone.model_version, alone.probabilities) == (before.model_version, before.probabilities)
    last = post(client, "checkpointed", range(POSTS, POSTS + 2))
    assert client.predict("checkpointed", HELD_OUT).model_version == before.model_version
    stack.learner.start()
    assert client.predict("checkpointed", HELD_OUT, min_entry=last).model_version == before.model_version + 2


def test_both_roles_end_with_status_0_on_sigterm_after_a_last_checkpoint(stack: Stack, client: Client) -> None:
    model = client.create_model("ended", SPEC)
    last = post(client, "ended", range(POSTS))
    client.predict("ended", HELD_OUT, min_entry=last)
    assert stack.learner.stop() == 0
    assert stack.api.stop() == 0
    assert checkpointed_samples(stack, model) == POSTS * BLOCK
    assert holder(stack, model) is None


@pytest.mark.long
def test_api_replicas_agree_once_they_have_followed(stack: Stack, client: Client) -> None:
    client.create_model("followed", SPEC)
    replica = stack.part("api", "replica")
    replica.start()
    with stack.client(replica) as other:
        entries = [post(poster, "followed", range(n, n + 1)) for n, poster in enumerate([client, other] * POSTS)]
        first = client.predict("followed", HELD_OUT, min_entry=entries[-1])
        second = other.predict("followed", HELD_OUT, min_entry=entries[-1])
    assert first == second
    assert first.model_version == 2 * POSTS
    assert replica.stop() == 0


@pytest.mark.long
def test_a_second_learner_stands_by_and_takes_over_when_the_first_is_killed(stack: Stack, client: Client) -> None:
    model = client.create_model("handed-over", SPEC)
    stack.learner.stop()
    brief = {"AMSTREAM_LEASE_S": "2"}
    first = stack.part("learner", "first", AMSTREAM_NODE="first", **brief)
    second = stack.part("learner", "second", AMSTREAM_NODE="second", **brief)
    first.start()
    wait_until(lambda: holder(stack, model) == "first")
    second.start()
    last = post(client, "handed-over", range(POSTS))
    client.predict("handed-over", HELD_OUT, min_entry=last)
    assert holder(stack, model) == "first"
    first.kill()
    last = post(client, "handed-over", range(POSTS, 2 * POSTS))
    predicted = client.predict("handed-over", HELD_OUT, min_entry=last)
    assert holder(stack, model) == "second"
    assert predicted.model_version == 2 * POSTS
    assert client.model("handed-over").samples_learned == 2 * POSTS * BLOCK
    assert second.stop() == 0


@pytest.mark.long
def test_a_second_process_on_one_data_directory_refuses_to_start(stack: Stack) -> None:
    twin = Part(stack.learner.data_dir, stack.learner.service, {})
    with pytest.raises(RuntimeError, match="is in use by another amstream"):
        twin.start()


def holder(stack: Stack, model: Model) -> str | None:
    engine = connect(stack.database_url)
    with sessions(engine)() as session:
        lease = leases.of(session, model.id)
    engine.dispose()
    return None if lease is None else lease.holder


def checkpointed_samples(stack: Stack, model: Model) -> int:
    engine = connect(stack.database_url)
    with sessions(engine)() as session:
        checkpoint = checkpoints.newest(session, model.id)
    engine.dispose()
    assert checkpoint is not None
    return checkpoint.position.samples_learned
