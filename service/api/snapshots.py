"""`/v1/models/{m}/snapshots` and `/restore`."""

from __future__ import annotations

from datetime import UTC, datetime

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from service.api.bodies import read_json
from service.api.dependencies import Authenticated, ModelName, Wired
from service.snapshots import Snapshot

router = APIRouter(prefix="/v1/models/{name}", tags=["snapshots"])


class SnapshotBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str


class RestoreBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    snapshot: str


class SnapshotResource(BaseModel):
    """entry: the command that took it; digest: SHA-256 over header and tensors; size_bytes: of the tensors."""

    name: str
    entry: str
    model_version: int
    samples_learned: int
    created_at: datetime
    size_bytes: int
    digest: str


class SnapshotList(BaseModel):
    snapshots: list[SnapshotResource]


class Restored(BaseModel):
    """entry: the command with which the model took over the snapshot's state."""

    snapshot: str
    entry: str
    model_version: int


@router.post("/snapshots", status_code=201)
async def create(name: ModelName, request: Request, services: Wired, caller: Authenticated) -> SnapshotResource:
    """Names and pins the state as of the samples accepted so far; answers once it is stored."""
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    body = read_json(SnapshotBody, await request.body())
    return _resource(await services.snapshots.create(model, body.name, by=caller.key_id))


@router.get("/snapshots")
async def list_snapshots(name: ModelName, services: Wired, caller: Authenticated) -> SnapshotList:
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    return SnapshotList(snapshots=[_resource(s) for s in await run_sync(services.snapshots.list, model)])


@router.get("/snapshots/{snapshot}")
async def get(name: ModelName, snapshot: str, services: Wired, caller: Authenticated) -> SnapshotResource:
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    return _resource(await run_sync(services.snapshots.get, model, snapshot))


@router.post("/restore")
async def restore(name: ModelName, request: Request, services: Wired, caller: Authenticated) -> Restored:
    """Takes over a snapshot's state, at this point of the stream; `model_version` goes on counting."""
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    body = read_json(RestoreBody, await request.body())
    entry = await services.snapshots.restore(model, body.snapshot, by=caller.key_id)
    version = await services.catalog.version(model)
    return Restored(snapshot=body.snapshot, entry=str(entry), model_version=version.model_version)


def _resource(snapshot: Snapshot) -> SnapshotResource:
    fields = {name: value for name, value in vars(snapshot).items() if name != "state_id"}
    return SnapshotResource(**fields | {"created_at": datetime.fromtimestamp(snapshot.created_at, UTC)})
