"""What the log says of requests, and by which ID they are found again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.testing import LogCapture

from service.services import Services
from tests.service.api import GOOD, learned, running

GUESSED = "amk_never-to-be-seen"


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """What is logged, with what is bound in the context."""
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    yield capture.entries
    structlog.reset_defaults()


def of(lines: list[Any], request_id: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("request_id") == request_id]


def test_a_request_keeps_its_own_id_and_gets_one_where_it_has_none(http: TestClient) -> None:
    assert http.get("/livez", headers={"X-Request-Id": "mine/1"}).headers["X-Request-Id"] == "mine/1"
    fresh = {http.get("/livez").headers["X-Request-Id"] for _ in range(3)}
    assert len(fresh) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in fresh)


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, 'a", "level": "error', "caf\u00e9"])
def test_an_id_that_could_be_taken_for_something_else_is_replaced(http: TestClient, given: str) -> None:
    answer = http.get("/livez", headers={b"X-Request-Id": given.encode()})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_a_post_is_followed_from_its_request_to_its_entries(
    lines: list[Any], http: TestClient, model: str, post: Callable[..., Any]
) -> None:
    answer = post([GOOD] * 6, **{"X-Request-Id": "one-post"})
    entries = answer.json()["entries"]
    learned(http, model, [GOOD])
    accepted, request = of(lines, "one-post")
    assert accepted["event"] == "accepted"
    assert (accepted["first_entry"], accepted["last_entry"], accepted["samples"]) == (entries[0], entries[-1], 6)
    assert request["event"] == "request"
    assert (request["route"], request["status"]) == ("/v1/models/{name}/samples", 202)
    assert any(line["event"] == "learned" and line["entry"] >= entries[-1] for line in lines)


def test_what_was_refused_is_said_louder_than_what_went_well(lines: list[Any], http: TestClient) -> None:
    http.get("/livez", headers={"X-Request-Id": "well"})
    http.get("/v1/models/never", headers={"X-Request-Id": "refused"})
    assert [(line["log_level"], line["status"]) for line in of(lines, "well")] == [("debug", 200)]
    assert [(line["log_level"], line["status"]) for line in of(lines, "refused")] == [("info", 404)]


def test_a_defect_is_found_by_the_id_of_its_request(lines: list[Any], services: Services) -> None:
    with running(services, raise_server_exceptions=False) as http:
        assert isinstance(http.app, FastAPI)

        @http.app.get("/defect")
        async def defect() -> None:
            raise ZeroDivisionError

        answer = http.get("/defect", headers={"X-Request-Id": "broken"})
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "broken")
    assert {line["event"]: line["log_level"] for line in of(lines, "broken")} == {
        "request": "warning",
        "defect": "error",
    }


def test_neither_key_nor_payload_is_logged(lines: list[Any], http: TestClient, model: str) -> None:
    headers = {"Authorization": f"Bearer {GUESSED}"}
    http.post(f"{model}/samples", json={"samples": [GOOD | {"y": "payload-never-to-be-seen"}]})
    http.get(f"{model}/predictions", params={"x": "271828.5,2,3"})
    http.get("/v1/models", headers=headers)
    said = repr(lines)
    assert "request" in said
    assert not re.search(r"never-to-be-seen|271828|Bearer|amk_", said)
