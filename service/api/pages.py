"""Long lists come in pages: `limit` items, and an opaque cursor that asks for those after them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import BaseModel

from service.problems import FieldError, Invalid
from service.spec_fields import NAME

Limit = Annotated[int, Query(ge=1, le=1000, description="most items of the answer")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before; what comes after that is answered")]

USUAL = 1000

Item = TypeVar("Item")
Place = TypeVar("Place", str, int)


class Page(BaseModel):
    """next_cursor: null on the last page."""

    next_cursor: str | None


def cut(found: Sequence[Item], limit: int, place: Callable[[Item], str | int]) -> tuple[Sequence[Item], str | None]:
    """The page, and the cursor to the next one. Args: found: up to one more than the page has; place: of an item."""
    if len(found) <= limit:
        return found, None
    return found[:limit], base64.urlsafe_b64encode(json.dumps(place(found[limit - 1])).encode()).decode()


def place_of(cursor: str | None, kind: type[Place]) -> Place | None:
    """After what the page begins; None for the first one. Raises: Invalid."""
    if cursor is None:
        return None
    try:
        place: Any = json.loads(base64.b64decode(cursor, b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        place = None
    is_place = type(place) is kind and (NAME.fullmatch(place) if isinstance(place, str) else 0 <= place < 2**63)
    if not is_place:
        raise Invalid(FieldError("cursor", cursor, "must be the next_cursor of the page before"))
    found: Place = place
    return found
