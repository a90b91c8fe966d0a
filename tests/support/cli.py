"""The command line in this process, and a small published history that it can be asked about."""

import asyncio
import io
import json
import socket
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.ingest import Ingest
from consumers.projector import Projector
from domain.complaint import ComplaintOpened, ComplaintResolved
from domain.ports import Message, Partition
from domain.survey import SurveyAnswered
from domain.values import CustomerId, Event, Fact, Meta
from examples.bank import Bank, Expected
from infra import bootstrap
from infra.cli.main import main
from infra.kafka import codec
from infra.kafka.producer import HEADERS, Outgoing, publish
from infra.kafka.topics import TOPICS, Topics, extents
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL

EVENTS = 900


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> Any:
        """Its JSON; of an answer that says how fresh it is, the rows; of an audit what does not fit."""
        told = json.loads(self.out)
        if isinstance(told, dict) and "findings" in told:
            return told["findings"]
        return told["rows"] if isinstance(told, dict) and "freshness" in told else told


def kehu(*arguments: str) -> Done:
    """Run one command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            return Done(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main always ends the process")


@dataclass(frozen=True, slots=True)
class History:
    """Two servers and what was published: a bank's messages, and the story of customer c-told."""

    postgres: str
    kafka: str
    now: datetime
    expected: Expected

    def __call__(self, *arguments: str) -> Done:
        """Run one command against both servers."""
        return kehu("--postgres", self.postgres, "--kafka", self.kafka, *arguments)


def story(now: datetime) -> list[Outgoing]:
    """A case resolved after months and another that is open, an answer without its invitation, and two that must die:
    one that uses the id of another event, and one that nobody can read.
    """
    opened = ComplaintOpened(complaint_id="told-1", channel="app", queue="told", branch="Harbour")
    late = ComplaintResolved(complaint_id="told-1", outcome="rejected", reasons="Checked.", onward_rights="Ombudsman.")
    still = ComplaintOpened(complaint_id="told-2", channel="app", queue="told", severity=1)
    other = ComplaintOpened(complaint_id="told-4", channel="branch")
    unasked = SurveyAnswered(invitation_id="told-3", score=3)
    return [
        _sent("kehu.complaints", opened, "told-opened", now - timedelta(days=130)),
        _sent("kehu.complaints", late, "told-resolved", now - timedelta(days=2), causation="told-opened"),
        _sent("kehu.complaints", still, "told-again", now - timedelta(days=100), correlation=None),
        _sent("kehu.complaints", other, "told-opened", now - timedelta(days=1)),
        _sent("kehu.surveys", unasked, "told-answer", now - timedelta(days=1)),
        ("kehu.surveys", b"c-told", b"\xff\xfe", [("content-type", b"text/plain"), ("trace", b"\x00\x80")]),
    ]


def _sent(
    topic: str,
    event: Event,
    event_id: str,
    at: datetime,
    *,
    causation: str | None = None,
    correlation: str | None = "visit-9",
) -> Outgoing:
    meta = Meta(event_id, "/told", CustomerId("c-told"), at, correlation, causation)
    key, value, headers = codec.structured(Fact(event, meta))
    return topic, key, value, headers


def publish_history(postgres: str, kafka: str) -> History:
    """Set up, publish, store and fold."""
    now = bootstrap.now()
    bank = Bank(seed=3, end=now - timedelta(minutes=1))
    messages = [(m.topic, m.key.encode(), m.value, HEADERS) for m in bank.messages(EVENTS)]
    assert kehu("setup", "--postgres", postgres, "--kafka", kafka, "--partitions", "2").code == 0
    asyncio.run(publish(kafka, [*messages, *story(now)]))
    store(postgres, kafka)
    return History(postgres, kafka, now, bank.expected)


def store(postgres: str, kafka: str) -> None:
    """Read what the topics hold into the log, and fold it: what a worker does until nothing is left."""
    log, models = PostgresLog(postgres), PostgresReadModels(postgres)
    ingest = Ingest(log, bootstrap.decoder(), bootstrap.now)
    held = asyncio.run(_held(kafka))
    ingest.claim(list(held))
    for partition, messages in held.items():
        unread = [message for message in messages if message.offset >= ingest.positions[partition]]
        if unread:
            ingest.take(ingest.read({partition: unread}))
    Projector(log, models, ALL).run_until_caught_up()
    log.close()
    models.close()


async def _held(kafka: str) -> dict[Partition, Sequence[Message]]:
    names = list(TOPICS.values())
    admin = Topics(kafka)
    ids = await asyncio.to_thread(admin.ids, names)
    admin.close()
    ends = {tp: extent.following for tp, extent in (await extents(kafka, names)).items()}
    partitions = {tp: Partition(tp.topic, str(ids[tp.topic]), tp.partition) for tp in ends}
    found: dict[TopicPartition, list[Message]] = {tp: [] for tp in ends}
    async with AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False) as consumer:
        consumer.assign(list(ends))
        for tp in ends:
            consumer.seek(tp, 0)
        while any(len(messages) < ends[tp] for tp, messages in found.items()):
            for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                found[tp] += [
                    Message(partitions[tp], r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
                ]
    return {partitions[tp]: messages for tp, messages in found.items()}


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
