"""A model and its learners without HTTP: what the learner's tests work with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import redis
import torch

from service import entries
from service import redis_keys as keys
from service.append import Limits, append
from service.database import Sessions
from service.entries import Command, Samples
from service.entry_id import EntryId
from service.fold import Fold
from service.learner import ModelLearner
from service.publications import Publications
from service.redis_clients import async_client
from service.reign import Realm
from service.repositories import checkpoints, models
from service.repositories.checkpoints import Position
from service.settings import Settings
from service.spec import ModelSpec
from service.state import FoldState, load
from service.stream import ModelStream

DEADLINE_S = 60


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def samples(n: int, *, seed: int = 0) -> Samples:
    draw = np.random.default_rng(seed)
    return Samples(
        draw.normal(size=(n, 3)).astype(np.float32), ["yes" if v else "no" for v in draw.random(n) < 0.5], None
    )


def same(left: FoldState, right: FoldState) -> bool:
    return left.tensors.keys() == right.tensors.keys() and all(
        torch.equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items()
    )


def dead(stream: ModelStream) -> list[tuple[EntryId, str, bytes]]:
    """The dead letters: entry, cause, original bytes."""
    found: Any = stream._client.xrange(keys.dead_letters(stream._model_id))
    return [(EntryId.parse(entry), f[b"cause"].decode(), f[keys.FIELD.encode()]) for entry, f in found]


class Model:
    """A model in the database and in Redis, with as many learners as a test starts."""

    def __init__(self, sessions: Sessions, client: redis.Redis, redis_url: str, **spec: Any) -> None:
        self.spec = ModelSpec.model_validate({"inputs": 3, "hidden": [8], "classes": ["no", "yes"]} | spec)
        self.id = str(uuid.uuid4())
        self.name = f"m{self.id[:8]}"
        self.sessions = sessions
        self.stream = ModelStream(client, self.id)
        self.publications = Publications()
        self._redis_url = redis_url
        self._learners: list[ModelLearner] = []
        self.stream.create("the-log")
        with sessions.begin() as session:
            spec_json = self.spec.model_dump_json()
            models.add(session, model_id=self.id, name=self.name, spec=spec_json, stream_uuid="the-log")

    def append(self, *payloads: bytes, counts: Sequence[int] | None = None) -> list[EntryId]:
        async def run() -> list[str] | Any:
            async with async_client(self._redis_url) as client:
                return await append(client, self.id, "the-log", payloads, [], Limits(1000, 10), samples=counts)

        return [EntryId.parse(entry) for entry in asyncio.run(run())]

    def post(self, *parts: Samples | Command) -> list[EntryId]:
        counts = [len(part) if isinstance(part, Samples) else 0 for part in parts]
        return self.append(*map(entries.encode, parts), counts=counts)

    def start(self, holder: str = "a", **settings: Any) -> ModelLearner:
        realm = Realm(
            self.id,
            Settings(**{"checkpoint_s": 0.1, "lease_s": 1.0} | settings),
            self.sessions,
            self.stream,
            self.publications,
            threading.Event(),
        )
        learner = ModelLearner(realm, holder=holder)
        self._learners.append(learner)
        learner.start()
        return learner

    def stop(self) -> None:
        for learner in self._learners:
            learner.stop()
        for learner in self._learners:
            learner.join(DEADLINE_S)
            assert not learner.is_alive()
        self._learners.clear()

    def applied(self, entry: EntryId) -> None:
        """Waits until the published version includes the entry."""
        eventually(lambda: (v := self.publications.current(self.id)) is not None and v.applied_entry >= entry)

    def is_checkpointed(self, entry: EntryId) -> bool:
        position = self.position
        return position is not None and position.entry >= entry

    @property
    def position(self) -> Position | None:
        """Of the newest checkpoint."""
        with self.sessions() as session:
            checkpoint = checkpoints.newest(session, self.id)
        return None if checkpoint is None else checkpoint.position

    @property
    def state(self) -> FoldState:
        """Of the newest checkpoint."""
        with self.sessions() as session:
            checkpoint = checkpoints.newest(session, self.id)
            assert checkpoint is not None
            stored = checkpoints.state(session, self.id, checkpoint.state_id)
        assert stored is not None
        return load(stored)

    def folded(self, payloads: list[bytes]) -> FoldState:
        """The state of one fold of these entries in this thread; commands and dead letters are passed."""
        fold = Fold(self.spec, device="cpu")
        for number, payload in enumerate(payloads, start=1):
            with contextlib.suppress(entries.UndecodableEntry):
                fold.apply(EntryId(number, 0), payload, load_state=_no_state)
        fold.settle()
        return fold.state()


def _no_state(state_id: str) -> FoldState:
    raise KeyError(state_id)
