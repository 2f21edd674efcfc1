"""Every error that leaves the API is RFC 9457 problem+json, and under /v2 what clients of the Open Inference Protocol read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import redis
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException

from service.api.documentation import is_inference, methods_of
from service.api.request_log import HEADER, SCOPE_KEY
from service.api.security_headers import HEADERS
from service.problems import FieldError, Invalid, Problem, RequestTimeout, Unauthenticated, Unavailable

MOST_ERRORS = 100
TAG = "\0"
"""What begins with it in a location is the tag of a union's branch, which says nothing to a caller."""

log = structlog.get_logger()

E = TypeVar("E", bound=Exception)


def install(app: FastAPI) -> None:
    _on(app, Problem, lambda problem: problem)
    _on(app, RequestValidationError, _invalid_parameter)
    for away in (redis.RedisError, OperationalError, InterfaceError, InternalError, NoConnectionFree):
        _on(app, away, _away)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        title, headers = HTTPStatus(error.status_code).phrase, dict(error.headers or {})
        body = {"type": "about:blank", "title": title, "status": error.status_code, "detail": error.detail}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # of the routes of this path one has said what it allows
            headers["Allow"] = ", ".join(methods_of(app, request.url.path)) or headers["Allow"]
        return response(request.url.path, error.status_code, body, headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        request_id = request.scope[SCOPE_KEY]  # here it is bound no more, and nobody else puts it into the answer
        log.error("defect", method=request.method, path=request.url.path, request_id=request_id, exc_info=error)
        body = {
            "type": "about:blank",
            "title": "Internal error",
            "status": 500,
            "detail": "a defect of the server; see its log",
        }
        return response(request.url.path, 500, body, {HEADER: request_id})


def _on(app: FastAPI, kind: type[E], to_problem: Callable[[E], Problem]) -> None:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, kind)
        problem = to_problem(error)
        request.app.state.services.meters.refused(problem.kind)
        headers = {} if problem.retry_after_s is None else {"Retry-After": str(problem.retry_after_s)}
        if isinstance(problem, Unauthenticated):
            headers["WWW-Authenticate"] = "Bearer"
        return response(request.url.path, problem.status, problem.as_json(), headers)

    app.add_exception_handler(kind, handle)


def _away(error: Exception) -> Problem:
    """The cause may name hosts and users: it is for the log."""
    part = "redis" if isinstance(error, redis.RedisError) else "the database"
    refuses = isinstance(error, redis.ResponseError)  # its disk or its memory is full
    log.warning("away", part=part, cause=str(error))
    return Unavailable(f"{part} {'refuses to write' if refuses else 'is away'}; the service's log says why")


def _invalid_parameter(error: RequestValidationError) -> Problem:
    """Without the first part of the location: query, path or header."""
    return Invalid(*(_field_error(details, details["loc"][1:]) for details in error.errors()))


def invalid(error: ValidationError, *within: str) -> Invalid:
    """The problem for what pydantic found in a body, or in a part of it at the path `within`."""
    if error.error_count() > MOST_ERRORS:
        return Invalid(FieldError("body", f"{error.error_count()} errors", "must have no unknown fields"))
    found = error.errors(include_url=False)
    return Invalid(*(_field_error(details, (*within, *details["loc"])) for details in found))


def _field_error(details: Mapping[str, Any], location: Sequence[str | int]) -> FieldError:
    value = details["input"]
    if details["type"] == "missing":
        value = None
    elif isinstance(value, bytes):
        value = f"{len(value)} bytes"
    path = ".".join(part for part in map(str, location) if not part.startswith(TAG))
    return FieldError(path or "body", value, details["msg"])


def response(path: str, status: int, body: dict[str, Any], headers: dict[str, str]) -> JSONResponse:
    """The connection ends with an answer to a request whose body is still on its way, and too slow."""
    if status == RequestTimeout.status:
        headers["Connection"] = "close"
    if is_inference(path):
        status, body = _for_inference_clients(status, body)
    return JSONResponse(body, status, HEADERS | headers, media_type="application/problem+json")


def _for_inference_clients(status: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    status = 400 if status == Invalid.status else status
    return status, body | {"status": status, "error": body["detail"]}
