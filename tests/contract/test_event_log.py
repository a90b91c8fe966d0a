"""What every event log keeps to: the same suite for PostgreSQL and for memory."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain import handling, registry
from domain.ports import Batch, Conflict, DeadLetter, EventLog, Fenced, InboxEntry, Move, Parked, Snapshot
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Position, Recorded
from infra.memory.log import MemoryLog
from infra.postgres.log import PostgresLog
from tests.support.builders import NOON, SURVEYS, message, meta

SURVEY = handling.snapshot_kinds()["survey"]
INVITED = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app", branch="北京")
ANSWERED = SurveyAnswered(invitation_id="i", score=4)


@pytest.fixture(params=["memory", "postgres"])
def log(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    if request.param == "memory":
        yield MemoryLog()
    else:
        postgres = PostgresLog(request.getfixturevalue("database"))
        yield postgres
        postgres.close()


def recorded(version: int, event: Event = ANSWERED, stream: str = "survey-i") -> Recorded:
    return Recorded(stream, version, event, meta(f"e{version}"), registry.of(event).name)


def move(expected: int, following: int, **counts: int) -> Move:
    return Move(SURVEYS, expected, following, **counts)


def parked(offset: int = 0, stream: str = "survey-i") -> Parked:
    what = replace(message(offset, b"{}"), headers=(("ce_id", b"\x00\xff"), ("empty", b""), ("null", None)))
    return Parked(
        stream,
        what,
        "too-early",
        "waits",
        NOON,
        NOON + timedelta(days=1),
        NOON + timedelta(seconds=5),
        identity=b"\x00k",
    )


def test_positions_start_at_zero_and_are_moved_with_the_events(log: EventLog) -> None:
    assert log.claim([SURVEYS]) == {SURVEYS: 0}
    assert log.append(Batch(moves=[move(0, 2, appended=2)], events=[recorded(1, INVITED), recorded(2)])) == 2
    assert log.claim([SURVEYS]) == {SURVEYS: 2}
    assert log.head() == 2


def test_what_is_read_is_what_was_appended_in_order(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1)], events=[recorded(1, INVITED), recorded(1, INVITED, "survey-j"), recorded(2)]))
    read = log.read(Position(0), 10)
    assert [(e.position, e.originator_id, e.originator_version) for e in read] == [
        (1, "survey-i", 1),
        (2, "survey-j", 1),
        (3, "survey-i", 2),
    ]
    assert (read[0].event, read[0].meta, read[0].name) == (INVITED, meta("e1"), "survey.invited")
    times = [e.recorded_at for e in read if e.recorded_at is not None]
    assert len(times) == 3
    assert times == sorted(times)
    assert [e.position for e in log.read(Position(1), 1)] == [2]
    assert [e.position for e in log.read(Position(0), 10, {"survey.invited"})] == [1, 2]
    assert [e.position for e in log.read(Position(0), 10, {"survey.answered"})] == [3]
    assert log.read(Position(0), 2, {"survey.answered"}) == []


def test_a_fenced_batch_writes_nothing(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1)], events=[recorded(1, INVITED)]))
    with pytest.raises(Fenced):
        log.append(Batch(moves=[move(0, 1)], events=[recorded(2)], inbox=[InboxEntry(b"k", b"c", "survey-i")]))
    assert log.head() == 1
    assert log.seen([b"k"]) == {}


def test_a_conflict_writes_nothing_and_leaves_no_gap(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1)], events=[recorded(1, INVITED)], inbox=[InboxEntry(b"k", b"c", "survey-i")]))
    with pytest.raises(Conflict):
        log.append(Batch(moves=[move(1, 2)], events=[recorded(1)]))
    with pytest.raises(Conflict):
        log.append(Batch(moves=[move(1, 2)], events=[recorded(2)], inbox=[InboxEntry(b"k", b"d", "survey-i")]))
    assert log.claim([SURVEYS]) == {SURVEYS: 1}
    assert log.append(Batch(moves=[move(1, 2)], events=[recorded(2)])) == 2
    assert [e.position for e in log.read(Position(0), 10)] == [1, 2]


def test_the_inbox_knows_what_it_has_seen(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1)], inbox=[InboxEntry(b"k\x00", b"c", "survey-i")]))
    assert log.seen([b"k\x00", b"other"]) == {b"k\x00": b"c"}


def test_the_inbox_keeps_where_a_message_arrived_and_what_it_led_to(log: EventLog) -> None:
    other = replace(SURVEYS, number=1)
    log.claim([SURVEYS, other])
    entries = [
        InboxEntry(b"k1", b"c", "survey-i", SURVEYS, 0, 1),
        InboxEntry(b"k2", b"c", "survey-i", other, 2**40, None),
        InboxEntry(b"k3", b"c", "survey-i", SURVEYS, 1, 2),
        InboxEntry(b"k4", b"c", "survey-j"),
    ]
    log.append(Batch(moves=[Move(other, None, None), move(0, 2)], inbox=entries))
    assert log.entries([b"k1", b"k2", b"k3", b"k4", b"k5"]) == {one.identity: one for one in entries}


def test_the_versions_of_streams_are_those_of_their_last_events(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 2)], events=[recorded(1, INVITED), recorded(2)], park=[parked(1, "survey-j")]))
    assert log.versions(["survey-i", "survey-j", "survey-k"]) == {"survey-i": 2, "survey-j": 0, "survey-k": 0}
    assert log.versions([]) == {}


def test_a_stream_is_loaded_with_its_snapshot_events_and_queue(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(
        Batch(
            moves=[move(0, 3, parked=1)],
            events=[recorded(1, INVITED), recorded(2), recorded(3)],
            snapshots=[Snapshot("survey-i", 2, SURVEY, b"{}")],
            park=[parked(2)],
        )
    )
    loaded = log.load(["survey-i", "survey-x"])
    assert set(loaded) == {"survey-i"}
    stream = loaded["survey-i"]
    assert (stream.version, [e.originator_version for e in stream.events]) == (3, [3])
    assert stream.snapshot == Snapshot("survey-i", 2, SURVEY, b"{}")
    (waiting,) = stream.parked
    assert replace(waiting, seq=0) == parked(2)


def test_parked_messages_are_due_by_the_oldest_of_their_stream(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 2, parked=2)], park=[parked(0), replace(parked(1), next_try_at=NOON)]))
    assert list(log.due_parked([SURVEYS], NOON, 10)) == []
    assert list(log.due_parked([SURVEYS], NOON + timedelta(seconds=5), 10)) == ["survey-i"]
    first, second = (one.seq for one in log.load(["survey-i"])["survey-i"].parked)
    log.append(Batch(moves=[move(2, 2)], delay=[(first, NOON + timedelta(hours=1))]))
    assert list(log.due_parked([SURVEYS], NOON + timedelta(seconds=5), 10)) == []
    log.append(Batch(moves=[move(2, 2, parked=-2)], unpark=[first, second]))
    assert log.load(["survey-i"]) == {}


def test_what_a_process_had_in_work_when_it_ended_is_suspect(log: EventLog) -> None:
    other = replace(SURVEYS, number=1)
    assert log.watch({SURVEYS: 5, other: 0}, "a", 100) == {SURVEYS: 0, other: 0}
    assert log.watch({SURVEYS: 5}, "a", 100) == {SURVEYS: 0}
    assert log.watch({SURVEYS: 5, other: 7}, "b", 50) == {SURVEYS: 100, other: 0}
    assert log.watch({SURVEYS: 5}, "b", 50) == {SURVEYS: 100}
    log.trying(SURVEYS, 8, "b", 10)
    assert log.watch({SURVEYS: 8, other: 7}, "c", 50) == {SURVEYS: 10, other: 50}
    assert log.watch({SURVEYS: 9}, "d", 50) == {SURVEYS: 0}


def test_a_process_that_ends_cleanly_leaves_suspect_only_what_was_so_before(log: EventLog) -> None:
    log.watch({SURVEYS: 5}, "a", 100)
    log.unwatch("a")
    assert log.watch({SURVEYS: 5}, "b", 100) == {SURVEYS: 0}
    assert log.watch({SURVEYS: 5}, "c", 100) == {SURVEYS: 100}
    log.unwatch("b")
    log.unwatch("c")
    assert log.watch({SURVEYS: 5}, "d", 100) == {SURVEYS: 100}


def test_processes_that_worked_on_one_message_only_are_counted_once_each(log: EventLog) -> None:
    log.trying(SURVEYS, 5, "before", 10)
    assert [log.trying(SURVEYS, 5, worker, 1) for worker in "aab"] == [1, 1, 2]
    assert log.watch({SURVEYS: 5}, "c", 100) == {SURVEYS: 1}
    assert log.trying(SURVEYS, 5, "c", 1) == 3
    assert log.trying(SURVEYS, 6, "c", 1) == 1
    log.watch({SURVEYS: 7}, "d", 100)
    assert log.trying(SURVEYS, 7, "d", 1) == 1


def test_of_a_long_queue_the_oldest_messages_are_loaded_and_the_rest_is_read_on(log: EventLog) -> None:
    log.claim([SURVEYS])
    queue = [parked(0), *(replace(parked(n), next_try_at=None) for n in range(1, 7))]
    log.append(Batch(moves=[move(0, 8, parked=8)], park=[*queue, parked(7, "survey-j")]))
    loaded = log.load(["survey-i", "survey-j"], 3)
    assert {name: (len(stream.parked), stream.more) for name, stream in loaded.items()} == {
        "survey-i": (3, True),
        "survey-j": (1, False),
    }
    assert [one.message.offset for one in loaded["survey-i"].parked] == [0, 1, 2]
    assert [one.next_try_at for one in loaded["survey-i"].parked[1:]] == [None, None]
    last = loaded["survey-i"].parked[-1].seq
    behind = log.waiting("survey-i", last, 2)
    assert [one.message.offset for one in behind] == [3, 4]
    assert [replace(one, seq=0) for one in behind] == queue[3:5]
    assert [one.message.offset for one in log.waiting("survey-i", behind[-1].seq, 10)] == [5, 6]
    assert list(log.waiting("survey-j", loaded["survey-j"].parked[0].seq, 10)) == []
    assert not log.load(["survey-i"], 7)["survey-i"].more


def test_a_message_that_becomes_the_oldest_of_its_queue_is_due_at_once(log: EventLog) -> None:
    log.claim([SURVEYS])
    asleep = replace(parked(1), next_try_at=None)
    log.append(Batch(moves=[move(0, 2, parked=2)], park=[parked(0), asleep]))
    first, second = log.load(["survey-i"])["survey-i"].parked
    log.append(Batch(moves=[move(2, 2)], delay=[(first.seq, NOON + timedelta(hours=1))]))
    assert list(log.due_parked([SURVEYS], NOON + timedelta(minutes=5), 10)) == []
    log.append(Batch(moves=[move(2, 2, parked=-1)], unpark=[first.seq]))
    assert list(log.due_parked([SURVEYS], NOON, 10)) == ["survey-i"]
    log.append(Batch(moves=[move(2, 2, parked=-1)], unpark=[second.seq]))
    log.append(Batch(moves=[move(2, 3, parked=1)], park=[asleep]))
    assert list(log.due_parked([SURVEYS], NOON, 10)) == ["survey-i"]


def test_what_waits_behind_an_expired_message_is_not_due(log: EventLog) -> None:
    log.claim([SURVEYS])
    behind = replace(parked(1), next_try_at=None, expires_at=NOON)
    log.append(Batch(moves=[move(0, 2, parked=2)], park=[replace(parked(0), next_try_at=NOON), behind]))
    assert list(log.due_parked([SURVEYS], NOON, 10)) == ["survey-i"]


def test_large_messages_are_loaded_a_few_at_a_time(log: EventLog) -> None:
    log.claim([SURVEYS])
    large = [replace(one, message=replace(one.message, value=b"x" * 5_000_000)) for one in map(parked, range(5))]
    log.append(Batch(moves=[move(0, 6, parked=6)], park=[*large, parked(5, "survey-j")]))
    loaded = log.load(["survey-i", "survey-j"])
    found = [*loaded["survey-i"].parked]
    assert found[0].message.value == large[0].message.value
    assert len(loaded["survey-j"].parked) == 1
    while loaded["survey-i"].more and (page := log.waiting("survey-i", found[-1].seq, 10)):
        found += page
    assert [one.message.offset for one in found] == [0, 1, 2, 3, 4]


def test_a_dead_letter_may_hold_any_bytes(log: EventLog) -> None:
    log.claim([SURVEYS])
    what = replace(message(0, b"\x00\xff"), key=None, headers=(("a\x00", b"\x00"),))
    log.append(Batch(moves=[move(0, 1, dead=1)], dead=[DeadLetter(what, "bad", "a\x00b", None, None, None, NOON)]))
    assert log.claim([SURVEYS]) == {SURVEYS: 1}


def test_a_message_leaves_its_queue_once(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1, parked=1)], park=[parked()]))
    (waiting,) = log.load(["survey-i"])["survey-i"].parked
    log.append(Batch(moves=[move(1, 1, parked=-1)], unpark=[waiting.seq]))
    with pytest.raises(Conflict):
        log.append(Batch(moves=[move(1, 2)], events=[recorded(1, INVITED)], unpark=[waiting.seq]))
    with pytest.raises(Conflict):
        log.append(Batch(moves=[move(1, 2)], events=[recorded(1, INVITED)], delay=[(waiting.seq, NOON)]))
    assert log.head() == 0


def test_a_key_cannot_be_in_one_batch_twice(log: EventLog) -> None:
    log.claim([SURVEYS])
    with pytest.raises(Conflict):
        log.append(Batch(moves=[move(0, 1)], inbox=[InboxEntry(b"k", b"c", "survey-i")] * 2))
    assert log.claim([SURVEYS]) == {SURVEYS: 0}


def test_a_newer_snapshot_takes_the_place_of_the_older(log: EventLog) -> None:
    log.claim([SURVEYS])
    older, newer = Snapshot("survey-i", 1, SURVEY, b"{}"), Snapshot("survey-i", 2, SURVEY, b'{"a":1}')
    log.append(Batch(moves=[move(0, 1)], events=[recorded(1, INVITED)], snapshots=[older]))
    log.append(Batch(moves=[move(1, 2)], events=[recorded(2)], snapshots=[newer]))
    stream = log.load(["survey-i"])["survey-i"]
    assert (stream.version, stream.snapshot, stream.events) == (2, newer, ())


def test_a_snapshot_of_a_state_that_was_made_otherwise_is_not_read(log: EventLog) -> None:
    log.claim([SURVEYS])
    former = Snapshot("survey-i", 1, "survey.00000000", b"{}")
    log.append(Batch(moves=[move(0, 1)], events=[recorded(1, INVITED)], snapshots=[former]))
    stream = log.load(["survey-i"])["survey-i"]
    assert (stream.version, stream.snapshot) == (1, None)
    assert [one.event for one in stream.events] == [INVITED]


def test_the_moves_of_a_batch_are_written_together_or_not_at_all(log: EventLog) -> None:
    other = replace(SURVEYS, number=1)
    log.claim([SURVEYS, other])
    with pytest.raises(Fenced):
        log.append(Batch(moves=[Move(other, 0, 5), move(3, 4)]))
    assert log.claim([SURVEYS, other]) == {SURVEYS: 0, other: 0}
    log.append(Batch(moves=[Move(other, 0, 5), move(0, 4)]))
    assert log.claim([SURVEYS, other]) == {SURVEYS: 4, other: 5}


def test_counters_of_a_partition_of_somebody_else_move_without_its_position(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1, parked=1)], park=[parked()]))
    log.append(Batch(moves=[Move(SURVEYS, None, None, parked=-1, dead=1)]))
    assert log.claim([SURVEYS]) == {SURVEYS: 1}
    log.append(Batch(moves=[move(1, 2)]))


def test_the_owner_of_partition_0_takes_over_what_waits_of_a_topic_that_is_gone(log: EventLog) -> None:
    log.claim([SURVEYS])
    log.append(Batch(moves=[move(0, 1, parked=1)], park=[parked()]))
    later = NOON + timedelta(minutes=1)
    anew, second = replace(SURVEYS, topic_id="topic-2"), replace(SURVEYS, topic_id="topic-2", number=1)
    elsewhere = replace(SURVEYS, topic="kehu.contacts", topic_id="topic-3")
    assert list(log.due_parked([anew, second], later, 10)) == ["survey-i"]
    assert list(log.due_parked([second, elsewhere], later, 10)) == []
    assert list(log.due_parked([anew], NOON, 10)) == []
