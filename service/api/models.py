"""`/v1/models`: models from specs."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Any

import redis
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service import dead_letters
from service.api.bodies import read_json
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import json_body, problems
from service.api.pages import USUAL, Cursor, Limit, Page, cut, place_of
from service.append import entries_added
from service.catalog import Model
from service.commands import audit
from service.knowledge import IN_FORCE
from service.problems import Unavailable
from service.services import Services
from service.spec import ModelSpec
from service.spec_fields import Scale

router = APIRouter(prefix="/v1/models", tags=["models"])


class ModelResource(BaseModel):
    """spec: as the model was created. samples_learned: since then, also those that a restore has taken back.

    entries_lag: entries of the stream not yet applied; dead_letters: entries that could not be learned; both null while Redis
    is away. learner: what it is doing.
    """

    name: str
    id: str
    spec: ModelSpec
    created_at: datetime
    model_version: int
    applied_entry: str | None
    samples_learned: int
    entries_lag: int | None
    dead_letters: int | None
    learner: str


class InForce(BaseModel):
    """What a `PATCH …/hyperparameters`, a restore or a promotion may have made of the spec."""

    learner: str
    hyperparameters: dict[str, Any]
    hidden: list[int]
    activation: str
    image: list[int] | None
    scale: Scale


class ModelDetail(ModelResource):
    """in_force: what is learned and predicted with now; null while the newest checkpoint is damaged."""

    in_force: InForce | None


class ModelList(Page):
    models: list[ModelResource]


EXAMPLES = {
    "classification": {"inputs": 64, "classes": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "scale": "pooled"},
    "classes that appear": {"features": ["age", "income"], "label_type": "string", "max_classes": 20},
    "regression": {"task": "regression", "features": ["age", "income"], "hidden": [32]},
}


@router.put(
    "/{name}",
    responses=problems(409) | {201: {"model": ModelResource, "description": "Created"}},
    openapi_extra=json_body(ModelSpec, **EXAMPLES),
)
async def create(
    name: ModelName, request: Request, response: Response, services: Wired, caller: Authenticated
) -> ModelResource:
    """Creates a model: 201; 200 when it exists with an equal spec, 409 with another."""
    caller.require("admin", name)
    spec = await run_sync(read_json, ModelSpec, await request.body())
    model, new = await run_sync(services.catalog.create, name, spec)
    if new:
        audit("create-model", model, caller)
    response.status_code = 201 if new else 200
    return await _resource(services, model)


@router.get("")
async def list_models(services: Wired, caller: Authenticated, limit: Limit = USUAL, cursor: Cursor = None) -> ModelList:
    """The models that the key may see, by name."""
    after = place_of(cursor, str)
    found = await run_sync(partial(services.catalog.list, after=after, most=limit + 1, among=caller.models))
    models, next_cursor = cut(found, limit, attrgetter("name"))
    return ModelList(models=[await _resource(services, model) for model in models], next_cursor=next_cursor)


@router.get("/{name}")
async def get(name: ModelName, services: Wired, caller: Authenticated) -> ModelDetail:
    caller.require_any(name)
    model = await services.catalog.get(name)
    in_force = None
    with contextlib.suppress(Unavailable):
        spec = (await services.catalog.version(model)).in_force
        in_force = InForce(**{field: getattr(spec, field) for field in IN_FORCE})
    return ModelDetail(**dict(await _resource(services, model)), in_force=in_force)


@router.delete("/{name}", status_code=204)
async def delete(name: ModelName, services: Wired, caller: Authenticated) -> None:
    """Deletes the model with its stream, checkpoints and snapshots."""
    caller.require("admin", name)
    model = await services.catalog.get(name)
    await run_sync(services.catalog.delete, model)
    audit("delete-model", model, caller)


async def _resource(services: Services, model: Model) -> ModelResource:
    standing = await run_sync(services.catalog.standing, model)
    position = standing.position
    lag = dead = None
    with contextlib.suppress(redis.RedisError):
        lag = max(0, await entries_added(services.async_redis, model.log_id) - position.entries_applied)
        dead = await dead_letters.count(services.async_redis, model.id)
    return ModelResource(
        name=model.name,
        id=model.id,
        spec=model.spec,
        created_at=datetime.fromtimestamp(model.created_at, UTC),
        model_version=position.entries_applied,
        applied_entry=position.entry.shown,
        samples_learned=position.samples_learned,
        entries_lag=lag,
        dead_letters=dead,
        learner=f"refused: {standing.refusal}" if standing.refusal else "learning" if standing.holder else "none",
    )
