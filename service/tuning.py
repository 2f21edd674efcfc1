"""Hyper-parameters that change while a model learns: a command in the log, so that a replay changes them at the same entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anyio.to_thread import run_sync

from service.catalog import Catalog, Model
from service.commands import Commands, audit
from service.entries import Set
from service.entry_id import EntryId
from service.idempotency import Once
from service.keyring import Caller
from service.problems import FieldError, Invalid
from service.spec import ModelSpec


class Tuning:
    def __init__(self, catalog: Catalog, commands: Commands) -> None:
        self._catalog = catalog
        self._commands = commands

    async def set(self, model: Model, changes: Mapping[str, Any], *, by: Caller, once: Once | None = None) -> EntryId:
        """The entry with which the changes came into force.

        Raises: Invalid naming what is unknown, out of range, or would change the size of the state; Conflict when the
            learner refused; Unavailable.
        """
        model.require_own_log()
        version = await self._catalog.version(model)
        await run_sync(_check, version.in_force, changes)
        entry = await self._commands.append(model, Set(json.dumps(dict(changes)), by.key_id), once)
        audit("set", model, by, hyperparameters=dict(changes), entry=str(entry))
        await self._commands.applied(model, entry)
        return entry


def _check(spec: ModelSpec, changes: Mapping[str, Any]) -> None:
    if not changes:
        raise Invalid(FieldError("hyperparameters", {}, "must name one or more"))
    current, before = spec.hyperparameters, spec.state_shapes()
    if spec.changed(hyperparameters={**current, **changes}).state_shapes() != before:
        errors = [
            FieldError(
                f"hyperparameters.{name}", value, "would change the size of the state; only a new model can have it"
            )
            for name, value in changes.items()
            if spec.changed(hyperparameters={**current, name: value}).state_shapes() != before
        ]
        raise Invalid(*errors)
