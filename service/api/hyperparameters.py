"""`/v1/models/{m}/hyperparameters`: those in force, and changing them while the model learns."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from pydantic import ConfigDict, RootModel

from service.api.bodies import read_json
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import json_body, problems
from service.api.idempotency import AtMostOnce
from service.version import Version

router = APIRouter(prefix="/v1/models/{name}", tags=["models"])


class Changes(RootModel[dict[str, Any]]):
    model_config = ConfigDict(strict=True)


class HyperparametersResource(RootModel[dict[str, Any]]):
    """By name, as in the spec, which has those of the beginning."""


@router.get("/hyperparameters")
async def get(name: ModelName, services: Wired, caller: Authenticated) -> HyperparametersResource:
    caller.require_any(name)
    return _resource(await services.catalog.version(await services.catalog.get(name)))


@router.patch(
    "/hyperparameters", responses=problems(409), openapi_extra=json_body(Changes, horizon={"horizon": 20_000})
)
async def change(
    name: ModelName, request: Request, services: Wired, caller: Authenticated, once: AtMostOnce
) -> HyperparametersResource:
    """Sets some of them, from this point of the stream on; those that would change the size of the state are refused.

    A request that comes again with its `Idempotency-Key` is not carried out a second time.
    """
    caller.require("admin", name)
    model = await services.catalog.get(name)
    changes = (await run_sync(read_json, Changes, await request.body())).root
    await services.tuning.set(model, changes, by=caller, once=once)
    return _resource(await services.catalog.version(model))


def _resource(version: Version) -> HyperparametersResource:
    return HyperparametersResource(version.in_force.hyperparameters)
