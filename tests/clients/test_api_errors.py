from __future__ import annotations

import pickle
from typing import Any

import httpx
import pytest

from amstream_client import (
    ApiError,
    Client,
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    PreconditionFailed,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    UnknownSnapshot,
    UnsupportedMedia,
    errors,
)
from amstream_client.testing import problem


def error_for(response: httpx.Response) -> ApiError:
    with (
        Client(transport=httpx.MockTransport(lambda request: response), retries=0) as client,
        pytest.raises(ApiError) as caught,
    ):
        client.model("iris")
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (412, PreconditionFailed),
        (413, TooLarge),
        (410, Gone),
        (415, UnsupportedMedia),
        (418, ApiError),
        (422, Invalid),
        (429, TooMany),
        (500, ApiError),
        (503, Unavailable),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[ApiError]) -> None:
    error = error_for(problem(status, "some-problem", "it went wrong"))
    assert type(error) is kind
    assert (error.status, error.type, error.detail) == (status, "urn:amstream:problem:some-problem", "it went wrong")


def test_a_problem_type_that_has_its_own_error_is_told_apart() -> None:
    error = error_for(problem(404, "unknown-snapshot", "no such snapshot"))
    assert type(error) is UnknownSnapshot
    assert isinstance(error, NotFound)


def test_every_error_is_drawn_in_the_tree() -> None:
    def subclasses(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))

    for kind in subclasses(errors.AmstreamError):
        assert f" {kind.__name__} " in (errors.__doc__ or "").replace("\n", " ")


def test_the_message_names_field_and_value() -> None:
    wrong = [{"field": "samples.3.x.5", "value": "abc", "message": "must be a number"}]
    error = error_for(problem(422, "invalid", "the samples are invalid", wrong))
    assert str(error) == 'the samples are invalid; samples.3.x.5 = "abc": must be a number'
    assert error.errors == [FieldError("samples.3.x.5", "abc", "must be a number")]


def test_what_the_detail_says_of_the_first_error_is_not_said_twice() -> None:
    wrong: list[dict[str, Any]] = [{"field": "x", "value": "12 bytes", "message": "must have 16 bytes"}]
    said = "x = '12 bytes': must have 16 bytes"
    assert str(error_for(problem(422, "invalid", said, wrong))) == 'x = "12 bytes": must have 16 bytes'
    wrong.append({"field": "y", "value": 1, "message": "must be a list"})
    both = 'x = "12 bytes": must have 16 bytes; y = 1: must be a list'
    assert str(error_for(problem(422, "invalid", f"{said} (and 1 more)", wrong))) == both
    with_more = "the batch is refused: x = '12 bytes': must have 16 bytes"
    assert str(error_for(problem(422, "invalid", with_more, wrong))) == f"{with_more}; {both}"


def test_what_there_is_not_is_named_once() -> None:
    wrong = [{"field": "model", "value": "nobody", "message": "unknown"}]
    assert str(error_for(problem(404, "unknown-model", "there is no model 'nobody'", wrong))) == (
        "there is no model 'nobody'"
    )


def test_many_or_long_errors_are_cut_short() -> None:
    wrong: list[dict[str, Any]] = [
        {"field": f"x.{i}", "value": list(range(1000)), "message": "is too long"} for i in range(100)
    ]
    message = str(error_for(problem(422, "invalid", "no", wrong)))
    assert message.endswith("; and 97 more")
    assert len(message) < 400


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(502, html="<h1>Bad Gateway</h1>"),
        httpx.Response(502, json=["not", "a", "problem"]),
        httpx.Response(502, json={"errors": "none"}),
        httpx.Response(502),
    ],
)
def test_an_error_that_a_proxy_wrote_names_status_and_url(response: httpx.Response) -> None:
    assert str(error_for(response)) == "502 Bad Gateway from http://127.0.0.1:8707/v1/models/iris"


def test_errors_survive_pickling_so_that_worker_processes_can_raise_them() -> None:
    error = error_for(problem(503, "busy", "later"))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.status) == (Unavailable, "later", 503)
