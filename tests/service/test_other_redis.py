"""The log on the Redis that is on the PATH, Redis 7 as Debian has it, say: the same contract as on the embedded Valkey."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.durability import NotDurable, must_wait_for_sync
from service.redis_clients import sync_client
from tests.service.learning import eventually
from tests.service.test_learner import (  # noqa: F401 - collected here a second time, on the other server
    model,
    test_a_snapshot_names_the_state_at_its_entry_and_adopt_goes_back_to_it,
    test_entries_that_do_not_decode_become_dead_letters_and_learning_goes_on,
)
from tests.service.test_learner_checkpoints import (  # noqa: F401
    test_the_log_is_trimmed_to_what_recovery_needs,
)
from tests.service.test_learner_loss import (  # noqa: F401
    test_a_learner_refuses_when_redis_lost_the_stream_and_goes_on_once_that_is_accepted,
)
from tests.service.test_stream import *  # noqa: F403

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server on the PATH")


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="amstream-redis-") as directory:
        socket = Path(directory) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket), "--dir", directory, "--appendonly", "yes", "--save", ""]
        with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as server:
            url = f"unix://{socket}"
            client = sync_client(url)
            eventually(lambda: socket.exists() and client.ping())
            client.close()
            yield url
            server.terminate()


def test_fsync_is_promised_only_where_the_server_can_keep_it(client: redis.Redis) -> None:
    if "waitaof" in {name.lower() for name in client.command()}:
        assert must_wait_for_sync(client, "fsync")
    else:
        with pytest.raises(NotDurable, match="appendfsync always"):
            must_wait_for_sync(client, "fsync")
    client.config_set("appendfsync", "always")
    assert not must_wait_for_sync(client, "fsync")
