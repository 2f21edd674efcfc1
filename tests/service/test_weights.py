"""Replicas follow published weights on a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from service.fold import Fold
from service.publications import Publications, Published
from service.redis_clients import async_client, sync_client
from service.spec import ModelSpec
from service.version import Version
from service.weights import Everywhere, PubSubPublisher, follow

DEADLINE_S = 20


class Link:
    """A TCP way to Valkey's socket that can be lost as a cable is: nothing is closed, and nothing arrives any more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open = asyncio.Event()
        self._open.set()
        self._pumps: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The URL of this end."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    def lose(self) -> None:
        """The connections there are; later ones get through."""
        self._open.clear()
        self._open = asyncio.Event()
        self._open.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        for source, target in ((reader, far_writer), (far_reader, writer)):
            self._pumps.add(asyncio.create_task(_pump(source, target, self._open)))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, link: asyncio.Event) -> None:
    with contextlib.closing(target):
        while data := await source.read(65_536):
            await link.wait()
            target.write(data)


@pytest.fixture
def version() -> Version:
    return Fold(ModelSpec(inputs=3, hidden=[4], classes=["no", "yes"]), device="cpu").version()


async def until(condition: Callable[[], bool], do: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await do()
            await asyncio.sleep(0.02)


def test_a_replica_whose_connection_was_lost_without_a_word_follows_on_a_new_one(
    redis_url: str, version: Version
) -> None:
    model_id = str(uuid.uuid4())

    async def scenario() -> list[int]:
        link, publications, seen = Link(redis_url.removeprefix("unix://")), Publications(), []
        with contextlib.closing(sync_client(redis_url)) as publishing:
            publisher = PubSubPublisher(publishing, interval_s=0.0)
            async with link.serving() as url, async_client(url) as client:
                following = asyncio.create_task(follow(client, publications, silence_s=0.2))
                for number in (1, 2):
                    published = Published(1, replace(version, model_version=number))

                    async def publish(published: Published = published) -> None:
                        await asyncio.to_thread(publisher.publish, model_id, published)

                    def arrived(number: int = number) -> bool:
                        current = publications.current(model_id)
                        return current is not None and current.model_version == number

                    await until(arrived, publish)
                    seen.append(number)
                    link.lose()
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
        return seen

    assert asyncio.run(scenario()) == [1, 2]


WEIGHTS = b"am:{%b}:weights"


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        pytest.param(WEIGHTS, b"\0\0\0\2{}nonsense", id="bytes that are no weights"),
        pytest.param(b"am:\xff:weights", b"", id="what nobody thought of"),
    ],
)
def test_a_replica_follows_on_after(redis_url: str, version: Version, channel: bytes, message: bytes) -> None:
    model_id = str(uuid.uuid4())
    strange = channel.replace(b"%b", model_id.encode())

    async def scenario() -> Version | None:
        publications = Publications()
        with contextlib.closing(sync_client(redis_url)) as publishing:
            publisher = PubSubPublisher(publishing, interval_s=0.0)
            async with async_client(redis_url) as client:
                following = asyncio.create_task(follow(client, publications))

                heard = []

                async def disturb() -> None:
                    heard.append(await asyncio.to_thread(publishing.publish, strange, message))

                async def publish() -> None:
                    await asyncio.to_thread(publisher.publish, model_id, Published(1, version))

                await until(lambda: any(heard), disturb)
                await until(lambda: publications.current(model_id) is not None, publish)
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
        return publications.current(model_id)

    arrived = asyncio.run(scenario())
    assert arrived is not None
    assert arrived.predictor.tensors().keys() == version.predictor.tensors().keys()


def test_a_replica_forgets_what_was_deleted(redis_url: str, version: Version) -> None:
    model_id = str(uuid.uuid4())

    async def scenario() -> None:
        publications = Publications()
        with contextlib.closing(sync_client(redis_url)) as publishing:
            publisher = Everywhere(Publications(), PubSubPublisher(publishing, interval_s=0.0))
            async with async_client(redis_url) as client:
                following = asyncio.create_task(follow(client, publications))
                said = partial(asyncio.to_thread, publisher.publish, model_id, Published(1, version))
                await until(lambda: publications.current(model_id) is not None, said)
                deleted = partial(asyncio.to_thread, publisher.forget, model_id)
                await until(lambda: publications.current(model_id) is None, deleted)
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following

    asyncio.run(scenario())
