"""One process of the service, from the data directory's lock to the last checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from urllib.parse import urlsplit

import redis
import structlog
import torch
import uvicorn
from alembic.util.exc import CommandError
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError, DBAPIError

from models import choose_device
from service.allocator import keep_freed_memory
from service.app import create_app
from service.data_dir import DataDir, DataDirInUse
from service.database import connect, migrate, sessions
from service.durability import NotDurable, must_wait_for_sync
from service.embedded import EmbeddedValkey, ValkeyFailed
from service.http_protocol import bounded
from service.keyring import ensure_admin_key
from service.redis_clients import sync_client
from service.services import Services, assemble
from service.settings import Settings
from service.warm_up import prepare_for_a_first_model

log = structlog.get_logger()

DRAIN_S = 10
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CannotStart(Exception):
    """Why the service does not start, in one line for whoever started it."""


def serve(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT, which end it after the requests in flight and a last checkpoint; a second one at once.

    Raises: CannotStart; SystemExit(0) once it was told to end and has.
    """
    keep_freed_memory()
    for number in SIGNALS:
        signal.signal(number, _end)  # uvicorn takes over while it serves, and raises the signal again when it is done
    with contextlib.ExitStack() as stack:
        try:
            device = choose_device(settings.device)
            data_dir = DataDir(settings.data_dir)
            stack.callback(data_dir.close)
            redis_url = settings.redis_url
            if redis_url is None:
                valkey = EmbeddedValkey(data_dir.path, sync_always=settings.ack == "fsync")
                stack.callback(valkey.stop)
                valkey.start()
                redis_url = valkey.url
        except (ValueError, DataDirInUse, ValkeyFailed) as error:
            raise CannotStart(str(error)) from error
        except OSError as error:
            raise CannotStart(f"the data directory {settings.data_dir} cannot be used: {error}") from error
        check_redis(redis_url)
        try:
            with contextlib.closing(sync_client(redis_url)) as client:
                wait_aof = must_wait_for_sync(client, settings.ack)
        except (NotDurable, RedisError) as error:
            raise CannotStart(str(error)) from error
        engine = open_database(settings)
        # An administrator looks for the key where the API runs; learners need none.
        key_file = None if settings.role == "learner" else ensure_admin_key(sessions(engine), data_dir.path)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        node = settings.node or data_dir.node
        services = assemble(settings, redis_url=redis_url, engine=engine, node=node, wait_aof=wait_aof)
        log.info("starting", role=settings.role, device=str(device), data_dir=str(data_dir.path))
        if key_file is not None:
            log.info("admin key written", file=str(key_file))
        _run(settings, services)


def _end(*_: object) -> None:
    """Unwinds what was started; another signal meanwhile ends the process at once."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """Args: on_start: called in a thread of its own once requests are answered; on_exit: called with the first signal."""

    def __init__(self, config: uvicorn.Config, *, on_start: Callable[[], object], on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_exit = on_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            log.info("listening", url=f"http://{self.config.host}:{self.config.port}")
            threading.Thread(target=self._on_start, name="warm-up").start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # Valkey ends by itself, as after any death of this process
        self._on_exit()
        super().handle_exit(sig, frame)


def _run(settings: Settings, services: Services) -> None:
    config = uvicorn.Config(
        create_app(services),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        http=bounded(
            slow_s=settings.slow_s,
            most_head_bytes=settings.max_header_bytes,
            most_connections=settings.max_connections,
        ),
        h11_max_incomplete_event_size=settings.max_header_bytes,
    )
    server = _Server(config, on_start=partial(_warm_up, services), on_exit=services.draining.set)
    try:
        server.run()
    except SystemExit as end:
        if end.code:  # uvicorn's, when it cannot bind
            raise CannotStart(f"cannot listen on {settings.host}:{settings.port}; is the port in use?") from end
        raise


def _warm_up(services: Services) -> None:
    if services.settings.role != "learner":
        with contextlib.suppress(DBAPIError):  # then the first model takes a little longer
            prepare_for_a_first_model(services.sessions)


def check_redis(url: str) -> None:
    """Raises: CannotStart when nothing answers there."""
    try:
        with contextlib.closing(sync_client(url)) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        raise CannotStart(f"redis_url {_without_password(url)!r}: {error}") from error


def open_database(settings: Settings) -> Engine:
    """The database with its schema brought up to date. Raises: CannotStart when it cannot be opened."""
    url = settings.sqlalchemy_url
    try:
        engine = connect(url)
        migrate(engine)
    except CommandError as error:
        what = f"its schema is not one that this version knows ({error}); it was written by a newer amstream"
        raise CannotStart(f"database_url {_without_password(url)!r}: {what}") from error
    except (ArgumentError, ValueError, DBAPIError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CannotStart(f"database_url {_without_password(url)!r}: {reason}") from error
    return engine


def open_redis(settings: Settings) -> redis.Redis:
    """For commands that work beside a running service: its embedded Valkey, or the Redis of the settings.

    Raises: CannotStart when nothing answers there.
    """
    url = settings.redis_url or EmbeddedValkey(settings.data_dir).url
    check_redis(url)
    return sync_client(url)


def _without_password(url: str) -> str:
    """Scheme, host and path: a password may stand before the host, or in the query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if "://" in url else "(not a URL)"
