"""What is read when Prometheus asks: how far each model is, how far behind its log, and what its predictions were worth."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service import __version__
from service.database import Sessions
from service.fold import START
from service.lag import Lag, lag_of
from service.meters import MODEL, Meters
from service.publications import Publications
from service.repositories import checkpoints, leases, models
from service.repositories.checkpoints import Position
from service.settings import Settings
from service.supervisor import Supervisor
from service.tables import ModelRow
from service.version import Version

STANDINGS = ("learning", "refused", "none")
DOING = ("starting", "learning", "standby", "retrying", "refused", "gone")
FIGURES = {
    "accuracy": "Share of samples predicted right before they were learned",
    "kappa": "Cohen's kappa of predictions made before learning",
    "log_loss": "Mean log-loss of predictions made before learning",
    "no_change": "The same for predicting the last label, or value, again",
    "majority": "The same for predicting the most frequent label",
    "mae": "Mean absolute error of predictions made before learning",
    "rmse": "Root of the mean squared error of predictions made before learning",
    "r2": "Share of the variance explained by predictions made before learning",
    "mean": "The mean absolute error of predicting the mean",
}


@dataclass(frozen=True)
class _Reading:
    """One model, when asked. Args: standing: one of STANDINGS; version: the newest in this process, if any."""

    name: str
    position: Position
    standing: str
    checkpointed_at: float | None
    version: Version | None
    lag: Lag | None


class ModelGauges(Collector):
    """Asks both stores, so for worker threads; what is away is said, and missed out."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        client: redis.Redis,
        publications: Publications,
        supervisor: Supervisor | None,
        meters: Meters,
    ) -> None:
        self._role = settings.role
        self._sessions = sessions
        self._client = client
        self._publications = publications
        self._supervisor = supervisor
        self._meters = meters

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("amstream_build", "What runs", {"version": __version__, "role": self._role})
        away: set[str] = set()
        readings = self._read(away)
        for part in ("redis", "database"):
            yield GaugeMetricFamily(f"amstream_{part}_up", f"Whether {part} answers", 0 if part in away else 1)
        yield from self._doing()
        yield from _of_models(readings)

    def _read(self, away: set[str]) -> list[_Reading]:
        try:
            with self._sessions() as session:
                rows = models.all_models(session)
                self._meters.keep_only([row.name for row in rows])
                standing = [self._standing(session, row) for row in rows]
        except SQLAlchemyError:
            away.add("database")
            standing = []
        try:
            self._client.ping()
            return [self._reading(*one) for one in standing]
        except redis.RedisError:
            away.add("redis")
            return [self._reading(*one, ask=False) for one in standing]

    def _standing(self, session: Session, row: ModelRow) -> tuple[ModelRow, str, checkpoints.Checkpoint | None]:
        lease = leases.of(session, row.id)
        held = lease is not None and lease.holder is not None and lease.expires_at > time.time()
        standing = "refused" if lease is not None and lease.refusal else "learning" if held else "none"
        return row, standing, checkpoints.newest(session, row.id)

    def _reading(
        self, row: ModelRow, standing: str, checkpoint: checkpoints.Checkpoint | None, *, ask: bool = True
    ) -> _Reading:
        version = self._publications.current(row.id)
        position = checkpoint.position if checkpoint else START
        if version is not None and version.applied_entry >= position.entry:
            position = Position(version.applied_entry, version.model_version, version.samples_learned)
        return _Reading(
            row.name,
            position,
            standing,
            checkpoint.created_at if checkpoint else None,
            version,
            lag_of(self._client, row.shadow_of or row.id, position) if ask else None,
        )

    def _doing(self) -> Iterator[Metric]:
        """What the learners in this process do, where it has any."""
        if self._supervisor is None:
            return
        count = Counter(status.partition(":")[0] for status in self._supervisor.statuses().values())
        gauge = GaugeMetricFamily("amstream_learners", "Learners in this process, by what they do", labels=("state",))
        for state in DOING:
            gauge.add_metric((state,), count[state])
        yield gauge


def _of_models(readings: Iterable[_Reading]) -> Iterator[Metric]:
    def gauge(name: str, what: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"amstream_{name}", what, labels=(MODEL,))

    learner = GaugeMetricFamily(
        "amstream_model_learner", "1 for what becomes of the model's log", labels=(MODEL, "state")
    )
    version = gauge("model_version", "Entries of the log that the model includes")
    samples = gauge("model_samples", "Samples that the model has learned since it was created")
    checkpoint = gauge("last_checkpoint_timestamp_seconds", "When the newest checkpoint was written")
    length = gauge("log_entries", "Entries that the log holds, learned or not")
    lag_entries = gauge("lag_entries", "Entries of the log that are not learned yet")
    lag_samples = gauge("lag_samples", "Samples in the log that are not learned yet")
    lag_seconds = gauge("lag_seconds", "Age of the oldest entry that is not learned yet, 0 when there is none")
    drifts = CounterMetricFamily("amstream_drifts", "Drifts of the model's error", labels=(MODEL,))
    classes = gauge("classes", "Classes that the model knows")
    figures = {
        name: GaugeMetricFamily(f"amstream_prequential_{name}", what, labels=(MODEL, "over"))
        for name, what in FIGURES.items()
    }
    for one in readings:
        for state in STANDINGS:
            learner.add_metric((one.name, state), float(one.standing == state))
        version.add_metric((one.name,), one.position.entries_applied)
        samples.add_metric((one.name,), one.position.samples_learned)
        if one.checkpointed_at is not None:
            checkpoint.add_metric((one.name,), one.checkpointed_at)
        if one.lag is not None:
            length.add_metric((one.name,), one.lag.length)
            lag_entries.add_metric((one.name,), one.lag.entries)
            lag_samples.add_metric((one.name,), one.lag.samples)
            lag_seconds.add_metric((one.name,), one.lag.age_s)
        if one.version is not None:
            found = one.version.metrics
            drifts.add_metric((one.name,), int(found.alarms.count))
            classes.add_metric((one.name,), len(one.version.labels))
            for over, tally in (("recent", found.recent), ("ever", found.ever)):
                for name, value in tally.figures().items():
                    if value is not None:
                        figures[name].add_metric((one.name, over), value)
    yield from (learner, version, samples, checkpoint, length, lag_entries, lag_samples, lag_seconds, drifts, classes)
    yield from figures.values()
