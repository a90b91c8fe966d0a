"""Rows of messages that wait or died, with what was hidden in them."""

from collections.abc import Sequence

from domain.ports import Batch, Message, Partition
from infra.postgres import data_keys, messages
from infra.postgres.data_keys import DataKeys, Keys
from infra.postgres.querying import Connection, Row


def message_of(row: Row) -> Message:
    """The message of a row with `key`, `value` and `headers`, as it came."""
    partition = Partition(row["topic"], row["topic_id"], row["partition"])
    headers = tuple(row["headers"])
    return Message(partition, row["kafka_offset"], row["kafka_timestamp"], row["key"], row["value"], headers)


def shown(conn: Connection, rows: Sequence[Row], of: DataKeys) -> list[Row]:
    """Rows of messages with `key`, `value` and `headers` as they came, or with the reason in `unreadable`.

    Who shows several pages passes the same data keys, which are remembered.
    """
    keys = of.known(conn, {row["hidden_for"] for row in rows if row["hidden_for"] is not None})
    found = []
    for row in rows:
        names, values, whose = (row.pop(name) for name in ("header_names", "header_values", "hidden_for"))
        kept = {**row, "headers": list(zip(names, values, strict=True))}
        unreadable = None
        if whose is not None and keys.get(whose) is None:
            unreadable = "erased" if whose in keys or row["value"] is None else "hidden"
        message = messages.shown(message_of(kept), whose, keys)
        told = {"key": message.key, "value": message.value, "headers": list(message.headers)}
        found.append({**kept, **told, "unreadable": unreadable})
    return found


def keys_for(conn: Connection, batch: Batch) -> Keys:
    """The keys under which the messages of a batch are kept, made in the caller's transaction."""
    return data_keys.of(conn.info.dsn).made(conn, messages.subjects(batch))
