"""What can go wrong for a caller, each with its HTTP status, spoken as RFC 9457 problem+json by `service.api`.

Problem
├── Unauthenticated      401
├── Forbidden            403
├── NotFound             404   UnknownModel, UnknownSnapshot, UnknownPrediction, UnknownKey, UnknownVersion
├── RequestTimeout       408
├── Conflict             409
├── Gone                 410
├── PreconditionFailed   412
├── TooLarge             413
├── UnsupportedMedia     415
├── Misdirected          421
├── Invalid              422
├── TooMany              429
└── Unavailable          503
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

LONGEST_VALUE = 200


@dataclass(frozen=True)
class FieldError:
    """One wrong field: `field` as a dotted path, `value` as it was given (shortened when long)."""

    field: str
    value: Any
    message: str

    def as_json(self) -> dict[str, Any]:
        return {"field": self.field, "value": _shortened(self.value), "message": self.message}


def _shortened(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    text = (value if isinstance(value, str) else repr(value)).encode("utf-8", "replace").decode()  # no lone surrogates
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


class Problem(Exception):
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        kind: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.kind = kind or self.title.lower().replace(" ", "-")
        self.retry_after_s = retry_after_s
        self.members: dict[str, Any] = {}
        """What this occurrence says beyond that, by name."""

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": f"urn:amstream:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return body | self.members | ({"errors": [error.as_json() for error in self.errors]} if self.errors else {})


class Unauthenticated(Problem):
    status, title = 401, "Unauthenticated"


class Forbidden(Problem):
    status, title = 403, "Forbidden"


class NotFound(Problem):
    status, title = 404, "Not found"


class UnknownModel(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no model {name!r}", errors=[FieldError("model", name, "unknown")], kind="unknown-model"
        )


class UnknownSnapshot(NotFound):
    def __init__(self, model: str, name: str) -> None:
        super().__init__(
            f"model {model!r} has no snapshot {name!r}",
            errors=[FieldError("snapshot", name, "unknown")],
            kind="unknown-snapshot",
        )


class UnknownPrediction(NotFound):
    def __init__(self, model: str, prediction: str) -> None:
        super().__init__(
            f"model {model!r} has no prediction {prediction!r} that waits for its label",
            errors=[FieldError("prediction", prediction, "unknown")],
            kind="unknown-prediction",
        )


class UnknownKey(NotFound):
    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"there is no key with the ID {key_id!r}",
            errors=[FieldError("key_id", key_id, "unknown")],
            kind="unknown-key",
        )


class UnknownVersion(NotFound):
    def __init__(self, model: str, version: str, served: str) -> None:
        super().__init__(
            f"model {model!r} serves version {served} and no other",
            errors=[FieldError("version", version, f"must be {served}")],
            kind="unknown-version",
        )


class RequestTimeout(Problem):
    status, title = 408, "Request timeout"


class Gone(Problem):
    status, title = 410, "Gone"


class Conflict(Problem):
    status, title = 409, "Conflict"


class PreconditionFailed(Problem):
    status, title = 412, "Precondition failed"


class TooLarge(Problem):
    status, title = 413, "Too large"


class Misdirected(Problem):
    status, title = 421, "Misdirected"


class UnsupportedMedia(Problem):
    status, title = 415, "Unsupported media type"


class Invalid(Problem):
    """422; the detail names the first wrong field and its value."""

    status, title = 422, "Invalid"

    def __init__(self, *errors: FieldError, kind: str | None = None) -> None:
        first = errors[0].as_json()
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first['field']} = {first['value']!r}: {first['message']}{more}", errors=errors, kind=kind)


class TooMany(Problem):
    status, title = 429, "Too many"


class Unavailable(Problem):
    status, title = 503, "Unavailable"

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), kind: str | None = None, retry_after_s: int = 1
    ) -> None:
        super().__init__(detail, errors=errors, kind=kind, retry_after_s=retry_after_s)
