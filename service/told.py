"""What a learner tells the listeners about its fold: that it learned, a class that is new, a drift."""

from __future__ import annotations

import time
from typing import Any

from service.entry_id import EntryId
from service.events import EventLog
from service.fold import Fold

LEARNED_S = 0.5
"""Least time between two events of `learned`."""


class Told:
    """What was told last, so that only news are. A fold that starts from a checkpoint has told what it knows."""

    def __init__(self, events: EventLog, fold: Fold) -> None:
        self._events = events
        self._entry: EntryId = fold.entry
        self._told_at = float("-inf")
        self._take(fold)

    def _take(self, fold: Fold) -> None:
        self._labels = frozenset(fold.labels)
        self._drifts = int(fold.metrics.alarms.count)

    def settled(self, fold: Fold) -> None:
        """After entries were applied and read. Raises: RedisError."""
        about: dict[str, Any] = {"entry": str(fold.entry), "samples_learned": fold.position.samples_learned}
        for label in fold.labels:
            if label not in self._labels:
                self._events.say("new-class", label=label, **about)
        if int(fold.metrics.alarms.count) > self._drifts:
            self._events.say(
                "drift", at_sample=int(fold.metrics.alarms.last), recent=fold.metrics.recent.figures(), **about
            )
        self._take(fold)
        if fold.entry != self._entry and time.monotonic() - self._told_at >= LEARNED_S:
            version = fold.position.entries_applied
            self._events.say("learned", model_version=version, recent=fold.metrics.recent.figures(), **about)
            self._entry, self._told_at = fold.entry, time.monotonic()
