"""What a worker tells Prometheus. Every metric stands here, and with its meaning in docs/reference/metrics.md.

What happens is counted when it happens, once a batch and not once a message. How things stand is put together at a
scrape from values that are there already: no scrape waits for PostgreSQL or Kafka, so it is answered while one is away.
Labels are topics, outcomes and names of read models. Their number is bounded, and none tells of a customer.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, time

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.ports import Batch, Conflict, Fenced, Unavailable
from infra.figures import Held, Reading
from projections.views import VIEWS

OUTCOMES = ("appended", "duplicate", "parked", "dead")
REFUSALS = {Fenced: "fenced", Conflict: "conflict", Unavailable: "unavailable"}
BATCH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DELAY_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)


class Telemetry:
    """The metrics of one worker. Any thread may tell it something."""

    def __init__(self, topics: Iterable[str]) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self._standing = _Standing()
        self.registry.register(self._standing)
        self._messages = self._counter("messages", "Messages by what became of them.", "topic", "outcome")
        self._unparked = self._counter("unparked", "Messages that were parked and left their queue.", "topic")
        self._events = self._counter("events", "Events appended to the log.")
        self._refused = self._counter("appends_refused", "Transactions that the store did not take.", "reason")
        self._batches = Histogram(
            "kehu_batch_seconds",
            "Seconds from a fetched batch to its commit.",
            registry=self.registry,
            buckets=BATCH_BUCKETS,
        )
        self._delays = Histogram(
            "kehu_delay_seconds",
            "Seconds from the timestamp of a batch's oldest message to its commit.",
            ["topic"],
            registry=self.registry,
            buckets=DELAY_BUCKETS,
        )
        # From the start on with 0: a counter that appears with its first value hides that value from `increase`.
        for topic in topics:
            self._unparked.labels(topic)
            self._delays.labels(topic)
            for outcome in OUTCOMES:
                self._messages.labels(topic, outcome)
        for reason in REFUSALS.values():
            self._refused.labels(reason)
        self._rows = self._counter("view_messages", "Rows and tombstones of views that Kafka acknowledged.", "view")
        for view in VIEWS:
            self._rows.labels(view.name)

    @contextmanager
    def appending(self, batch: Batch) -> Iterator[None]:
        """Around the transaction that stores a batch."""
        self._standing.appending = monotonic()
        try:
            yield
        except tuple(REFUSALS) as error:
            self._refused.labels(next(reason for kind, reason in REFUSALS.items() if isinstance(error, kind))).inc()
            raise
        else:
            self._count(batch)
        finally:
            self._standing.appending = None

    def batch(self, seconds: float, oldest: Mapping[str, int]) -> None:
        """A batch was stored. `oldest` is topic -> timestamp (ms) of its oldest message; 0 or less is no timestamp."""
        self._batches.observe(seconds)
        now = time()
        for topic, at in oldest.items():
            if at > 0:
                self._delays.labels(topic).observe(max(0.0, now - at / 1000))

    def published(self, view: str, messages: int) -> None:
        """So many messages of a view were acknowledged."""
        self._rows.labels(view).inc(messages)

    def ask(self, reading: Callable[[], Reading], away: Mapping[str, Callable[[], float | None]]) -> None:
        """Ask at each scrape what is read, and by server for how many seconds it is away; None when it is not."""
        self._standing.reading, self._standing.away = reading, away

    def show(self, held: Held | None) -> None:
        """From now on this is what the store holds; None when it cannot be asked, and then nothing is shown."""
        self._standing.held = held

    def _counter(self, name: str, meaning: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(f"kehu_{name}", meaning, labels, registry=self.registry)

    def _count(self, batch: Batch) -> None:
        self._events.inc(len(batch.events))
        parked = Counter(one.message.partition.topic for one in batch.park)
        left = Counter(parked)
        for move in batch.moves:
            topic = move.partition.topic
            left[topic] -= move.parked
            for outcome, n in (("appended", move.appended), ("duplicate", move.duplicate), ("dead", move.dead)):
                self._messages.labels(topic, outcome).inc(max(0, n))
        for topic, n in parked.items():
            self._messages.labels(topic, "parked").inc(n)
        for topic, n in left.items():
            self._unparked.labels(topic).inc(max(0, n))


class _Standing(Collector):
    """How things stand."""

    def __init__(self) -> None:
        self.appending: float | None = None
        """Since when a transaction is open."""
        self.away: Mapping[str, Callable[[], float | None]] = {}
        self.reading: Callable[[], Reading] = Reading
        self.held: Held | None = None

    def collect(self) -> Iterator[Metric]:
        since = self.appending
        yield _gauge(
            "append_running_seconds", "Age of the open transaction.", _one(monotonic() - since if since else 0)
        )
        away = {server: seconds() for server, seconds in self.away.items()}
        up = {server: float(seconds is None) for server, seconds in away.items()}
        since_answer = {server: seconds or 0.0 for server, seconds in away.items()}
        yield _gauge("server_up", "Whether the server answers.", up, "server")
        yield _gauge("server_away_seconds", "Seconds since its last answer; 0 while it is up.", since_answer, "server")
        reading = self.reading()
        partitions = {"assigned": reading.assigned, "read": reading.read, "standing": reading.standing}
        yield _gauge("partitions", "Partitions of this worker: given, read, standing still.", partitions, "state")
        yield _gauge("unread_messages", "Messages that were not fetched yet.", reading.unread, "topic")
        yield _counted("claims", "How often partitions were claimed in the store.", reading.claims)
        yield _counted("rebalances", "How often the group gave partitions.", reading.rebalances)
        if (held := self.held) is not None:
            yield from _held(held)


def _held(held: Held) -> Iterator[Metric]:
    yield _gauge("polled_timestamp_seconds", "When the store was asked what it holds.", _one(held.at))
    yield _gauge("log_position", "The last position of the log.", _one(held.head))
    for name, meaning, field in (
        ("position", "The last position that the read model has folded.", "position"),
        ("behind_events", "Events of the log that it has not folded.", "behind"),
        ("behind_seconds", "Seconds since the oldest event that it has not folded was stored.", "seconds"),
        ("stopped", "Whether it stopped at an event that it cannot fold.", "stopped"),
        ("paused", "Whether it was told to rest.", "paused"),
    ):
        values = {one.name: float(getattr(one, field)) for one in held.foldings}
        yield _gauge(f"projection_{name}", meaning, values, "projection")
    yield _gauge("parked_messages", "Messages that wait for what they need.", held.parked, "topic")
    yield _gauge("parked_oldest_seconds", "How long the first of them waits; 0 without any.", _one(held.parked_age))
    yield _gauge("dead_letters", "Dead letters that are kept.", held.dead, "topic")
    yield _gauge("dead_letters_unpublished", "Dead letters that are not on their topic yet.", _one(held.unpublished))
    yield _gauge(
        "dead_letters_unpublished_oldest_seconds",
        "Age of the first of them; 0 without any.",
        _one(held.unpublished_age),
    )
    yield _gauge("view_behind_seconds", "Seconds since the oldest change that is not published.", held.views, "view")


def _one(value: float) -> Mapping[str, float]:
    return {"": value}


def _gauge(name: str, meaning: str, values: Mapping[str, float], label: str = "") -> Metric:
    family = GaugeMetricFamily(f"kehu_{name}", meaning, labels=[label] if label else [])
    for of, value in values.items():
        family.add_metric([of] if label else [], value)
    return family


def _counted(name: str, meaning: str, value: int) -> Metric:
    return CounterMetricFamily(f"kehu_{name}", meaning, value=value)
