"""Samples in, predictions out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import httpx

from amstream_client.call import Call, is_visible_ascii, model_path, read, read_json
from amstream_client.errors import UnexpectedAnswer
from amstream_client.payload import Inputs, Labels, SupportsArray, Weights, inputs_payload, samples_payload, to_rows
from amstream_client.wire import Accepted, Prediction, Predictions, parse

LONGEST_QUERY = 2000  # what every server and proxy takes


def learn(
    model: str, x: Inputs, y: Labels, weight: Weights | None = None, *, idempotency_key: str | None = None
) -> Call[Accepted]:
    """Appends samples to the model's stream; they are learned soon after, in this order.

    Args:
        x: (n, inputs); NaN or None = missing value
        y: n labels
        weight: n numbers, 1 each by default
        idempotency_key: 1 to 255 visible ASCII characters; samples sent again under the same key (kept for 1 h)
            are not learned again. Random by default, and the same for all retries of this call.
    """
    headers = {}
    if idempotency_key is not None:
        if not is_visible_ascii(idempotency_key) or len(idempotency_key) > 255:
            raise ValueError(f"idempotency_key must be 1 to 255 visible ASCII characters, not {idempotency_key!r}")
        headers["Idempotency-Key"] = idempotency_key
    return Call("POST", model_path(model, "samples"), read(Accepted), samples_payload(x, y, weight), headers)


def predict(model: str, x: Inputs, *, min_entry: str | None = None) -> Call[Predictions]:
    """Predicts n samples, x of shape (n, inputs).

    Args:
        min_entry: predict only once this entry (of `Accepted.entries`) is learned; NotAppliedYet if that takes long
    """
    rows = to_rows(x)

    def read_all(response: httpx.Response) -> Predictions:
        answer = parse(Predictions, read_json(response))
        if not len(answer.labels) == len(answer.probabilities) == len(rows):
            raise UnexpectedAnswer(f"{len(answer.labels)} predictions for {len(rows)} samples")
        return answer

    params = {} if min_entry is None else {"min_entry": min_entry}
    return Call("POST", model_path(model, "predictions"), read_all, inputs_payload(rows), params=params)


def predict_one(
    model: str, x: SupportsArray | Sequence[float | None], *, min_entry: str | None = None
) -> Call[Prediction]:
    """Predicts one sample, x of shape (inputs,); `min_entry` as in `predict`."""
    [row] = to_rows([x])
    query = ",".join("" if math.isnan(value) else repr(value) for value in row.tolist())
    if len(query) > LONGEST_QUERY:
        batch = predict(model, [x], min_entry=min_entry)
        return Call(
            batch.method, batch.path, lambda a: _first(batch.read(a)), batch.payload, batch.headers, batch.params
        )
    params = {"x": query} if min_entry is None else {"x": query, "min_entry": min_entry}
    return Call("GET", model_path(model, "predictions"), read(Prediction), params=params)


def _first(batch: Predictions) -> Prediction:
    return Prediction(batch.labels[0], batch.probabilities[0], batch.classes, batch.model_version, batch.applied_entry)
