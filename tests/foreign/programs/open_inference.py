"""What a user of the client that is generated from the protocol's own OpenAPI description does with a model.

Arguments: URL, key, model, and its inputs as JSON. Prints as JSON what came back.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx
from open_inference.openapi import InferenceRequest, InferenceResponse, RequestInput, RequestOutput
from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError


def request(data: list[Any], shape: list[int], datatype: str = "FP32", **fields: Any) -> InferenceRequest:
    return InferenceRequest(inputs=[RequestInput(name="x", shape=shape, datatype=datatype, data=data)], **fields)


def seen(answer: InferenceResponse) -> dict[str, Any]:
    return {output.name: output.data.__root__ for output in answer.outputs}


def error(call: Callable[..., Any], *arguments: Any, **named: Any) -> list[Any]:
    try:
        call(*arguments, **named)
    except ApiError as error:
        return [type(error).__name__, error.status_code, error.body["error"]]
    return []


async def asynchronously(url: str, headers: dict[str, str], model: str, asked: InferenceRequest) -> InferenceResponse:
    async with httpx.AsyncClient(headers=headers) as http:
        return await AsyncOpenInferenceClient(base_url=url, httpx_client=http).model_infer(model, request=asked)


def main(url: str, key: str, model: str, rows: list[list[float]]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    client = OpenInferenceClient(base_url=url, httpx_client=httpx.Client(headers=headers))
    stranger = OpenInferenceClient(base_url=url)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness(model)
    described = client.read_model_metadata(model)
    version = described.versions[-1]
    client.check_model_version_readiness(model, version)
    shape = [len(rows), len(rows[0])]
    asked, flat = request(rows, shape), [number for row in rows for number in row]
    outputs = [RequestOutput(name="probabilities"), RequestOutput(name="label")]
    return {
        "server": client.read_server_metadata().dict(),
        "model": described.dict(),
        "version": client.read_model_version_metadata(model, version).dict(),
        "infer": {
            "nested": seen(client.model_infer(model, request=asked)),
            "flat": seen(client.model_infer(model, request=request(flat, shape))),
            "integers": seen(client.model_infer(model, request=request(flat, shape, "INT64"))),
            "outputs": seen(client.model_infer(model, request=request(rows, shape, outputs=outputs))),
            "version": seen(client.model_version_infer(model, version, request=asked)),
            "asynchronous": seen(asyncio.run(asynchronously(url, headers, model, asked))),
        },
        "id": client.model_infer(model, request=request(rows, shape, id="mine")).id,
        "errors": {
            "unknown": error(client.check_model_readiness, "unknown"),
            "shape": error(client.model_infer, model, request=request(flat[:2], [1, 2])),
            "key": error(stranger.model_infer, model, request=asked),
            "version": error(client.check_model_version_readiness, model, "999999"),
        },
    }


if __name__ == "__main__":
    url, key, model, rows = sys.argv[1:]
    sys.stdout.write(json.dumps(main(url, key, model, json.loads(rows))))
