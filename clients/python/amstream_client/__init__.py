"""The Python client of amstream, a service that learns from a stream of labelled samples."""

from amstream_client.client import Client
from amstream_client.errors import (
    AmstreamError,
    ApiError,
    Conflict,
    ConnectionFailed,
    FieldError,
    Forbidden,
    Invalid,
    KeyNotFound,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
)
from amstream_client.wire import Accepted, Label, Model, Prediction, Predictions, Restored, Snapshot, Spec

__all__ = [
    "Accepted",
    "AmstreamError",
    "ApiError",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "FieldError",
    "Forbidden",
    "Invalid",
    "KeyNotFound",
    "Label",
    "Model",
    "NotFound",
    "PreconditionFailed",
    "Prediction",
    "Predictions",
    "Restored",
    "Snapshot",
    "Spec",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
]
