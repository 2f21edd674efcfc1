"""The FastAPI application around wired services."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from service import __version__
from service.api import (
    events,
    health,
    hyperparameters,
    keys,
    metrics,
    models,
    predictions,
    problem_handlers,
    samples,
    shadows,
    snapshots,
    tracking,
)
from service.api.body_limit import BodyLimit
from service.api.content_encoding import ContentEncoding
from service.api.rate_limit import RateLimitHeaders
from service.services import Services

ROUTERS = (models, shadows, hyperparameters, samples, predictions, tracking, metrics, events, snapshots, keys)


def create_app(services: Services) -> FastAPI:
    """All routes; a process that only learns has the probes alone."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    app = FastAPI(
        title="amstream", version=__version__, lifespan=lifespan, summary="Continual learning over a durable stream"
    )
    app.state.services = services
    app.include_router(health.router)
    if services.settings.role != "learner":
        for module in ROUTERS:
            app.include_router(module.router)
    app.add_middleware(ContentEncoding)
    app.add_middleware(BodyLimit, most_bytes=services.settings.max_body_bytes)
    app.add_middleware(RateLimitHeaders)
    problem_handlers.install(app)
    return app
