"""Answers of the Open Inference Protocol: JSON, with binary data behind it where a client asks for it. For worker threads."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fastapi import Response

from service.api.oip_requests import HEADER_LENGTH, Inference, Wanted
from service.oip import PROBABILITIES, Tensor, as_text, outputs
from service.prediction import Predicted
from service.problems import FieldError, Invalid

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, compresslevel=1),
    "deflate": lambda content: zlib.compress(content, 1),
}
LEAST_COMPRESSED = 1024
"""Bytes: what is smaller travels as it is."""


def inference_response(model: str, inference: Inference, predicted: Predicted, accept_encoding: str) -> Response:
    """Raises: Invalid for an output that there is not."""
    answer: dict[str, Any] = {"model_name": model, "model_version": str(predicted.version.model_version)}
    if inference.id is not None:
        answer["id"] = inference.id
    answer["parameters"] = {"applied_entry": predicted.version.applied_entry.shown or ""}
    answer["outputs"], data = [], []
    for tensor, binary in _chosen(inference, predicted):
        described: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if binary:
            data.append(_binary(tensor))
            described["parameters"] = {"binary_data_size": len(data[-1])}
        else:
            described["data"] = tensor.values.ravel().tolist()
        answer["outputs"].append(described)
    head = json.dumps(answer, separators=(",", ":")).encode()
    headers = {HEADER_LENGTH: str(len(head))} if data else {}
    content, encoding = _compressed(b"".join([head, *data]), accept_encoding)
    if encoding:
        headers["Content-Encoding"] = encoding
    media_type = "application/octet-stream" if data else "application/json"
    return Response(content, headers=headers, media_type=media_type)


def _chosen(inference: Inference, predicted: Predicted) -> list[tuple[Tensor, bool]]:
    """Tensors, each with whether it comes as binary data."""
    everything = outputs(predicted)
    if inference.outputs is None:
        return [(tensor, inference.binary) for tensor in everything]
    by_name = {tensor.name: tensor for tensor in everything}
    chosen = []
    for index, wanted in enumerate(inference.outputs):
        if wanted.name not in by_name:
            rule = f"must be one of {', '.join(tensor.name for tensor in everything)}, each at most once"
            raise Invalid(FieldError(f"outputs.{index}.name", wanted.name, rule))
        tensor = by_name.pop(wanted.name)
        if wanted.top:
            tensor = _most_probable(predicted, wanted, f"outputs.{index}.parameters.classification")
        chosen.append((tensor, wanted.binary))
    return chosen


def _most_probable(predicted: Predicted, wanted: Wanted, field: str) -> Tensor:
    """The extension `classification`: of each row the largest values, each as `value:column:label`."""
    if wanted.name != PROBABILITIES:
        raise Invalid(FieldError(field, wanted.top, f"is for the output {PROBABILITIES}"))
    probabilities, labels = predicted.probabilities, predicted.version.labels
    columns = np.argsort(-probabilities, axis=1, kind="stable")[:, : wanted.top]
    texts = [
        [f"{row[column]:f}:{column}:{as_text(labels[column])}" for column in chosen]
        for row, chosen in zip(probabilities, columns, strict=True)
    ]
    return Tensor(wanted.name, "BYTES", np.array(texts, dtype=np.object_))


def _binary(tensor: Tensor) -> bytes:
    """Row-major, little-endian; of texts each its length in 4 bytes, then the text."""
    if tensor.datatype != "BYTES":
        return tensor.values.astype("<f8").tobytes()
    texts = [text.encode() for text in tensor.values.ravel()]
    return b"".join(part for text in texts for part in (len(text).to_bytes(4, "little"), text))


def _compressed(content: bytes, accept_encoding: str) -> tuple[bytes, str | None]:
    accepted = _accepted(accept_encoding)
    name = next((name for name in COMPRESSORS if name in accepted), None)
    if name is None or len(content) < LEAST_COMPRESSED:
        return content, None
    return COMPRESSORS[name](content), name


def _accepted(accept_encoding: str) -> Sequence[str]:
    """Names of encodings, without those that have a weight of 0."""
    parts = [part.replace(" ", "").lower().split(";q=") for part in accept_encoding.split(",")]
    return [name for name, *weight in parts if not weight or weight[0].strip("0.")]
