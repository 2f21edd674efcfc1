"""`/v1/models/{m}/events`: what happens to a model, as server-sent events that can be resumed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import redis
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.dependencies import Authenticated, ModelName, Wired
from service.api.entry_ids import entry_id
from service.catalog import Model
from service.entry_id import EntryId
from service.events import listen, newest
from service.keyring import CACHED_S, Caller
from service.problems import Unavailable, UnknownModel
from service.services import Services

router = APIRouter(prefix="/v1/models/{name}", tags=["events"])


class Listener:
    """One that listens, counted from the request on until it has gone."""

    def __init__(self, services: Services, caller: Caller, model: Model, after: EntryId | None) -> None:
        self.services = services
        self.caller = caller
        self.model = model
        self.after = after
        self.checked_at = time.monotonic()

    async def events(self) -> AsyncGenerator[ServerSentEvent]:
        """Until the model is deleted, the key revoked, Redis goes away or this process ends; whoever may comes back with the
        last ID."""
        try:
            client = self.services.async_redis
            after = await newest(client, self.model.id) if self.after is None else self.after
            async with aclosing(listen(client, self.model.id, after)) as found:
                # with an ID, so that whoever loses the connection before the first event misses none either
                yield ServerSentEvent(comment="listening", id=str(after))
                async for event in found:
                    if self.services.draining.is_set() or not await self._may_go_on():
                        return
                    if event is None:
                        if await self.services.catalog.get(self.model.name) != self.model:
                            return
                    else:
                        if event.kind == "missed":
                            self.services.meters.events_missed.inc()
                        shown = None if event.id is None else str(event.id)
                        yield ServerSentEvent(data=event.data, event=event.kind, id=shown)
        except (UnknownModel, redis.RedisError):
            return

    async def _may_go_on(self) -> bool:
        now = time.monotonic()
        if now - self.checked_at < CACHED_S:
            return True
        self.checked_at = now
        return await run_sync(self.services.keyring.holds, self.caller)


async def listener(
    name: ModelName,
    services: Wired,
    caller: Authenticated,
    last_event_id: Annotated[str | None, Header(description="the last event that was seen")] = None,
) -> AsyncIterator[Listener]:
    """Raises: Forbidden; UnknownModel; Invalid for an ID that is none; Unavailable when too many listen already."""
    caller.require_any(name)
    model = await services.catalog.get(name)
    after = _event_id(last_event_id)
    if services.listeners.locked():
        raise Unavailable("as many listen to events as may; poll the metrics, or try later", retry_after_s=10)
    async with services.listeners:
        with services.meters.listeners.track_inprogress():
            yield Listener(services, caller, model, after)


def _event_id(text: str | None) -> EntryId | None:
    return entry_id("Last-Event-ID", text, "must be the ID of an event") if text else None


@router.get("/events", response_class=EventSourceResponse)
async def events(listening: Annotated[Listener, Depends(listener)]) -> AsyncIterator[ServerSentEvent]:
    """learned, checkpoint, drift, new-class, adopted, dead-letter; and missed, where some are gone that came in between.

    An event may come twice; its data name the entry that it is about.
    """
    async with aclosing(listening.events()) as found:
        async for event in found:
            yield event
