"""The newest version of every model in this process: written by learner threads, read by requests without a lock."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from dataclasses import dataclass

from service.entry_id import EntryId
from service.version import Version


@dataclass(frozen=True)
class Published:
    epoch: int
    version: Version

    @property
    def order(self) -> tuple[EntryId, int]:
        """A replica never goes back: a fold that starts again from a checkpoint is older until it has caught up.

        By entry, not by count: a log that was begun anew after an accepted loss counts on from the checkpoint, but its
        entries are later than all before.
        """
        return self.version.applied_entry, self.epoch


class Publications:
    """Swaps one reference per publication and wakes those who wait for an entry. Bound to one event loop by `attach`."""

    interval_s = 0.0
    repeat_s = float("inf")

    def __init__(self) -> None:
        self._newest: dict[str, Published] = {}
        self._forgotten: set[str] = set()
        self._writing = threading.Lock()
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def detach(self) -> None:
        self._loop = None

    def current(self, model_id: str) -> Version | None:
        published = self._newest.get(model_id)
        return published.version if published else None

    def publish(self, model_id: str, published: Published) -> None:
        """From any thread. Versions older than the newest, those of lower epochs and forgotten models are ignored."""
        with self._writing:
            newest = self._newest.get(model_id)
            if newest is not None and (published.epoch < newest.epoch or published.order < newest.order):
                return
            if model_id in self._forgotten:
                return
            self._newest[model_id] = published
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake, model_id)

    def forget(self, model_id: str) -> None:
        """For a deleted model, whose learner may not know yet and publish once more. Its ID never comes back."""
        with self._writing:
            self._forgotten.add(model_id)
            self._newest.pop(model_id, None)

    async def wait_for(self, model_id: str, entry: EntryId, *, timeout_s: float) -> bool:
        """Whether `entry` is included in the current version, after at most `timeout_s`."""
        arrived = asyncio.Event()
        self._waiting[model_id].add(arrived)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._includes(model_id, entry):
                    await arrived.wait()
                    arrived.clear()
        except TimeoutError:
            return False
        finally:
            self._waiting[model_id].discard(arrived)
            if not self._waiting[model_id]:
                del self._waiting[model_id]
        return True

    def _includes(self, model_id: str, entry: EntryId) -> bool:
        version = self.current(model_id)
        return version is not None and version.applied_entry >= entry

    def _wake(self, model_id: str) -> None:
        for event in self._waiting.get(model_id, ()):
            event.set()
