"""What an erasure does to the store, step by step: each in a transaction of its own, and each may be done again."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
import psycopg
from psycopg import sql

from domain import complaint, customer, handling, personal, registry
from domain.administration import CustomerForgotten, ErasureRefused, ErasureRestricted, stream_name
from domain.complaint.state import OVER
from domain.customer import CustomerErased, CustomerIsErased, CustomerRestricted
from domain.erasure import Case, Restricted, Standing
from domain.values import CustomerId, Fact, Meta, Recorded
from infra.failpoints import reach
from infra.postgres import acts, data_keys, mapper
from infra.postgres.builds import COLUMNS, of_row
from infra.postgres.data_keys import SYSTEM
from infra.postgres.event_store import write
from infra.postgres.kept_messages import message_of, shown
from infra.postgres.mapper import EVENT_COLUMNS
from infra.postgres.messages import MESSAGE_COLUMNS
from infra.postgres.naming import naming
from infra.postgres.parked import dying
from infra.postgres.querying import Row
from infra.postgres.questions.customers import EVENTS_ABOUT
from infra.postgres.webhooks import KEYS_OF
from projections.customers import ALIASES, CUSTOMERS, PERSONAL, RESTRICTIONS

Connection = psycopg.Connection[Any]

SOURCE = "/kehu/erasure"
AT_ONCE = 500
"""Messages that are opened at once to see whom they are about."""


def known(conn: Connection, customer_id: str) -> bool:
    """Whether anything is stored about a customer, or was before they were forgotten."""
    query = """SELECT EXISTS (SELECT FROM kehu.data_keys WHERE customer_id = %(id)s)
        OR EXISTS (SELECT FROM kehu.erasures WHERE customer_id = %(id)s)
        OR EXISTS (SELECT FROM customer_timeline WHERE customer_id = %(id)s) AS known"""
    return bool(_row(conn, query, {"id": customer_id})["known"])


def require_keys(conn: Connection, customer_id: str) -> None:
    """What nobody could read has to be opened. Raises NoMasterKey, WrongMasterKey, MasterKeyMissing."""
    keys = data_keys.of(conn.info.dsn)
    if keys.master.current:
        keys.known(conn, (SYSTEM, customer_id))


def standing(conn: Connection, customer_id: str) -> Standing:
    """How it stands with a customer, as far as the timeline names their streams."""
    own = _events(conn, customer.stream_name(customer_id))
    state: Any = handling.fold(own)
    query = "SELECT DISTINCT stream FROM customer_timeline WHERE customer_id = %s AND starts_with(stream, %s)"
    rows = conn.execute(query, (customer_id, complaint.stream_name(""))).fetchall()
    ended = [one.meta.occurred_at for one in own if one.name == "customer.closed"]
    registered = state is not None and bool(state.registration)
    return Standing(registered, ended[-1] if ended else None, tuple(_case(conn, row["stream"]) for row in rows))


def _case(conn: Connection, stream: str) -> Case:
    events = _events(conn, stream)
    state: Any = handling.fold(events)
    over = state.status in OVER
    clock = state.statutory
    return Case(
        case_id=stream.removeprefix(complaint.stream_name("")),
        case_type=state.case_type,
        preset=clock.preset if clock else "",
        received_at=clock.starts_at if clock else state.opened_at,
        ended_at=events[-1].meta.occurred_at if over else None,
        due_at=clock.due_at if clock and not over else None,
    )


def counted(conn: Connection, customer_id: str) -> Row:
    """What is there to be purged, and what is not: events that a former release stored in the clear."""
    about = {"ids": [customer_id], "own": [customer.stream_name(customer_id)]}
    found = conn.execute(EVENTS_ABOUT, about).fetchall()
    hidden = clear = 0
    for row in found:
        stored = mapper.reader_of(row["topic"]).read(row["state"])
        hidden += stored.hidden is not None
        clear += stored.hidden is None and bool(personal.said(stored.data))
    values = {"id": customer_id, "key": customer_id.encode()}
    rows = f"SELECT count(*) AS n FROM {PERSONAL.name} WHERE customer_id = %(id)s"  # noqa: S608
    return {
        "events_encrypted": hidden,
        "events_in_the_clear": clear,
        "parked": _row(conn, f"SELECT count(*) AS n FROM kehu.parked WHERE {_OF_PARKED}", values)["n"],  # noqa: S608
        "dead_letters": _row(conn, f"SELECT count(*) AS n FROM kehu.dead_letters WHERE {_OF_DEAD}", values)["n"],  # noqa: S608
        "personal_rows": _row(conn, rows, values)["n"],
    }


_OF_PARKED = "(hidden_for = %(id)s OR (hidden_for IS NULL AND key = %(key)s))"
_OF_DEAD = """((hidden_for = %(id)s AND value IS NOT NULL)
    OR (hidden_for IS NULL AND octet_length(key) <= 64 AND key = %(key)s AND value IS NOT NULL))"""


def begun(conn: Connection, customer_id: str) -> Row | None:
    """The erasure of a customer, when one was begun; None else."""
    row: Row | None = conn.execute("SELECT * FROM kehu.erasures WHERE customer_id = %s", (customer_id,)).fetchone()
    return row


def begin(conn: Connection, customer_id: str, reason: str, by: str, there: Row) -> Row:
    """The erasure of a customer: begun now, with what is there to be purged, or as far as it came before."""
    conn.execute(
        "INSERT INTO kehu.erasures (customer_id, reason, erased_by, purged) VALUES (%s, %s, %s, %s::jsonb)"
        " ON CONFLICT DO NOTHING",
        (customer_id, reason, by, orjson.dumps({"found": there}).decode()),
    )
    row = begun(conn, customer_id)
    assert row is not None
    return row


def forget(conn: Connection, erasure: Row, now: datetime) -> int:
    """Destroy the key, with snapshots, and say so in the stream of the customer, in one transaction; its position.

    Raises UniqueViolation when a worker wrote the stream at the same time: do it again.
    """
    customer_id = erasure["customer_id"]
    stream = customer.stream_name(customer_id)
    with conn.transaction():
        locked = _row(
            conn, "SELECT position FROM kehu.erasures WHERE customer_id = %(id)s FOR UPDATE", {"id": customer_id}
        )
        if locked["position"] is not None:
            return int(locked["position"])
        events = _events(conn, stream)
        state: Any = handling.fold(events)
        names = customer.personal_names(state) if state is not None else ()
        conn.execute(
            """INSERT INTO kehu.data_keys (customer_id, erased_at) VALUES (%(id)s, %(now)s)
            ON CONFLICT (customer_id) DO UPDATE SET master = NULL, wrapped = NULL, erased_at = %(now)s""",
            {"id": customer_id, "now": now},
        )
        conn.execute("UPDATE kehu.key_epoch SET n = n + 1")
        # With its key: a worker that finds the one without the other could not load the stream.
        snapshots = conn.execute("DELETE FROM kehu.snapshots WHERE stream = %s", (stream,)).rowcount
        keep(conn, customer_id, "states", {"snapshots": snapshots})
        event = CustomerErased(reason=erasure["reason"], by=erasure["erased_by"], known=names)
        position = _told(conn, customer_id, events, Fact(event, _meta("erasure", customer_id, now)))
        assert position is not None, "an erasure without a position was never told"
        conn.execute("UPDATE kehu.erasures SET position = %s WHERE customer_id = %s", (position, customer_id))
        told = CustomerForgotten(
            by=erasure["erased_by"], reason=erasure["reason"], customer=customer_id, erasure=position
        )
        acts.record(conn, told, now)
        reach("forgetting", conn)
    return position


def restrict(conn: Connection, customer_id: str, restricted: Restricted, reason: str, by: str, now: datetime) -> None:
    """Say in the stream of the customer until when they must be kept, unless it says so. Raises UniqueViolation."""
    event = CustomerRestricted(until=restricted.until, basis=restricted.basis, reason=reason, by=by)
    with conn.transaction():
        events = _events(conn, customer.stream_name(customer_id))
        fact = Fact(event, _meta(f"restriction-{restricted.until}", customer_id, now))
        if _told(conn, customer_id, events, fact) is not None:
            told = ErasureRestricted(
                by=by, reason=reason, customer=customer_id, until=restricted.until, basis=restricted.basis
            )
            acts.record(conn, told, now)


# Of the customer and not the last of all: whoever is due is asked about every day, for the same reason.
_REFUSED = """SELECT said ->> 'why' AS why, said ->> 'reason' AS reason FROM (
        SELECT originator_version, convert_from(state, 'UTF8')::jsonb -> 'data' AS said FROM kehu.stored_events
        WHERE originator_id = %(stream)s AND topic = ANY(%(topics)s)) acts
    WHERE said ->> 'customer' = %(customer)s ORDER BY originator_version DESC LIMIT 1"""


def refuse(conn: Connection, customer_id: str, why: str, reason: str, by: str, now: datetime) -> None:
    """Tell that a customer cannot be forgotten now, unless the same request was refused before for the same."""
    topics = registry.topics(["administration.erasure-refused"])
    asked = {"stream": stream_name("privacy"), "topics": topics, "customer": customer_id}
    with conn.transaction():
        last = conn.execute(_REFUSED, asked).fetchone()
        if last is None or (last["why"], last["reason"]) != (why, reason):
            acts.record(conn, ErasureRefused(by=by, reason=reason, customer=customer_id, why=why), now)


def due(conn: Connection, now: datetime) -> list[Row]:
    """The customers whose restriction is over, with the reason for which they asked.

    Before them those whose erasure was begun and not ended: their restriction may be gone already.
    """
    query = f"""SELECT customer_id, reason FROM (
            SELECT customer_id, reason, date '-infinity' AS until FROM kehu.erasures WHERE ended_at IS NULL
            UNION ALL SELECT customer_id, reason, until FROM {RESTRICTIONS.name} WHERE until <= %s) asked
        ORDER BY until, customer_id"""  # noqa: S608
    return list(conn.execute(query, (now.date(),)).fetchall())


def _meta(what: str, customer_id: str, now: datetime) -> Meta:
    return Meta(f"{what}-{customer_id}"[:256], SOURCE, CustomerId(customer_id), now)


def _told(conn: Connection, customer_id: str, events: Sequence[Recorded], fact: Fact) -> int | None:
    """Write what a fact says that is new in the stream of the customer, which has these events; its position."""
    stream, version = customer.stream_name(customer_id), events[-1].originator_version + 1 if events else 1
    _, new = handling.handle(handling.fold(events), fact)
    rows = []
    for number, event in enumerate(new, version):
        known = registry.of(event)
        recorded = Recorded(stream, number, event, fact.meta, known.name)
        rows.append((stream, number, known.topic, mapper.to_state(recorded), customer_id))
    return write(conn, rows) if rows else None


def empty(conn: Connection, customer_id: str, at: datetime) -> None:
    """Purge messages of a customer whose key is destroyed.

    What waits becomes a dead letter without its content. So does what nobody could read, where it names the customer.
    Raises Conflict, DeadlockDetected when a worker changed the same messages: do it again.
    """
    values = {"id": customer_id, "key": customer_id.encode()}
    # Opened before anything is locked, for there may be many.
    unread = _naming(conn, customer_id)
    with conn.transaction():
        # Not locked here: as in a worker's batch the positions come first, and what left meanwhile is a Conflict.
        query = f"SELECT seq, stream, {MESSAGE_COLUMNS} FROM kehu.parked WHERE {_OF_PARKED}"  # noqa: S608
        waiting = conn.execute(query, values).fetchall()
        _die(conn, waiting, customer_id, at)
        dead = conn.execute(f"{_EMPTY} WHERE {_OF_DEAD}", values).rowcount
        chosen = {**values, "ids": unread}
        dead += conn.execute(f"{_EMPTY} WHERE id = ANY(%(ids)s) AND value IS NOT NULL", chosen).rowcount
        answers = conn.execute(_ANSWERED, {"ids": [customer_id], "erased": personal.ERASED}).rowcount
        answers += conn.execute(_LAST_ANSWERED, (personal.ERASED, personal.ERASED)).rowcount
        purged = {"parked": len(waiting), "dead_letters": dead, "answers": answers}
        keep(conn, customer_id, "messages", purged)
        reach("emptying", conn)


# A key that is not the id was of no use as one, and who sent it may have meant a name. A former release kept it so.
_EMPTY = """UPDATE kehu.dead_letters SET value = NULL, hidden_for = %(id)s, key = CASE WHEN key = %(key)s THEN key END,
    header_values = array_fill(NULL::bytea, ARRAY[cardinality(header_names)])"""


# What a receiver answered may name them. The keys stay: by them it is told that the rows are gone.
_ANSWERED = f"UPDATE kehu.webhook_letters SET error = %(erased)s WHERE cardinality({KEYS_OF}) > 0"  # noqa: S608

# Of which rows it was is not kept; when they are sent again, it answers anew.
_LAST_ANSWERED = "UPDATE kehu.webhooks SET error = %s WHERE error <> %s"


def _die(conn: Connection, waiting: Sequence[Row], customer_id: str, at: datetime) -> None:
    """Waiting messages become dead letters; without a key nothing of what they say is kept."""
    left = {"key": customer_id.encode(), "value": None}
    rows = [{**row, **left, "headers": [(name, None) for name in row["header_names"]]} for row in waiting]
    story = "the customer was forgotten while it waited"
    write(conn, [], dying(rows, CustomerIsErased().rule, lambda _row: story, at), {customer_id: None})


_UNREAD = ("hidden_for = %(system)s", "hidden_for IS NULL AND stream IS NULL")
"""Letters that nobody could read and so are nobody's: hidden, and those that a former release kept in the clear."""


