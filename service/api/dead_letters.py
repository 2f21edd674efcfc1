"""`/v1/models/{m}/dead-letters`: accepted entries that changed nothing, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from service import dead_letters
from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.entry_ids import entry_id
from service.api.pages import USUAL, Cursor, Limit, Page, cut, place_of
from service.commands import audit
from service.entry_id import LARGEST, ORIGIN, EntryId
from service.problems import FieldError, Invalid

router = APIRouter(prefix="/v1/models/{name}", tags=["dead letters"])


class DeadLetterResource(BaseModel):
    """samples: how many were in it, null where that cannot be told; size_bytes: of the entry as it was accepted."""

    entry: str
    cause: str
    samples: int | None
    size_bytes: int


class DeadLetterList(Page):
    dead_letters: list[DeadLetterResource]


@router.get("/dead-letters")
async def list_dead_letters(
    name: ModelName, services: Wired, caller: Authenticated, limit: Limit = USUAL, cursor: Cursor = None
) -> DeadLetterList:
    """Entries that could not be learned, in the order of the log: nothing of them is in the model. Kept until deleted."""
    caller.require_any(name)
    model = await services.catalog.get(name)
    place = place_of(cursor, str)
    after = ORIGIN if place is None else _not_the_last("cursor", place)
    found = await dead_letters.dead_letters(services.async_redis, model.id, model.spec, after=after, most=limit + 1)
    letters, next_cursor = cut(found, limit, lambda letter: str(letter.entry))
    return DeadLetterList(
        dead_letters=[DeadLetterResource(**vars(letter) | {"entry": str(letter.entry)}) for letter in letters],
        next_cursor=next_cursor,
    )


@router.delete("/dead-letters", status_code=204)
async def delete_dead_letters(
    name: ModelName,
    services: Wired,
    caller: Authenticated,
    until: Annotated[str, Query(description="the last one to delete, which the list names; later ones stay")],
) -> None:
    """Deletes those that have been looked at, for good."""
    caller.require("admin", name)
    model = await services.catalog.get(name)
    last = _not_the_last("until", until)
    await dead_letters.delete(services.async_redis, model.id, until=last)
    audit("delete-dead-letters", model, caller, until=str(last))


def _not_the_last(field: str, text: str) -> EntryId:
    """Raises: Invalid, also for the greatest ID that there is, after which nothing can come."""
    found = entry_id(field, text)
    if found.ms == LARGEST:
        raise Invalid(FieldError(field, text, "must be an entry ID as the list has it"))
    return found
