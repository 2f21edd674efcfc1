"""`POST /v1/models/{m}/promote`: a shadow's state becomes its model's."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import problems
from service.api.idempotency import AtMostOnce
from service.problems import Conflict, FieldError

router = APIRouter(prefix="/v1/models/{name}", tags=["models"])


class Promoted(BaseModel):
    """model: that took the state over; snapshot: of it that keeps the state; entry: the command that took it over."""

    model: str
    snapshot: str
    entry: str
    model_version: int


@router.post("/promote", responses=problems(409))
async def promote(name: ModelName, services: Wired, caller: Authenticated, once: AtMostOnce) -> Promoted:
    """Makes the model that `name` is a shadow of what the shadow is: state, hyper-parameters and metrics.

    No sample is left out or learned twice. The shadow goes on; the model as it was can be gone back to with a restore `at` an
    earlier entry. Needs the scope of a restore, for both. A request that comes again with its `Idempotency-Key` is not carried
    out a second time.
    """
    caller.require("snapshot", name)
    shadow = await services.catalog.get(name)
    if shadow.spec.shadow_of is None:
        raise Conflict(f"model {name!r} is no shadow", errors=[FieldError("shadow_of", None, "must name a model")])
    caller.require("snapshot", shadow.spec.shadow_of)
    model = await services.catalog.get(shadow.spec.shadow_of)
    promoted = await services.rewind.promote(shadow, model, by=caller, once=once)
    version = await services.catalog.version(model)
    return Promoted(
        model=model.name,
        snapshot=promoted.snapshot,
        entry=str(promoted.entry),
        model_version=version.model_version,
    )