def _naming(conn: Connection, customer_id: str) -> list[int]:
    """The dead letters that nobody could read and that name a customer."""
    names, keys, found = naming(customer_id), data_keys.for_reading(conn.info.dsn), []
    for unread in _UNREAD:
        query = f"""SELECT id, {MESSAGE_COLUMNS} FROM kehu.dead_letters
            WHERE {unread} AND value IS NOT NULL AND id > %(after)s ORDER BY id LIMIT %(most)s"""  # noqa: S608
        values = {"system": SYSTEM, "after": 0, "most": AT_ONCE}
        while page := conn.execute(query, values).fetchall():
            values["after"] = page[-1]["id"]
            found += [row["id"] for row in shown(conn, page, keys) if names(message_of(row))]
    return found


def purge_other_builds(conn: Connection, customer_id: str) -> None:
    """Remove personal rows from builds that are not live: a former one may come back."""
    query = f"SELECT {COLUMNS} FROM kehu.projection_builds WHERE name = %s AND state <> 'live'"  # noqa: S608
    gone = 0
    with conn.transaction():
        for row in conn.execute(query, (CUSTOMERS.name,)).fetchall():
            schema = of_row(row).schema
            table = sql.Identifier(schema, PERSONAL.name)
            gone += conn.execute(
                sql.SQL("DELETE FROM {} WHERE customer_id = %s").format(table), (customer_id,)
            ).rowcount
            conn.execute(
                sql.SQL(
                    "UPDATE {} SET reason = %s, ended_reason = CASE WHEN ended_reason IS NOT NULL THEN %s END"
                    " WHERE customer_id = %s"
                ).format(sql.Identifier(schema, ALIASES.name)),
                (personal.ERASED, personal.ERASED, customer_id),
            )
        keep(conn, customer_id, "other_builds", {"personal_rows": gone})
        reach("purging", conn)


