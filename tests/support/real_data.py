"""A file of real data as the log that its adapter's events lead to."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
from msgspec.structs import replace

from benchmarks.load import batches
from consumers.ingest import Ingest
from examples import common
from infra import bootstrap
from infra.kafka.topics import topic_of
from infra.memory.log import MemoryLog

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def log_of(convert: common.Convert, path: Path) -> MemoryLog:
    """Converted, validated and decided in memory, recorded all at once. An event that is not taken fails the test."""
    log, report = MemoryLog(), common.Report()
    ingest = Ingest(log, bootstrap.decoder(lambda: NOW), lambda: NOW)
    messages = [
        (topic_of(event["type"].removeprefix("kehu.")), event["subject"].encode(), orjson.dumps(event))
        for event in convert(common.rows(path), report)
    ]
    for batch in batches(ingest, messages):
        outcomes = ingest.take(batch)
        assert {outcome.name for outcome in outcomes} <= {"APPENDED", "DUPLICATE"}, outcomes
    assert report.unreadable == []
    log.events = [replace(event, recorded_at=NOW) for event in log.events]
    return log
