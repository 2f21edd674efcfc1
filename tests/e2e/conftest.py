"""One stack for the tests of a module; each test finds it complete and has a model of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from amstream_client import Client
from tests.e2e.stack import Stack
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def started(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Both roles start at once on an empty database, as they do under Compose."""
    with postgres.database("template1") as url, Stack(tmp_path_factory.mktemp("stack"), url) as stack:
        yield stack


@pytest.fixture
def stack(started: Stack) -> Stack:
    started.up()
    return started


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with stack.client() as client:
        yield client
