"""What routes get handed: the wired services, and the caller behind the bearer key."""

from __future__ import annotations

from typing import Annotated, cast

from anyio.to_thread import run_sync
from fastapi import Depends, Path, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param

from service.api.rate_limit import tell
from service.keyring import Caller
from service.problems import TooMany, Unauthenticated
from service.rates import Exceeded
from service.services import Services
from service.spec_fields import NAME


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def _services_of(request: Request) -> Services:  # were it not async, it would be called in a thread
    return services_of(request)


Wired = Annotated[Services, Depends(_services_of)]


class Bearer(SecurityBase):
    """The security scheme of all calls. What follows from the key is one dependency: the framework takes time for each."""

    def __init__(self) -> None:
        self.scheme_name = "HTTPBearer"
        self.model = HTTPBearer(description="an API key, `amk_…`")

    def secret(self, request: Request) -> str:
        """Raises: Unauthenticated."""
        scheme, secret = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated("send a key as 'Authorization: Bearer amk_…'")
        return secret


class Authentication(Bearer):
    async def __call__(self, request: Request) -> Caller:
        """Raises: Unauthenticated; TooMany."""
        services, secret = services_of(request), self.secret(request)
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


authenticated = Authentication()
Authenticated = Annotated[Caller, Depends(authenticated)]
ModelName = Annotated[
    str,
    Path(description="name of the model", json_schema_extra={"pattern": f"^{NAME.pattern}$"}, examples=["boiler"]),
]
