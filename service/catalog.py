"""Which models there are: created from a spec, looked up by name, deleted."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import redis
from anyio.to_thread import run_sync
from sqlalchemy.exc import IntegrityError

from service.aside import stored_state
from service.database import Sessions
from service.fold import START, Fold
from service.problems import Conflict, FieldError, Invalid, Unavailable, UnknownModel
from service.publications import Publications, Published
from service.repositories import checkpoints, leases, models
from service.repositories.checkpoints import Position
from service.shadows import add_shadow
from service.spec import ModelSpec
from service.spec_fields import NAME
from service.state import DamagedState
from service.stream import ModelStream
from service.tables import ModelRow
from service.version import Version

CACHED_S = 1.0


@dataclass(frozen=True)
class Model:
    id: str
    name: str
    spec: ModelSpec
    stream_uuid: str
    created_at: float
    shadow_of: str | None = None

    @property
    def log_id(self) -> str:
        """The model whose log this one is fed with."""
        return self.shadow_of or self.id

    def require_own_log(self) -> None:
        """Raises: Conflict for a shadow, whose log is another model's."""
        if self.shadow_of is not None:
            raise Conflict(f"model {self.name!r} is a shadow of {self.spec.shadow_of!r}, and learns what that one does")


@dataclass(frozen=True)
class Standing:
    """Who learns a model, and how far: as published in this process, else as of the newest checkpoint."""

    position: Position
    holder: str | None
    refusal: str | None


