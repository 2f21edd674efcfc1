"""`/v1/models/{m}/snapshots` and `/restore`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Annotated, Self

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from service import exchange
from service.api.bodies import read_json
from service.api.body_limit import limit_body
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import Content, json_body, problems, request_body
from service.api.entry_ids import entry_id
from service.api.idempotency import AtMostOnce
from service.api.pages import USUAL, Cursor, Limit, Page, cut, place_of
from service.entry_id import EntryId
from service.problems import FieldError, Invalid, UnsupportedMedia
from service.snapshots import Snapshot

router = APIRouter(prefix="/v1/models/{name}", tags=["snapshots"])

FILE_TYPES = (exchange.MEDIA_TYPE, "application/octet-stream")

_TAG = re.compile(r'\s*"([\x21\x23-\x7e]*)"\s*', re.ASCII)


class SnapshotBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str


class RestoreBody(BaseModel):
    """A snapshot by name; or a point of the log, `at` an entry or an RFC 3339 time, and entries to `skip`, both or one.

    With `skip` alone everything else stays learned, also what comes meanwhile.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    snapshot: str | None = None
    at: str | None = None
    skip: Annotated[list[str], Field(max_length=10_000)] = []

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.snapshot is None) == (self.at is None and not self.skip):
            raise ValueError("must name a snapshot, or else a point (at) or entries to skip")
        return self


class SnapshotResource(BaseModel):
    """entry: the command that took it; digest: SHA-256 over header and tensors; size_bytes: of the tensors."""

    name: str
    entry: str
    model_version: int
    samples_learned: int
    created_at: datetime
    size_bytes: int
    digest: str


class SnapshotList(Page):
    snapshots: list[SnapshotResource]


class Restored(BaseModel):
    """entry: the command with which the model took over the snapshot's state.

    A point that is gone back to is kept as a snapshot, too.
    """

    snapshot: str
    entry: str
    model_version: int


@router.post(
    "/snapshots",
    status_code=201,
    responses=problems(409),
    openapi_extra=json_body(SnapshotBody, monday={"name": "monday"}),
)
async def create(
    name: ModelName, request: Request, services: Wired, caller: Authenticated, once: AtMostOnce
) -> SnapshotResource:
    """Names and pins the state as of the samples accepted so far; answers once it is stored.

    A request that comes again with its `Idempotency-Key` is answered as the first one was.
    """
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    body = read_json(SnapshotBody, await request.body())
    return _resource(await services.snapshots.create(model, body.name, by=caller, once=once))


@router.get("/snapshots")
async def list_snapshots(
    name: ModelName, services: Wired, caller: Authenticated, limit: Limit = USUAL, cursor: Cursor = None
) -> SnapshotList:
    """Oldest first."""
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    after = place_of(cursor, int) or 0
    found = await run_sync(partial(services.snapshots.list, model, after=after, most=limit + 1))
    snapshots, next_cursor = cut(found, limit, attrgetter("place"))
    return SnapshotList(snapshots=[_resource(snapshot) for snapshot in snapshots], next_cursor=next_cursor)


@router.get("/snapshots/{snapshot}")
async def get(
    name: ModelName, snapshot: str, response: Response, services: Wired, caller: Authenticated
) -> SnapshotResource:
    """With the digest as `ETag`, for the `If-Match` of a restore."""
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    found = await run_sync(services.snapshots.get, model, snapshot)
    response.headers["ETag"] = _tag(found)
    return _resource(found)


@router.delete("/snapshots/{snapshot}", status_code=204, responses=problems(409))
async def delete(name: ModelName, snapshot: str, services: Wired, caller: Authenticated) -> None:
    """409 while the model's log holds an entry that restored it: a replay would need it."""
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    await run_sync(partial(services.snapshots.delete, model, snapshot, by=caller))


