"""NDJSON: lines of any number in parts that depend on the lines alone."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from service.api.ndjson import PART_BYTES, PART_LINES, parts
from service.api.sample_checks import Most
from service.problems import TooLarge
from service.services import Services
from tests.service.api import GOOD, refused, standing

NDJSON = {"Content-Type": "application/x-ndjson"}
MOST = Most(samples=10_000, body_bytes=3 * PART_BYTES)


def in_parts(body: bytes, *, chunk: int, most: Most = MOST) -> list[list[tuple[int, bytes]]]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    async def run() -> list[list[tuple[int, bytes]]]:
        return [[(line.number, line.text) for line in part] async for part in parts(chunks(), most)]

    return asyncio.run(run())


def lines(*samples: Any) -> bytes:
    return b"".join(json.dumps(sample).encode() + b"\n" for sample in samples)


@given(st.binary(max_size=60).map(lambda body: body.replace(b"a", b"\n")), st.integers(1, 9))
def test_how_a_body_is_cut_on_its_way_does_not_matter(body: bytes, chunk: int) -> None:
    [*found] = in_parts(body, chunk=chunk)
    texts = [(number, text.strip()) for number, text in enumerate(body.split(b"\n"))]
    assert [line for part in found for line in part] == [line for line in texts if line[1]]


def test_parts_end_by_lines_or_by_bytes() -> None:
    assert [len(part) for part in in_parts(b"1\n" * (2 * PART_LINES + 1), chunk=999)] == [PART_LINES, PART_LINES, 1]
    assert [len(part) for part in in_parts(b"1\n" * 7, chunk=9, most=Most(3, 100))] == [3, 3, 1]
    long = b"1" * (PART_BYTES // 2) + b"\n"
    assert [len(part) for part in in_parts(long * 5, chunk=100_000)] == [2, 2, 1]


def test_a_line_over_the_limit_is_refused_before_it_ends() -> None:
    with pytest.raises(TooLarge) as caught:
        in_parts(b"1\n" + b"1" * (MOST.body_bytes + 1), chunk=100_000)
    assert [error.field for error in caught.value.errors] == ["lines.1"]


def test_the_limits_of_bodies_and_posts_do_not_bind_a_stream_of_lines(http: TestClient, model: str) -> None:
    body = lines(*[GOOD] * 3_000)
    assert len(body) > 100_000  # the limit of the application under test, whose posts may have 100 samples
    answer = http.post(f"{model}/samples", content=body, headers=NDJSON)
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == 3_000
    assert len(answer.json()["entries"]) == 750
    assert standing(http, model) == (3_000, 750)


def test_lines_that_come_compressed_and_in_chunks(http: TestClient, model: str) -> None:
    packed = gzip.compress(b"\n" + lines(*[GOOD] * 50).replace(b"\n", b"\r\n\r\n").rstrip())

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(packed), 7):
            yield packed[start : start + 7]

    answer = http.post(f"{model}/samples", content=chunks(), headers=NDJSON | {"Content-Encoding": "gzip"})
    assert answer.json()["accepted"] == 50
    assert standing(http, model)[0] == 50


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{", "lines.2"),
        (b"[1, 2, 3]", "lines.2"),
        (b'{"x": [1, 2, 3], "y": "maybe"}', "lines.2.y"),
        (b'{"x": [1, 2], "y": "no"}', "lines.2.x"),
        (b'{"x": [1, 2, 1e20], "y": "no"}', "lines.2.x.2"),
        (b'{"x": [1, 2, 3], "y": "no", "weight": -1}', "lines.2.weight"),
    ],
)
def test_a_bad_line_refuses_its_part_and_is_named(http: TestClient, model: str, line: bytes, field: str) -> None:
    body = lines(GOOD) + b"\n" + line + b"\n" + lines(GOOD)
    answer = http.post(f"{model}/samples", content=body, headers=NDJSON)
    assert [name for name, _ in refused(answer, 422, "invalid")] == [field]
    assert answer.json()["accepted"] == 0
    assert standing(http, model) == (0, 0)


@pytest.mark.parametrize("body", [b"", b"\n \r\n\n"])
def test_no_line_is_no_post(http: TestClient, model: str, body: bytes) -> None:
    refused(http.post(f"{model}/samples", content=body, headers=NDJSON), 422, "invalid")


def test_a_stream_that_broke_off_is_sent_again_from_the_start(http: TestClient, model: str, services: Services) -> None:
    samples = [GOOD | {"weight": number} for number in range(1, 251)]  # parts of 100 here
    headers = NDJSON | {"Idempotency-Key": "stream"}
    broken = http.post(f"{model}/samples", content=lines(*samples[:230]) + b'{"x": [1, 2', headers=headers)
    assert [name for name, _ in refused(broken, 422, "invalid")] == ["lines.230"]
    assert broken.json()["accepted"] == 200
    assert standing(http, model)[0] == 200
    again = http.post(f"{model}/samples", content=lines(*samples), headers=headers)
    assert (again.json()["accepted"], again.json()["repeated"]) == (250, False)  # the last part is new
    assert standing(http, model)[0] == 250
    assert http.post(f"{model}/samples", content=lines(*samples), headers=headers).json() == again.json() | {
        "repeated": True
    }
    as_json = http.post(f"{model}/samples", json={"samples": samples[:100]}, headers={"Idempotency-Key": "stream"})
    assert as_json.json()["entries"] == again.json()["entries"][:25]