class Catalog:
    """Args: on_change: called after a model was created or deleted, so that a learner in this process looks at once."""

    def __init__(
        self,
        sessions: Sessions,
        client: redis.Redis,
        publications: Publications,
        *,
        max_state_bytes: int,
        max_models: int,
        on_change: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._client = client
        self._publications = publications
        self._max_state_bytes = max_state_bytes
        self._max_models = max_models
        self._on_change = on_change
        self._cache: dict[str, tuple[float, Model]] = {}

    async def get(self, name: str) -> Model:
        """Raises: UnknownModel."""
        known = self._cache.get(name)
        if known is not None and time.monotonic() - known[0] < CACHED_S:
            return known[1]
        found = await run_sync(self._look_up, name) if NAME.fullmatch(name) else None
        if known is not None and (found is None or found.id != known[1].id):  # deleted, perhaps by another process
            self._publications.forget(known[1].id)
        if found is None:
            self._cache.pop(name, None)
            raise UnknownModel(name)
        self._cache[name] = (time.monotonic(), found)
        return found

    async def without_stream(self, model: Model) -> Unavailable:
        """What to raise when Redis does not hold the log that `model` says. Raises: UnknownModel when it was deleted."""
        self.forget(model.name)
        if await self.get(model.name) != model:
            return Unavailable(f"model {model.name!r} was replaced meanwhile; send again")
        return Unavailable(
            f"Redis does not hold the stream of model {model.name!r} that the database knows; it may have lost data. "
            f"See `amstream accept-loss --help`",
            retry_after_s=10,
        )

    def forget(self, name: str) -> None:
        """Makes the next `get` ask the database, and notice when it is another model."""
        known = self._cache.get(name)
        if known is not None:
            self._cache[name] = (float("-inf"), known[1])

    def _look_up(self, name: str) -> Model | None:
        with self._sessions() as session:
            row = models.by_name(session, name)
        return None if row is None else _model(row)

    def shadows(self, model: Model) -> Sequence[Model]:
        """Those that are fed with its log."""
        with self._sessions() as session:
            return [_model(row) for row in models.shadows(session, model.id)]

    def list(
        self, *, after: str | None = None, most: int = 1000, among: Collection[str] | None = None
    ) -> Sequence[Model]:
        """By name. Args: after: a name; among: which there may be, None for all."""
        with self._sessions() as session:
            return [_model(row) for row in models.page(session, after=after, most=most, among=among)]

    def create(self, name: str, spec: ModelSpec) -> tuple[Model, bool]:
        """The model, and whether it is new.

        Raises: Invalid for a bad name or a state that would be too large; Conflict when the name has another spec, or there
            are as many models as may be.
        """
        if not NAME.fullmatch(name):
            raise Invalid(FieldError("model", name, f"must match {NAME.pattern}"))
        if spec.state_bytes() > self._max_state_bytes:
            raise Invalid(_oversized(spec, self._max_state_bytes))
        existing = self._existing(name, spec)
        if existing is not None:
            return existing, False
        model_id, stream_uuid = str(uuid.uuid4()), str(uuid.uuid4())
        stream = ModelStream(self._client, model_id)
        try:
            with self._sessions.begin() as session:
                if models.count(session) >= self._max_models:
                    raise Conflict(f"there are {self._max_models} models, as many as may be", kind="too-many-models")
                if spec.shadow_of is not None:
                    row = add_shadow(session, spec, model_id=model_id, name=name)
                else:
                    row = models.add(
                        session, model_id=model_id, name=name, spec=spec.model_dump_json(), stream_uuid=stream_uuid
                    )
                    stream.create(stream_uuid)
        except redis.RedisError:
            with contextlib.suppress(redis.RedisError):
                stream.delete()  # it may be that only the reply was lost
            raise
        except IntegrityError:  # somebody was faster
            existing = self._existing(name, spec)
            if existing is None:
                raise Unavailable(f"model {name!r} was created and deleted at the same time; try again") from None
            return existing, False
        self.forget(name)
        self._on_change()
        return _model(row), True

    def _existing(self, name: str, spec: ModelSpec) -> Model | None:
        model = self._look_up(name)
        if model is None or model.spec == spec:
            return model
        ours, theirs = model.spec.model_dump(), spec.model_dump()
        errors = [
            FieldError(field, theirs[field], f"is {ours[field]!r} in the model as created")
            for field in ours
            if ours[field] != theirs[field]
        ]
        fields = ", ".join(error.field for error in errors)
        raise Conflict(f"model {name!r} exists with another spec: {fields}", errors=errors)

    def delete(self, model: Model) -> None:
        """While Redis is away nothing is deleted: nobody could find the stream later. Raises: Conflict while it has shadows."""
        try:
            with self._sessions.begin() as session:
                shadows = [row.name for row in models.shadows(session, model.id)]
                if shadows:
                    raise Conflict(f"model {model.name!r} has shadows: {', '.join(shadows)}; delete them first")
                models.remove(session, model.id)
                ModelStream(self._client, model.id).delete()
        except IntegrityError:
            raise Conflict(f"model {model.name!r} was given a shadow meanwhile") from None
        self._cache.pop(model.name, None)
        self._publications.forget(model.id)
        self._on_change()

    def standing(self, model: Model) -> Standing:
        with self._sessions() as session:
            checkpoint = checkpoints.newest(session, model.id)
            lease = leases.of(session, model.id)
        position = checkpoint.position if checkpoint else START
        version = self._publications.current(model.id)
        if version is not None:
            position = Position(version.applied_entry, version.model_version, version.samples_learned)
        return Standing(
            position=position,
            holder=lease.holder if lease and lease.expires_at > time.time() else None,
            refusal=lease.refusal if lease else None,
        )

    async def version(self, model: Model) -> Version:
        """The newest version in this process; before there is one, that of the newest checkpoint, or the initial net.

        Raises: UnknownModel when it was deleted meanwhile; Unavailable when the checkpoint is damaged.
        """
        version = self._publications.current(model.id)
        if version is None:
            self._publications.publish(model.id, await run_sync(self._checkpointed, model))
            version = self._publications.current(model.id)
        if version is None:  # forgotten while it was loaded
            raise UnknownModel(model.name)
        return version

    def check_classes(self, model: Model, labels: Collection[Any]) -> None:
        """Raises: Invalid for labels with which there would be more classes than may be, as far as is known here.

        Those that slip through, since others are on their way, become dead letters.
        """
        if not model.spec.open:
            return
        most, version = model.spec.max_classes or 0, self._publications.current(model.id)
        known = frozenset(model.spec.classes) if version is None else version.classes
        new: set[Any] = set()
        for label in labels:
            if label in known or label in new:
                continue
            if len(known) + len(new) >= most:
                raise Invalid(FieldError("y", label, f"must be one of the {most} classes; max_classes allows no more"))
            new.add(label)

    def _checkpointed(self, model: Model) -> Published:
        with self._sessions() as session:
            if models.by_id(session, model.id) is None:
                self.forget(model.name)
                raise UnknownModel(model.name)
            checkpoint = checkpoints.newest(session, model.id)
        fold = Fold(model.spec, device="cpu")
        if checkpoint is not None:
            try:
                state = stored_state(self._sessions, model.id, checkpoint.state_id)
            except KeyError:  # the learner pruned it meanwhile: there is a newer one
                return self._checkpointed(model)
            except DamagedState as error:
                raise Unavailable(f"the newest checkpoint of model {model.name!r} is damaged: {error}") from error
            fold.restore(state, checkpoint.position)
        return Published(0, fold.version())


def _oversized(spec: ModelSpec, most_bytes: int) -> FieldError:
    """Blames the largest layer: the memories grow with its square."""
    layers = {
        "inputs": spec.inputs,
        **{f"hidden.{i}": n for i, n in enumerate(spec.hidden)},
        "classes": len(spec.classes),
    }
    field, size = max(layers.items(), key=itemgetter(1))
    return FieldError(
        field, size, f"must be smaller: the state would have {spec.state_bytes()} bytes, {most_bytes} may be"
    )


def _model(row: ModelRow) -> Model:
    spec = ModelSpec.model_validate_json(row.spec)
    return Model(row.id, row.name, spec, row.stream_uuid, row.created_at, row.shadow_of)
