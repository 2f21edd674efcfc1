"""What browsers are told, and which pages may call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.api.security_headers import HEADERS
from service.services import Services
from service.settings import Settings
from tests.service.api import assembled, running

PAGE = "https://page.example"


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/v1/models", "/v1/models/unknown", "/v1/keys", "/nowhere", "/openapi.json"]
)
def test_every_answer_says_that_it_is_no_page_and_for_nobody_to_keep(http: TestClient, path: str) -> None:
    answer = http.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_so_does_a_defect(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("nobody expects this")

    with running(services, raise_server_exceptions=False) as http:
        monkeypatch.setattr(services.catalog, "list", broken)
        answer = http.get("/v1/models")
    assert answer.status_code == 500
    assert "nobody expects" not in answer.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_there_are_no_pages_that_run_scripts_of_others(http: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        assert http.get(path).status_code == 404


def preflight(http: TestClient, origin: str) -> dict[str, str]:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    answer = http.options("/v1/models/m/samples", headers=headers)
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-allow")}


def test_no_page_may_call_unless_its_origin_is_named(http: TestClient) -> None:
    assert preflight(http, PAGE) == {}
    assert "access-control-allow-origin" not in http.get("/livez", headers={"Origin": PAGE}).headers


@pytest.fixture
def open_to_page(settings: Settings, redis_url: str, sqlite_url: str) -> Iterator[TestClient]:
    named = settings.model_copy(update={"cors_origins": f"{PAGE}, https://other.example"})
    with running(assembled(named, redis_url, sqlite_url)) as client:
        yield client


def test_a_page_of_an_origin_that_is_named_may_call_without_cookies(open_to_page: TestClient) -> None:
    allowed = preflight(open_to_page, PAGE)
    assert allowed["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in allowed
    assert {"Idempotency-Key", "Inference-Header-Content-Length"} <= set(
        allowed["access-control-allow-headers"].split(", ")
    )
    answer = open_to_page.get("/v1/models", headers={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    stranger = open_to_page.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-origin" not in preflight(open_to_page, "https://evil.example")
