"""`/v1/keys`: who may call. For keys with the scope `admin` that are not bound to models."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.bodies import read_json
from service.api.dependencies import Authenticated, Wired
from service.api.documentation import json_body, problems
from service.keyring import LONGEST_EXPIRY_S, MOST_REQUESTS, Scope
from service.keys import Key

router = APIRouter(prefix="/v1/keys", tags=["keys"])

MOST_MODELS = 1000


class NewKey(BaseModel):
    """models: what the key is for, without it all; expires_in_s: without it the key holds until it is revoked.

    requests_per_minute: without it what the server's settings say.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"name": "sensor-7", "scopes": ["learn"], "models": ["boiler"]}]},
    )

    name: Annotated[str, Field(min_length=1, max_length=63)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]
    models: Annotated[list[str] | None, Field(min_length=1, max_length=MOST_MODELS)] = None
    expires_in_s: Annotated[float | None, Field(gt=0, le=LONGEST_EXPIRY_S)] = None
    requests_per_minute: Annotated[int | None, Field(ge=1, le=MOST_REQUESTS)] = None


class KeyResource(BaseModel):
    """models: null for all; expires_at: null for never; revoked_at: null while it was not."""

    id: str
    name: str
    scopes: list[str]
    models: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None


class CreatedKey(KeyResource):
    """key: the secret, shown this once; the service keeps its hash alone."""

    key: str


class KeyList(BaseModel):
    keys: list[KeyResource]


@router.post("", status_code=201, responses=problems(409), openapi_extra=json_body(NewKey))
async def create(request: Request, response: Response, services: Wired, caller: Authenticated) -> CreatedKey:
    """Makes a key. Two that were not revoked never have one name: repeating the call answers 409, and makes no second one."""
    caller.require("admin")
    body = read_json(NewKey, await request.body())
    key, secret = await run_sync(partial(services.keys.create, **dict(body), by=caller))
    response.headers["Cache-Control"] = "no-store"
    return CreatedKey(key=secret, **_fields(key))


@router.get("")
async def list_keys(
    services: Wired,
    caller: Authenticated,
    revoked: Annotated[bool, Query(description="with those that were revoked")] = False,
) -> KeyList:
    """Names, scopes and dates of all keys, never the keys themselves."""
    caller.require("admin")
    keys = await run_sync(partial(services.keys.list, revoked=revoked))
    return KeyList(keys=[KeyResource(**_fields(key)) for key in keys])


@router.delete("/{key_id}", status_code=204, responses=problems(409))
async def revoke(
    key_id: Annotated[str, Path(description="the key's `id`")], services: Wired, caller: Authenticated
) -> None:
    """Refused from then on, by other processes within seconds. 409 for the last key that could make another."""
    caller.require("admin")
    await run_sync(partial(services.keys.revoke, key_id, by=caller))


def _fields(key: Key) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at")
    return {
        name: datetime.fromtimestamp(value, UTC) if name in times and value is not None else value
        for name, value in vars(key).items()
    }