def keep(conn: Connection, customer_id: str, step: str, purged: Row) -> None:
    """Keep that a step is done, and what it purged; one that is done again adds to it."""
    before = _row(conn, "SELECT purged FROM kehu.erasures WHERE customer_id = %(id)s", {"id": customer_id})["purged"]
    added = Counter(before.get(step, {})) + Counter(purged)
    conn.execute(
        "UPDATE kehu.erasures SET purged = purged || %s::jsonb WHERE customer_id = %s",
        (orjson.dumps({step: {name: added[name] for name in purged}}).decode(), customer_id),
    )


def end(conn: Connection, customer_id: str) -> Row:
    """The erasure is complete; its row.

    It ends by the clock by which it began and its event was recorded, the database's, whoever went on with it.
    """
    query = """UPDATE kehu.erasures SET ended_at = coalesce(ended_at, greatest(begun_at, clock_timestamp()))
        WHERE customer_id = %(id)s RETURNING *"""
    return _row(conn, query, {"id": customer_id})


def _events(conn: Connection, stream: str) -> list[Recorded]:
    """With HIDDEN for what is personal: asked is what happened, and what is known, never what that is."""
    query = f"SELECT {EVENT_COLUMNS} FROM kehu.stored_events WHERE originator_id = %s ORDER BY originator_version"  # noqa: S608
    rows = conn.execute(query, (stream,)).fetchall()
    return [mapper.to_recorded(*row.values()) for row in rows]


def _row(conn: Connection, query: str, values: Row) -> Row:
    row: Row | None = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return row
