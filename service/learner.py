"""The learner of one model: a thread that takes the model's lease and folds its stream.

Every entry has one of three outcomes: applied; stop (Redis or the database is away: start again from the newest checkpoint
once it is back, nothing is lost); dead-lettered with its cause and original bytes, then passed.
"""

from __future__ import annotations

import contextlib
import threading

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from service.checkpointing import LeaseLost
from service.recovery import Refusal
from service.reign import ModelGone, Realm, Reign
from service.repositories import leases, models

RETRY_S = 0.5

log = structlog.get_logger()


class ModelLearner(threading.Thread):
    """Args: holder: under what name it takes the lease; never shared by two processes that run at the same time."""

    def __init__(self, realm: Realm, *, holder: str) -> None:
        super().__init__(name=f"learner-{realm.model_id[:8]}", daemon=True)
        self._realm = realm
        self._holder = holder
        self._log = log.bind(model_id=realm.model_id)
        self.status = "starting"

    def stop(self) -> None:
        """Asks for a last checkpoint and the end of the thread; `join` waits for it."""
        self._realm.stopping.set()

    def run(self) -> None:
        while not self._realm.stopping.is_set():
            try:
                epoch = self._take_lease()
                if epoch is None:
                    self.status = "standby"
                else:
                    self._reign(epoch)
            except ModelGone:
                self._clean_up()
                self.status = "gone"
                return
            except LeaseLost:
                self._log.warning("lease lost")
                self._realm.meter.restarts.inc()
            except (redis.RedisError, SQLAlchemyError) as error:
                self.status = f"retrying: {_first_line(error)}"
                self._log.warning("learner stopped, will retry", cause=_first_line(error))
                self._realm.meter.restarts.inc()
            self._realm.stopping.wait(RETRY_S)

    def _clean_up(self) -> None:
        """After what the deletion could not know of, since this thread went on for a while."""
        with contextlib.suppress(redis.RedisError):
            self._realm.publisher.forget(self._realm.model_id)
            self._realm.stream.sweep()

    def _take_lease(self) -> int | None:
        """Under an epoch that Redis accepts too, though the database may be an older one that was brought back."""
        trimmed = self._realm.stream.epoch()
        with self._realm.sessions.begin() as session:
            if models.by_id(session, self._realm.model_id) is None:
                raise ModelGone
            lease_s = self._realm.settings.lease_s
            return leases.take(session, self._realm.model_id, holder=self._holder, lease_s=lease_s, above=trimmed)

    def _reign(self, epoch: int) -> None:
        try:
            reign = Reign(self._realm, epoch)
        except Refusal as refusal:
            self.status = f"refused: {refusal}"
            self._log.error("learner refuses", cause=str(refusal))
            self._keep_refusing(epoch, str(refusal))
        else:
            self.status = "learning"
            reign.run()

    def _keep_refusing(self, epoch: int, refusal: str) -> None:
        """Holds the lease, with the reason on it for every API replica to show, until an operator resolves it."""
        lease_s = self._realm.settings.lease_s
        while not self._realm.stopping.is_set():
            with self._realm.sessions.begin() as session:
                if not leases.hold(session, self._realm.model_id, epoch, lease_s=lease_s, refusal=refusal):
                    raise LeaseLost
            self._realm.stopping.wait(lease_s / 3)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
