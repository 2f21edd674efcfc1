"""Commands in the log: appended, then waited for until the learner has applied or refused them."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from anyio.to_thread import run_sync

from service.catalog import Model
from service.database import Sessions
from service.entries import Command
from service.entry_id import EntryId
from service.idempotency import Once
from service.ingest import Ingest
from service.keyring import Caller
from service.problems import Conflict, Unavailable
from service.publications import Publications
from service.repositories import models

log = structlog.get_logger()


class Commands:
    """Args: wait_s: longest wait for a command to be applied."""

    def __init__(self, sessions: Sessions, ingest: Ingest, publications: Publications, *, wait_s: float) -> None:
        self._sessions = sessions
        self._ingest = ingest
        self._publications = publications
        self._wait_s = wait_s

    async def append(self, model: Model, command: Command, once: Once | None = None) -> EntryId:
        """Raises: as `Ingest.command`."""
        return await self._ingest.command(model, command, once)

    async def earlier(self, model: Model, once: Once | None) -> EntryId | None:
        """The command that the same request appended, if it came before. Raises: as `Ingest.command`."""
        return None if once is None else await self._ingest.earlier(model, once)

    async def applied(self, model: Model, entry: EntryId) -> None:
        """Waits until the learner has applied a command.

        Raises: Conflict with the learner's reason when it was refused; Unavailable when it took too long.
        """
        if not await self._publications.wait_for(model.id, entry, timeout_s=self._wait_s):
            raise Unavailable(
                f"the command is in the stream as entry {entry}, but was not applied within {self._wait_s:g} s; "
                f"it will be when the learner gets there",
                kind="not-applied-yet",
                retry_after_s=5,
            )
        error = await run_sync(partial(self._error_of, model, entry))
        if error is not None:
            raise Conflict(error)

    def _error_of(self, model: Model, entry: EntryId) -> str | None:
        with self._sessions() as session:
            row = models.command(session, model.id, entry)
        return None if row is None else row.error


def audit(action: str, model: Model, by: Caller, **what: Any) -> None:
    """Who did what, as a line of the process's log."""
    log.info("audit", action=action, model=model.name, model_id=model.id, key_id=by.key_id, key=by.name, **what)
