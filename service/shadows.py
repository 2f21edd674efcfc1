"""Shadows: challengers that are fed with a model's log, compared with it, and promoted by `adopt`.

A shadow starts at the newest checkpoint of its model, knowing nothing, with a checkpoint of its own, which also keeps the log
from being trimmed past what it has yet to learn.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from service import state as states
from service.fold import START, Fold
from service.problems import Conflict, FieldError, Invalid
from service.repositories import checkpoints, leases, models
from service.repositories.checkpoints import Position
from service.spec import ModelSpec
from service.tables import ModelRow

SAME = ("task", "inputs", "features", "targets", "classes", "max_classes", "label_type")
"""Fields of the spec that a shadow shares with its model: what a sample is."""


def add_shadow(session: Session, spec: ModelSpec, *, model_id: str, name: str) -> ModelRow:
    """Raises: Invalid when there is no such model, or its samples are others; Conflict for a shadow of a shadow."""
    assert spec.shadow_of is not None
    of = models.by_name(session, spec.shadow_of)
    if of is None:
        raise Invalid(FieldError("shadow_of", spec.shadow_of, "must be a model"))
    if of.shadow_of is not None:
        raise Conflict(
            f"model {of.name!r} is a shadow itself", errors=[FieldError("shadow_of", of.name, "is a shadow")]
        )
    theirs = ModelSpec.model_validate_json(of.spec)
    errors = [
        FieldError(field, getattr(spec, field), f"is {getattr(theirs, field)!r} in model {of.name!r}")
        for field in SAME
        if getattr(spec, field) != getattr(theirs, field)
    ]
    if errors:
        raise Invalid(*errors)
    row = models.add(
        session, model_id=model_id, name=name, spec=spec.model_dump_json(), stream_uuid=of.stream_uuid, shadow_of=of.id
    )
    state_id = checkpoints.add_state(session, model_id, states.store(Fold(spec, device="cpu").state()))
    epoch = leases.seize(session, model_id)
    leases.lock(session, of.id)  # or its learner might trim the log past where the shadow begins
    newest = checkpoints.newest(session, of.id)
    begin = newest.position if newest else START
    position = Position(begin.entry, begin.entries_applied, 0)
    checkpoints.add_checkpoint(session, model_id, state_id, position, epoch=epoch)
    return row
