"""`/metrics`, for Prometheus. Names of models and their accuracy stand there, so it asks who is asking."""

from __future__ import annotations

import secrets

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.exposition import choose_encoder

from service.api.dependencies import Bearer, Wired, authenticated, services_of
from service.problems import Forbidden

router = APIRouter(tags=["health"])


class Scraper(Bearer):
    async def __call__(self, request: Request) -> None:
        """Raises: Unauthenticated; TooMany; Forbidden for a key that is not for all models."""
        token = services_of(request).settings.metrics_token
        if token is not None and _same(self.secret(request), token.get_secret_value()):
            return
        caller = await authenticated(request)
        if caller.models is not None:
            raise Forbidden(f"key {caller.name!r} is not for all models")


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


FORMATS: dict[str, dict[str, str]] = {"text/plain": {}, "application/openmetrics-text": {}}


@router.get(
    "/metrics",
    dependencies=[Depends(Scraper())],
    response_class=Response,
    responses={200: {"content": FORMATS, "description": "by the Accept header, plain text by default"}},
)
async def scrape(request: Request, services: Wired) -> Response:
    """What this process counts, and how its models stand, in Prometheus's text format, or OpenMetrics where that is asked for.

    Takes the token of `AMSTREAM_METRICS_TOKEN`, or a key of any scope that is for all models.
    """
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(await run_sync(encode, services.meters.registry), media_type=content_type)
