"""`/v1/models/{m}/predictions`: served while the model learns."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models import Label
from service.api.bodies import read_inputs, read_query
from service.api.dependencies import Authenticated, ModelName, services_of
from service.api.documentation import Content, request_body
from service.api.entry_ids import entry_id
from service.api.json_samples import AnyInputList
from service.api.media import INPUTS, JSON, MSGPACK, NPZ, content_kind
from service.api.sample_checks import Most
from service.entry_id import EntryId
from service.version import Version

router = APIRouter(prefix="/v1/models/{name}", tags=["predictions"])

MinEntry = Annotated[
    str | None,
    Query(description="answer only with a version that includes this entry, as the post of samples named it"),
]

Ids = Annotated[list[str] | None, Field(description="of tracked predictions, for the labels that come later")]


class _Versioned(BaseModel):
    """applied_entry: the last entry that the version includes."""

    model_version: int
    applied_entry: str | None


class PredictionResource(_Versioned):
    """classes: what the columns of the probabilities mean."""

    label: Label
    probabilities: list[float]
    classes: list[Label]


class PredictionsResource(_Versioned):
    labels: list[Label]
    probabilities: list[list[float]]
    classes: list[Label]
    ids: Ids = None


class ValueResource(_Versioned):
    """value: of a regression, as `y` is in a sample: a number, or a list where there are several targets."""

    value: float | list[float]


class ValuesResource(_Versioned):
    values: list[float] | list[list[float]]
    ids: Ids = None


@router.get("/predictions", response_model=PredictionResource | ValueResource)
async def predict_one(
    name: ModelName,
    request: Request,
    caller: Authenticated,
    x: Annotated[str, Query(description="the features, comma-separated; an empty place is a missing value")],
    min_entry: MinEntry = None,
) -> Response:
    caller.require("predict", name)
    services = services_of(request)
    model = await services.catalog.get(name)
    inputs = partial(read_query, x, model.spec)
    predicted = await services.prediction.predict(model, inputs, min_entry=entry_of(min_entry), size=len(x))
    origin = _origin(predicted.version)
    if predicted.values is not None:
        return _answer(ValueResource(value=_as_targets(predicted.values)[0], **origin))
    probabilities, classes = predicted.probabilities[0].tolist(), list(predicted.version.labels)
    return _answer(
        PredictionResource(label=predicted.labels[0], probabilities=probabilities, classes=classes, **origin)
    )


BODY = request_body(
    {
        JSON: Content(
            AnyInputList,
            {"two inputs": {"x": [[0, 1.5, None], [1, 0, 2]]}, "by name": {"x": [{"age": 3}, {"age": None}]}},
        ),
        MSGPACK: Content({"type": "string", "format": "binary", "description": "map of x (float32 bytes) and n"}),
        NPZ: Content({"type": "string", "format": "binary", "description": "the array x"}),
    }
)


@router.post("/predictions", response_model=PredictionsResource | ValuesResource, openapi_extra=BODY)
async def predict_batch(
    name: ModelName,
    request: Request,
    caller: Authenticated,
    min_entry: MinEntry = None,
    track: Annotated[bool, Query(description="keep the predictions for labels that come later")] = False,
) -> Response:
    caller.require("predict", name)
    services = services_of(request)
    model = await services.catalog.get(name)
    content = content_kind(request.headers.get("content-type"), INPUTS)
    most = Most(services.settings.max_post_samples, services.settings.max_body_bytes)
    body = await request.body()
    inputs = partial(read_inputs, body, content, model.spec, most=most)
    size = None if content == NPZ else len(body)
    if track:
        model.require_own_log()
    predicted = await services.prediction.predict(model, inputs, min_entry=entry_of(min_entry), size=size)
    origin = _origin(predicted.version)
    if track:
        origin["ids"] = await services.tracking.track(model, predicted)
    if predicted.values is not None:
        return _answer(ValuesResource(values=_as_targets(predicted.values), **origin))
    probabilities, classes = predicted.probabilities.tolist(), list(predicted.version.labels)
    return _answer(PredictionsResource(labels=predicted.labels, probabilities=probabilities, classes=classes, **origin))


def _answer(resource: _Versioned) -> Response:
    """The framework would check what it is given once more, and take as long for it as the net."""
    return Response(resource.model_dump_json(), media_type=JSON)


def _origin(version: Version) -> dict[str, Any]:
    """The fields of `_Versioned`."""
    return {"model_version": version.model_version, "applied_entry": version.applied_entry.shown}


def _as_targets(values: NDArray[np.float64]) -> list[Any]:
    """Of each row what `y` is in a sample."""
    rows: list[Any] = (values[:, 0] if values.shape[1] == 1 else values).tolist()
    return rows


def entry_of(text: str | None) -> EntryId | None:
    """Raises: Invalid naming `min_entry`."""
    return None if text is None else entry_id("min_entry", text)
