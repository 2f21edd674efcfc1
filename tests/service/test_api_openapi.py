"""The description of the API."""

from __future__ import annotations

from fastapi.testclient import TestClient


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
