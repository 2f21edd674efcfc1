"""Requests and replies get lost, late and repeated, between client and API, and the service and Redis; samples do not."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from amstream_client import Client, ConnectionFailed, Invalid, Spec, Unavailable
from service.redis_clients import sync_client
from service.spec import ModelSpec
from tests.faults.evidence import accepted, check_newest_checkpoint, folded, recorded
from tests.faults.proxy import Fault, Proxy, never
from tests.server import Server

pytestmark = [pytest.mark.xdist_group("proxies"), pytest.mark.timeout(300)]

SPEC: Spec = {
    "inputs": 64,
    "hidden": [16],
    "classes": list(range(10)),
    "scale": "pooled",
    "block": {"size": 8, "wait_ms": 1},
    "retain_s": 86_400,
}
OFTEN = {"AMSTREAM_CHECKPOINT_SAMPLES": "100", "AMSTREAM_CHECKPOINT_S": "0.3"}
DEADLINE_S = 60
POSTS, LONG_POSTS = 60, 1000
KILLS, LONG_KILLS = 2, 20

X, Y = load_digits(return_X_y=True)


def posts(request: bytes) -> float:
    """Half of what the client sends."""
    return 0.5


def appends(request: bytes) -> float:
    """Half of the appends, and so much of all else that the learner still gets somewhere between two failures."""
    return 0.5 if b"XADD" in request else 0.02


@dataclass
class Deployment:
    """A server that reaches Redis through `to_redis`, and that clients may reach through `to_api`."""

    server: Server
    to_api: Proxy
    to_redis: Proxy
    redis_url: str
    database_url: str

    def client(self, *, retries: int = 1000, through_proxy: bool = True) -> Client:
        url = f"http://{self.to_api.address}" if through_proxy else self.server.url
        return Client(url, self.server.admin_key, retries=retries, timeout_s=20, sleep=_briefly)

    def restart(self) -> None:
        """kill -9; Redis is calm until the server is there again, so that it does start."""
        before, self.to_redis.chance = self.to_redis.chance, never
        self.server.kill()
        self.server.start()
        self.to_redis.chance = before

    def new_model(self) -> str:
        name = f"m-{uuid.uuid4().hex[:8]}"
        with self.client(through_proxy=False) as client:
            client.create_model(name, SPEC)
        return name

    def check(self, name: str, sent: NDArray[np.float32]) -> None:
        """The log holds what was sent, in that order, and the model has learned exactly the log."""
        spec = ModelSpec.model_validate(SPEC)
        with self.client(through_proxy=False) as client:
            model = client.model(name)
            entries = recorded(self.redis_url, model.id)
            assert np.array_equal(accepted(entries, spec), sent)
            last = str(entries[-1][0])
            deadline = time.monotonic() + DEADLINE_S
            while (model := client.model(name)).applied_entry != last:
                assert time.monotonic() < deadline, model
                time.sleep(0.02)
            assert model.samples_learned == len(sent)
            client.create_snapshot(name, "end")  # writes a checkpoint
        check_newest_checkpoint(self.database_url, model.id, folded(recorded(self.redis_url, model.id), spec))


def _briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


@contextlib.contextmanager
def deployed(directory: Path, redis_url: str, database_url: str) -> Iterator[Deployment]:
    with contextlib.ExitStack() as stack:
        to_redis = stack.enter_context(Proxy(Path(urlsplit(redis_url).path), seed=1))
        environment = OFTEN | {
            "AMSTREAM_REDIS_URL": f"redis://{to_redis.address}",
            "AMSTREAM_DATABASE_URL": database_url,
        }
        server = stack.enter_context(Server(directory / "data", environment=environment))
        to_api = stack.enter_context(Proxy(("127.0.0.1", server.port), seed=2))
        yield Deployment(server, to_api, to_redis, redis_url, database_url)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("proxies")
    with deployed(directory, redis_url, f"sqlite:///{directory / 'amstream.db'}") as deployment:
        yield deployment


class Producer(threading.Thread):
    """Posts numbered digits, 1 to 20 at a time, each post once the one before it was accepted."""

    def __init__(self, client: Client, model: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._model = model
        self._draw = random.Random(seed)
        self._stopping = threading.Event()
        self._sent: list[NDArray[np.float32]] = []
        self._samples = 0
        self.error: Exception | None = None

    def post(self) -> None:
        start, size = self._draw.randrange(len(Y) - 20), self._draw.randrange(1, 21)
        x = X[start : start + size].astype(np.float32)
        x[:, 0] = np.arange(self._samples, self._samples + size) / 1024  # every sample is another
        assert self._client.learn(self._model, x, Y[start : start + size].tolist()).accepted == size
        self._samples += size
        self._sent.append(x)

    @property
    def posts(self) -> int:
        return len(self._sent)

    @property
    def sent(self) -> NDArray[np.float32]:
        return np.concatenate(self._sent)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.post()
        except Exception as error:  # told to the test's own thread
            self.error = error

    def finish(self) -> None:
        self._stopping.set()
        self.join(timeout=DEADLINE_S)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def produce(deployment: Deployment, number: int, seed: int) -> tuple[str, NDArray[np.float32]]:
    """(model, what was sent to it)."""
    name = deployment.new_model()
    with deployment.client() as client:
        producer = Producer(client, name, seed)
        for _ in range(number):
            producer.post()
    return name, producer.sent


def produce_through_kills(deployment: Deployment, kills: int, seed: int) -> tuple[str, NDArray[np.float32]]:
    name, draw = deployment.new_model(), random.Random(seed)
    with deployment.client() as client:
        producer = Producer(client, name, seed)
        producer.start()
        for _ in range(kills):
            time.sleep(draw.uniform(0.2, 1.0))
            deployment.restart()
        before = producer.posts
        while producer.posts < before + 5 and producer.error is None:
            time.sleep(0.01)
        producer.finish()
    return name, producer.sent


SCALES = [pytest.param(POSTS, id="small"), pytest.param(LONG_POSTS, id="large", marks=pytest.mark.long)]


@pytest.mark.parametrize("number", SCALES)
def test_faults_between_client_and_api_lose_and_double_nothing(deployment: Deployment, number: int) -> None:
    with deployment.to_api.spoiling(posts):
        name, sent = produce(deployment, number, seed=10)
    assert set(deployment.to_api.happened) == set(Fault)
    deployment.check(name, sent)


@pytest.mark.parametrize("number", SCALES)
def test_faults_between_the_service_and_redis_lose_and_double_nothing(deployment: Deployment, number: int) -> None:
    with deployment.to_redis.spoiling(appends):
        name, sent = produce(deployment, number, seed=11)
    assert set(deployment.to_redis.happened) == set(Fault)
    deployment.check(name, sent)


@pytest.mark.parametrize(
    "kills", [pytest.param(KILLS, id="small"), pytest.param(LONG_KILLS, id="large", marks=pytest.mark.long)]
)
def test_faults_on_both_sides_and_kills_of_the_server_lose_and_double_nothing(
    deployment: Deployment, kills: int
) -> None:
    with deployment.to_api.spoiling(posts), deployment.to_redis.spoiling(appends):
        name, sent = produce_through_kills(deployment, kills, seed=12)
    deployment.check(name, sent)


@pytest.mark.long
def test_faults_on_both_sides_and_kills_on_postgresql_lose_and_double_nothing(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    with deployed(tmp_path, redis_url, postgres_url) as deployment:
        with deployment.to_api.spoiling(posts), deployment.to_redis.spoiling(appends):
            name, sent = produce_through_kills(deployment, LONG_KILLS, seed=13)
        deployment.check(name, sent)


def test_clients_that_post_at_the_same_time_under_faults_each_keep_their_order(deployment: Deployment) -> None:
    name, spec = deployment.new_model(), ModelSpec.model_validate(SPEC)

    def post(who: int) -> NDArray[np.float32]:
        x = np.zeros((20, 64), np.float32)
        x[:, 0], x[:, 1] = who, np.arange(20)
        with deployment.client() as client:
            for row in x:
                client.learn(name, [row], [who])
        return x

    with (
        deployment.to_api.spoiling(posts),
        deployment.to_redis.spoiling(appends),
        ThreadPoolExecutor(4) as clients,
    ):
        sent = list(clients.map(post, range(4)))
    with deployment.client(through_proxy=False) as client:
        model = client.model(name)
    log = accepted(recorded(deployment.redis_url, model.id), spec)
    for who, x in enumerate(sent):
        assert np.array_equal(log[log[:, 0] == who], x)
    deployment.check(name, log)


def request_bytes(deployment: Deployment, name: str, key: str) -> bytes:
    body = msgpack.packb({"x": X[:20].astype("<f4").tobytes(), "n": 20, "y": Y[:20].tolist()})
    request = httpx.Request(
        "POST",
        f"{deployment.server.url}/v1/models/{name}/samples",
        content=body,
        headers={
            "Authorization": f"Bearer {deployment.server.admin_key}",
            "Content-Type": "application/msgpack",
            "Idempotency-Key": key,
            "Connection": "close",
        },
    )
    head = [f"POST {request.url.path} HTTP/1.1", *(f"{k}: {v}" for k, v in request.headers.items()), "", ""]
    return "\r\n".join(head).encode() + request.content


def test_the_same_bytes_on_several_connections_at_once_and_later_are_answered_alike(deployment: Deployment) -> None:
    name = deployment.new_model()
    request = request_bytes(deployment, name, "once")

    def send(attempt: int) -> tuple[bytes, Any]:
        """(status line, body)."""
        with socket.create_connection(("127.0.0.1", deployment.server.port), timeout=DEADLINE_S) as connection:
            connection.sendall(request)
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = reply.partition(b"\r\n\r\n")
        return head.splitlines()[0], json.loads(body)

    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(send, range(4)))
    deployment.restart()
    answers.append(send(4))
    assert {status for status, _ in answers} == {b"HTTP/1.1 202 Accepted"}
    assert sorted(body.pop("repeated") for _, body in answers) == [False, True, True, True, True]
    assert all(body == answers[0][1] for _, body in answers)
    deployment.check(name, X[:20].astype(np.float32))


LOST_REPLY = [
    pytest.param("to_api", ConnectionFailed, id="client and API"),
    pytest.param("to_redis", Unavailable, id="API and Redis"),
]


@pytest.mark.parametrize(("where", "error"), LOST_REPLY)
def test_a_key_whose_first_reply_was_lost_refuses_another_payload_and_answers_its_own(
    deployment: Deployment, where: str, error: type[Exception]
) -> None:
    name, key = deployment.new_model(), "lost"
    proxy: Proxy = getattr(deployment, where)

    def chance(request: bytes) -> float:
        return float(b"XADD" in request or b"/samples" in request)

    with deployment.client(retries=0) as once:
        with proxy.spoiling(chance, [Fault.DROP_REPLY]), pytest.raises(error):
            once.learn(name, X[:20], Y[:20], idempotency_key=key)
        with pytest.raises(Invalid, match="payload that it came with first") as refused:
            once.learn(name, X[:19], Y[:19], idempotency_key=key)
        assert refused.value.status == 422
        answer = once.learn(name, X[:20], Y[:20], idempotency_key=key)
        assert (answer.accepted, len(answer.entries)) == (20, 3)
    deployment.check(name, X[:20].astype(np.float32))


def test_a_model_that_was_not_created_leaves_nothing_in_redis(deployment: Deployment) -> None:
    def chance(request: bytes) -> float:
        return float(b"SET" in request and b":uuid" in request)

    with contextlib.closing(sync_client(deployment.redis_url)) as redis, deployment.client(retries=0) as client:
        before = redis.keys("am:*:uuid")
        with deployment.to_redis.spoiling(chance, [Fault.DROP_REPLY]), pytest.raises(Unavailable):
            client.create_model("nobody", SPEC)
        assert redis.keys("am:*:uuid") == before
        assert "nobody" not in [model.name for model in client.models()]


def test_the_same_exchanges_meet_the_same_faults(tmp_path: Path) -> None:
    def faults(seed: int) -> list[Fault | None]:
        with Proxy(tmp_path / "nobody", seed) as proxy:
            proxy.chance = posts
            return [proxy.fault(b"") for _ in range(100)]

    assert faults(3) == faults(3) != faults(4)
