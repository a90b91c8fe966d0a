"""Messages that wait: which, which of them to try now, and how they become dead letters."""

# ruff: noqa: S608 (what is put together are lists of our own columns; values are always parameters)

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from domain.ports import Batch, DeadLetter, Move, Partition
from infra.postgres.data_keys import for_reading
from infra.postgres.event_store import write
from infra.postgres.kept_messages import keys_for, message_of, shown
from infra.postgres.messages import PLACE_COLUMNS, SAID_COLUMNS
from infra.postgres.querying import AT_ONCE, Connection, Row, dict_rows, matching, streamed

_PARKED = f"seq, stream, {PLACE_COLUMNS}, rule, detail, parked_at, next_try_at, expires_at, tries"


def list_parked(
    conn: Connection,
    *,
    stream: str | None = None,
    topic: str | None = None,
    rule: str | None = None,
    after: int | None = None,
    limit: int | None = 50,
) -> Iterator[Row]:
    """The messages that wait, in the order of their next try, or one stream's in the order of its queue.

    With `after`, in the order in which they came, those behind this `seq`.
    """
    chosen = {"stream": stream, "topic": topic, "rule": rule}
    order = "least(next_try_at, expires_at), seq" if stream is None and after is None else "seq"
    where = matching(chosen) + (" AND seq > %(after)s" if after is not None else "")
    query = f"SELECT {_PARKED} FROM kehu.parked WHERE {where} ORDER BY {order} LIMIT %(limit)s"
    return streamed(conn, query, {**chosen, "after": after, "limit": limit})


def get_parked(conn: Connection, seq: int) -> Row | None:
    """One waiting message with `key`, `value` and `headers` as they came; None if it does not wait (any more).

    `unreadable` is as in `get_dead_letters`.
    """
    found = dict_rows(conn, f"SELECT {_PARKED}, {SAID_COLUMNS} FROM kehu.parked WHERE seq = %(seq)s", {"seq": seq})
    return shown(conn, found, for_reading(conn.info.dsn))[0] if found else None


def parked_with(conn: Connection, event_id: str) -> list[Row]:
    """The waiting messages in whose bytes or headers the id occurs, with their bytes. Opens all that wait."""
    said, found = event_id.encode(), []
    query = f"SELECT {_PARKED}, {SAID_COLUMNS} FROM kehu.parked ORDER BY seq"
    waiting, keys = streamed(conn, query), for_reading(conn.info.dsn)
    while page := list(islice(waiting, AT_ONCE)):
        found += [
            row
            for row in shown(conn, page, keys)
            if said in (row["value"] or b"") or any(value == said for _, value in row["headers"])
        ]
    return found


def retry_parked(
    conn: Connection, *, streams: Sequence[str] | None = None, topic: str | None = None, rule: str | None = None
) -> list[str]:
    """Make the oldest messages of these queues due now, for the worker that owns them to try; returns the streams.

    Without `streams` those of all queues whose oldest message came by the topic and is held by the rule.
    """
    query = """UPDATE kehu.parked p SET next_try_at = clock_timestamp()
        WHERE (%(streams)s::text[] IS NULL OR stream = ANY(%(streams)s))
        AND (%(topic)s::text IS NULL OR topic = %(topic)s) AND (%(rule)s::text IS NULL OR rule = %(rule)s)
        AND (%(streams)s::text[] IS NOT NULL OR next_try_at IS NOT NULL)
        AND NOT EXISTS (SELECT FROM kehu.parked older WHERE older.stream = p.stream AND older.seq < p.seq)
        RETURNING stream"""
    values = {"streams": None if streams is None else list(streams), "topic": topic, "rule": rule}
    return sorted(row["stream"] for row in dict_rows(conn, query, values))


def release_parked(conn: Connection, waiting: Sequence[Row], rule: str, detail: str, at: datetime) -> None:
    """Waiting messages, as `get_parked` gives them, become dead letters: all in the caller's transaction or none.

    Raises Conflict when one does not wait any more.
    """

    def story(row: Row) -> str:
        return f"{detail}; it waited since {row['parked_at']:%Y-%m-%d %H:%M:%S %Z} for {row['rule']}"

    batch = dying(waiting, rule, story, at)
    write(conn, [], batch, keys_for(conn, batch))


def dying(waiting: Sequence[Row], rule: str, story: Callable[[Row], str], at: datetime) -> Batch:
    """A batch that makes dead letters of waiting messages, each with its story.

    `source` and `event_id` are kept where a row has them.
    """
    batch = Batch(unpark=[row["seq"] for row in waiting])
    leaving: Counter[Partition] = Counter()
    for row in waiting:
        message = message_of(row)
        leaving[message.partition] += 1
        told = (rule, story(row), row["stream"], row.get("source"), row.get("event_id"))
        batch.dead.append(DeadLetter(message, *told, at))
    # Whoever owns the partitions goes on with their positions: only counters move.
    batch.moves = [Move(partition, None, None, parked=-n, dead=n) for partition, n in leaving.items()]
    return batch
