"""`POST /v1/models/{m}/samples`: labelled samples into the log."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel

from service.api.bodies import content_kind, read_samples
from service.api.dependencies import Authenticated, ModelName, Wired
from service.ingest import IdempotencyKey
from service.problems import FieldError, Invalid

router = APIRouter(prefix="/v1/models/{name}", tags=["samples"])

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


class Accepted(BaseModel):
    """entries: opaque IDs of the entries that hold the samples, in the stream's order."""

    entries: list[str]
    accepted: int


@router.post("/samples", status_code=202)
async def post_samples(
    name: ModelName,
    request: Request,
    response: Response,
    services: Wired,
    caller: Authenticated,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Accepted:
    """Appends labelled samples; they are learned in the order in which they were accepted.

    A repeated post with the same `Idempotency-Key` and payload is answered as the first was, and learned once. The answer
    repeats the key, so that a client can tell it from the answer to another post.
    """
    caller.require("learn", name)
    if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
        raise Invalid(FieldError("Idempotency-Key", idempotency_key, "must be 1 to 255 visible ASCII characters"))
    model = await services.catalog.get(name)
    content = content_kind(request.headers.get("content-type"))
    body = await request.body()
    samples = await run_sync(partial(read_samples, body, content, model.spec, most=services.settings.max_post_samples))
    key = None if idempotency_key is None else IdempotencyKey(caller.key_id, idempotency_key)
    entries = await services.ingest.post(model, samples, key)
    if idempotency_key is not None:
        response.headers["Idempotency-Key"] = idempotency_key
    return Accepted(entries=entries, accepted=len(samples))
