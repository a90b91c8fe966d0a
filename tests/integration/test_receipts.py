"""What became of messages, asked by source and id: an ingest on PostgreSQL, and what its rows tell."""

import psycopg
import pytest
from msgspec.structs import replace

from consumers.ingest import Ingest
from domain.ports import Message
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event
from infra import bootstrap
from infra.kafka import codec
from infra.postgres.log import PostgresLog
from infra.postgres.querying import Row
from infra.postgres.receipts import receipts
from tests.support.builders import NOON, SURVEYS, fact, meta

OTHER = replace(SURVEYS, number=1)


def encoded(event_id: str, event: Event) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    return codec.structured(fact(event, event_id))


def messages() -> list[Message]:
    """Answered too early, invited, invited once more under another id, and answers that can never apply."""
    told: list[tuple[str, Event]] = [
        ("early", SurveyAnswered(invitation_id="i", score=4)),
        ("invited", SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app")),
        ("same", SurveyAnswered(invitation_id="i", score=4)),
        ("waits", SurveyAnswered(invitation_id="never", score=4)),
        ("high", SurveyAnswered(invitation_id="i", score=9)),
        ("invited", SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="mail")),
    ]
    return [
        Message(SURVEYS, offset, 0, key, value, tuple(headers))
        for offset, (key, value, headers) in enumerate(encoded(*one) for one in told)
    ]


@pytest.fixture
def stored(database: str) -> str:
    log = PostgresLog(database)
    ingest = Ingest(log, bootstrap.decoder(lambda: NOON), lambda: NOON)
    ingest.claim([OTHER, SURVEYS])
    ingest.take({SURVEYS: messages()})
    log.close()
    return database


def asked(database: str, *event_ids: str) -> list[Row]:
    with psycopg.connect(database) as conn:
        return receipts(conn, {codec.identity(meta(one)): (meta(one).source, one) for one in event_ids})


def test_each_identity_has_its_outcome_and_where_it_arrived(stored: str) -> None:
    rows = asked(stored, "waits", "early", "invited", "same", "high", "nobody")
    told = [(row["id"], row["outcome"], row["position"], row["kafka_offset"]) for row in rows]
    assert told == [
        ("waits", "parked", None, 3),
        ("early", "appended", 2, 0),
        ("invited", "appended", 1, 1),
        ("same", "duplicate", None, 2),
        ("high", "dead", None, 4),
        ("nobody", "unknown", None, None),
    ]
    assert {(row["topic"], row["topic_id"], row["partition"]) for row in rows[:5]} == {
        (SURVEYS.topic, SURVEYS.topic_id, SURVEYS.number)
    }
    assert [row["rule"] for row in rows if row["rule"]] == ["survey-not-invited-yet"]
    assert [len(row["dead_letters"]) for row in rows] == [0, 0, 1, 0, 1, 0]


def test_who_sent_what_cannot_be_read_is_kept_as_far_as_its_envelope_tells(database: str) -> None:
    key, value, headers = encoded("spoilt", SurveyAnswered(invitation_id="i", score=4))
    spoilt = [value.replace(b'"score":4', b'"score":"four"'), value[:-5], value.replace(b'"spoilt"', b'""')]
    log = PostgresLog(database)
    ingest = Ingest(log, bootstrap.decoder(lambda: NOON), lambda: NOON)
    ingest.claim([SURVEYS])
    ingest.take(
        ingest.read({SURVEYS: [Message(SURVEYS, n, 0, key, one, tuple(headers)) for n, one in enumerate(spoilt)]})
    )
    log.close()
    with psycopg.connect(database) as conn:
        told = conn.execute("SELECT rule, source, event_id FROM kehu.dead_letters ORDER BY kafka_offset").fetchall()
    source = meta("spoilt").source
    assert told == [("bad-data", source, "spoilt"), ("bad-json", None, None), ("bad-envelope", source, None)]
    (row,) = asked(database, "spoilt")
    assert (row["outcome"], row["kafka_offset"]) == ("dead", 0)


def test_what_a_former_release_stored_is_found_without_its_arrival(stored: str) -> None:
    with psycopg.connect(stored) as conn:
        conn.execute("UPDATE kehu.inbox SET place = NULL, kafka_offset = NULL, version = NULL")
    (row,) = asked(stored, "early")
    assert (row["outcome"], row["position"], row["topic"], row["kafka_offset"]) == ("appended", 2, None, None)
