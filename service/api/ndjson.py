"""NDJSON as it comes: lines in parts, cut by what the lines are and never by how the network cut them.

So a body of any length takes bounded memory, and one that is sent again comes in the same parts, which the Idempotency-Keys of
the parts recognise.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from service.api.json_samples import Line
from service.api.sample_checks import Most
from service.problems import FieldError, TooLarge

PART_LINES = 1000
PART_BYTES = 2**20


async def parts(chunks: AsyncIterable[bytes], most: Most) -> AsyncIterator[list[Line]]:
    """Lists of lines, none empty; blank lines are counted and left out. Raises: TooLarge for a line over the limit."""
    part: list[Line] = []
    size = 0
    async for line in _lines(chunks, most.body_bytes):
        if line.text:
            part.append(line)
            size += len(line.text)
        if size >= PART_BYTES or len(part) >= min(PART_LINES, most.samples):
            yield part
            part, size = [], 0
    if part:
        yield part


async def _lines(chunks: AsyncIterable[bytes], most_bytes: int) -> AsyncIterator[Line]:
    number, rest = 0, bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, rest = rest.split(b"\n")
            for text in whole:
                _check(number, text, most_bytes)
                yield Line(number, bytes(text.strip()))
                number += 1
        _check(number, rest, most_bytes)
    yield Line(number, bytes(rest.strip()))


def _check(number: int, text: bytearray, most_bytes: int) -> None:
    if len(text) > most_bytes:
        error = FieldError(f"lines.{number}", f"{len(text)} bytes", f"must have at most {most_bytes} bytes")
        raise TooLarge(f"line {number} has {len(text)} bytes or more, the limit is {most_bytes}", errors=[error])
