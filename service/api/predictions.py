"""`/v1/models/{m}/predictions`: served while the model learns."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from models import Label
from service.api.bodies import read_inputs, read_query
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.media import INPUTS, content_kind
from service.api.sample_checks import Most
from service.entry_id import EntryId
from service.fold import Version
from service.problems import FieldError, Invalid

router = APIRouter(prefix="/v1/models/{name}", tags=["predictions"])

MinEntry = Annotated[
    str | None,
    Query(description="answer only with a version that includes this entry, as the post of samples named it"),
]


class _Versioned(BaseModel):
    """classes: what the columns of the probabilities mean; applied_entry: the last entry that the version includes."""

    classes: list[Label]
    model_version: int
    applied_entry: str | None


class PredictionResource(_Versioned):
    label: Label
    probabilities: list[float]


class PredictionsResource(_Versioned):
    labels: list[Label]
    probabilities: list[list[float]]


@router.get("/predictions")
async def predict_one(
    name: ModelName,
    services: Wired,
    caller: Authenticated,
    x: Annotated[str, Query(description="the features, comma-separated; an empty place is a missing value")],
    min_entry: MinEntry = None,
) -> PredictionResource:
    caller.require("predict", name)
    model = await services.catalog.get(name)
    inputs = partial(read_query, x, model.spec)
    predicted = await services.prediction.predict(model, inputs, min_entry=_entry(min_entry))
    return PredictionResource(
        label=predicted.labels[0],
        probabilities=predicted.probabilities[0].tolist(),
        **_origin(predicted.version),
    )


@router.post("/predictions")
async def predict_batch(
    name: ModelName, request: Request, services: Wired, caller: Authenticated, min_entry: MinEntry = None
) -> PredictionsResource:
    caller.require("predict", name)
    model = await services.catalog.get(name)
    content = content_kind(request.headers.get("content-type"), INPUTS)
    most = Most(services.settings.max_post_samples, services.settings.max_body_bytes)
    inputs = partial(read_inputs, await request.body(), content, model.spec, most=most)
    predicted = await services.prediction.predict(model, inputs, min_entry=_entry(min_entry))
    return PredictionsResource(
        labels=predicted.labels, probabilities=predicted.probabilities.tolist(), **_origin(predicted.version)
    )


def _origin(version: Version) -> dict[str, Any]:
    """The fields of `_Versioned`."""
    return {
        "classes": list(version.labels),
        "model_version": version.model_version,
        "applied_entry": version.applied_entry.shown,
    }


def _entry(text: str | None) -> EntryId | None:
    if text is None:
        return None
    try:
        return EntryId.parse(text)
    except ValueError as error:
        raise Invalid(FieldError("min_entry", text, "must be an entry ID as a post of samples returned it")) from error
