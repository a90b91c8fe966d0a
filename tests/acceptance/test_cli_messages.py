"""What becomes of messages, from the command line: publish, list, follow, and publish again."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import psycopg

from domain.complaint import ComplaintOpened
from domain.survey import SurveyDeclined
from domain.values import CustomerId, Fact, Meta
from infra.kafka import codec
from infra.kafka.producer import publish
from infra.kafka.topics import TOPICS
from projections.catalogue import ALL
from tests.support.cli import History, kehu, store

ROOT = Path(__file__).parents[2]


def test_dead_letters_are_filtered_and_counted(history: History) -> None:
    whole = history("dead-letters", "list", "--json", "--limit", "1000").rows
    assert len(whole) == history.expected.dead + 2
    (odd,) = history("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    assert (odd["topic"], odd["source"], odd["event_id"]) == ("kehu.surveys", None, None)
    surveys = history("dead-letters", "list", "--topic", "kehu.surveys", "--json").rows
    assert surveys == [letter for letter in whole if letter["topic"] == "kehu.surveys"]
    assert history("dead-letters", "list", "--source", "/nobody", "--json").rows == []
    tomorrow = (history.now + timedelta(days=1)).date().isoformat()
    assert history("dead-letters", "list", "--since", tomorrow, "--json").rows == []
    counts = history("dead-letters", "list", "--summary", "--json").rows
    assert sum(row["letters"] for row in counts) == len(whole)


def test_a_dead_letter_is_shown_with_headers_body_reason_and_remedy(history: History) -> None:
    (listed,) = history("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    letter = history("dead-letters", "show", str(listed["id"]), "--json").rows
    assert (letter["key"], letter["value"]) == ("c-told", "0xfffe")
    assert letter["headers"] == [
        {"name": "content-type", "value": "text/plain"},
        {"name": "trace", "value": "0x0080"},
    ]
    assert f"kehu dead-letters replay {listed['id']}" in letter["remedy"]
    shown = history("dead-letters", "show", str(listed["id"])).out
    assert "0xfffe" in shown
    assert "send application/cloudevents+json" in " ".join(shown.split())


def test_a_replayed_dead_letter_comes_again_as_it_was(copied: History) -> None:
    assert copied("setup").code == 0
    (listed,) = copied("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    assert copied("dead-letters", "replay", "--rule", "wrong-content-type", "--dry-run").out == (
        "1 dead letters would be replayed\n"
    )
    assert copied("dead-letters", "replay", "--rule", "wrong-content-type").out == "1 dead letters replayed\n"
    store(copied.postgres, copied.kafka)
    again, before = copied("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    assert (before["id"], before["replayed_at"] is None) == (listed["id"], False)
    first = copied("dead-letters", "show", str(before["id"]), "--json").rows
    second = copied("dead-letters", "show", str(again["id"]), "--json").rows
    assert (second["key"], second["value"]) == (first["key"], first["value"])
    assert second["headers"] == [*first["headers"], {"name": "kehu-dead-letter", "value": str(before["id"])}]


def test_only_what_was_never_replayed_is_replayed_unless_it_is_named(copied: History) -> None:
    assert copied("setup").code == 0
    letters = len(copied("dead-letters", "list", "--json").rows)
    one = str(copied("dead-letters", "list", "--json", "--limit", "1").rows[0]["id"])
    assert copied("dead-letters", "replay", one).out == "1 dead letters replayed\n"
    assert copied("dead-letters", "replay", "--all").out == f"{letters - 1} dead letters replayed\n"
    assert copied("dead-letters", "replay", "--all").out == "0 dead letters replayed\n"
    assert copied("dead-letters", "replay", one).out == "1 dead letters replayed\n"
    store(copied.postgres, copied.kafka)
    assert len(copied("dead-letters", "list", "--json", "--limit", "1000").rows) == 2 * letters + 1
    assert copied("show", "reconciliation").code == 0


def test_what_kafka_cannot_take_back_is_told(copied: History) -> None:
    assert copied("setup").code == 0
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.dead_letters SET key = NULL, value = NULL WHERE rule = 'wrong-content-type'")
    done = copied("dead-letters", "replay", "--rule", "wrong-content-type")
    assert (done.code, done.out) == (1, "0 dead letters replayed\n")
    assert "1 have neither key nor value" in done.err


def test_a_dead_letter_is_repaired_under_a_new_id_that_names_the_old_one(copied: History) -> None:
    assert copied("setup").code == 0
    (letter,) = copied("dead-letters", "list", "--rule", "same-id-other-content", "--json").rows
    asked = ("dead-letters", "repair", str(letter["id"]), "--set", "data.queue=told", "--set", "data.severity=2")
    event = copied(*asked, "--dry-run").rows
    assert (event["id"], event["causationid"]) == (f"told-opened.repair-{letter['id']}", "told-opened")
    assert (event["data"]["queue"], event["data"]["severity"]) == ("told", 2)
    assert copied("dead-letters", "show", str(letter["id"]), "--json").rows["repaired_as"] is None
    assert copied(*asked).out == f"dead letter {letter['id']} was repaired and published as {event['id']}\n"
    assert copied(*asked).code == 0
    store(copied.postgres, copied.kafka)
    (traced,) = copied("trace", event["id"], "--json").rows
    assert (traced["outcomes"], traced["stream"]) == (["appended"], "complaint-told-4")
    assert traced["events"][0]["meta"]["causation_id"] == "told-opened"
    kept = copied("dead-letters", "show", str(letter["id"]), "--json").rows
    assert (kept["repaired_as"], kept["replayed_at"] is None) == (event["id"], False)
    assert json.loads(kept["value"])["data"].get("queue", "complaints") == "complaints"
    assert {row["balanced"] for row in copied("show", "reconciliation", "--json").rows} == {True}


def test_what_cannot_be_read_is_repaired_from_a_file(copied: History, tmp_path: Path) -> None:
    assert copied("setup").code == 0
    (letter,) = copied("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    refused = copied("dead-letters", "repair", str(letter["id"]), "--set", "data.score=5")
    assert (refused.code, "--file" in refused.err) == (1, True)
    file = tmp_path / "edited.json"
    file.write_bytes((ROOT / "tests" / "data" / "events" / "survey.invited.v1.json").read_bytes())
    assert copied("dead-letters", "repair", str(letter["id"]), "--file", str(file)).code == 0
    store(copied.postgres, copied.kafka)
    event_id = copied("dead-letters", "show", str(letter["id"]), "--json").rows["repaired_as"]
    assert copied("trace", event_id, "--json").rows[0]["outcomes"] == ["appended"]


def test_a_repair_that_no_worker_would_accept_is_not_published(copied: History) -> None:
    (letter,) = copied("dead-letters", "list", "--rule", "same-id-other-content", "--json").rows
    asked = ("dead-letters", "repair", str(letter["id"]))
    wrong = copied(*asked, "--set", "data.mood=bad")
    assert (wrong.code, "bad-data: kehu.complaint.opened.v1: mood" in wrong.err) == (1, True)
    assert copied(*asked, "--set", "data.mood=bad", "--remove", "data.mood", "--dry-run").code == 0
    assert copied(*asked).code == 2
    assert copied(*asked, "--set", "data.mood").code == 2
    assert copied(*asked, "--remove", "data.mood").code == 2
    assert copied(*asked, "--set", "id.mood=1").code == 2
    assert copied("dead-letters", "repair", "999999", "--set", "data.mood=1").code == 1
    assert copied("dead-letters", "show", str(letter["id"]), "--json").rows["repaired_as"] is None


def test_an_event_in_binary_mode_is_repaired_too(copied: History) -> None:
    assert copied("setup").code == 0
    late = ComplaintOpened(complaint_id="told-5", channel="app", queue="told", regime="moon_law")
    meta = Meta("told-binary", "/told", CustomerId("c-told"), copied.now - timedelta(days=1))
    key, value, headers = codec.binary(Fact(late, meta))
    asyncio.run(publish(copied.kafka, [("kehu.complaints", key, value, headers)]))
    store(copied.postgres, copied.kafka)
    (letter,) = copied("dead-letters", "list", "--rule", "unknown-regime", "--json").rows
    repaired = copied("dead-letters", "repair", str(letter["id"]), "--remove", "data.regime", "--dry-run")
    assert repaired.rows["data"]["complaint_id"] == "told-5"
    assert repaired.rows["id"] == f"told-binary.repair-{letter['id']}"


def test_parked_messages_are_listed_and_shown(history: History) -> None:
    (listed,) = history("parked", "list", "--stream", "survey-told-3", "--json").rows
    assert listed["rule"] == "survey-not-invited-yet"
    assert history("parked", "list", "--topic", "kehu.customers", "--json").rows == []
    shown = history("parked", "show", str(listed["seq"]), "--json").rows
    assert json.loads(shown["value"])["id"] == "told-answer"
    assert "The invitation has not arrived yet" in shown["remedy"]
    assert "told-answer" in history("parked", "show", str(listed["seq"])).out


def test_a_parked_message_is_due_when_an_operator_says_so(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.parked SET next_try_at = clock_timestamp() + interval '1 hour'")
    (before,) = copied("parked", "list", "--stream", "survey-told-3", "--json").rows
    assert copied("parked", "retry", "survey-told-3").out == "1 queues are due now\n"
    (after,) = copied("parked", "list", "--stream", "survey-told-3", "--json").rows
    assert after["next_try_at"] < before["next_try_at"]
    waiting = copied("parked", "list", "--json", "--limit", "1000").rows
    queues = {row["stream"] for row in waiting}
    assert copied("parked", "retry", "--all").out == f"{len(queues)} queues are due now\n"
    assert copied("parked", "retry", "--topic", "kehu.customers").out == "0 queues are due now\n"
    unknown = copied("parked", "retry", "survey-nobody")
    assert (unknown.code, "survey-nobody" in unknown.err) == (1, True)
    assert copied("parked", "retry").code == 2
    assert copied("parked", "retry", "survey-told-3", "--all").code == 2


def test_a_released_message_is_a_dead_letter_with_who_and_why(copied: History) -> None:
    (waits,) = copied("parked", "list", "--stream", "survey-told-3", "--json").rows
    asked = ("parked", "release", str(waits["seq"]), "--reason", "never invited", "--by", "operator-7")
    assert copied(*asked).out == "1 parked messages released\n"
    assert copied("parked", "list", "--stream", "survey-told-3", "--json").rows == []
    (letter,) = copied("dead-letters", "list", "--rule", "released", "--json").rows
    assert (letter["stream"], letter["source"], letter["event_id"]) == ("survey-told-3", "/told", "told-answer")
    assert letter["detail"].startswith("released by operator-7: never invited; it waited since ")
    assert letter["detail"].endswith(" for survey-not-invited-yet")
    shown = copied("dead-letters", "show", str(letter["id"]), "--json").rows
    assert json.loads(shown["value"])["id"] == "told-answer"
    assert "taken out of its queue by hand" in shown["remedy"]
    assert {row["balanced"] for row in copied("show", "reconciliation", "--json").rows} == {True}
    assert copied(*asked).code == 1


def test_what_waits_behind_a_released_message_goes_on(copied: History) -> None:
    first, second = (
        codec.structured(
            Fact(SurveyDeclined(invitation_id="told-9"), Meta(f"told-{n}", "/told", CustomerId("c-told"), copied.now))
        )
        for n in ("first", "second")
    )
    assert copied("setup").code == 0
    asyncio.run(publish(copied.kafka, [("kehu.surveys", *one) for one in (first, second)]))
    store(copied.postgres, copied.kafka)
    head, behind = copied("parked", "list", "--stream", "survey-told-9", "--json").rows
    assert behind["next_try_at"] is None
    assert copied("parked", "release", str(head["seq"]), "--reason", "sent twice").code == 0
    (left,) = copied("parked", "list", "--stream", "survey-told-9", "--json").rows
    assert (left["seq"], left["next_try_at"] is None) == (behind["seq"], False)


def test_an_event_is_traced_to_its_stream_its_kin_and_its_rows(history: History) -> None:
    (traced,) = history("trace", "told-opened", "--json").rows
    assert (traced["source"], traced["stream"]) == ("/told", "complaint-told-1")
    assert traced["events"][0]["type"] == "complaint.opened.v1"
    assert {(one["meta"]["id"], one["relation"]) for one in traced["related"]} == {("told-resolved", "caused by it")}
    rows = {(row["projection"], row["table"]): row for row in traced["rows"]}
    assert rows["service_queues", "queue_items"]["key"] == {"item_id": "complaint-told-1"}
    assert rows["retention_risk", "retention_risk"]["key"] == {"customer_id": "c-told"}
    timeline = rows["customer_timeline", "customer_timeline"]
    assert timeline["position"] == traced["events"][0]["position"]
    (cause,) = history("trace", "told-resolved", "--source", "/told", "--json").rows
    assert {one["relation"] for one in cause["related"] if one["meta"]["id"] == "told-opened"} == {"its cause"}
    only = history("trace", "told-opened", "--type", "complaint.deadline-missed", "--json").rows[0]["related"]
    assert only == [one for one in traced["related"] if one["type"].startswith("complaint.deadline-missed")]
    assert 0 < len(only) < len(traced["related"])
    shown = history("trace", "told-opened").out
    assert "Read-model rows" in shown
    assert "caused by it" in shown


def test_the_log_is_traced_back_to_where_its_messages_arrived(history: History) -> None:
    (traced,) = history("trace", "told-opened", "--json").rows
    arrived, first = traced["arrived"], traced["events"][0]
    assert arrived["topic"] == "kehu.complaints"
    assert (
        f"kehu.complaints, partition {arrived['partition']}, offset {arrived['kafka_offset']}"
        in history("trace", "told-opened").out
    )
    assert history("trace", "--position", str(first["position"]), "--json").rows == [traced]
    listed = history("trace", "--stream", "complaint-told-1", "--json").rows
    assert [row["version"] for row in listed] == list(range(1, len(listed) + 1))
    assert {name: listed[0][name] for name in ("position", "source", "id", *arrived)} == {
        "position": first["position"],
        "source": "/told",
        "id": "told-opened",
        **arrived,
    }
    assert history("trace", "--stream", "complaint-told-1", "--limit", "1", "--json").rows == listed[-1:]
    assert history("trace", "--stream", "complaint-told-1", "--limit", "0", "--json").rows == listed
    opened = history("trace", "--stream", "complaint-told-1", "--type", "complaint.opened", "--json").rows
    assert opened == [row for row in listed if row["type"].startswith("complaint.opened")] == listed[:1]
    assert history("trace", "--stream", "complaint-told-1", "--type", "survey", "--json").rows == []
    assert "told-opened" in history("trace", "--stream", "complaint-told-1").out
    (waits,) = history("trace", "told-answer", "--json").rows
    assert waits["arrived"]["kafka_offset"] == waits["parked"][0]["kafka_offset"]


def test_a_place_that_the_log_does_not_have_is_named(history: History) -> None:
    for asked in (("--position", "999999999"), ("--stream", "survey-nobody")):
        unknown = history("trace", *asked)
        assert (unknown.code, "The log holds no such position or stream" in unknown.err) == (1, True)
    assert history("trace").code == 2
    assert history("trace", "told-opened", "--position", "1").code == 2


def test_dead_parked_and_unknown_events_are_traced(history: History) -> None:
    (waits,) = history("trace", "told-answer", "--json").rows
    assert (waits["outcomes"], waits["parked"][0]["stream"]) == (["parked"], "survey-told-3")
    (both,) = history("trace", "told-opened", "--json").rows
    assert both["outcomes"] == ["appended", "dead"]
    assert [letter["rule"] for letter in both["dead_letters"]] == ["same-id-other-content"]
    unknown = history("trace", "told-opened", "--source", "/elsewhere")
    assert unknown.code == 1
    assert "No message with this id was read" in unknown.err


# --- publish and the contract ---


def test_the_catalogue_names_topic_and_consumers(history: History) -> None:
    rows = {row["name"]: row for row in history("events", "catalog", "--json").rows}
    opened = rows["complaint.opened"]
    assert (opened["version"], opened["topic"], opened["published"]) == (1, "kehu.complaints", True)
    assert opened["consumers"] == [projection.name for projection in ALL if "complaint.opened" in projection.handles]
    assert rows["complaint.clock-set"]["published"] is False
    assert {row["topic"] for row in rows.values()} == {*TOPICS.values(), None}
    assert rows["administration.model-promoted"]["topic"] is None
    some = history("events", "catalog", "--topic", "kehu.surveys", "--published", "--json").rows
    assert {row["name"] for row in some} == {"survey.invited", "survey.answered", "survey.declined", "survey.bounced"}


def test_valid_events_are_counted_without_a_broker(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    golden = (ROOT / "tests" / "data" / "events" / "survey.invited.v1.json").read_text()
    file.write_text("\n".join([json.dumps(json.loads(golden))] * 3))
    assert kehu("publish", str(file), "--dry-run").out == "3 events are valid\n"


def test_wrong_lines_are_named_and_nothing_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('\n{"type": "kehu.survey.invited.v1"}\n[]\n{')
    done = kehu("publish", str(file), "--kafka", "127.0.0.1:1")
    assert (done.code, done.out) == (1, "")
    assert "nothing was sent" in done.err
    assert "line 2: bad-envelope: the attribute 'subject' is missing" in done.err
    assert "line 3: bad-json" in done.err
    assert "line 4: bad-json" in done.err


def test_an_event_that_said_nothing_new_is_traced_by_its_source(copied: History) -> None:
    assert copied("setup").code == 0
    again = ComplaintOpened(complaint_id="told-2", channel="app", queue="told", severity=1)
    meta = Meta("told-once-more", "/told", CustomerId("c-told"), copied.now - timedelta(days=100))
    key, value, headers = codec.structured(Fact(again, meta))
    asyncio.run(publish(copied.kafka, [("kehu.complaints", key, value, headers)]))
    store(copied.postgres, copied.kafka)
    (traced,) = copied("trace", "told-once-more", "--source", "/told", "--json").rows
    assert (traced["outcomes"], traced["stream"], traced["events"]) == (["duplicate"], "complaint-told-2", [])
    assert "nothing new" in copied("trace", "told-once-more", "--source", "/told").out
