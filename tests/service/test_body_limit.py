"""The limit on request bodies, below HTTP libraries."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api.body_limit import BodyLimit
from service.problems import TooLarge

CHUNK = b" " * 10


class Reader:
    """An application that reads its body, from a caller who never stops sending."""

    def __init__(self) -> None:
        self.chunks_sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    async def endless(self) -> Message:
        self.chunks_sent += 1
        return {"type": "http.request", "body": CHUNK, "more_body": True}

    def read(self, headers: list[tuple[bytes, bytes]]) -> None:
        async def send(_: Message) -> None:
            pass

        limit = BodyLimit(self, most_bytes=95)
        asyncio.run(limit({"type": "http", "headers": headers}, self.endless, send))


def test_reading_stops_with_the_chunk_that_exceeds_the_limit() -> None:
    reader = Reader()
    with pytest.raises(TooLarge):
        reader.read([])
    assert reader.chunks_sent == 10


def test_nothing_is_read_of_a_body_that_declares_too_much() -> None:
    reader = Reader()
    with pytest.raises(TooLarge):
        reader.read([(b"content-length", b"96")])
    assert reader.chunks_sent == 0


def test_a_content_length_that_is_too_small_does_not_help() -> None:
    reader = Reader()
    with pytest.raises(TooLarge):
        reader.read([(b"content-length", b"5")])
    assert reader.chunks_sent == 10
