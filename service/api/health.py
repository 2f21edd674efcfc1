"""Probes, for whoever keeps the processes running. No key needed, nothing told about models."""

from __future__ import annotations

import redis
import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from service.api.dependencies import Wired
from service.api.documentation import problems
from service.problems import FieldError, Unavailable
from service.tables import ModelRow

router = APIRouter(tags=["health"])

log = structlog.get_logger()


@router.get("/livez")
async def live() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", responses=problems(503))
async def ready(services: Wired) -> dict[str, str]:
    """503 names the part that is away; predictions may be served all the same."""
    away = []
    try:
        await services.async_redis.ping()
    except redis.RedisError as error:
        log.warning("not ready", part="redis", cause=str(error))
        away.append(FieldError("redis", "away", "must answer"))
    try:
        await run_sync(_ask, services.engine)
    except SQLAlchemyError as error:
        log.warning("not ready", part="database", cause=str(error))
        away.append(FieldError("database", "away", "must answer"))
    if away:
        detail = ", ".join(error.field for error in away)
        raise Unavailable(f"away: {detail}; the service's log says why", errors=away)
    return {"status": "ready", "redis": "ok", "database": "ok"}


def _ask(engine: Engine) -> None:
    """A database that answers, but has lost its tables, is away as well."""
    with engine.connect() as connection:
        connection.execute(select(ModelRow.id).limit(1))
