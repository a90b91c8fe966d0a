"""What operators see of messages: found by their id, listed by their rule, and counted twice."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from domain import registry
from domain.ports import Batch, DeadLetter, InboxEntry, Move, Parked
from domain.survey import SurveyInvited
from domain.values import Meta, Recorded
from infra.postgres import reconciliation, tracing
from infra.postgres.dead_letters import count_dead_letters, get_dead_letters, list_dead_letters, mark_replayed
from infra.postgres.log import PostgresLog
from infra.postgres.parked import get_parked, list_parked
from tests.support.builders import NOON, SURVEYS, message, meta

INVITED = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app")
KEY = b"digest"


@pytest.fixture
def conn(database: str) -> Iterator["psycopg.Connection[Any]"]:
    """A database after five messages: one appended, one repeated, one parked, and two dead."""
    log = PostgresLog(database)
    log.claim([SURVEYS])
    bad = replace(message(3, b"\x00\xff"), headers=(("content-type", b"text/x"),))
    log.append(
        Batch(
            moves=[Move(SURVEYS, 0, 5, appended=1, duplicate=1, parked=1, dead=2)],
            events=[Recorded("survey-i", 1, INVITED, meta("e1"), registry.of(INVITED).name)],
            inbox=[InboxEntry(KEY, b"c", "survey-i")],
            park=[
                Parked("survey-j", message(2, b'{"id":"e3"}'), "too-early", "", NOON, NOON + timedelta(days=1), NOON),
            ],
            dead=[
                DeadLetter(bad, "bad-json", "line 1", None, None, None, NOON),
                DeadLetter(message(4, b"{}"), "too-late", "closed", "survey-i", "/test", "e5", NOON),
            ],
        )
    )
    log.close()
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def test_the_outcomes_add_up_and_equal_what_the_tables_hold(conn: "psycopg.Connection[Any]") -> None:
    (row,) = reconciliation.by_topic(conn)
    assert (row["topic"], row["read"], row["outcomes"], row["balanced"]) == ("kehu.surveys", 5, 5, True)
    assert (row["appended"], row["duplicate"], row["parked"], row["dead"]) == (1, 1, 1, 2)
    assert row["dead_by_rule"] == {"bad-json": 1, "too-late": 1}
    assert row["parked_by_rule"] == {"too-early": 1}
    conn.execute("DELETE FROM kehu.dead_letters WHERE rule = 'bad-json'")
    (row,) = reconciliation.by_topic(conn)
    assert (row["dead_rows"], row["balanced"]) == (1, False)


def test_an_appended_message_is_traced_to_its_events(conn: "psycopg.Connection[Any]") -> None:
    found = tracing.trace(conn, KEY, "/test", "e1")
    assert (found["stream"], found["dead_letters"], found["parked"]) == ("survey-i", [], [])
    assert [(e["position"], e["type"], e["data"]["channel"]) for e in found["events"]] == [
        (1, "survey.invited.v1", "app")
    ]


def test_dead_parked_and_unknown_messages_are_traced(conn: "psycopg.Connection[Any]") -> None:
    assert [d["rule"] for d in tracing.trace(conn, b"?", "/test", "e5")["dead_letters"]] == ["too-late"]
    assert [p["stream"] for p in tracing.trace(conn, b"?", "/test", "e3")["parked"]] == ["survey-j"]
    assert tracing.trace(conn, b"?", "/test", "e9") == {"stream": None, "events": [], "dead_letters": [], "parked": []}


def test_dead_letters_are_listed_newest_first_and_filtered(conn: "psycopg.Connection[Any]") -> None:
    assert [d["rule"] for d in list_dead_letters(conn)] == ["too-late", "bad-json"]
    assert [d["rule"] for d in list_dead_letters(conn, limit=1)] == ["too-late"]
    assert [d["rule"] for d in list_dead_letters(conn, rule="bad-json")] == ["bad-json"]
    assert [d["rule"] for d in list_dead_letters(conn, source="/test", topic="kehu.surveys")] == ["too-late"]
    assert list(list_dead_letters(conn, topic="kehu.contacts")) == []


def test_a_dead_letter_is_shown_with_its_bytes_and_replayed_once(conn: "psycopg.Connection[Any]") -> None:
    (listed,) = list_dead_letters(conn, rule="bad-json")
    (letter,) = get_dead_letters(conn, [listed["id"], 99])
    assert (letter["key"], letter["value"], letter["headers"]) == (b"c1", b"\x00\xff", [("content-type", b"text/x")])
    assert mark_replayed(conn, [listed["id"], 99]) == 1
    assert mark_replayed(conn, [listed["id"]]) == 0


def test_dead_letters_are_counted_by_rule_and_source(conn: "psycopg.Connection[Any]") -> None:
    mark_replayed(conn, [letter["id"] for letter in list_dead_letters(conn, rule="too-late")])
    counted = [(c["rule"], c["source"], c["letters"], c["replayed"]) for c in count_dead_letters(conn)]
    assert counted == [("bad-json", None, 1, 0), ("too-late", "/test", 1, 1)]
    assert count_dead_letters(conn, since=NOON + timedelta(seconds=1)) == []
    assert [d["rule"] for d in list_dead_letters(conn, replayed=False)] == ["bad-json"]


def test_an_incarnation_of_a_topic_is_reconciled_by_itself(conn: "psycopg.Connection[Any]", database: str) -> None:
    anew = replace(SURVEYS, topic_id="topic-2")
    log = PostgresLog(database)
    log.claim([anew])
    log.append(Batch(moves=[Move(anew, 0, 1, duplicate=1)]))
    log.close()
    rows = reconciliation.by_topic(conn)
    assert [(r["topic_id"], r["read"], r["dead_rows"], r["balanced"]) for r in rows] == [
        ("topic-1", 5, 2, True),
        ("topic-2", 1, 0, True),
    ]
    assert [(p["topic_id"], p["next_offset"]) for p in reconciliation.positions(conn)] == [
        ("topic-1", 5),
        ("topic-2", 1),
    ]


def test_an_id_is_found_over_all_sources_and_by_what_names_it(conn: "psycopg.Connection[Any]", database: str) -> None:
    log = PostgresLog(database)
    asked = Meta('e"6', "/desk", meta().customer_id, NOON, correlation_id="visit-1", causation_id="e1")
    log.append(Batch(events=[Recorded("survey-k", 1, INVITED, asked, registry.of(INVITED).name)]))
    log.close()
    assert tracing.sources_of(conn, 'e"6') == ["/desk"]
    assert tracing.sources_of(conn, "e5") == ["/test"]
    assert tracing.sources_of(conn, "visit-1") == []
    assert [row["position"] for row in tracing.related(conn, ["e1"], [])] == [1, 2]
    assert [row["position"] for row in tracing.related(conn, ["none"], ["visit-1"])] == [2]
    assert tracing.related(conn, ["none"], []) == []


def test_parked_messages_are_listed_by_their_next_try_or_by_stream(conn: "psycopg.Connection[Any]") -> None:
    assert [(p["stream"], p["rule"], p["kafka_offset"]) for p in list_parked(conn)] == [("survey-j", "too-early", 2)]
    assert list(list_parked(conn, stream="survey-i")) == []
    assert list(list_parked(conn, rule="too-late")) == []
    (listed,) = list_parked(conn, topic="kehu.surveys")
    waiting = get_parked(conn, listed["seq"])
    assert waiting is not None
    assert waiting["value"] == b'{"id":"e3"}'
    assert get_parked(conn, 99) is None
