"""Tracked predictions, and their labels that come later."""

from __future__ import annotations

from collections.abc import Mapping

from amstream_client.call import Call, model_path, read, read_json, read_list
from amstream_client.payload import json_payload, to_targets
from amstream_client.wire import Labelled, Target, Tracked, parse_tracked


def tracked(model: str, prediction: str) -> Call[Tracked]:
    """A prediction as it was made. Raises UnknownPrediction; Gone once its time to be labelled has passed."""
    return Call("GET", model_path(model, "predictions", prediction), lambda answer: parse_tracked(read_json(answer)))


def label(model: str, prediction: str, label: Target, *, weight: float = 1.0, correct: bool = False) -> Call[Labelled]:
    """The label of a tracked prediction (its ID is of `Predictions.ids`), which is learned with the inputs as they were.

    Labels may come in any order. One that comes again is learned once; another one raises Conflict, or with `correct`
    replaces it.
    """
    [target] = to_targets([label])
    payload = json_payload({"label": target, "weight": weight, "correct": correct})
    return Call("PUT", model_path(model, "predictions", prediction, "label"), read(Labelled), payload)


def label_many(
    model: str, labels: Mapping[str, Target], *, weight: float = 1.0, correct: bool = False
) -> Call[list[Labelled]]:
    """As `label`, by the IDs of predictions, all or none of them."""
    targets = dict(zip(labels, to_targets(list(labels.values())), strict=True))
    payload = json_payload({"labels": targets, "weight": weight, "correct": correct})
    return Call("POST", model_path(model, "labels"), read_list(Labelled, "labelled"), payload)
