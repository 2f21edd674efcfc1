from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from amstream_client import Client
from amstream_client.cli import register
from amstream_client.testing import FakeService

# What a developer's shell may have set must not reach the commands under test.
ENVIRONMENT = {
    "AMSTREAM_URL": None,
    "AMSTREAM_KEY": "amk_fake",
    "AMSTREAM_DATA_DIR": None,
    "COLUMNS": "120",
    "TERM": "dumb",
    "NO_COLOR": "1",
}


@pytest.fixture
def service() -> FakeService:
    """With a model 'iris' of 2 inputs and the classes 'a' and 'b', which learned nothing yet."""
    service = FakeService()
    with Client(key=service.key, transport=service.transport()) as client:
        client.create_model("iris", {"inputs": 2, "classes": ["a", "b"]})
    service.requests.clear()
    return service


@pytest.fixture
def client(service: FakeService) -> Client:
    return Client(key=service.key, transport=service.transport())


@pytest.fixture
def run(service: FakeService) -> Callable[..., Result]:
    """Runs a command against `service`, or against another transport."""
    app = typer.Typer()
    register(app)

    def invoke(
        *arguments: object,
        transport: httpx.BaseTransport | None = None,
        environ: dict[str, str | None] | None = None,
        stdin: str | None = None,
    ) -> Result:
        env = ENVIRONMENT | (environ or {})
        transport = transport or service.transport()
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, words, obj=transport, env=env, input=stdin)

    return invoke
