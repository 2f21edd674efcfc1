"""The asynchronous client has the methods of the synchronous one, and the same manners."""

from __future__ import annotations

import inspect
from pathlib import Path

import httpx
import pytest

from amstream_client import AsyncClient, Client, ConnectionFailed, NotFound, Unavailable
from amstream_client.testing import FakeService, problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def no_pause(seconds: float) -> None:
    pass


def client_of(service: FakeService, retries: int = 5) -> AsyncClient:
    return AsyncClient(key=service.key, transport=service.transport(), retries=retries, sleep=no_pause)


def methods(kind: type) -> dict[str, list[str]]:
    """Names of the parameters of all public methods."""
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(kind).items()
        if callable(method) and not name.startswith("_")
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    assert methods(AsyncClient) == methods(Client)
    assert {"learn", "predict", "metrics", "events", "restore"} <= methods(Client).keys()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_methods_carry_parameters_and_documentation_of_their_calls(kind: type) -> None:
    method = vars(kind)["learn"]
    assert list(inspect.signature(method).parameters) == [
        "self",
        "model",
        "x",
        "y",
        "weight",
        "time",
        "idempotency_key",
    ]
    assert inspect.signature(method).return_annotation.__name__ == "Accepted"
    assert "Appends samples" in method.__doc__


async def test_samples_are_learned_and_predicted(service: FakeService) -> None:
    async with client_of(service) as client:
        accepted = await client.learn("iris", [[1, 2], [3, None]], ["b", "b"])
        predicted = await client.predict("iris", [[0, 0]], min_entry=accepted.entries[-1])
        one = await client.predict_one("iris", [0, None])
        assert (predicted.labels, one.label) == (["b"], "b")
        assert [model.name for model in await client.models()] == ["iris"]
        assert await client.ready()


async def test_a_snapshot_moves_to_another_model_as_a_file(service: FakeService, tmp_path: Path) -> None:
    async with client_of(service) as client:
        await client.create_snapshot("iris", "first")
        await client.export_snapshot("iris", "first", tmp_path / "file")
        imported = await client.import_snapshot("iris", "again", tmp_path / "file")
        assert [snapshot.name for snapshot in await client.snapshots("iris")] == ["first", imported.name]


async def test_a_retry_keeps_key_and_payload_so_nothing_is_learned_twice(service: FakeService) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        response = service.answer(request)
        if len(seen) == 1:
            raise httpx.ReadError("reset")
        return response if len(seen) > 2 else problem(503, "unavailable", "later")

    transport = httpx.MockTransport(answer)
    async with AsyncClient(key=service.key, transport=transport, sleep=no_pause) as client:
        await client.learn("iris", [[1, 2]], ["a"])
    assert len(seen) == 3
    assert len({(request.headers["Idempotency-Key"], request.content) for request in seen}) == 1
    assert service.models["iris"].y == ["a"]


async def test_a_command_that_may_have_been_carried_out_is_not_sent_again(service: FakeService) -> None:
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.ReadTimeout("slow")

    async with AsyncClient(transport=httpx.MockTransport(answer), sleep=no_pause) as client:
        with pytest.raises(ConnectionFailed, match="may have been carried out"):
            await client.create_key("k", ["learn"])
    assert len(sent) == 1


async def test_failures_are_the_same_errors(service: FakeService) -> None:
    async with client_of(service) as client:
        with pytest.raises(NotFound):
            await client.model("nobody")
    down = httpx.MockTransport(lambda _: problem(503, "unavailable", "later"))
    async with AsyncClient(transport=down, retries=2, sleep=no_pause) as client:
        with pytest.raises(Unavailable):
            await client.models()
        assert not await client.ready()


async def test_events_are_iterated(service: FakeService) -> None:
    async with client_of(service) as client:
        for _ in range(3):
            await client.learn("iris", [[1, 2]], ["a"])
        heard = []
        async for event in client.events("iris", after="1-0"):
            heard.append((event.id, event.kind, event.data["entry"]))
            if len(heard) == 2:
                await client.delete_model("iris")
        assert heard == [("2-0", "learned", "2-0"), ("3-0", "learned", "3-0")]
