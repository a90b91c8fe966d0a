"""`kehu trace`: from a channel's event or a place in the log to where it arrived, and to all that follows from it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from psycopg import sql

from domain.values import CustomerId, Meta, Recorded
from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows, say
from infra.cli.servers import Connection, Postgres, connected
from infra.errors import KehuError, Unreadable
from infra.kafka import codec
from infra.postgres import tracing
from infra.postgres.kept_messages import message_of
from infra.postgres.mapper import to_recorded
from infra.postgres.parked import parked_with
from infra.postgres.receipts import receipts
from projections.catalogue import ALL
from projections.declare import Key, Table

Row = dict[str, Any]

_ARRIVAL = ("topic", "topic_id", "partition", "kafka_offset")


class NotFound(KehuError):
    """No message with this id was read. `kehu doctor` tells whether the worker lags."""


class NotInLog(KehuError):
    """The log holds no such position or stream. `kehu show customer` and `kehu doctor` tell what it holds."""


def trace(
    event_id: Annotated[str, typer.Argument(metavar="[ID]", help="The id that the channel gave the event.")] = "",
    postgres: Postgres = "",
    source: Annotated[str | None, typer.Option(help="The source that published it; else all sources.")] = None,
    position: Annotated[int | None, typer.Option(min=1, help="Instead of an id: a position of the log.")] = None,
    stream: Annotated[str, typer.Option(help="Instead of an id: a stream, whose events are listed.")] = "",
    kind: Annotated[
        str | None, typer.Option("--type", help="Of the stream or of related events only this type: complaint.opened.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What became of one event: its outcome, where it arrived, its stored events, related events, and read-model rows.

    From the log it goes the other way: --position to the event that was appended there, --stream to where each of
    its events arrived: topic, partition and offset. What a former release stored has no arrival.

    Related are the events that share its correlation id, that it caused, and the one that caused it. These, and an id
    without --source, are looked for in the whole log, and rows of counters in their whole table: seconds on a large
    store. An event that said nothing new left no more than its identity: name its source.

    As CSV and NDJSON a stream has one row for each event, an id one row for each source that used it.

    Example: kehu trace 3f2a-77 --source /channels/app
    """
    if [bool(event_id), position is not None, bool(stream)].count(True) != 1:
        raise typer.BadParameter("give one of them", param_hint="ID, --position and --stream")
    with connected(postgres) as conn:
        if stream:
            print_rows(
                f"Stream {stream}",
                _stream(conn, stream, limit, kind),
                as_json,
                as_csv,
                as_ndjson,
                people=_arrival_for_people,
                wide=("id",),
                limit=limit,
            )
            return
        if position is not None:
            event_id, source = _appended_at(conn, position)
        parked = {message["seq"]: meta for message in parked_with(conn, event_id) if (meta := _decoded(message))}
        waiting = {meta.source for meta in parked.values() if meta.event_id == event_id}
        sources = [source] if source else sorted({*tracing.sources_of(conn, event_id), *waiting})
        known = [row for name in sources if (row := _traced(conn, event_id, name, parked, limit, kind))["outcomes"]]
    if not known:
        raise NotFound(f"{event_id} of {source}" if source else event_id)
    if as_json or as_csv or as_ndjson:
        print_rows(event_id, known, as_json, as_csv, as_ndjson)
        return
    for found in known:
        _print(found)


def _traced(conn: Connection, event_id: str, source: str, parked: dict[int, Meta], limit: int, kind: str | None) -> Row:
    key = codec.identity(Meta(event_id, source, CustomerId(""), bootstrap.now()))
    found = tracing.trace(conn, key, source, event_id)
    (receipt,) = receipts(conn, {key: (source, event_id)})
    waiting = [
        {name: row[name] for name in ("seq", "stream", "topic", "kafka_offset", "rule", "detail", "next_try_at")}
        for row in found["parked"]
        if row["seq"] in parked and (parked[row["seq"]].source, parked[row["seq"]].event_id) == (source, event_id)
    ]
    outcomes = ["appended" if found["events"] else "duplicate"] if found["stream"] else []
    outcomes += ["parked"] * bool(waiting) + ["dead"] * bool(found["dead_letters"])
    events: list[Row] = found["events"]
    metas = [event["meta"] for event in events]
    correlated = sorted({meta["correlation_id"] for meta in metas if meta.get("correlation_id")})
    causes = sorted({meta["causation_id"] for meta in metas if meta.get("causation_id")})
    own = {event["position"] for event in events}
    related = tracing.related(conn, [event_id, *causes], correlated, limit or None, kind) if events else []
    return {
        "id": event_id,
        "source": source,
        "outcomes": outcomes,
        "stream": found["stream"],
        "arrived": {name: receipt[name] for name in _ARRIVAL} if receipt["topic"] else None,
        "events": events,
        "related": [
            {**row, "relation": _relation(row["meta"], event_id, causes, correlated)}
            for row in related
            if row["position"] not in own and _relation(row["meta"], event_id, causes, correlated)
        ],
        "parked": waiting,
        "dead_letters": found["dead_letters"],
        "rows": list(_rows(conn, events)),
    }


def _appended_at(conn: Connection, position: int) -> tuple[str, str]:
    """Id and source of the event that was appended there."""
    events = tracing.events_at(conn, position)
    if not events:
        raise NotInLog(f"position {position}")
    return events[0]["meta"]["id"], events[0]["meta"]["source"]


