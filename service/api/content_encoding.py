"""Request bodies that come compressed are read as if they had not. What they become counts against the limit of the body."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from functools import partial
from typing import Protocol

from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.body_limit import check_size
from service.problems import FieldError, Invalid, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 2**18
"""Most bytes that exist decompressed before somebody has read them."""
LARGEST_WINDOW = 23
"""Logarithm of the bytes that zstd may look back: those 8 MiB that every decoder of HTTP bodies must allow (RFC 9659)."""


class Decoder(Protocol):
    """Decodes one frame; keeps what it has not decoded yet, and calls what comes after the frame unused."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._decoder = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": partial(_Zlib, 16 + zlib.MAX_WBITS),
    "deflate": partial(_Zlib, zlib.MAX_WBITS),
    "zstd": partial(zstd.ZstdDecompressor, options={zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW}),
}


class _Decoding:
    """A body of one frame or several: encoded bytes in, pieces out."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._start = DECODERS[encoding]
        self._decoder = self._start()
        self._input = b""
        self._fed = 0

    def feed(self, data: bytes) -> None:
        self._input += data
        self._fed += len(data)

    def take(self) -> bytes:
        """The next piece, empty when it needs more input. Raises: Invalid."""
        piece = b""
        while not piece and (self._input or not self._decoder.eof):
            if self._decoder.eof:
                self._decoder = self._start()
            try:
                piece = self._decoder.decompress(self._input, PIECE)
            except (zlib.error, zstd.ZstdError) as error:
                raise self._invalid(str(error)) from error
            self._input = self._decoder.unused_data if self._decoder.eof else b""
            if not self._decoder.eof:
                break
        return piece

    def check_ended(self) -> None:
        """Raises: Invalid when the last frame is not whole."""
        if self._fed and not self._decoder.eof:
            raise self._invalid("it ends too early")

    def _invalid(self, cause: str) -> Invalid:
        return Invalid(
            FieldError("body", f"{self._fed} bytes", f"must be {self._encoding}, as Content-Encoding says: {cause}")
        )


class ContentEncoding:
    """ASGI middleware. Raises: UnsupportedMedia, Invalid, TooLarge, to whoever reads the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            encoding = ", ".join(
                value.decode("latin-1") for name, value in scope["headers"] if name == b"content-encoding"
            )
            if encoding.strip().lower() not in ("", "identity"):
                scope["headers"] = [header for header in scope["headers"] if header[0] != b"content-encoding"]
                receive = _decoded(scope, receive, encoding)
        await self._app(scope, receive, send)


def _decoded(scope: Scope, receive: Receive, encoding: str) -> Receive:
    name = encoding.strip().lower().removeprefix("x-")
    decoding = _Decoding(name) if name in DECODERS else None
    size, ended, done = 0, False, False

    async def decoded() -> Message:
        nonlocal size, ended, done
        if decoding is None:
            known = ", ".join(DECODERS)
            error = FieldError("Content-Encoding", encoding, f"must be one of {known}")
            raise UnsupportedMedia(f"the body is encoded as {encoding!r}, this takes {known}", errors=[error])
        while not done:
            piece = await run_sync(decoding.take)
            if piece:
                size += len(piece)
                check_size(scope, size)
                return {"type": "http.request", "body": piece, "more_body": True}
            if ended:
                decoding.check_ended()
                done = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await receive()
            if message["type"] != "http.request":
                return message
            decoding.feed(message.get("body", b""))
            ended = not message.get("more_body", False)
        return await receive()

    return decoded
