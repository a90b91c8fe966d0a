"""What must be true after any fault, said in SQL over the tables and in counts of what was published.

It shares no code with the worker. Each rule gives sentences about what is wrong; none means that nothing is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg

from tests.faults.workload import Sent

Place = tuple[str, int, int]
"""Id of the topic, partition, offset: a topic that was made anew has another id."""


def violations(database: str, published: Mapping[Place, Sent]) -> list[str]:
    """All that is wrong with what the workers made of the messages."""
    with psycopg.connect(database) as conn:
        rules = (
            _every_message_has_one_outcome,
            _nothing_is_lost_or_twice,
            _dead_are_those_that_must_die,
            _identities_tell_where_they_arrived,
            _streams_have_no_gaps_and_keep_their_order,
            _positions_have_no_gaps,
            _read_models_count_what_the_log_holds,
        )
        return [f"{rule.__name__.strip('_')}: {said}" for rule in rules for said in rule(conn, published)][:50]


def _rows(conn: "psycopg.Connection[Any]", query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query.encode()).fetchall()


def _every_message_has_one_outcome(conn: "psycopg.Connection[Any]", published: Mapping[Place, Sent]) -> Iterator[str]:
    end: dict[tuple[str, int], int] = {}
    fates: Counter[tuple[str, str]] = Counter()
    for (topic_id, partition, offset), sent in published.items():
        end[topic_id, partition] = max(end.get((topic_id, partition), 0), offset + 1)
        fates[sent.topic, sent.fate] += 1
    query = "SELECT topic_id, partition, next_offset, appended + duplicate + parked + dead FROM kehu.positions"
    found = {(topic_id, number): (following, counted) for topic_id, number, following, counted in _rows(conn, query)}
    for place, following in end.items():
        if found.get(place, (0, 0))[0] != following:
            yield f"{place} is at {found.get(place)}, its end is {following}"
        elif found[place][1] != following:
            yield f"{place}: {following} messages, but {found[place][1]} outcomes"
    query = "SELECT topic, sum(appended), sum(duplicate), sum(parked), sum(dead) FROM kehu.positions GROUP BY topic"
    for topic, appended, duplicate, parked, dead in _rows(conn, query):
        wanted = (fates[topic, "appended"], fates[topic, "duplicate"], 0, fates[topic, "dead"])
        if (appended, duplicate, parked, dead) != wanted:
            yield f"{topic}: appended, duplicate, parked, dead are {(appended, duplicate, parked, dead)}, not {wanted}"


def _nothing_is_lost_or_twice(conn: "psycopg.Connection[Any]", published: Mapping[Place, Sent]) -> Iterator[str]:
    good = {sent.id: sent for sent in published.values() if sent.fate == "appended"}
    query = """SELECT meta ->> 'id', stream, count(*) FILTER (WHERE type NOT IN ('complaint.clock-set.v1',
        'survey.scored.v1')), count(*) - count(DISTINCT (type, data)) FROM kehu.event_log GROUP BY 1, 2"""
    found: Counter[str] = Counter()
    for event_id, stream, told, repeated in _rows(conn, query):
        found[event_id] += 1
        sent = good.get(event_id)
        if sent is None:
            yield f"{event_id} was never published"
        elif (stream, told, repeated) != (sent.stream, 1, 0):
            yield f"{event_id} is {told} times in {stream}, {repeated} events of it are repeated"
    yield from (f"{event_id} is lost" for event_id in good.keys() - found.keys())
    yield from (f"{event_id} is in {n} streams" for event_id, n in found.items() if n > 1)
    (((inbox, parked)),) = _rows(conn, "SELECT (SELECT count(*) FROM kehu.inbox), (SELECT count(*) FROM kehu.parked)")
    if (inbox, parked) != (len(good), 0):
        yield f"{inbox} in the inbox and {parked} parked, not {len(good)} and 0"


def _dead_are_those_that_must_die(conn: "psycopg.Connection[Any]", published: Mapping[Place, Sent]) -> Iterator[str]:
    found = Counter(
        (t, p, o) for t, p, o in _rows(conn, "SELECT topic_id, partition, kafka_offset FROM kehu.dead_letters")
    )
    must_die = {place for place, sent in published.items() if sent.fate == "dead"}
    yield from (f"{place} should be a dead letter" for place in must_die - found.keys())
    yield from (f"{place} died {published.get(place)}" for place in found.keys() - must_die)
    yield from (f"{place} died {n} times" for place, n in found.items() if n > 1)


def _identities_tell_where_they_arrived(
    conn: "psycopg.Connection[Any]", published: Mapping[Place, Sent]
) -> Iterator[str]:
    query = """SELECT i.stream, p.topic_id, p.partition, i.kafka_offset, e.meta ->> 'id' FROM kehu.inbox i
        LEFT JOIN kehu.positions p USING (place) LEFT JOIN kehu.event_log e USING (stream, version)"""
    places: Counter[Place] = Counter()
    for stream, topic_id, partition, offset, event_id in _rows(conn, query):
        place = (topic_id, partition, offset)
        places[place] += 1
        sent = published.get(place)
        if sent is None or (sent.stream, sent.id) != (stream, event_id):
            yield f"{event_id} of {stream} is said to have arrived at {place}, where {sent and sent.id} was published"
    yield from (f"{n} identities arrived at {place}" for place, n in places.items() if n > 1)


def _streams_have_no_gaps_and_keep_their_order(
    conn: "psycopg.Connection[Any]", published: Mapping[Place, Sent]
) -> Iterator[str]:
    steps = {sent.id: sent.step for sent in published.values() if sent.fate == "appended"}
    last: dict[str, tuple[int, int]] = {}
    for stream, version, event_id in _rows(
        conn, "SELECT stream, version, meta ->> 'id' FROM kehu.event_log ORDER BY stream, version"
    ):
        before, step = last.get(stream, (0, -1))
        now = steps.get(event_id) or 0
        if version != before + 1:
            yield f"{stream} goes from version {before} to {version}"
        if now < step:
            yield f"{stream} has {event_id} after step {step}"
        last[stream] = (version, now)


def _positions_have_no_gaps(conn: "psycopg.Connection[Any]", _published: Mapping[Place, Sent]) -> Iterator[str]:
    query = """SELECT count(*), coalesce(max(notification_id), 0), (SELECT n FROM kehu.log_head),
        count(*) FILTER (WHERE earlier > recorded_at) FROM (SELECT notification_id, recorded_at, lag(recorded_at)
        OVER (ORDER BY notification_id) AS earlier FROM kehu.stored_events) numbered"""
    for events, last, head, backwards in _rows(conn, query):
        if not events == last == head:
            yield f"{events} events, the last at position {last}, the head at {head}"
        if backwards:
            yield f"{backwards} events were recorded before the one at the position before"


_COUNTS = {
    "satisfaction": (
        "SELECT coalesce(sum(invited), 0), coalesce(sum(answered), 0) FROM kehu.satisfaction_daily",
        "SELECT count(*) FILTER (WHERE topic = 'survey.invited.v1'),"
        " count(*) FILTER (WHERE topic = 'survey.answered.v1') FROM kehu.stored_events",
    ),
    "queue_items": (
        "SELECT count(*) FILTER (WHERE kind = 'contact'), count(*) FILTER (WHERE kind = 'case'),"
        " count(*) FILTER (WHERE kind = 'case' AND open) FROM kehu.queue_items",
        "SELECT count(*) FILTER (WHERE topic = 'contact.queued.v1')"
        " - count(*) FILTER (WHERE topic = 'contact.ended.v1'),"
        " count(*) FILTER (WHERE topic = 'complaint.opened.v1'),"
        " count(*) FILTER (WHERE topic = 'complaint.opened.v1')"
        " - count(*) FILTER (WHERE topic = 'complaint.closed.v1') FROM kehu.stored_events",
    ),
    "queue_flow": (
        "SELECT sum(inflow) FILTER (WHERE kind = 'case'), sum(handled) FROM kehu.queue_flow",
        "SELECT count(*) FILTER (WHERE topic = 'complaint.opened.v1'),"
        " count(*) FILTER (WHERE topic IN ('contact.ended.v1', 'contact.transferred.v1')) FROM kehu.stored_events",
    ),
    "customer_timeline": (
        "SELECT count(*), count(DISTINCT log_position) FROM kehu.customer_timeline",
        "SELECT count(*) FILTER (WHERE topic NOT IN ('complaint.clock-set.v1', 'survey.scored.v1')),"
        " count(*) FILTER (WHERE topic NOT IN ('complaint.clock-set.v1', 'survey.scored.v1')) FROM kehu.stored_events",
    ),
    "customers": (
        "SELECT count(*) FROM kehu.customers",
        "SELECT count(*) FILTER (WHERE topic = 'customer.registered.v1') FROM kehu.stored_events",
    ),
    "retention_risk": (
        "SELECT count(*) FROM kehu.retention_risk",
        "SELECT count(DISTINCT customer_id) FROM kehu.stored_events",
    ),
    "positions": (
        "SELECT min(position), max(position) FROM kehu.projections",
        "SELECT n, n FROM kehu.log_head",
    ),
}


def _read_models_count_what_the_log_holds(
    conn: "psycopg.Connection[Any]", _published: Mapping[Place, Sent]
) -> Iterator[str]:
    for name, (model, log) in _COUNTS.items():
        shown, held = _rows(conn, model), _rows(conn, log)
        if shown != held:
            yield f"{name} shows {shown}, the log holds {held}"


def told(found: Iterable[str]) -> str:
    """The violations for people."""
    return "\n".join(f"  - {one}" for one in found)
