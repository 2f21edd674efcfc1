"""What one learner does between taking a model's lease (one epoch) and losing it, stopping or failing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from service.aside import log_between, stored_state
from service.checkpointing import Checkpointer, Due, LeaseLost
from service.database import Sessions
from service.entries import Adopt, Command, UndecodableEntry
from service.entry_id import EntryId
from service.fold import CommandRefused, Fold
from service.meters import LearnerMeter, unread
from service.publications import Published
from service.recovery import Refusal, check_stream
from service.repositories import checkpoints, leases, models
from service.settings import Settings
from service.spec import ModelSpec
from service.state import DamagedState, FoldState
from service.stream import ModelStream
from service.told import Told

log = structlog.get_logger()


class _Interrupted(Exception):
    """Told to stop in the midst of a command: the checkpoint before it stands, and the next start applies it."""


class ModelGone(Exception):
    """The model was deleted."""


class Publisher(Protocol):
    """Where new versions go: this process's `Publications`, or Pub/Sub.

    interval_s: least time between two publications; repeat_s: when the newest is said again, though nothing changed.
    """

    interval_s: float
    repeat_s: float

    def publish(self, model_id: str, published: Published) -> None: ...

    def forget(self, model_id: str) -> None: ...


@dataclass(frozen=True)
class Realm:
    """One model, and what its learner works with."""

    model_id: str
    settings: Settings
    sessions: Sessions
    stream: ModelStream
    publisher: Publisher
    stopping: threading.Event
    meter: LearnerMeter = field(default_factory=unread)


class Reign:
    """Recovers the model under `epoch`, then folds its stream until told to stop.

    Raises: Refusal at once when the stream has lost entries; later LeaseLost, ModelGone, and the errors of Redis and the
        database.
    """

    def __init__(self, realm: Realm, epoch: int) -> None:
        self._realm = realm
        self._epoch = epoch
        self._events = realm.stream.events
        self._log = log.bind(model_id=realm.model_id, epoch=epoch)
        self._fold = self._recover()
        self._checkpointer = Checkpointer(
            realm.model_id,
            epoch,
            settings=realm.settings,
            sessions=realm.sessions,
            stream=realm.stream,
            retain_s=self._fold.spec.retain_s,
            written=self._fold.position,
            meter=realm.meter,
        )
        self._told = Told(self._events, self._fold)
        self._renewed_at = time.monotonic()
        self._published_at = float("-inf")
        self._published_version = -1

    def run(self) -> None:
        self._log.info("learning", entry=str(self._fold.entry), samples=self._fold.position.samples_learned)
        try:
            while not self._realm.stopping.is_set():
                self._learn(self._realm.stream.read(self._fold.entry, block=True))
                self._told.settled(self._fold)
                self._publish_when_due()
                if self._checkpointer.is_due(self._fold.position):
                    self._checkpointer.begin(self._due())
                self._checkpointer.trim_when_due()
                self._renew_when_due()
            self._checkpointer.finish(self._due())
        except _Interrupted:
            self._log.info("stopped before a command was applied", entry=str(self._fold.entry))
        finally:
            self._checkpointer.close()
        with self._realm.sessions.begin() as session:
            leases.release(session, self._realm.model_id, self._epoch)
        self._log.info("released", entry=str(self._fold.entry), samples=self._fold.position.samples_learned)

    # Recovery

    def _recover(self) -> Fold:
        """The newest checkpoint that is whole, once it is sure that the stream still holds what comes after it."""
        with self._realm.sessions() as session:
            row = models.by_id(session, self._realm.model_id)
            if row is None:
                raise ModelGone
            found = checkpoints.checkpoints(session, self._realm.model_id)
        fold = Fold(ModelSpec.model_validate_json(row.spec), device=self._realm.settings.device)
        damages = []
        for checkpoint in found:
            try:
                fold.restore(self._load_state(checkpoint.state_id), checkpoint.position)
                break
            except DamagedState as error:
                damages.append(str(error))
                self._log.error("checkpoint damaged", entry=str(checkpoint.position.entry), cause=str(error))
            except KeyError:  # deleted with its model, or pruned by who took the lease meanwhile: taking it anew tells
                raise LeaseLost from None
        if found and len(damages) == len(found):
            raise Refusal(
                f"all {len(found)} checkpoints of model {row.name!r} are damaged ({damages[0]}); "
                f"bring the database back from a backup and restart"
            )
        check_stream(self._realm.stream, name=row.name, stream_uuid=row.stream_uuid, position=fold.position)
        return fold

    def _load_state(self, state_id: str) -> FoldState:
        return stored_state(self._realm.sessions, self._realm.model_id, state_id)

    def _read_log(self, after: EntryId, before: EntryId) -> Iterator[tuple[EntryId, bytes]]:
        """For a command that learns them anew, which may take longer than a lease, and than a stop waits."""
        for one in log_between(self._realm.stream, after, before):
            if self._realm.stopping.is_set():
                raise _Interrupted
            self._renew_when_due()
            yield one

    # Folding

    def _learn(self, found: Sequence[tuple[EntryId, bytes]]) -> None:
        """Applies entries, and reads from the device what became of them."""
        begun, before = time.monotonic(), self._fold.position
        for entry_id, payload in found:
            if self._realm.stopping.is_set():  # many blocks of a large net take long
                break
            self._apply(entry_id, payload)
            self._renew_when_due()  # what is read at once may take longer than a lease
        self._settle()
        after = self._fold.position
        samples, entries = (
            after.samples_learned - before.samples_learned,
            after.entries_applied - before.entries_applied,
        )
        if entries:
            self._log.debug("learned", entry=str(self._fold.entry), entries=entries, samples=samples)
        self._realm.meter.learned(samples, entries, time.monotonic() - begun)

    def _apply(self, entry_id: EntryId, payload: bytes) -> None:
        try:
            command = self._fold.apply(entry_id, payload, load_state=self._load_state, read_log=self._read_log)
        except UndecodableEntry as error:
            self._settle()  # dead letters are in the order of the log
            self._bury(entry_id, payload, str(error))
        except CommandRefused as error:
            self._settle()
            self._checkpointer.finish(self._due(error.command, error=str(error)))
        else:
            if command is not None:
                self._settle()
                self._checkpointer.finish(self._due(command))
            if isinstance(command, Adopt):
                self._events.say("adopted", entry=str(entry_id), source=command.source)

    def _settle(self) -> None:
        for letter in self._fold.settle():
            self._bury(letter.entry, letter.payload, letter.cause)

    def _bury(self, entry_id: EntryId, payload: bytes, cause: str) -> None:
        self._log.warning("dead letter", entry=str(entry_id), cause=cause)
        self._realm.stream.bury(entry_id, payload, cause)
        self._realm.meter.dead_letters.inc()
        self._events.say("dead-letter", entry=str(entry_id), cause=cause)

    # Publishing

    def _publish_when_due(self) -> None:
        version = self._fold.position.entries_applied
        wait_s = (
            self._realm.publisher.interval_s if version != self._published_version else self._realm.publisher.repeat_s
        )
        if time.monotonic() - self._published_at >= wait_s:
            self._realm.publisher.publish(self._realm.model_id, Published(self._epoch, self._fold.version()))
            self._published_version = version
            self._published_at = time.monotonic()

    def _due(self, command: Command | None = None, *, error: str | None = None) -> Due:
        return Due(self._fold.state(), self._fold.position, command, error)

    # Lease

    def _renew_when_due(self) -> None:
        lease_s = self._realm.settings.lease_s
        if time.monotonic() - self._renewed_at < lease_s / 3:
            return
        with self._realm.sessions.begin() as session:
            if not leases.hold(session, self._realm.model_id, self._epoch, lease_s=lease_s):
                raise LeaseLost
        self._renewed_at = time.monotonic()
