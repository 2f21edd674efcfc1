"""Predictions: from one immutable version, off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from numpy.typing import NDArray

from models import Label
from service.catalog import Catalog, Model
from service.entry_id import EntryId
from service.meters import Meters
from service.problems import Unavailable
from service.publications import Publications
from service.version import Version

MOST_AT_ONCE = 4


@dataclass(frozen=True)
class Predicted:
    """Args:
    probabilities: (n, m) float32, columns in the order of the version's labels.
    values: of a regression, (n, m); then there are no labels, and no probabilities.
    x: what they were predicted for, (n, N).
    """

    labels: list[Label]
    probabilities: NDArray[np.float32]
    version: Version
    x: NDArray[np.float32]
    values: NDArray[np.float64] | None = None


class Prediction:
    """Args: wait_s: longest wait for `min_entry`."""

    def __init__(
        self, catalog: Catalog, publications: Publications, *, wait_s: float, meters: Meters | None = None
    ) -> None:
        self._catalog = catalog
        self._publications = publications
        self._wait_s = wait_s
        self._meters = meters or Meters()
        self._limiter = CapacityLimiter(MOST_AT_ONCE)

    async def predict(
        self, model: Model, inputs: Callable[[], NDArray[np.float32]], *, min_entry: EntryId | None
    ) -> Predicted:
        """Labels and probabilities, or values, of inputs (n, N), by a version that includes `min_entry`.

        Args:
            inputs: makes the inputs in the worker thread, where parsing a large body blocks nobody.
        Raises: Unavailable when `min_entry` was not applied in time; whatever `inputs` raises.
        """
        version = await self._catalog.version(model)
        if min_entry is not None and version.applied_entry < min_entry:
            if not await self._publications.wait_for(model.id, min_entry, timeout_s=self._wait_s):
                raise Unavailable(
                    f"entry {min_entry} was not applied within {self._wait_s:g} s", kind="not-applied-yet"
                )
            version = await self._catalog.version(model)
        predicted = await run_sync(partial(_predicted, model, version, inputs), limiter=self._limiter)
        self._meters.predicted(model.name, len(predicted.x))
        return predicted


def check_knows(model: Model, version: Version) -> None:
    """Raises: Unavailable while there is nothing that it could predict."""
    if version.target_scale is not None:
        if not bool(version.target_scale.moments.count.any()):
            raise Unavailable(f"model {model.name!r} has learned no sample", kind="no-value-yet")
    elif not version.labels:
        raise Unavailable(f"model {model.name!r} has learned no sample, and no class was declared", kind="no-class-yet")


def _predicted(model: Model, version: Version, inputs: Callable[[], NDArray[np.float32]]) -> Predicted:
    x = inputs()
    outputs = version.predictor(torch.tensor(x))
    check_knows(model, version)
    if version.target_scale is not None:
        values = version.target_scale.restored(outputs).numpy()
        return Predicted([], np.empty((len(values), 0), np.float32), version, x, values)
    labels = [version.labels[index] for index in outputs.argmax(dim=1).tolist()]
    return Predicted(labels, outputs.numpy(), version, x)
