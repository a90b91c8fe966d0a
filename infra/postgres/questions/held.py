"""Everything that is held on a person: what they may ask for, with what is personal in the clear."""

# ruff: noqa: S608 (what is put together are names of our own tables; values are always parameters)

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from domain import customer
from domain.personal import HIDDEN
from domain.values import Recorded
from infra.postgres import data_keys, mapper
from infra.postgres.data_keys import DataKeys
from infra.postgres.kept_messages import shown
from infra.postgres.messages import MESSAGE_COLUMNS
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.customers import EVENTS_ABOUT
from infra.postgres.webhooks import KEYS_OF
from projections.catalogue import ALL

_WHOSE = "(hidden_for = ANY(%(ids)s) OR (hidden_for IS NULL AND key = ANY(%(keys)s)))"

# Not who among the staff asked: that is theirs.
_ACCESSES = """SELECT id, at, client, method, path, purpose, customer_id, status FROM kehu.access_log
    WHERE customer_id = ANY(%(ids)s) ORDER BY id"""
_NOT_TOLD = f"""SELECT * FROM (SELECT id, webhook, {KEYS_OF} AS rows, given_up_at FROM kehu.webhook_letters) letters
    WHERE cardinality(rows) > 0 ORDER BY id"""


def held_on(answer: Answer, ids: Sequence[str]) -> Row:
    """All that is stored about the person who has these ids; `events` is the log, from which the rest follows."""
    values = {"ids": list(ids), "keys": [one.encode() for one in ids]}
    keys = answer.ask(lambda conn: data_keys.for_reading(conn.info.dsn))
    return {
        "events": list(_events(answer, ids, keys)),
        "waiting": _messages(
            answer,
            f"SELECT seq, stream, rule, parked_at, {MESSAGE_COLUMNS} FROM kehu.parked WHERE {_WHOSE} ORDER BY seq",
            values,
            keys,
        ),
        "dead_letters": _messages(
            answer,
            f"SELECT id, stream, rule, died_at, {MESSAGE_COLUMNS} FROM kehu.dead_letters WHERE {_WHOSE} ORDER BY id",
            values,
            keys,
        ),
        "read_models": _rows(answer, ids),
        "accesses": answer.rows(_ACCESSES, values),
        "not_told": answer.rows(_NOT_TOLD, values),
        "erasures": answer.rows("SELECT * FROM kehu.erasures WHERE customer_id = ANY(%(ids)s)", values),
    }


def hidden_in(held: Row) -> int:
    """How many events and messages of what is held nobody here can read, since the master key is not configured."""
    words = (HIDDEN, [HIDDEN], (HIDDEN,))
    events = [one for one in held["events"] if any(value in words for value in one["says"].values())]
    messages = [one for part in ("waiting", "dead_letters") for one in held[part] if one["unreadable"] == "hidden"]
    return len(events) + len(messages)


def _events(answer: Answer, ids: Sequence[str], keys: DataKeys) -> Iterator[Row]:
    own = [customer.stream_name(one) for one in ids]
    rows = answer.rows(f"{EVENTS_ABOUT} ORDER BY notification_id", {"ids": list(ids), "own": own})
    recorded: list[Recorded] = answer.ask(
        lambda conn: mapper.read_rows([tuple(row.values()) for row in rows], partial(keys.known, conn))
    )
    for event in recorded:
        yield {
            "position": event.position,
            "customer_id": event.meta.customer_id,
            "happened_at": event.meta.occurred_at,
            "recorded_at": event.recorded_at,
            "type": event.name,
            "stream": event.originator_id,
            "version": event.originator_version,
            "source": event.meta.source,
            "id": event.meta.event_id,
            "says": msgspec.to_builtins(event.event),
        }


def _messages(answer: Answer, query: str, values: Row, keys: DataKeys) -> list[Row]:
    found = answer.ask(lambda conn: shown(conn, answer.rows(query, values), keys))
    return [{name: value for name, value in row.items() if name != "topic_id"} for row in found]


def _rows(answer: Answer, ids: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of each table of the read models that are about a customer of their own."""
    found = {}
    for projection in ALL:
        for table in projection.tables:
            if "customer_id" in {*table.key, *table.columns}:
                order = ", ".join(table.key)
                query = f"SELECT * FROM {table.name} WHERE customer_id = ANY(%(ids)s) ORDER BY {order}"
                if rows := answer.rows(query, {"ids": list(ids)}):
                    found[table.name] = rows
    return found
