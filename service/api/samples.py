"""`POST /v1/models/{m}/samples`: labelled samples into the log."""

from __future__ import annotations

from functools import partial

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.bodies import read_samples
from service.api.body_limit import limit_body
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.documentation import Content, problems, request_body
from service.api.idempotency import KeyHeader, key_of
from service.api.json_samples import AnySampleList, samples_of_lines
from service.api.media import JSON, MSGPACK, NDJSON, NPZ, content_kind
from service.api.ndjson import parts
from service.api.sample_checks import Most
from service.catalog import Model
from service.idempotency import IdempotencyKey
from service.ingest import Ingest
from service.problems import FieldError, Invalid, Problem

router = APIRouter(prefix="/v1/models/{name}", tags=["samples"])


class Accepted(BaseModel):
    """entries: opaque IDs of the entries that hold the samples, in the stream's order.

    repeated: whether all of them had been accepted before, under the same `Idempotency-Key`.
    """

    entries: list[str]
    accepted: int
    repeated: bool


EXAMPLES = {
    "classification": {"samples": [{"x": [0, 1.5, None], "y": "yes"}, {"x": [1, 0, 2], "y": "no", "weight": 2}]},
    "by name, with a time": {"samples": [{"x": {"age": 3}, "y": "yes", "time": "2026-11-30T09:00:00Z"}]},
    "regression": {"samples": [{"x": [0, 1.5, None], "y": 21.5}]},
}
LINES = '{"x": [0, 1.5, null], "y": "yes"}\n{"x": [1, 0, 2], "y": "no"}\n'
BODY = request_body(
    {
        JSON: Content(AnySampleList, EXAMPLES),
        NDJSON: Content({"type": "string", "description": "one sample a line, of any number"}, {"two lines": LINES}),
        MSGPACK: Content(
            {"type": "string", "format": "binary", "description": "map of x (float32 bytes), n, y, weight, time"}
        ),
        NPZ: Content({"type": "string", "format": "binary", "description": "arrays x, y, weight, time"}),
    }
)


@router.post("/samples", status_code=202, responses=problems(429), openapi_extra=BODY)
async def post_samples(
    name: ModelName,
    request: Request,
    response: Response,
    services: Wired,
    caller: Authenticated,
    idempotency_key: KeyHeader = None,
) -> Accepted:
    """Appends labelled samples; they are learned in the order in which they were accepted.

    A repeated post with the same `Idempotency-Key` and payload is answered with the entries of the first, and learned once. The
    answer repeats the key, so that a client can tell it from the answer to another post.

    NDJSON may be of any length: it is appended in parts as it comes, of at most 1,000 lines. What is wrong with a line refuses
    its part; `accepted` in the problem says how many samples before it were accepted.
    """
    caller.require("learn", name)
    key = key_of(idempotency_key, caller)
    model = await services.catalog.get(name)
    content = content_kind(request.headers.get("content-type"))
    most = Most(services.settings.max_post_samples, services.settings.max_body_bytes)
    if content == NDJSON:
        limit_body(request.scope, None)
        accepted = await _append_lines(services.ingest, model, request, key, most)
    else:
        samples = await run_sync(partial(read_samples, await request.body(), content, model.spec, most=most))
        posted = await services.ingest.post(model, samples, key)
        accepted = Accepted(entries=posted.entries, accepted=len(samples), repeated=posted.repeated)
    if idempotency_key is not None:
        response.headers["Idempotency-Key"] = idempotency_key
    return accepted


async def _append_lines(
    ingest: Ingest, model: Model, request: Request, key: IdempotencyKey | None, most: Most
) -> Accepted:
    """Part by part, each a post under a key of its own, so that a stream that broke off may be sent again from the start."""
    done = Accepted(entries=[], accepted=0, repeated=True)
    number = 0
    try:
        async for lines in parts(request.stream(), most):
            samples = await run_sync(samples_of_lines, lines, model.spec)
            posted = await ingest.post(model, samples, key and key.of_part(number))
            done.entries += posted.entries
            done.accepted += len(samples)
            done.repeated &= posted.repeated
            number += 1
    except Problem as problem:
        problem.members["accepted"] = done.accepted
        raise
    if not number:
        raise Invalid(FieldError("body", "no lines", "must have one sample a line"))
    return done
