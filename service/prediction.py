"""Predictions: from one immutable version; what takes longer than handing it to a worker thread is handed to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from numpy.typing import NDArray

from models import Architecture, Label
from service.catalog import Catalog, Model
from service.entry_id import EntryId
from service.meters import Meters
from service.problems import Unavailable
from service.publications import Publications
from service.version import Version

MOST_AT_ONCE = 4

SMALL_BYTES = 2**14
"""Text or msgpack of at most so many bytes is read in some 0.1 ms."""
SMALL_PRODUCTS = 2**18
"""A dense net of at most so many multiplications, on the CPU, answers in some 0.1 ms. docs/decisions/0007-learner-thread.md"""
PRODUCTS_A_LAYER = 2**12
"""What a layer takes beyond its multiplications, in multiplications."""


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
        self,
        model: Model,
        inputs: Callable[[], NDArray[np.float32]],
        *,
        min_entry: EntryId | None,
        size: int | None = None,
    ) -> Predicted:
        """Labels and probabilities, or values, of inputs (n, N), by a version that includes `min_entry`.

        Args:
            inputs: makes the inputs, in a worker thread where parsing would block others for long.
            size: of what it parses, in bytes; None where its bytes say nothing about how long that takes.
        Raises: Unavailable when `min_entry` was not applied in time; whatever `inputs` raises.
        """
        version = await self._catalog.version(model)
        if min_entry is not None and version.applied_entry < min_entry:
            if not await self._publications.wait_for(model.id, min_entry, timeout_s=self._wait_s):
                raise Unavailable(
                    f"entry {min_entry} was not applied within {self._wait_s:g} s", kind="not-applied-yet"
                )
            version = await self._catalog.version(model)
        x = inputs() if size is not None and size <= SMALL_BYTES else None
        if x is not None and is_small(version, len(x)):
            predicted = _predicted(model, version, x)
        else:
            beside = (
                partial(_predicted, model, version, x)
                if x is not None
                else lambda: _predicted(model, version, inputs())
            )
            predicted = await run_sync(beside, limiter=self._limiter)
        self._meters.predicted(model.name, len(predicted.x))
        return predicted


def check_knows(model: Model, version: Version) -> None:
    """Raises: Unavailable while there is nothing that it could predict."""
    if version.target_scale is not None:
        if not bool(version.target_scale.moments.count.any()):
            raise Unavailable(f"model {model.name!r} has learned no sample", kind="no-value-yet")
    elif not version.labels:
        raise Unavailable(f"model {model.name!r} has learned no sample, and no class was declared", kind="no-class-yet")


def is_small(version: Version, rows: int) -> bool:
    """Whether predicting holds the event loop up for less time than waking a worker thread would take."""
    predictor = version.predictor
    if predictor.weights[0].device.type != "cpu" or not isinstance(predictor.net, Architecture):
        return False
    layers = len(predictor.weights) * (1 if predictor.past is None else 2)
    return layers * PRODUCTS_A_LAYER + rows * predictor.products <= SMALL_PRODUCTS


def _predicted(model: Model, version: Version, x: NDArray[np.float32]) -> Predicted:
    outputs = version.predictor(torch.from_numpy(x.copy()))
    check_knows(model, version)
    if version.target_scale is not None:
        values = version.target_scale.restored(outputs).numpy()
        return Predicted([], np.empty((len(values), 0), np.float32), version, x, values)
    probabilities = outputs.numpy()
    labels = [version.labels[index] for index in probabilities.argmax(axis=1).tolist()]
    return Predicted(labels, probabilities, version, x)
