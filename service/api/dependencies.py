"""What routes get handed: the wired services, and the caller behind the bearer key."""

from __future__ import annotations

from typing import Annotated, cast

from anyio.to_thread import run_sync
from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.keyring import Caller
from service.problems import Unauthenticated
from service.services import Services

_bearer = HTTPBearer(auto_error=False, description="an API key, `amk_…`")


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Wired = Annotated[Services, Depends(services_of)]


async def authenticated(
    services: Wired, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Raises: Unauthenticated."""
    if credentials is None:
        raise Unauthenticated("send a key as 'Authorization: Bearer amk_…'")
    secret = credentials.credentials
    cached = services.keyring.cached(secret)
    return cached if cached is not None else await run_sync(services.keyring.look_up, secret)


Authenticated = Annotated[Caller, Depends(authenticated)]
ModelName = Annotated[str, Path(description="name of the model")]
