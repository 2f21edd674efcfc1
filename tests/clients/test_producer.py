"""Samples sent one at a time: in their order, in batches, once each, and loud where that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import httpx
import msgpack
import pytest

from amstream_client import ApiError, AsyncClient, Client, Invalid, Producer, ProducerFailed, QueueFull, Sample
from amstream_client.testing import FakeService, problem


def batches(service: FakeService) -> list[int]:
    """How many samples each post brought."""
    return [accepted.accepted for _, accepted in service.models["iris"].accepted.values()]


def client_of(service: FakeService, answer: object = None) -> Client:
    transport = service.transport() if answer is None else httpx.MockTransport(answer)  # type: ignore[arg-type]
    return Client(key=service.key, transport=transport, retries=0)


def send_until_full(producer: Producer) -> None:
    for _ in range(1000):
        producer.send([0, 0], "a", timeout_s=0.01)


def test_samples_go_out_in_their_order_and_in_batches(client: Client, service: FakeService) -> None:
    with client.producer("iris", batch=4, wait_s=60) as producer:
        for number in range(10):
            producer.send([number, None], "ab"[number % 2], weight=1 + number)
    learned = service.models["iris"]
    assert [row[0] for row in learned.x] == list(range(10))
    assert learned.y == ["a", "b"] * 5
    assert learned.weight == list(range(1, 11))
    assert batches(service) == [4, 4, 2]
    assert (producer.accepted, producer.last_entry) == (10, "3-0")


def test_times_go_along_with_their_samples(client: Client, service: FakeService) -> None:
    with client.producer("iris", wait_s=60) as producer:
        producer.send([1, 2], "a", time=datetime(2026, 11, 27, tzinfo=UTC))
        producer.send([1, 2], "b")
    assert msgpack.unpackb(service.requests[-1].content)["time"] == [1795737600.0, None]


def test_a_batch_that_does_not_fill_goes_out_after_a_while(client: Client, service: FakeService) -> None:
    with client.producer("iris", batch=100, wait_s=0.01) as producer:
        producer.send([1, 2], "a")
        deadline = time.monotonic() + 20
        while not service.models["iris"].y and time.monotonic() < deadline:
            time.sleep(0.005)
        assert service.models["iris"].y == ["a"]


def test_a_flush_returns_once_everything_is_accepted(client: Client, service: FakeService) -> None:
    with client.producer("iris", batch=3, wait_s=60) as producer:
        producer.flush()
        for _ in range(4):
            producer.send([1, 2], "a")
        producer.flush()
        assert (producer.accepted, batches(service)) == (4, [3, 1])


def test_what_waits_is_sent_although_the_block_raises(client: Client, service: FakeService) -> None:
    def send_and_fail() -> None:
        with client.producer("iris", wait_s=60) as producer:
            producer.send([1, 2], "a")
            raise KeyError

    with pytest.raises(KeyError):
        send_and_fail()
    assert service.models["iris"].y == ["a"]


def test_a_full_queue_holds_back_whoever_sends(service: FakeService) -> None:
    let_go = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        let_go.wait(20)
        return service.answer(request)

    with client_of(service, answer).producer("iris", batch=1, queue=2, wait_s=0) as producer:
        producer.send([0, 0], "a", timeout_s=20)
        with pytest.raises(QueueFull):  # one on its way, two that wait
            send_until_full(producer)
        let_go.set()
        producer.send([9, 9], "b")
    assert service.models["iris"].y == ["a"] * 3 + ["b"]


def test_lost_answers_and_a_service_that_is_away_cost_and_double_nothing(service: FakeService) -> None:
    attempts = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        if attempts % 3 == 1:
            raise httpx.ConnectError("refused")
        response = service.answer(request)
        if attempts % 3 == 2:
            raise httpx.ReadError("reset")
        return response

    with client_of(service, answer).producer("iris", batch=5) as producer:
        for number in range(10):
            producer.send([number, 0], "a")
    assert [row[0] for row in service.models["iris"].x] == list(range(10))
    assert producer.accepted == 10


def test_a_refusal_ends_the_producer_and_hands_back_what_was_not_sent(client: Client, service: FakeService) -> None:
    def send(*labels: str) -> None:
        with client.producer("iris", batch=5, wait_s=60) as producer:
            for label in labels[:2]:
                producer.send([1, 2], label)
            producer.flush()
            for label in labels[2:]:
                producer.send([1, 2], label)

    with pytest.raises(ProducerFailed, match="not one of the classes") as caught:
        send("a", "b", "a", "other", "b")
    assert isinstance(caught.value.__cause__, Invalid)
    assert [sample.y for sample in caught.value.unsent] == ["a", "other", "b"]
    assert caught.value.maybe_accepted == 0
    assert service.models["iris"].y == ["a", "b"]


def test_refused_samples_may_be_put_aside(client: Client, service: FakeService) -> None:
    aside: list[tuple[list[object], type[ApiError]]] = []

    def put_aside(samples: Sequence[Sample], error: ApiError) -> None:
        aside.append(([sample.y for sample in samples], type(error)))

    with client.producer("iris", batch=2, wait_s=60, on_refused=put_aside) as producer:
        for label in ("a", "b", "a", "other", "b"):
            producer.send([1, 2], label)
    assert service.models["iris"].y == ["a", "b", "b"]
    assert aside == [(["a", "other"], Invalid)]


def test_patience_ends(service: FakeService) -> None:
    away = client_of(service, lambda request: problem(503, "unavailable", "away"))
    with pytest.raises(ProducerFailed, match="away") as caught, away.producer("iris", patience_s=0.2) as producer:
        producer.send([1, 2], "a")
    assert (len(caught.value.unsent), caught.value.maybe_accepted) == (1, 1)
    with pytest.raises(ProducerFailed):
        producer.send([1, 2], "a")


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        ([1, float("inf")], "a", 1, "infinite"),
        ([[1, 2]], "a", 1, "shape"),
        ([1, 2, 3], "a", 1, "3 values, the sample before it 2"),
        ({"a": 1}, "a", 1, "names, the sample before it 2 values"),
        ([1, 2], None, 1, "no label"),
        ([1, 2], "a", -1, "weight"),
    ],
)
def test_what_cannot_be_sent_is_refused_where_it_is_sent(
    client: Client, service: FakeService, x: list[float], y: str, weight: float, message: str
) -> None:
    with client.producer("iris", wait_s=60) as producer:
        producer.send([1, 2], "a")
        with pytest.raises(ValueError, match=message):
            producer.send(x, y, weight)
    assert service.models["iris"].y == ["a"]


def test_a_producer_sends_inside_its_context_only(client: Client) -> None:
    producer = client.producer("iris")
    with pytest.raises(RuntimeError, match="inside its context"):
        producer.send([1, 2], "a")
    with producer:
        producer.send([1, 2], "a")
    with pytest.raises(RuntimeError, match="inside its context"):
        producer.send([1, 2], "a")
    with pytest.raises(ValueError, match="batch"):
        client.producer("iris", batch=3, queue=2)


def test_many_threads_may_send(client: Client, service: FakeService) -> None:
    with client.producer("iris", batch=7, queue=10) as producer:

        def send(number: int) -> None:
            for step in range(50):
                producer.send([number, step], "a")

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = service.models["iris"].x
    assert len(rows) == 200
    for number in range(4):
        assert [row[1] for row in rows if row[0] == number] == list(range(50))


class TestAsync:
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_samples_go_out_in_their_order_and_in_batches(self, service: FakeService) -> None:
        async with (
            AsyncClient(key=service.key, transport=service.transport()) as client,
            client.producer("iris", batch=4, wait_s=60, queue=5) as producer,
        ):
            for number in range(10):
                await producer.send([number, 0], "ab"[number % 2])
            await producer.flush()
            assert producer.accepted == 10
            await producer.send([10, 0], "a")
        assert [row[0] for row in service.models["iris"].x] == list(range(11))
        assert (producer.accepted, producer.last_entry) == (11, f"{len(batches(service))}-0")

    async def test_a_refusal_ends_the_producer(self, service: FakeService) -> None:
        async with AsyncClient(key=service.key, transport=service.transport()) as client:
            with pytest.raises(ProducerFailed) as caught:
                async with client.producer("iris", wait_s=60) as producer:
                    await producer.send([1, 2], "other")
            assert [sample.y for sample in caught.value.unsent] == ["other"]

    async def test_a_full_queue_holds_back_whoever_sends(self, service: FakeService) -> None:
        let_go = anyio.Event()
        asked = anyio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            asked.set()
            await let_go.wait()
            return service.answer(request)

        client = AsyncClient(key=service.key, transport=httpx.MockTransport(answer))
        async with client, client.producer("iris", batch=1, queue=1, wait_s=0) as producer:
            await producer.send([0, 0], "a", timeout_s=20)
            await asked.wait()
            await producer.send([0, 0], "a", timeout_s=20)
            with pytest.raises(QueueFull):
                await producer.send([0, 0], "a", timeout_s=0.05)
            let_go.set()
        assert service.models["iris"].y == ["a", "a"]

    async def test_cancelled_it_ends_at_once(self, service: FakeService) -> None:
        async def never(request: httpx.Request) -> httpx.Response:
            await anyio.sleep_forever()
            raise AssertionError

        client = AsyncClient(key=service.key, transport=httpx.MockTransport(never))
        with anyio.move_on_after(0.1) as scope:
            async with client, client.producer("iris", wait_s=0) as producer:
                await producer.send([0, 0], "a")
                await anyio.sleep_forever()
        assert scope.cancelled_caught