@router.get(
    "/snapshots/{snapshot}/content",
    response_class=Response,
    responses=problems(409)
    | {200: {"content": {exchange.MEDIA_TYPE: {}}, "description": "safetensors; the metadata is a manifest"}},
)
async def export(name: ModelName, snapshot: str, services: Wired, caller: Authenticated) -> Response:
    """The snapshot as a file, for the import into this or another service."""
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    found, content = await run_sync(partial(services.snapshots.export, model, snapshot, by=caller))
    headers = {
        "ETag": _tag(found),
        "Content-Disposition": f'attachment; filename="{model.name}-{found.name}.safetensors"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=exchange.MEDIA_TYPE, headers=headers)


@router.post(
    "/snapshots/import",
    status_code=201,
    responses=problems(409),
    openapi_extra=request_body(dict.fromkeys(FILE_TYPES, Content({"type": "string", "format": "binary"}))),
)
async def import_snapshot(
    name: ModelName,
    snapshot: Annotated[str, Query(alias="name", description="under what name to keep it")],
    request: Request,
    services: Wired,
    caller: Authenticated,
) -> SnapshotResource:
    """Keeps an exported snapshot of a model of equal learner, hyper-parameters, classes and shapes, once all of it is checked.

    The model changes only when it is restored. The same file under the same name again is answered as the first time.
    """
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    content_type = request.headers.get("content-type")
    if (content_type or "").split(";")[0].strip().lower() not in FILE_TYPES:
        error = FieldError("Content-Type", content_type, f"must be {' or '.join(FILE_TYPES)}")
        raise UnsupportedMedia(f"the body is {content_type!r}, this takes {' and '.join(FILE_TYPES)}", errors=[error])
    limit_body(request.scope, exchange.most_bytes(model.spec))
    content = await request.body()
    return _resource(await run_sync(partial(services.snapshots.import_, model, snapshot, content, by=caller)))


POINTS = {
    "a snapshot": {"snapshot": "monday"},
    "a time": {"at": "2026-11-27T09:00:00Z"},
    "without poisoned entries": {"skip": ["1796001443787-12"]},
}


@router.post("/restore", responses=problems(409, 412), openapi_extra=json_body(RestoreBody, **POINTS))
async def restore(
    name: ModelName,
    request: Request,
    services: Wired,
    caller: Authenticated,
    once: AtMostOnce,
    if_match: Annotated[str | None, Header(description="the snapshot's ETag, or several with commas, or *")] = None,
) -> Restored:
    """Takes over a snapshot's state, at this point of the stream; `model_version` goes on counting.

    With `If-Match`, 412 when the snapshot of that name has another digest. A request that comes again with its
    `Idempotency-Key` is not carried out a second time.
    """
    caller.require("snapshot", name)
    model = await services.catalog.get(name)
    body = read_json(RestoreBody, await request.body())
    if body.snapshot is not None:
        only = None if if_match is None else _digests(if_match)
        name_of_state = body.snapshot
        entry = await services.snapshots.restore(model, name_of_state, by=caller, only_digests=only, once=once)
    else:
        if if_match is not None:
            raise Invalid(FieldError("If-Match", if_match, "is for snapshots"))
        skip = [entry_id("skip", one) for one in body.skip]
        rewound = await services.rewind.restore(model, _point(body.at), skip, by=caller, once=once)
        name_of_state, entry = rewound.snapshot, rewound.entry
    version = await services.catalog.version(model)
    return Restored(snapshot=name_of_state, entry=str(entry), model_version=version.model_version)


def _point(at: str | None) -> EntryId | datetime | None:
    if at is None:
        return None
    try:
        time = datetime.fromisoformat(at)
    except ValueError:
        return entry_id("at", at)
    if time.tzinfo is None:
        raise Invalid(FieldError("at", at, "must say its offset from UTC, as in 2026-11-27T09:00:00Z"))
    return time


def _resource(snapshot: Snapshot) -> SnapshotResource:
    fields = {name: value for name, value in vars(snapshot).items() if name not in ("place", "state_id")}
    return SnapshotResource(**fields | {"created_at": datetime.fromtimestamp(snapshot.created_at, UTC)})


def _tag(snapshot: Snapshot) -> str:
    return f'"{snapshot.digest}"'


def _digests(if_match: str) -> list[str] | None:
    """The digests that an If-Match names, None for `*`. Raises: Invalid."""
    if if_match.strip() == "*":
        return None
    tags = [_TAG.fullmatch(part) for part in if_match.split(",")]
    if not all(tags):
        raise Invalid(FieldError("If-Match", if_match, 'must be *, or strong ETags such as "…", with commas'))
    return [tag[1] for tag in tags if tag]
