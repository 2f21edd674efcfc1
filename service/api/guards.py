"""What every request passes before a route sees it, from the outside in."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.api.body_limit import BodyLimit
from service.api.content_encoding import ContentEncoding
from service.api.rate_limit import RateLimitHeaders
from service.api.security_headers import SecurityHeaders
from service.api.slow_body import SlowBody
from service.api.trusted_hosts import TrustedHosts
from service.settings import Settings

CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": [
        "Authorization",
        "Content-Encoding",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "Inference-Header-Content-Length",
        "Last-Event-ID",
    ],
    "expose_headers": [
        "ETag",
        "Idempotency-Key",
        "Inference-Header-Content-Length",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
    ],
}
"""What pages of the origins that the settings name may use. Cookies are none of it: keys come in a header."""


def install(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
    app.add_middleware(ContentEncoding)
    app.add_middleware(BodyLimit, most_bytes=settings.max_body_bytes)
    app.add_middleware(SlowBody, slow_s=settings.slow_s)
    app.add_middleware(RateLimitHeaders)
    if settings.origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, **CORS)
    if settings.hosts:
        app.add_middleware(TrustedHosts, hosts=settings.hosts)
    app.add_middleware(SecurityHeaders)
