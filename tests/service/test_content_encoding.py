"""Compressed bodies, below HTTP libraries."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from service.api.body_limit import BodyLimit
from service.api.content_encoding import PIECE, ContentEncoding
from service.problems import Invalid, TooLarge, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "identity": bytes,
}
COMPRESSED = ["gzip", "deflate", "zstd"]


def read(encoding: str, body: bytes, *, chunk: int = 100, most: int = 10_000_000) -> tuple[bytes, int]:
    """What the application reads of a body that comes in chunks, and the size of the largest message that it got."""
    read, largest = bytearray(), 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal largest
        while True:
            message = await receive()
            read.extend(message["body"])
            largest = max(largest, len(message["body"]))
            if not message["more_body"]:
                return

    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]

    async def receive() -> Message:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(_: Message) -> None:
        pass

    headers = [(b"content-encoding", encoding.encode()), (b"content-length", str(len(body)).encode())]
    limited = BodyLimit(ContentEncoding(app), most_bytes=most)
    asyncio.run(limited({"type": "http", "headers": headers}, receive, send))
    return bytes(read), largest


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("body", [b"", b"a", os.urandom(5_000), b"ab" * 2_000_000])
def test_a_body_is_read_as_if_it_had_come_plain(encoding: str, body: bytes) -> None:
    found, largest = read(encoding, COMPRESS[encoding](body))
    assert found == body
    assert largest <= PIECE


@given(body=st.binary(max_size=300), chunk=st.integers(1, 50), cut=st.integers(0, 300))
def test_however_it_is_cut_and_in_however_many_frames(body: bytes, chunk: int, cut: int) -> None:
    for encoding in ("gzip", "zstd", "deflate"):
        compress = COMPRESS[encoding]
        assert read(encoding, compress(body[:cut]) + compress(body[cut:]), chunk=chunk)[0] == body


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_what_it_becomes_counts_against_the_limit(encoding: str) -> None:
    bomb = COMPRESS[encoding](bytes(50_000_000))
    assert len(bomb) < 100_000
    assert read(encoding, COMPRESS[encoding](bytes(100_000)), most=100_000)[0] == bytes(100_000)
    with pytest.raises(TooLarge) as caught:
        read(encoding, bomb, chunk=len(bomb), most=100_000)
    [error] = caught.value.errors
    assert error.value <= 100_000 + PIECE


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_what_is_damaged_or_not_whole_is_refused(encoding: str) -> None:
    whole = COMPRESS[encoding](os.urandom(1_000))
    for body in (b"nonsense", whole[:-1], whole[:1], whole + b"x"):
        with pytest.raises(Invalid) as caught:
            read(encoding, body)
        assert [error.field for error in caught.value.errors] == ["body"]


def test_zstd_may_not_ask_for_a_large_window() -> None:
    window: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    assert read("zstd", zstd.compress(b"a", options=window))[0] == b"a"  # of known size: it needs none
    compressor = zstd.ZstdCompressor(options=window)
    body = compressor.compress(b"a", zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush()
    with pytest.raises(Invalid):
        read("zstd", body)


def test_ten_thousand_empty_frames_are_read() -> None:
    assert read("gzip", gzip.compress(b"") * 10_000, chunk=65_536)[0] == b""


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip, zstd", "x-zstd2"])
def test_other_encodings_are_unsupported(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        read(encoding, b"")
    [error] = caught.value.errors
    assert (error.field, error.value) == ("Content-Encoding", encoding)
