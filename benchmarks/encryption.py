"""Group encryption: what it costs the ingest that personal data is encrypted, and the key store.

The plain way is the same ingest with everything in the clear, which no release can do: it is made here by putting other
functions in the place of those that encrypt. One process, without a broker; the store is on the disk of this machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from time import perf_counter, process_time
from unittest.mock import patch

import msgspec
import psycopg

from benchmarks import load
from benchmarks.figures import Figure, Figures, Settings, alternating, middle
from benchmarks.servers import fresh_database, start_postgres
from consumers.ingest import Ingest
from domain import contracts
from domain.values import Position, Recorded, encodable
from infra import bootstrap
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.producer import Encoded
from infra.master_keys import LocalMasterKeys
from infra.postgres import log as event_log
from infra.postgres import mapper, messages
from infra.postgres.data_keys import DataKeys, Keys
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from projections.catalogue import ALL
from projections.declare import personal_for

EVENTS = 60_000
SAID: Mapping[str, Mapping[str, object]] = {
    "customer.registered": {"name": "Zaphod Beeblebrox", "email": "zaphod@example.org", "phone": "+44 20 7946 0958"},
    "customer.profile-changed": {"email": "z.beeblebrox@example.org"},
    "transaction.posted": {"text": "Standing order to Z Beeblebrox, rent of 4 Heart of Gold Lane"},
    "contact.transferred": {"reason": "asks for somebody who speaks Betelgeusian"},
    "complaint.opened": {"description": "I was charged a fee twice, and told on the phone that it was my fault. " * 3},
    "survey.answered": {"comment": "The lady at the counter was very kind, the app is not. " * 2},
}
"""Added to the bank's messages, which say little that is personal, so that most events have something to hide."""


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    mixed = [personal(*one) for one in load.messages(settings.events or EVENTS)]
    with start_postgres(settings.folder) as server:
        ways = [partial(ingested, server, mixed), partial(ingested, server, mixed, in_the_clear=True)]
        hidden, clear = alternating(settings.rounds, *ways)
    seconds, processor, share, reading, all_of_it = zip(*hidden, strict=True)
    # A cost below zero is the noise of the machine.
    cost = max(0.0, 1 - middle([one[0] for one in clear]) / middle(seconds))
    used = max(0.0, 1 - middle([one[1] for one in clear]) / middle(processor))
    return {
        "encryption_cost": Figure(cost, "of ingest", 0.15, "what it may be at most; by time"),
        "encryption_cost_cpu": Figure(used, "of ingest", 0.15, "the same by time of the worker's processor"),
        "encrypted_events": Figure(middle(share), "of events", 1.0, "all events of the log"),
        "read_for_projections": Figure(
            middle(reading), "µs/event", middle([one[3] for one in clear]), "a log in the clear"
        ),
        "read_with_personal_data": Figure(
            middle(all_of_it), "µs/event", middle([one[4] for one in clear]), "a log in the clear"
        ),
    }


def personal(topic: str, key: bytes | None, value: bytes | None) -> Encoded:
    """A message that says something personal where its type can."""
    try:
        event = msgspec.json.decode(value or b"")
        kind = str(event["type"]).removeprefix("kehu.").removesuffix(".v1")
        event["data"] = {**SAID.get(kind, {}), **event["data"]}
    except (*contracts.REFUSED, TypeError, KeyError):
        return topic, key, value  # one of the malformed ones
    return topic, key, msgspec.json.encode(event)


def ingested(
    server: EmbeddedPostgres, mixed: Sequence[Encoded], *, in_the_clear: bool = False
) -> tuple[float, float, float, float, float]:
    """Seconds and seconds of the processor per message, the share of encrypted events, and µs to read an event: as the
    projections do, and with all personal data."""
    with fresh_database(server) as database:
        migrate(database)
        keys = DataKeys(lambda: LocalMasterKeys([b"m" * 32]))
        with closing(PostgresLog(database, keys)) as log, unencrypted() if in_the_clear else _as_it_is():
            ingest = Ingest(log, bootstrap.decoder(lambda: load.END), lambda: load.END)
            batches = list(load.batches(ingest, mixed))
            began, used = perf_counter(), process_time()
            for batch in batches:
                ingest.take(ingest.read(batch))
            seconds, processor = perf_counter() - began, process_time() - used
            head = log.head()
            with psycopg.connect(database) as conn:
                row = conn.execute("SELECT count(hidden)::float8 / count(*) FROM kehu.event_log").fetchone()
                assert row is not None
            names = frozenset().union(*(one.handles for one in ALL))
            reading = _read(log, head, names, personal_for(ALL))
            all_of_it = _read(log, head, names, None)
        return seconds / len(mixed), processor / len(mixed), row[0], reading / head * 1e6, all_of_it / head * 1e6


def _read(log: PostgresLog, head: int, names: frozenset[str], personal: frozenset[str] | None) -> float:
    began = perf_counter()
    for after in range(0, head, 2000):
        log.read(Position(after), 2000, names, personal)
    return perf_counter() - began


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def unencrypted() -> Iterator[None]:
    """Within the block everything is stored in the clear."""

    def to_state(recorded: Recorded, _keys: Keys) -> bytes:
        return msgspec.json.encode(mapper.Stored(recorded.meta, encodable(recorded.event)))

    with (
        patch.object(event_log, "to_state", to_state),
        patch.object(messages, "hidden", lambda of, _keys: (of.message, None)),
        patch.object(DataKeys, "made", lambda _self, _conn, _customers: {}),
    ):
        yield
