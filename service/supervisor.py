"""Runs one learner thread for every model that the database lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.database import Sessions
from service.learner import ModelLearner
from service.meters import Meters
from service.reign import Publisher, Realm
from service.repositories import models
from service.settings import Settings
from service.stream import ModelStream
from service.tables import ModelRow

POLL_S = 0.5
STOP_S = 20.0

log = structlog.get_logger()


class Supervisor(threading.Thread):
    """Args: holder: under what name its learners take leases."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        client: redis.Redis,
        publisher: Publisher,
        *,
        holder: str,
        meters: Meters,
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._settings = settings
        self._sessions = sessions
        self._client = client
        self._publisher = publisher
        self._holder = holder
        self._meters = meters
        self._learners: dict[str, ModelLearner] = {}
        self._stopping = threading.Event()
        self._look = threading.Event()

    def look_now(self) -> None:
        """Notices a new model at once rather than at the next poll."""
        self._look.set()

    def statuses(self) -> Mapping[str, str]:
        """What each model's learner in this process is doing, by model ID."""
        return {model_id: learner.status for model_id, learner in self._learners.copy().items()}

    def stands_by(self) -> bool:
        """Whether a model is learned elsewhere."""
        return "standby" in self.statuses().values()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._sessions() as session:
                    wanted = {row.id: row for row in models.all_models(session)}
                self._match(wanted)
            except SQLAlchemyError as error:
                log.warning("cannot list models", cause=str(error))
            except Exception:  # no thread to be had, say: said loudly, and no reason to leave the models alone for ever
                log.exception("cannot start learners")
            self._look.wait(POLL_S)
            self._look.clear()

    def _match(self, wanted: Mapping[str, ModelRow]) -> None:
        """Starts learners that are missing or have died of a defect; those of deleted models end by themselves.

        Args: wanted: by ID.
        """
        learners = {model_id: learner for model_id, learner in self._learners.items() if learner.is_alive()}
        for model_id in wanted.keys() - learners.keys():
            row = wanted[model_id]
            realm = Realm(
                model_id,
                self._settings,
                self._sessions,
                ModelStream(self._client, model_id, log_of=row.shadow_of),
                self._publisher,
                threading.Event(),
                self._meters.learner(row.name),
            )
            learners[model_id] = ModelLearner(realm, holder=self._holder)
            learners[model_id].start()
        self._learners = learners

    def stop(self) -> None:
        """Ends all learners, each with a last checkpoint; those that need longer than STOP_S are left behind."""
        self._stopping.set()
        self._look.set()
        if self.is_alive():
            self.join()
        learners = list(self._learners.values())
        for learner in learners:
            learner.stop()
        deadline = time.monotonic() + STOP_S
        for learner in learners:
            learner.join(max(0.0, deadline - time.monotonic()))
            if learner.is_alive():
                log.warning("learner left behind", thread=learner.name, status=learner.status)
