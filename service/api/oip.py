"""`/v2/models/{m}/infer`: predictions for clients of the Open Inference Protocol."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel

from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import Content, request_body
from service.api.media import JSON
from service.api.oip_metadata import VersionName, check_version
from service.api.oip_requests import HEADER_LENGTH, InferenceRequest, read_inference
from service.api.oip_responses import inference_response
from service.api.predictions import MinEntry, entry_of
from service.keyring import Caller
from service.services import Services

router = APIRouter(prefix="/v2/models/{name}", tags=["open inference protocol"])


_X = {"name": "x", "datatype": "FP32", "shape": [2, 3]}


class OutputTensor(BaseModel):
    """data: flat, row-major; or parameters: `binary_data_size`, for data that follows the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, int] | None = None
    data: list[str] | list[float] | None = None


class InferenceResponse(BaseModel):
    """model_version: counts the entries of the log that were applied; parameters: `applied_entry`, the last of them."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str]
    outputs: list[OutputTensor]


BINARY = "application/octet-stream"
BODY = request_body(
    {
        JSON: Content(
            InferenceRequest,
            {
                "two rows": {"inputs": [_X | {"data": [[0, 1.5, None], [1, 0, 2]]}]},
                "binary answer": {
                    "id": "mine",
                    "inputs": [_X | {"data": [0, 1.5, 3, 1, 0, 2]}],
                    "outputs": [{"name": "label", "parameters": {"binary_data": True}}],
                },
            },
        ),
        BINARY: Content({"type": "string", "format": "binary", "description": "the JSON, and binary data behind it"}),
    }
)
ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "model": InferenceResponse,
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
        "description": "JSON, or with binary data behind it where that is asked for",
    }
}
HeaderLength = Annotated[
    str | None,
    Header(
        alias=HEADER_LENGTH, description="how many bytes of the body are JSON; all of them, unless binary data follows"
    ),
]


@router.post("/infer", responses=ANSWER, response_class=Response, openapi_extra=BODY)
async def infer(
    name: ModelName,
    request: Request,
    services: Wired,
    caller: Authenticated,
    header_length: HeaderLength = None,
    min_entry: MinEntry = None,
) -> Response:
    """Predicts for the rows of the input tensor `x`."""
    return await _infer(name, request, services, caller, header_length, min_entry)


@router.post("/versions/{version}/infer", responses=ANSWER, response_class=Response, openapi_extra=BODY)
async def version_infer(
    name: ModelName,
    version: VersionName,
    request: Request,
    services: Wired,
    caller: Authenticated,
    header_length: HeaderLength = None,
    min_entry: MinEntry = None,
) -> Response:
    """The same; 404 when another version is served by now."""
    return await _infer(name, request, services, caller, header_length, min_entry, version)


async def _infer(
    name: str,
    request: Request,
    services: Services,
    caller: Caller,
    header_length: str | None,
    min_entry: str | None,
    wanted_version: str | None = None,
) -> Response:
    caller.require("predict", name)
    model = await services.catalog.get(name)
    body, most = await request.body(), services.settings.max_post_samples
    inference = await run_sync(partial(read_inference, body, header_length, model.spec, most=most))
    entry = entry_of(min_entry)
    predicted = await services.prediction.predict(model, lambda: inference.inputs, min_entry=entry)
    check_version(name, predicted.version, wanted_version)
    accept_encoding = request.headers.get("accept-encoding", "")
    return await run_sync(inference_response, name, inference, predicted, accept_encoding)
