"""The description of the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from service.spec import ModelSpec


def test_the_description_names_every_call(http: TestClient) -> None:
    del http.headers["Authorization"]
    described = http.get("/openapi.json").json()
    calls = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    assert calls == {
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
        "GET /v1/models",
        "PUT /v1/models/{name}",
        "GET /v1/models/{name}",
        "DELETE /v1/models/{name}",
        "POST /v1/models/{name}/samples",
        "GET /v1/models/{name}/predictions",
        "POST /v1/models/{name}/predictions",
        "GET /v1/models/{name}/predictions/{prediction}",
        "PUT /v1/models/{name}/predictions/{prediction}/label",
        "POST /v1/models/{name}/labels",
        "GET /v1/models/{name}/metrics",
        "GET /v1/models/{name}/events",
        "GET /v1/models/{name}/dead-letters",
        "DELETE /v1/models/{name}/dead-letters",
        "GET /v1/models/{name}/hyperparameters",
        "PATCH /v1/models/{name}/hyperparameters",
        "POST /v1/models/{name}/snapshots",
        "GET /v1/models/{name}/snapshots",
        "GET /v1/models/{name}/snapshots/{snapshot}",
        "DELETE /v1/models/{name}/snapshots/{snapshot}",
        "GET /v1/models/{name}/snapshots/{snapshot}/content",
        "POST /v1/models/{name}/snapshots/import",
        "POST /v1/models/{name}/restore",
        "POST /v1/keys",
        "GET /v1/keys",
        "DELETE /v1/keys/{key_id}",
        "POST /v1/models/{name}/promote",
        "GET /v2",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /v2/models/{name}",
        "GET /v2/models/{name}/ready",
        "POST /v2/models/{name}/infer",
        "GET /v2/models/{name}/versions/{version}",
        "GET /v2/models/{name}/versions/{version}/ready",
        "POST /v2/models/{name}/versions/{version}/infer",
    }


def described(http: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/openapi.json").json()
    return found


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_examples_of_bodies_fit_their_schemas(http: TestClient) -> None:
    description = described(http)
    examples = 0
    for _, _, operation in operations(description):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = {"components": description["components"]} | content["schema"]
            for example in content.get("examples", {}).values():
                Draft202012Validator(schema).validate(example["value"])
                examples += 1
        if operation.get("requestBody"):
            assert operation["requestBody"]["required"]
    assert examples >= 15


def test_whatever_writes_says_what_it_takes(http: TestClient) -> None:
    without_body = {"POST /v1/models/{name}/promote"}
    for method, path, operation in operations(described(http)):
        if method in ("put", "post", "patch") and f"{method.upper()} {path}" not in without_body:
            assert operation["requestBody"]["content"], (method, path)


def test_errors_are_described_as_problems(http: TestClient) -> None:
    for method, path, operation in operations(described(http)):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
        if "security" in operation:
            assert operation["responses"].keys() >= {"401", "403", "429", "503"}


def test_the_examples_of_specs_are_specs(http: TestClient) -> None:
    content = described(http)["paths"]["/v1/models/{name}"]["put"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        assert ModelSpec.model_validate_json(json.dumps(example["value"])).inputs


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/models", "GET"),
        ("PATCH", "/v1/models/m", "DELETE, GET, PUT"),
        ("POST", "/v1/models/m/snapshots/s", "DELETE, GET"),
        ("GET", "/v1/models/m/restore", "POST"),
    ],
)
def test_a_method_that_is_not_there_is_answered_with_those_that_are(
    http: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"
