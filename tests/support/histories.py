"""A log in memory of what a generated bank's messages lead to; the same arguments give the same log."""

from datetime import UTC, datetime

from msgspec.structs import replace

from benchmarks.load import batches
from consumers.ingest import Ingest
from examples.bank import Bank
from infra import bootstrap
from infra.memory.log import MemoryLog

END = datetime(2026, 3, 2, 12, 40, tzinfo=UTC)


def bank_log(messages: int, seed: int) -> MemoryLog:
    """Decided in memory; recorded all at once, when the bank's history ends."""
    log = MemoryLog()
    ingest = Ingest(log, bootstrap.decoder(lambda: END), lambda: END)
    bank = Bank(seed, end=END)
    for batch in batches(ingest, [(m.topic, m.key.encode(), m.value) for m in bank.messages(messages)]):
        ingest.take(batch)
    log.events = [replace(event, recorded_at=END) for event in log.events]
    return log
