"""Models: creating and deleting them, what they are, how well they do."""

from __future__ import annotations

from typing import Any

import httpx

from amstream_client.call import Call, model_path, read, read_json, read_list, read_nothing
from amstream_client.errors import UnexpectedAnswer
from amstream_client.payload import json_payload
from amstream_client.wire import Metrics, Model, Promoted, Spec, parse_metrics


def create_model(name: str, spec: Spec) -> Call[Model]:
    """Also answers the model that exists with an equal spec; raises Conflict when its spec differs."""
    return Call("PUT", model_path(name), read(Model), json_payload(spec))


def model(name: str) -> Call[Model]:
    return Call("GET", model_path(name), read(Model))


def models() -> Call[list[Model]]:
    """Those that the key may see."""
    return Call("GET", "/v1/models", read_list(Model, "models"), paged=True)


def delete_model(name: str) -> Call[None]:
    """Deletes the model, its snapshots and its stream, for good."""
    return Call("DELETE", model_path(name), read_nothing)


def hyperparameters(model: str) -> Call[dict[str, Any]]:
    """Those in force; the model's spec has those that it began with."""
    return Call("GET", model_path(model, "hyperparameters"), _read_hyperparameters)


def set_hyperparameters(model: str, changes: dict[str, Any]) -> Call[dict[str, Any]]:
    """Changes some of them, for the samples that are sent from now on, and returns all."""
    path = model_path(model, "hyperparameters")
    return Call("PATCH", path, _read_hyperparameters, json_payload(changes))


def metrics(model: str) -> Call[Metrics]:
    """What the predictions that were made before learning each sample were worth."""
    return Call("GET", model_path(model, "metrics"), lambda response: parse_metrics(read_json(response)))


def promote(shadow: str) -> Call[Promoted]:
    """Makes the model that it is a shadow of what the shadow is: state, hyper-parameters and metrics.

    The model as it was can be gone back to, with `restore(at=…)` an earlier entry.
    """
    return Call("POST", model_path(shadow, "promote"), read(Promoted))


def _read_hyperparameters(response: httpx.Response) -> dict[str, Any]:
    answer = read_json(response)
    if not isinstance(answer, dict):
        raise UnexpectedAnswer(f"{response.url} answered something that is no hyper-parameters")
    return answer
