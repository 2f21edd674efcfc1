"""What a user of tritonclient does with a model, with the client's defaults. Prints as JSON what came back.

Arguments: HOST:PORT, key, model, and its inputs as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException


def main(address: str, key: str, model: str, rows: list[list[float]]) -> dict[str, Any]:
    def headers() -> dict[str, str]:
        """New ones for each call: the client adds to what it is given."""
        return {"Authorization": f"Bearer {key}"}

    x = np.array(rows, np.float32)

    def tensor(values: np.ndarray[Any, Any] = x, datatype: str = "FP32", **options: Any) -> InferInput:
        return InferInput("x", list(values.shape), datatype).set_data_from_numpy(values, **options)

    with InferenceServerClient(address) as client:

        def infer(*inputs: InferInput, **options: Any) -> InferResult:
            return client.infer(model, list(inputs) or [tensor()], headers=headers(), **options)

        def error(name: str, *inputs: InferInput, **given: Any) -> list[str]:
            try:
                client.infer(name, list(inputs) or [tensor()], **{"headers": headers(), **given})
            except InferenceServerException as error:
                return [error.status(), error.message()]
            return []

        described = client.get_model_metadata(model, headers=headers())
        label, probabilities = (one["name"] for one in described["outputs"])

        def seen(result: InferResult) -> dict[str, Any]:
            labels = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy(label)]
            return {"labels": labels, "probabilities": result.as_numpy(probabilities).tolist()}

        version = described["versions"][-1]
        in_json = [
            InferRequestedOutput(label, binary_data=False),
            InferRequestedOutput(probabilities, binary_data=False),
        ]
        top = infer(outputs=[InferRequestedOutput(probabilities, class_count=1)]).as_numpy(probabilities)
        many = tensor(np.repeat(x, 100, axis=0))
        small = infer(many, outputs=[InferRequestedOutput(label)], response_compression_algorithm="gzip")
        return {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model, headers=headers()),
            "version_ready": client.is_model_ready(model, version, headers=headers()),
            "unknown_ready": client.is_model_ready("unknown", headers=headers()),
            "server": client.get_server_metadata(),
            "model": described,
            "version": client.get_model_metadata(model, version, headers=headers()),
            "infer": {
                "defaults": seen(infer()),
                "json both ways": seen(infer(tensor(binary_data=False), outputs=in_json)),
                "double precision": seen(infer(tensor(x.astype(np.float64), "FP64"))),
                "version": seen(infer(model_version=version)),
                "gzip": seen(infer(request_compression_algorithm="gzip", response_compression_algorithm="gzip")),
                "deflate": seen(
                    infer(request_compression_algorithm="deflate", response_compression_algorithm="deflate")
                ),
                "asynchronous": seen(client.async_infer(model, [tensor()], headers=headers()).get_result()),
            },
            "repeated": [text.decode() for text in small.as_numpy(label)],
            "top": [text.decode() for text in top.ravel()],
            "id": infer(request_id="mine").get_response()["id"],
            "errors": {
                "unknown": error("unknown"),
                "shape": error(model, tensor(x[:, :2])),
                "key": error(model, headers={}),
                "version": error(model, model_version="999999"),
            },
        }


if __name__ == "__main__":
    address, key, model, rows = sys.argv[1:]
    sys.stdout.write(json.dumps(main(address, key, model, json.loads(rows))))
