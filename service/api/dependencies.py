"""What routes get handed: the wired services, and the caller behind the bearer key."""

from __future__ import annotations

from typing import Annotated, cast

from anyio.to_thread import run_sync
from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.rate_limit import tell
from service.keyring import Caller
from service.problems import TooMany, Unauthenticated
from service.rates import Exceeded
from service.services import Services
from service.spec import NAME

bearer = HTTPBearer(auto_error=False, description="an API key, `amk_…`")


async def services_of(request: Request) -> Services:  # were it not async, it would be called in a thread
    return cast(Services, request.app.state.services)


Wired = Annotated[Services, Depends(services_of)]


async def authenticated(
    request: Request,
    services: Wired,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Caller:
    """Raises: Unauthenticated; TooMany."""
    if credentials is None:
        raise Unauthenticated("send a key as 'Authorization: Bearer amk_…'")
    secret = credentials.credentials
    cached = services.keyring.cached(secret)
    caller = cached if cached is not None else await run_sync(services.keyring.look_up, secret)
    try:
        allowance = await services.rates.request(caller)
    except Exceeded as exceeded:
        tell(request.scope, exceeded.allowance)
        raise TooMany(
            f"key {caller.name!r} made {exceeded.allowance.most} requests within a minute, as many as it may",
            kind="too-many-requests",
            retry_after_s=exceeded.allowance.reset_s,
        ) from None
    if allowance is not None:
        tell(request.scope, allowance)
    return caller


Authenticated = Annotated[Caller, Depends(authenticated)]
ModelName = Annotated[
    str,
    Path(description="name of the model", json_schema_extra={"pattern": f"^{NAME.pattern}$"}, examples=["boiler"]),
]
