"""`/v1/models/{m}/predictions/{id}` and labels that come later."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import json_body, problems
from service.api.sample_checks import (
    AnyTarget,
    Body,
    Weight,
    check_count,
    check_targets,
    kind_of,
    target_kind,
    validated,
)
from service.entries import Target
from service.spec_fields import LabelValue
from service.tracking import Labelled, Tracked

router = APIRouter(prefix="/v1/models/{name}", tags=["predictions"])

PredictionId = Annotated[str, Path(description="as the tracked prediction was answered with")]
Y = TypeVar("Y")


class LabelBody(Body, Generic[Y]):
    """label: what turned out to be right, for regression the value or values; weight: how much the sample counts.

    correct: whether it replaces another label that came before.
    """

    label: Y
    weight: Weight = 1.0
    correct: bool = False


class LabelsBody(Body, Generic[Y]):
    """labels: by the IDs of predictions; the rest as for a single one."""

    labels: Annotated[dict[str, Y], Field(min_length=1)]
    weight: Weight = 1.0
    correct: bool = False


class LabelResource(BaseModel):
    """entry: of the log, which holds the sample; repeated: the same label had come; corrected: another one had."""

    id: str
    entry: str
    repeated: bool
    corrected: bool


class LabelsResource(BaseModel):
    labelled: list[LabelResource]


class OutcomeResource(BaseModel):
    label: Target
    entry: str


class TrackedResource(BaseModel):
    """A prediction as it was made: inputs, null where missing; probabilities by class, or for regression values.

    outcome: the label that came since, null before.
    """

    id: str
    x: list[float | None]
    classes: list[LabelValue]
    probabilities: list[float] | None
    values: list[float] | None
    model_version: int
    applied_entry: str | None
    made_at: datetime
    outcome: OutcomeResource | None


class AnyLabel(LabelBody[AnyTarget]):
    pass


class AnyLabels(LabelsBody[AnyTarget]):
    pass


@router.get("/predictions/{prediction}", responses=problems(410))
async def get(name: ModelName, prediction: PredictionId, services: Wired, caller: Authenticated) -> TrackedResource:
    """A tracked prediction. 404 for an ID that was never given, 410 once its time to be labelled has passed."""
    caller.require("predict", name)
    model = await services.catalog.get(name)
    return _resource(await services.tracking.get(model, prediction))


@router.put(
    "/predictions/{prediction}/label",
    status_code=202,
    responses=problems(409, 410),
    openapi_extra=json_body(AnyLabel, label={"label": "yes"}, correction={"label": "no", "correct": True}),
)
async def label(
    name: ModelName, prediction: PredictionId, request: Request, services: Wired, caller: Authenticated
) -> LabelResource:
    """The label of a tracked prediction, which is learned with the inputs as they were.

    Labels may come in any order. One that comes again is learned once; another one is a 409, or with `correct` replaces it.
    """
    caller.require("learn", name)
    model = await services.catalog.get(name)
    body = validated(kind_of(LabelBody, target_kind(model.spec)), await request.body())
    check_targets([body.label], model.spec, lambda _: "label")
    labels = {prediction: body.label}
    [labelled] = await services.tracking.label(model, labels, weight=body.weight, correct=body.correct)
    return _labelled(labelled)


@router.post(
    "/labels",
    status_code=202,
    responses=problems(409, 410),
    openapi_extra=json_body(
        AnyLabels, two={"labels": {"19bd1e2f3aa-0011223344556677": "yes", "19bd1e2f3ab-8899": "no"}}
    ),
)
async def label_many(name: ModelName, request: Request, services: Wired, caller: Authenticated) -> LabelsResource:
    """Labels of many tracked predictions, all or none: an unknown ID, or one whose time has passed, refuses all."""
    caller.require("learn", name)
    model = await services.catalog.get(name)
    content = await request.body()
    body = await run_sync(validated, kind_of(LabelsBody, target_kind(model.spec)), content)
    check_count(len(body.labels), services.settings.max_post_samples, "labels")
    ids = list(body.labels)
    check_targets(list(body.labels.values()), model.spec, lambda index: f"labels.{ids[index]}")
    found = await services.tracking.label(model, body.labels, weight=body.weight, correct=body.correct)
    return LabelsResource(labelled=[_labelled(one) for one in found])


def _labelled(labelled: Labelled) -> LabelResource:
    return LabelResource(**vars(labelled))


def _resource(tracked: Tracked) -> TrackedResource:
    said = tracked.said.tolist()
    return TrackedResource(
        id=tracked.id,
        x=[None if np.isnan(value) else float(value) for value in tracked.x],
        classes=tracked.classes,
        probabilities=said if tracked.classes else None,
        values=None if tracked.classes else said,
        model_version=tracked.model_version,
        applied_entry=tracked.applied_entry,
        made_at=datetime.fromtimestamp(tracked.made_at, UTC),
        outcome=None if tracked.outcome is None else OutcomeResource(**vars(tracked.outcome)),
    )
