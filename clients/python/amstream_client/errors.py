"""Everything that this package raises on purpose, except ValueError for an argument that cannot be sent.

AmstreamError
├── KeyNotFound          no API key in the arguments, the environment or the data directory
├── ConnectionFailed     no answer; `sent` says whether the request may have been carried out
├── UnexpectedAnswer     an answer that is not amstream's: another service, a proxy
├── BadName              a name that would lead to another route of the API; a ValueError, too
├── WrongTask            the model is a regression and not a classification, or the other way round
├── ProducerFailed       a producer's end; `unsent` holds what it could not send (in amstream_client.outbox)
├── QueueFull            as many samples wait as may (in amstream_client.outbox)
├── DataFileError        a file that the commands cannot read (in amstream_client.cli.batch)
└── ApiError             the service refused: status, type, detail, errors
    ├── Invalid          400, 422
    │   └── KeyReused          the Idempotency-Key came before, with other samples
    ├── Unauthenticated  401
    ├── Forbidden        403
    ├── NotFound         404
    │   ├── UnknownModel
    │   ├── UnknownSnapshot
    │   ├── UnknownPrediction
    │   └── UnknownKey
    ├── Conflict         409
    ├── Gone             410: it was there, and its time has passed
    ├── PreconditionFailed  412
    ├── TooLarge         413
    ├── UnsupportedMedia  415
    └── Unavailable      429, 503: the same request may succeed later
        ├── TooMany      429
        ├── NotAppliedYet      the learner has not got to an entry in time; it will
        ├── NoClassYet         nothing was learned and no class declared: there is nothing to predict
        └── NoValueYet         the same of a regression

A refusal is the class of its problem's type where there is one, else that of its status.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

ERRORS_IN_MESSAGE = 3
VALUE_CHARACTERS_IN_MESSAGE = 60


class AmstreamError(Exception):
    pass


class KeyNotFound(AmstreamError):
    pass


class ConnectionFailed(AmstreamError):
    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message, sent)
        self.message = message
        self.sent = sent

    def __str__(self) -> str:
        return f"{self.message}; the request may have been carried out" if self.sent else self.message


class UnexpectedAnswer(AmstreamError):
    pass


class BadName(AmstreamError, ValueError):
    pass


class WrongTask(AmstreamError):
    pass


@dataclass(frozen=True)
class FieldError:
    field: str  # path into the request, such as samples.3.x.5
    value: Any
    message: str

    def __str__(self) -> str:
        value = json.dumps(self.value)
        if len(value) > VALUE_CHARACTERS_IN_MESSAGE:
            value = value[:VALUE_CHARACTERS_IN_MESSAGE] + "…"
        return f"{self.field} = {value}: {self.message}"


class ApiError(AmstreamError):
    def __init__(
        self,
        status: int,
        type: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, type, detail, errors, retry_after_s)
        self.status = status
        self.type = type
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        parts = [*map(str, self.errors[:ERRORS_IN_MESSAGE])]
        if not self._detail_is_first_error():
            parts.insert(0, self.detail)
        if len(self.errors) > ERRORS_IN_MESSAGE:
            parts.append(f"and {len(self.errors) - ERRORS_IN_MESSAGE} more")
        return "; ".join(parts)

    def _detail_is_first_error(self) -> bool:
        first = self.errors[0] if self.errors else None
        return first is not None and self.detail.startswith(f"{first.field} = ") and first.message in self.detail


class Invalid(ApiError):
    pass


class KeyReused(Invalid):
    pass


class Unauthenticated(ApiError):
    pass


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    def __str__(self) -> str:
        return self.detail  # it names what there is not


class UnknownModel(NotFound):
    pass


class UnknownSnapshot(NotFound):
    pass


class UnknownPrediction(NotFound):
    pass


class UnknownKey(NotFound):
    pass


class Conflict(ApiError):
    pass


class Gone(ApiError):
    pass


class PreconditionFailed(ApiError):
    pass


class TooLarge(ApiError):
    pass


class UnsupportedMedia(ApiError):
    pass


class Unavailable(ApiError):
    pass


class TooMany(Unavailable):
    pass


class NotAppliedYet(Unavailable):
    pass


class NoClassYet(Unavailable):
    pass


class NoValueYet(Unavailable):
    pass


BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedMedia,
    422: Invalid,
    429: TooMany,
    503: Unavailable,
}

TYPE = "urn:amstream:problem:"
BY_TYPE: dict[str, type[ApiError]] = {
    "idempotency-key-reused": KeyReused,
    "unknown-model": UnknownModel,
    "unknown-snapshot": UnknownSnapshot,
    "unknown-prediction": UnknownPrediction,
    "unknown-key": UnknownKey,
    "not-applied-yet": NotAppliedYet,
    "no-class-yet": NoClassYet,
    "no-value-yet": NoValueYet,
}


def error_of(response: httpx.Response) -> ApiError:
    """The error that a response of status 400 or more stands for, also when a proxy wrote it and not amstream."""
    try:
        body = response.json()
    except ValueError:
        body = None
    problem: dict[str, Any] = body if isinstance(body, dict) else {}
    title = problem.get("title") or f"{response.status_code} {response.reason_phrase} from {response.url}"
    errors = problem.get("errors")
    type_ = str(problem.get("type", "about:blank"))
    kind = BY_TYPE.get(type_.removeprefix(TYPE)) or BY_STATUS.get(response.status_code, ApiError)
    return kind(
        response.status_code,
        type_,
        str(problem.get("detail") or title),
        [
            FieldError(str(error.get("field")), error.get("value"), str(error.get("message")))
            for error in (errors if isinstance(errors, list) else [])
            if isinstance(error, dict)
        ],
        _retry_after_s(response),
    )


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds only: amstream sends no dates."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
