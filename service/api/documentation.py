"""The OpenAPI description, where FastAPI cannot find out by itself: bodies that routes read, and the problems they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema
from starlette.routing import compile_path

from service.api.media import JSON

PROBLEM_TYPE = "application/problem+json"
REF = "#/components/schemas/{model}"

_BODIES: dict[str, type[BaseModel]] = {}
"""By name, those that routes refer to."""


class FieldProblem(BaseModel):
    """field: as a dotted path; value: as it was given, shortened when long."""

    field: str
    value: Any
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457. type: `urn:amstream:problem:…`, or `about:blank` for what HTTP itself says; errors: what is wrong, by field."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


class InferenceError(ProblemDetails):
    """What is answered under /v2. Clients of the Open Inference Protocol read `error`, which says what `detail` says."""

    error: str


@dataclass(frozen=True)
class Content:
    """Args: schema: a model, or JSON schema of what is no JSON; examples: by name."""

    schema: type[BaseModel] | Mapping[str, Any]
    examples: Mapping[str, Any] = field(default_factory=dict)


def request_body(contents: Mapping[str, Content]) -> dict[str, Any]:
    """For the `openapi_extra` of a route that reads its body. Args: contents: by media type."""
    described = {
        media: {
            "schema": _schema(content.schema),
            "examples": {name: {"value": value} for name, value in content.examples.items()},
        }
        for media, content in contents.items()
    }
    return {"requestBody": {"required": True, "content": described}}


def json_body(model: type[BaseModel], **examples: Any) -> dict[str, Any]:
    return request_body({JSON: Content(model, examples)})


def problems(*statuses: int, kind: type[ProblemDetails] = ProblemDetails) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: those that it has beyond what all of its kind have."""
    return {status: _problem(status, kind) for status in statuses}


def describe(app: FastAPI) -> None:
    """Makes the application serve the whole description."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            _complete(description)
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's way


def methods_of(app: FastAPI, path: str) -> list[str]:
    """Those that the description has for a path, none where it has no such path."""
    found = {template: one for template, one in app.openapi()["paths"].items() if compile_path(template)[0].match(path)}
    nearest = min(found, key=lambda template: template.count("{"), default=None)
    return [] if nearest is None else sorted(method.upper() for method in found[nearest])


def _complete(description: dict[str, Any]) -> None:
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    bodies: list[type[BaseModel]] = [*_BODIES.values(), ProblemDetails, InferenceError]
    _, found = models_json_schema([(model, "validation") for model in bodies], ref_template=REF)
    for name, schema in found["$defs"].items():
        schemas.setdefault(name, schema)
    for path, operations in description["paths"].items():
        for operation in operations.values():
            _complete_operation(path, operation)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _complete_operation(path: str, operation: dict[str, Any]) -> None:
    """With what any call of its kind may answer."""
    statuses: set[int] = set()
    if "security" in operation:
        statuses |= {401, 403, 429, 503}
    if "{" in path:
        statuses |= {404}
    if "requestBody" in operation:
        statuses |= {408, 413, 415, 422}
    if "parameters" in operation:
        statuses |= {422}
    kind: type[ProblemDetails] = ProblemDetails
    if is_inference(path):
        kind, statuses = InferenceError, {400 if status == 422 else status for status in statuses}
    responses = operation["responses"]
    responses.pop("422", None)
    responses |= {str(status): _problem(status, kind) for status in sorted(statuses) if str(status) not in responses}


def is_inference(path: str) -> bool:
    """Whether clients of the Open Inference Protocol ask for it: 400 is all they know for what is wrong with a request."""
    return f"{path}/".startswith("/v2/")


def _problem(status: int, kind: type[ProblemDetails] = ProblemDetails) -> dict[str, Any]:
    description: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": REF.format(model=kind.__name__)}}},
    }
    if status in (429, 503):
        description["headers"] = {"Retry-After": {"description": "in seconds", "schema": {"type": "integer"}}}
    return description


def _schema(schema: type[BaseModel] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(schema, Mapping):
        return dict(schema)
    _BODIES[schema.__name__] = schema
    return {"$ref": REF.format(model=schema.__name__)}
