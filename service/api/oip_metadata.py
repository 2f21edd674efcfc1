"""`/v2` but for inference: health and metadata of the Open Inference Protocol."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from service import __version__, oip
from service.api import health
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import InferenceError, problems
from service.keyring import Caller
from service.oip import TensorKind
from service.prediction import check_knows
from service.problems import UnknownVersion
from service.services import Services
from service.version import Version

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

EXTENSIONS = ["binary_tensor_data", "classification"]

VersionName = Annotated[str, Path(description="the `model_version` that is served: there is no other")]


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(Ready):
    name: str


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """shape: -1 where any size goes; parameters: `features` or `classes`, the names of the columns."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, list[str]]


class ModelMetadata(BaseModel):
    """versions: the one that is served; it counts the entries of the log that were applied."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


@router.get("/health/live")
async def server_live() -> Live:
    return Live(live=True)


@router.get("/health/ready", responses=problems(503, kind=InferenceError))
async def server_ready(services: Wired) -> Ready:
    """As `/readyz`."""
    await health.ready(services)
    return Ready(ready=True)


@router.get("")
async def server_metadata() -> ServerMetadata:
    return ServerMetadata(name="amstream", version=__version__, extensions=EXTENSIONS)


@router.get("/models/{name}")
async def model_metadata(name: ModelName, services: Wired, caller: Authenticated) -> ModelMetadata:
    """Names, datatypes and shapes of its tensors."""
    return await _metadata(name, services, caller)


@router.get("/models/{name}/versions/{version}")
async def version_metadata(
    name: ModelName, version: VersionName, services: Wired, caller: Authenticated
) -> ModelMetadata:
    return await _metadata(name, services, caller, version)


@router.get("/models/{name}/ready")
async def model_ready(name: ModelName, services: Wired, caller: Authenticated) -> ModelReady:
    """503 while there is nothing that it could predict: no class is known, or no value."""
    return await _ready(name, services, caller)


@router.get("/models/{name}/versions/{version}/ready")
async def version_ready(name: ModelName, version: VersionName, services: Wired, caller: Authenticated) -> ModelReady:
    return await _ready(name, services, caller, version)


async def _metadata(name: str, services: Services, caller: Caller, wanted: str | None = None) -> ModelMetadata:
    caller.require_any(name)
    model = await services.catalog.get(name)
    version = await services.catalog.version(model)
    check_version(name, version, wanted)
    return ModelMetadata(
        name=name,
        versions=[str(version.model_version)],
        platform="amstream",
        inputs=[_described(kind) for kind in oip.input_kinds(model.spec)],
        outputs=[_described(kind) for kind in oip.output_kinds(model.spec, version)],
    )


async def _ready(name: str, services: Services, caller: Caller, wanted: str | None = None) -> ModelReady:
    caller.require_any(name)
    model = await services.catalog.get(name)
    version = await services.catalog.version(model)
    check_version(name, version, wanted)
    check_knows(model, version)
    return ModelReady(name=name, ready=True)


def check_version(name: str, version: Version, wanted: str | None) -> None:
    """Raises: UnknownVersion."""
    served = str(version.model_version)
    if wanted not in (None, served):
        raise UnknownVersion(name, str(wanted), served)


def _described(kind: TensorKind) -> TensorMetadata:
    return TensorMetadata(**vars(kind))
