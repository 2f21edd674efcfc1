"""`amstream keys`: against the service it is in test_contract.py; here, what the command itself decides."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from typer.testing import Result

KEY = {
    "id": "7f9c",
    "name": "sensor-7",
    "scopes": ["learn"],
    "models": None,
    "created_at": "2026-11-27T09:00:00Z",
    "expires_at": None,
    "revoked_at": None,
    "requests_per_minute": None,
}


class Keys(httpx.MockTransport):
    """A service that has one key, and notes what it is asked to do."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked: list[tuple[str, str]] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"keys": [KEY]})
        self.asked.append((request.method, request.url.path))
        if request.method == "DELETE":
            return httpx.Response(204)
        expires_at = json.loads(request.content).get("expires_in_s")
        return httpx.Response(201, json=KEY | {"key": "amk_new", "expires_at": f"in {expires_at:g} s"})


@pytest.mark.parametrize("named", ["sensor-7", "7f9c"])
def test_a_key_is_revoked_by_its_name_or_its_id(run: Callable[..., Result], named: str) -> None:
    service = Keys()
    result = run("keys", "revoke", named, transport=service)
    assert (result.exit_code, result.stdout) == (0, "revoked sensor-7\n")
    assert service.asked == [("DELETE", "/v1/keys/7f9c")]


def test_a_key_that_there_is_not_is_one_line_on_stderr_and_nothing_is_revoked(run: Callable[..., Result]) -> None:
    service = Keys()
    result = run("keys", "revoke", "sensor-8", transport=service)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "error: there is no key 'sensor-8' in force\n")
    assert service.asked == []


def test_a_new_key_is_printed_and_holds_for_days(run: Callable[..., Result]) -> None:
    words = ("keys", "create", "sensor-7", "--scope", "learn", "--days", "2")
    assert run(*words, transport=Keys()).stdout == "amk_new\n"
    assert json.loads(run(*words, "--json", transport=Keys()).stdout)["expires_at"] == "in 172800 s"
