"""Listening to a model, through lost connections."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from amstream_client import Client, ConnectionFailed, Event, NotFound, UnexpectedAnswer
from amstream_client.testing import FakeService, problem

STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


def message(number: int, kind: str = "learned") -> str:
    return f'event: {kind}\ndata: {{"number": {number}}}\nid: {number}-0\n\n'


class Broken(httpx.SyncByteStream):
    """Some text, then a lost connection."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("reset")


class Script:
    """Answers one request after the other; `asked` holds their Last-Event-ID."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str | None] = []
        self.slept: list[float] = []

    def client(self, retries: int = 5) -> Client:
        return Client(transport=httpx.MockTransport(self._answer), sleep=self.slept.append, retries=retries)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers.get("Last-Event-ID"))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def restarts() -> list[httpx.Response | Exception]:
    """A stream that ends, and a service that takes about 20 s to come back."""
    return [httpx.Response(200, headers=STREAM, content=message(1)), *[httpx.ConnectError("refused")] * 8]


def gone() -> httpx.Response:
    return problem(404, "unknown-model", "there is no model 'iris'")


def numbers(events: Iterator[Event]) -> list[int]:
    return [event.data["number"] for event in events]


def test_listening_goes_on_after_the_last_event_through_lost_connections_and_restarts() -> None:
    script = Script(
        httpx.Response(200, headers=STREAM, stream=Broken(": listening\n\n" + message(1) + message(2))),
        httpx.ConnectError("refused"),
        problem(503, "unavailable", "starting"),
        httpx.Response(200, headers=STREAM, content=message(3)),
        httpx.Response(200, headers=STREAM, content=": ping\n\n"),
        gone(),
    )
    assert numbers(script.client().events("iris", after="0-0")) == [1, 2, 3]
    assert script.asked == ["0-0", "2-0", "2-0", "2-0", "3-0", "3-0"]


def test_an_id_without_an_event_says_where_the_listener_is() -> None:
    script = Script(
        httpx.Response(200, headers=STREAM, stream=Broken("id: 7-0\n: listening\n\n")),
        httpx.Response(200, headers=STREAM, content=message(8)),
        gone(),
    )
    assert numbers(script.client().events("iris")) == [8]
    assert script.asked == [None, "7-0", "8-0"]


def test_what_was_missed_is_told() -> None:
    text = 'event: missed\ndata: {"after": "1-0"}\n\n' + message(9)
    script = Script(httpx.Response(200, headers=STREAM, content=text), gone())
    heard = list(script.client().events("iris", after="1-0"))
    assert [(event.id, event.kind) for event in heard] == [(None, "missed"), ("9-0", "learned")]


def test_patience_counts_anew_once_the_service_answered() -> None:
    script = Script(*restarts(), *restarts(), httpx.Response(200, headers=STREAM, content=message(3)), gone())
    assert numbers(script.client().events("iris", patience_s=30)) == [1, 1, 3]
    assert sum(script.slept) > 30


def test_patience_ends() -> None:
    script = Script(httpx.Response(200, headers=STREAM, content=message(1)), *[httpx.ConnectError("refused")] * 100)
    heard: list[Event] = []
    with pytest.raises(ConnectionFailed):
        heard.extend(script.client().events("iris", patience_s=30))
    assert 30 <= sum(script.slept) <= 45


def test_a_service_that_never_answered_is_given_up_after_the_retries() -> None:
    script = Script(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(ConnectionFailed):
        next(script.client(retries=2).events("iris"))
    assert script.answers == []


def test_a_model_that_is_not_there_is_an_error_from_the_start() -> None:
    with pytest.raises(NotFound):
        list(Script(gone()).client().events("iris"))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<p>log in first</p>"),
        httpx.Response(200, headers=STREAM, content="data: no JSON\n\n"),
    ],
)
def test_what_is_no_stream_of_events_is_named_as_such(answer: httpx.Response) -> None:
    with pytest.raises(UnexpectedAnswer):
        list(Script(answer).client().events("iris"))


def test_whoever_stops_listening_closes_the_connection(service: FakeService) -> None:
    closed = []

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            number = 0
            while True:
                number += 1
                yield message(number).encode()

        def close(self) -> None:
            closed.append(True)

    script = Script(httpx.Response(200, headers=STREAM, stream=Endless()))
    events = script.client().events("iris")
    assert next(events).data == {"number": 1}
    events.close()
    assert closed == [True]
