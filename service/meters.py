"""What this process counts and times, for Prometheus: one registry, every name of ours beginning with `amstream_`.

Labels are bounded: models by the names that exist, routes by their templates, states and problems by lists of ours.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector

MODEL = "model"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LEARN_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
CHECKPOINT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """A registry and the instruments in it. Counters begin at zero with the process, and count replays again."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_models: list[MetricWrapperBase] = []
        self._models: set[str] = set()
        ProcessCollector(registry=self.registry)

        self._requests = Counter(
            "amstream_http_requests",
            "HTTP requests answered, by the template of their route",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "amstream_http_request_duration_seconds",
            "Time until an answer begins",
            ("method", "route"),
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.requests_in_progress = Gauge(
            "amstream_http_requests_in_progress", "HTTP requests that are being answered", registry=self.registry
        )
        self._problems = Counter(
            "amstream_problems", "Requests refused, by the kind of problem", ("problem",), registry=self.registry
        )
        self.listeners = Gauge(
            "amstream_event_listeners", "Connections that listen to events of models", registry=self.registry
        )
        self.events_missed = Counter(
            "amstream_events_missed",
            "Times that a listener was too slow, or came back too late, and missed events",
            registry=self.registry,
        )

        self._accepted = self._counter("samples_accepted", "Labelled samples appended to the log by this process")
        self._repeated = self._counter("posts_repeated", "Posts whose Idempotency-Key had come before")
        self._predicted = self._counter("samples_predicted", "Inputs that were predicted for a request")

        self._learned = self._counter("samples_learned", "Samples learned by this process, replays included")
        self._learn_seconds = self._histogram("learn_duration_seconds", "Time to learn one entry", LEARN_BUCKETS_S)
        self._checkpoint_seconds = self._histogram(
            "checkpoint_duration_seconds", "Time to write one checkpoint", CHECKPOINT_BUCKETS_S
        )
        self._dead_letters = self._counter("dead_letters", "Entries passed over, replays included")
        self._restarts = self._counter(
            "learner_restarts", "Times that a learner went back to its checkpoint, a store being away or the lease lost"
        )

    def _counter(self, name: str, what: str) -> Counter:
        counter = Counter(f"amstream_{name}", what, (MODEL,), registry=self.registry)
        self._of_models.append(counter)
        return counter

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(f"amstream_{name}", what, (MODEL,), buckets=buckets, registry=self.registry)
        self._of_models.append(histogram)
        return histogram

    # HTTP

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Args: route: its template; seconds: until the answer began."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._request_seconds.labels(known, route).observe(seconds)

    def refused(self, problem: str) -> None:
        """Args: problem: its kind, one of this server's own."""
        self._problems.labels(problem).inc()

    # Use cases

    def accepted(self, model: str, samples: int) -> None:
        self._models.add(model)
        self._accepted.labels(model).inc(samples)

    def repeated(self, model: str) -> None:
        self._models.add(model)
        self._repeated.labels(model).inc()

    def predicted(self, model: str, samples: int) -> None:
        self._models.add(model)
        self._predicted.labels(model).inc(samples)

    def learner(self, model: str) -> LearnerMeter:
        self._models.add(model)
        return LearnerMeter(
            self._learned.labels(model),
            self._learn_seconds.labels(model),
            self._checkpoint_seconds.labels(model),
            self._dead_letters.labels(model),
            self._restarts.labels(model),
        )

    def keep_only(self, models: Collection[str]) -> None:
        """Forgets what was counted of models that are gone."""
        for model in self._models - set(models):
            self._models.discard(model)
            for instrument in self._of_models:
                instrument.remove_by_labels({MODEL: model})


class LearnerMeter:
    """What one model's learner counts."""

    def __init__(
        self, learned: Counter, learn_seconds: Histogram, checkpoint: Histogram, dead: Counter, restarts: Counter
    ) -> None:
        self._samples = learned
        self._learn_seconds = learn_seconds
        self.checkpoint = checkpoint
        self.dead_letters = dead
        self.restarts = restarts

    def learned(self, samples: int, entries: int, seconds: float) -> None:
        """Entries that were applied together, which took so long from the first one to the reading of the last."""
        self._samples.inc(samples)
        for _ in range(entries):
            self._learn_seconds.observe(seconds / entries)


def unread() -> LearnerMeter:
    """For a learner that nobody scrapes."""
    return Meters().learner("")
