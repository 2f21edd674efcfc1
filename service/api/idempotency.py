"""The header `Idempotency-Key`: a request that comes again under its key is answered as the first time."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from service.api.dependencies import Authenticated
from service.idempotency import IdempotencyKey, Once
from service.keyring import Caller
from service.problems import FieldError, Invalid

KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)

KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key")]


def key_of(header: str | None, caller: Caller) -> IdempotencyKey | None:
    """Raises: Invalid."""
    if header is None:
        return None
    if not KEY.fullmatch(header):
        raise Invalid(FieldError("Idempotency-Key", header, "must be 1 to 255 visible ASCII characters"))
    return IdempotencyKey(caller.key_id, header)


async def once(
    request: Request, response: Response, caller: Authenticated, idempotency_key: KeyHeader = None
) -> Once | None:
    """Of a command: its digest is that of the path, the body and `If-Match`. The answer repeats the key."""
    key = key_of(idempotency_key, caller)
    if key is None:
        return None
    response.headers["Idempotency-Key"] = key.key
    asked = [request.method, request.url.path, request.headers.get("If-Match", "")]
    digest = hashlib.sha256("\0".join(asked).encode() + b"\0" + await request.body())
    return Once(key, digest.hexdigest())


AtMostOnce = Annotated[Once | None, Depends(once)]
