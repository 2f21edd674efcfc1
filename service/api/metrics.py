"""`/v1/models/{m}/metrics`: what predictions made before learning were worth, beside predictors that learn nothing."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from anyio.to_thread import run_sync
from fastapi import APIRouter
from pydantic import BaseModel
from torch import Tensor

from models import Label
from models.prequential import RECENT, Alarms, ClassificationMetrics
from models.prequential_values import RegressionMetrics
from service.api.dependencies import Authenticated, ModelName, Wired
from service.catalog import Model
from service.problems import Unavailable, UnknownModel
from service.services import Services
from service.version import Version

router = APIRouter(prefix="/v1/models/{name}", tags=["metrics"])

Figures = dict[str, float | None]


class Drifts(BaseModel):
    """Rises of the error, found by the Page–Hinkley test. last: after how many samples the last one was, null before any."""

    count: int
    last: int | None


class ClassFigures(BaseModel):
    """Of one class: how many of its samples were learned, and the share of them that was predicted right."""

    label: Label
    seen: int
    recall: float | None
    recent_recall: float | None


class RetentionFigures(BaseModel):
    """How much is still known, from recalls of classes over periods; null until a class was seen in two periods.

    period: samples each; recalls: one row a period, one column a class, null where a class had too few samples to tell.
    """

    average_accuracy: float | None
    backward_transfer: float | None
    forgetting: float | None
    period: int
    recalls: list[list[float | None]]


class ShadowFigures(BaseModel):
    """Of a model that is fed with the same samples: `recent` figures compare, `overall` ones begin where the shadow did."""

    name: str
    applied_entry: str | None
    samples_learned: int
    overall: Figures
    recent: Figures


class MetricsResource(BaseModel):
    """Every sample was predicted before it was learned. `recent` figures forget with a horizon of so many samples.

    Classification: accuracy, kappa, log_loss, beside the accuracies no_change (the last label) and majority (the most
    frequent one). Regression: mae, rmse, r2, beside the absolute errors no_change (the last value) and mean.
    newest_time: when the latest of the samples learned happened, null where none said when; event_lag_s: how long ago.
    """

    model_version: int
    applied_entry: str | None
    samples_learned: int
    newest_time: datetime | None
    event_lag_s: float | None
    horizon: float
    overall: Figures
    recent: Figures
    drifts: Drifts
    classes: list[ClassFigures] = []
    retention: RetentionFigures | None = None
    shadows: list[ShadowFigures] = []


@router.get("/metrics")
async def metrics(name: ModelName, services: Wired, caller: Authenticated) -> MetricsResource:
    caller.require_any(name)
    model = await services.catalog.get(name)
    version = await services.catalog.version(model)
    found, newest = version.metrics, version.newest_time
    resource = MetricsResource(
        model_version=version.model_version,
        applied_entry=version.applied_entry.shown,
        samples_learned=version.samples_learned,
        newest_time=None if newest is None else datetime.fromtimestamp(newest, UTC),
        event_lag_s=None if newest is None else time.time() - newest,
        horizon=RECENT,
        overall=found.ever.figures(),
        recent=found.recent.figures(),
        drifts=_drifts(found.alarms),
        shadows=[
            figures
            for one in await run_sync(services.catalog.shadows, model)
            if (figures := await _shadow(services, one)) is not None
        ],
    )
    if isinstance(found, RegressionMetrics):
        return resource
    return resource.model_copy(update={"classes": _classes(version, found), "retention": _retention(found)})


async def _shadow(services: Services, shadow: Model) -> ShadowFigures | None:
    """None for one that was deleted meanwhile, or whose checkpoint is damaged: its model's figures are there all the same."""
    try:
        version = await services.catalog.version(shadow)
    except (UnknownModel, Unavailable):
        return None
    return ShadowFigures(
        name=shadow.name,
        applied_entry=version.applied_entry.shown,
        samples_learned=version.samples_learned,
        overall=version.metrics.ever.figures(),
        recent=version.metrics.recent.figures(),
    )


def _drifts(alarms: Alarms) -> Drifts:
    count = int(alarms.count)
    return Drifts(count=count, last=int(alarms.last) if count else None)


def _classes(version: Version, found: ClassificationMetrics) -> list[ClassFigures]:
    recalls, recent = ((tally.right / tally.seen).tolist() for tally in (found.ever, found.recent))
    columns = zip(version.labels, found.ever.seen.tolist(), recalls, recent, strict=False)
    return [
        ClassFigures(label=label, seen=int(seen), recall=_known(one), recent_recall=_known(other))
        for label, seen, one, other in columns
    ]


def _retention(found: ClassificationMetrics) -> RetentionFigures:
    retention, periods = found.retention(), found.periods
    begun = -(-int(periods.samples) // int(periods.length))
    return RetentionFigures(
        average_accuracy=retention.average_accuracy,
        backward_transfer=retention.backward_transfer,
        forgetting=retention.forgetting,
        period=int(periods.length),
        recalls=[_row(row) for row in periods.recalls()[:begun]],
    )


def _row(recalls: Tensor) -> list[float | None]:
    return [_known(recall) for recall in recalls.tolist()]


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
