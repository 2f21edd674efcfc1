"""The FastAPI application around wired services."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from service import __version__
from service.api import (
    dead_letters,
    documentation,
    events,
    guards,
    health,
    hyperparameters,
    keys,
    metrics,
    models,
    oip,
    oip_metadata,
    predictions,
    problem_handlers,
    prometheus,
    samples,
    shadows,
    snapshots,
    tracking,
)
from service.api.request_log import RequestLog
from service.api.request_meter import RequestMeter
from service.services import Services

ROUTERS = (
    predictions,  # routes are tried one after the other: what is asked for most comes first
    samples,
    models,
    shadows,
    hyperparameters,
    tracking,
    metrics,
    events,
    dead_letters,
    snapshots,
    keys,
    oip_metadata,
    oip,
)


def create_app(services: Services) -> FastAPI:
    """All routes; a process that only learns has the probes and `/metrics` alone."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    app = FastAPI(
        title="amstream",
        version=__version__,
        lifespan=lifespan,
        summary="Continual learning over a durable stream",
        docs_url=None,  # its pages would run scripts from hosts that are not ours
        redoc_url=None,
    )
    app.state.services = services
    if services.settings.role != "learner":
        for module in ROUTERS:
            app.include_router(module.router)
    app.include_router(health.router)
    app.include_router(prometheus.router)
    guards.install(app, services.settings)
    app.add_middleware(RequestMeter, meters=services.meters)
    app.add_middleware(RequestLog)
    problem_handlers.install(app)
    documentation.describe(app)
    return app
