"""`/v2/models/{m}/infer`: predictions for clients of the Open Inference Protocol."""

from __future__ import annotations

from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import Content, request_body
from service.api.media import JSON
from service.api.oip_metadata import VersionName, check_version, errors
from service.api.oip_requests import HEADER_LENGTH, InferenceRequest, read_inference
from service.api.oip_responses import inference_response
from service.api.predictions import MinEntry, entry_of
from service.keyring import Caller
from service.services import Services

router = APIRouter(prefix="/v2/models/{name}", tags=["open inference protocol"])


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


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": InferenceResponse},
    **errors(400, 401, 403, 404, 408, 413, 415, 429, 503),
}

_BODY = request_body(
    {
        JSON: Content(
            InferenceRequest,
            {"one row": {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0, 1.5, 2]}]}},
        ),
        "application/octet-stream": Content(
            {"type": "string", "format": "binary", "description": f"JSON of {HEADER_LENGTH} bytes, then binary data"}
        ),
    }
)


@router.post("/infer", responses=_ANSWERS, response_class=Response, openapi_extra=_BODY)
async def infer(
    name: ModelName, request: Request, services: Wired, caller: Authenticated, min_entry: MinEntry = None
) -> Response:
    """Predicts for the rows of the input tensor `x`. `Inference-Header-Content-Length` says how much of the body is JSON."""
    return await _infer(name, request, services, caller, min_entry)


@router.post("/versions/{version}/infer", responses=_ANSWERS, response_class=Response, openapi_extra=_BODY)
async def version_infer(
    name: ModelName,
    version: VersionName,
    request: Request,
    services: Wired,
    caller: Authenticated,
    min_entry: MinEntry = None,
) -> Response:
    """The same; 404 when another version is served by now."""
    return await _infer(name, request, services, caller, min_entry, version)


async def _infer(
    name: str,
    request: Request,
    services: Services,
    caller: Caller,
    min_entry: str | None,
    wanted_version: str | None = None,
) -> Response:
    caller.require("predict", name)
    model = await services.catalog.get(name)
    body, most = await request.body(), services.settings.max_post_samples
    inference = await run_sync(partial(read_inference, body, request.headers.get(HEADER_LENGTH), model.spec, most=most))
    entry = entry_of(min_entry)
    predicted = await services.prediction.predict(model, lambda: inference.inputs, min_entry=entry)
    check_version(name, predicted.version, wanted_version)
    accept_encoding = request.headers.get("accept-encoding", "")
    return await run_sync(inference_response, name, inference, predicted, accept_encoding)
