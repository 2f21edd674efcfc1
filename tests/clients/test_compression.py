"""Bodies that are sent compressed: the same bytes on every retry, and read as if they had not been."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from amstream_client import AsyncClient, Client, Invalid
from amstream_client.compression import LEAST_BYTES
from amstream_client.testing import FakeService

X = np.repeat([[1.0, 2.0]], 500, axis=0)
Y = ["a"] * 500


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Losing:
    """Carries the first request out and loses the answer."""

    def __init__(self, service: FakeService) -> None:
        self._service = service

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._service.answer(request)
        if len(self._service.requests) == 1:
            raise httpx.ReadError("reset")
        return answer


def check_sent(service: FakeService, n: int) -> None:
    assert {request.headers["Content-Encoding"] for request in service.requests} == {"gzip"}
    assert len({request.content for request in service.requests}) == 1
    assert len(service.requests) == n
    assert len(service.requests[0].content) < len(gzip.decompress(service.requests[0].content)) / 4
    assert service.models["iris"].x == X.tolist()


def test_what_is_sent_again_has_the_same_bytes_and_is_learned_once(service: FakeService) -> None:
    transport = httpx.MockTransport(Losing(service))
    with Client(key=service.key, transport=transport, compress="gzip", sleep=lambda _: None) as client:
        assert client.learn("iris", X, Y).accepted == 500
    check_sent(service, 2)


@pytest.mark.anyio
async def test_the_same_of_the_asynchronous_client(service: FakeService) -> None:
    async def at_once(_: float) -> None:
        pass

    transport = httpx.MockTransport(Losing(service))
    async with AsyncClient(key=service.key, transport=transport, compress="gzip", sleep=at_once) as client:
        assert (await client.learn("iris", X, Y)).accepted == 500
    check_sent(service, 2)


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_what_is_small_or_would_not_shrink_stays_as_it_is(service: FakeService, compress: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(4 * LEAST_BYTES)
    (tmp_path / "noise").write_bytes(noise)
    with Client(key=service.key, transport=service.transport(), compress=compress) as client:
        client.learn("iris", [[1, 2]], ["a"])
        with pytest.raises(Invalid, match="must be a snapshot file"):
            client.import_snapshot("iris", "s", tmp_path / "noise")
    assert [request.headers.get("Content-Encoding") for request in service.requests] == [None, None]
    assert service.requests[1].content == noise


def test_another_compression_is_refused() -> None:
    with pytest.raises(ValueError, match="compress must be None or 'gzip', not 'br'"):
        Client(compress="br")  # type: ignore[arg-type]