def _stream(conn: Connection, stream: str, limit: int, kind: str | None) -> list[Row]:
    """The newest events of a stream, in order, each with where its message arrived."""
    events = tracing.events_of_stream(conn, stream, limit or None, kind)
    if not events and not (kind and tracing.events_of_stream(conn, stream, 1)):
        raise NotInLog(f"stream {stream}")
    named = {(event["meta"]["source"], event["meta"]["id"]) for event in events}
    asked = {codec.identity(Meta(one, source, CustomerId(""), bootstrap.now())): (source, one) for source, one in named}
    arrivals = {(row["source"], row["id"]): row for row in receipts(conn, asked)}
    rows = []
    for event in events:
        source, event_id = event["meta"]["source"], event["meta"]["id"]
        arrival = arrivals[source, event_id]
        told = {name: event[name] for name in ("position", "version", "type")}
        rows.append({**told, "source": source, "id": event_id, **{name: arrival[name] for name in _ARRIVAL}})
    return rows


def _relation(meta: Row, event_id: str, causes: Sequence[str], correlated: Sequence[str]) -> str | None:
    if meta.get("causation_id") == event_id:
        return "caused by it"
    if meta["id"] in causes:
        return "its cause"
    return "same correlation" if meta.get("correlation_id") in correlated else None


def _rows(conn: Connection, events: Sequence[Row]) -> Iterable[Row]:
    """The rows that the events name, and those that they touched last."""
    recorded = [to_recorded(e["stream"], e["version"], e["type"], _state(e), e["position"]) for e in events]
    for projection in ALL:
        handled = [event for event in recorded if event.name in projection.handles]
        if not handled:
            continue
        keys: dict[Table, set[Key]] = {table: set() for table in projection.tables}
        for event in handled:
            for table, key in projection.keys(event):
                keys[table].add(key)
        for table, wanted in keys.items():
            for row in _touched(conn, table, wanted, handled):
                place = {"projection": projection.name, "version": projection.version, "table": table.name}
                yield {**place, "key": {name: row[name] for name in table.key}, "position": row["position"]}


def _touched(conn: Connection, table: Table, wanted: Iterable[Key], events: Sequence[Recorded]) -> list[Row]:
    names = sql.SQL(", ").join(map(sql.Identifier, table.key))
    positions: sql.Composable = sql.SQL("position = ANY(%s)")
    values: list[object] = [[event.position for event in events]]
    if "customer_id" in table.key or "customer_id" in table.columns:
        positions += sql.SQL(" AND customer_id = ANY(%s)")
        values.append(sorted({event.meta.customer_id for event in events}))
    statement = sql.SQL("SELECT {}, position FROM {} WHERE ({})").format(
        names, sql.Identifier("kehu", table.name), positions
    )
    for key in wanted:
        statement += sql.SQL(" OR ({}) = ({})").format(names, sql.SQL(", ").join(sql.Placeholder() * len(key)))
        values.extend(key)
    return conn.execute(statement + sql.SQL(" ORDER BY {}").format(names), values).fetchall()


def _state(event: Row) -> bytes:
    return orjson.dumps({"meta": event["meta"], "data": event["data"]})


def _decoded(row: Row) -> Meta | None:
    """Who sent a waiting message; None when it cannot be read any more."""
    try:
        return codec.decode(message_of(row), bootstrap.now()).meta
    except Unreadable:
        return None


def _print(one: Row) -> None:
    say("")
    say(f"{one['id']} of {one['source']}: {', '.join(one['outcomes'])}", "bold")
    if one["stream"] and not one["events"]:
        say("It said nothing new for its stream: counted as a duplicate.")
    if one["stream"]:
        say(f"Stream {one['stream']}")
    if one["arrived"]:
        say(f"Arrived at {_place(one['arrived'])}")
    if one["events"]:
        print_rows("Stored events", one["events"], people=_event_for_people)
    if one["related"]:
        print_rows("Related events", one["related"], people=_related_for_people, wide=("stream",))
    if one["rows"]:
        print_rows("Read-model rows", one["rows"], people=_row_for_people, wide=("key",))
    if one["parked"]:
        waiting = [{name: row[name] for name in ("seq", "rule", "stream", "detail")} for row in one["parked"]]
        print_rows("Parked", waiting, wide=("detail",))
    if one["dead_letters"]:
        dead = [{name: row[name] for name in ("id", "rule", "detail", "replayed_at")} for row in one["dead_letters"]]
        print_rows("Dead letters", dead, wide=("detail",))


def _place(arrival: Row) -> str:
    return f"{arrival['topic']}, partition {arrival['partition']}, offset {arrival['kafka_offset']}"


def _arrival_for_people(row: Row) -> Row:
    told = {name: row[name] for name in ("position", "version", "type", "id")}
    return {**told, "topic": row["topic"], "partition": row["partition"], "offset": row["kafka_offset"]}


def _event_for_people(row: Row) -> Row:
    names = ("position", "version", "type", "customer_id")
    times = {"happened": datetime.fromisoformat(row["meta"]["at"]), "recorded": row["recorded_at"]}
    return {**{name.removesuffix("_id"): row[name] for name in names}, **times}


def _related_for_people(row: Row) -> Row:
    event = {"event": row["meta"]["id"], "type": row["type"], "stream": row["stream"]}
    return {"position": row["position"], "relation": row["relation"], **event}


def _row_for_people(row: Row) -> Row:
    key = ", ".join(str(value) for value in row["key"].values() if value not in (None, ""))
    return {
        "projection": f"{row['projection']} v{row['version']}",
        "table": row["table"],
        "key": key,
        "position": row["position"],
    }
