"""Samples in, predictions out."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import httpx

from amstream_client.call import Call, Read, is_visible_ascii, model_path, read, read_json
from amstream_client.errors import UnexpectedAnswer, WrongTask
from amstream_client.payload import Inputs, Labels, Row, Rows, Times, Weights, inputs_payload, samples_payload, to_rows
from amstream_client.wire import Accepted, Prediction, Predictions, Values, parse

T = TypeVar("T")

LONGEST_QUERY = 2000  # what every server and proxy takes


def learn(
    model: str,
    x: Inputs,
    y: Labels,
    weight: Weights | None = None,
    *,
    time: Times | None = None,
    idempotency_key: str | None = None,
) -> Call[Accepted]:
    """Appends samples to the model's stream; they are learned soon after, in this order.

    Args:
        x: (n, inputs), or n rows by the features' names; NaN or None = missing value
        y: n labels; for regression n values, or (n, targets)
        weight: n numbers, 1 each by default
        time: when each happened: datetimes with an offset from UTC, numpy's, or seconds since 1970; None = not known
        idempotency_key: 1 to 255 visible ASCII characters; samples sent again under the same key (kept for 1 h)
            are not learned again. Random by default, and the same for all retries of this call.
    """
    headers = {}
    if idempotency_key is not None:
        if not is_visible_ascii(idempotency_key) or len(idempotency_key) > 255:
            raise ValueError(f"idempotency_key must be 1 to 255 visible ASCII characters, not {idempotency_key!r}")
        headers["Idempotency-Key"] = idempotency_key
    return Call("POST", model_path(model, "samples"), read(Accepted), samples_payload(x, y, weight, time), headers)


def predict(model: str, x: Inputs, *, min_entry: str | None = None, track: bool = False) -> Call[Predictions]:
    """Predicts the classes of n samples, x of shape (n, inputs).

    Args:
        min_entry: predict only once this entry (of `Accepted.entries`) is learned; NotAppliedYet if that takes long
        track: keep the predictions, under `ids`, for labels that come later (`label`)
    """
    rows = to_rows(x)

    def read_all(response: httpx.Response) -> Predictions:
        answer = parse(Predictions, _of_task(response, "values", "a regression: call predict_values"))
        if not len(answer.labels) == len(answer.probabilities) == len(rows):
            raise UnexpectedAnswer(f"{len(answer.labels)} predictions for {len(rows)} samples")
        return answer

    return _prediction(model, rows, read_all, min_entry, track)


def predict_one(model: str, x: Row, *, min_entry: str | None = None) -> Call[Prediction]:
    """Predicts the class of one sample, x of shape (inputs,); `min_entry` as in `predict`."""
    if (params := _query(x, min_entry)) is None:
        batch = predict(model, [x], min_entry=min_entry)
        return _prediction(model, to_rows([x]), lambda response: _first(batch.read(response)), min_entry, False)

    def read_one(response: httpx.Response) -> Prediction:
        return parse(Prediction, _of_task(response, "value", "a regression: call predict_values"))

    return Call("GET", model_path(model, "predictions"), read_one, params=params)


def predict_values(model: str, x: Inputs, *, min_entry: str | None = None, track: bool = False) -> Call[Values]:
    """As `predict`, for a regression."""
    rows = to_rows(x)

    def read_all(response: httpx.Response) -> Values:
        answer = parse(Values, _of_task(response, "labels", "a classification: call predict"))
        if len(answer.values) != len(rows):
            raise UnexpectedAnswer(f"{len(answer.values)} predictions for {len(rows)} samples")
        return answer

    return _prediction(model, rows, read_all, min_entry, track)


def _prediction(model: str, rows: Rows, read: Read[T], min_entry: str | None, track: bool) -> Call[T]:
    """A tracked one whose answer was lost is tracked anew; the one that nobody heard of expires without a label."""
    params = {} if min_entry is None else {"min_entry": min_entry}
    if track:
        params["track"] = "true"
    path = model_path(model, "predictions")
    return Call("POST", path, read, inputs_payload(rows), params=params)


def _query(x: Row, min_entry: str | None) -> dict[str, str] | None:
    """None for what does not fit."""
    [row] = to_rows([x])
    if isinstance(row, dict):
        return None
    text = ",".join("" if math.isnan(value) else repr(value) for value in row.tolist())
    if len(text) > LONGEST_QUERY:
        return None
    return {"x": text} if min_entry is None else {"x": text, "min_entry": min_entry}


def _of_task(response: httpx.Response, other: str, advice: str) -> Any:
    """The answer. Raises: WrongTask where it has the field of the other task."""
    answer = read_json(response)
    if isinstance(answer, dict) and other in answer:
        raise WrongTask(f"the model is {advice}")
    return answer


def _first(batch: Predictions) -> Prediction:
    return Prediction(batch.labels[0], batch.probabilities[0], batch.classes, batch.model_version, batch.applied_entry)
