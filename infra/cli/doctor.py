"""`kehu doctor`: what is wrong with servers, schema, topics, lag and projections, and how to mend it."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from domain.errors import DomainError
from infra import bootstrap
from infra.cli.output import Csv, Json, Ndjson, print_rows, say, span
from infra.cli.servers import Connection, Held, OptionalKafka, OptionalPostgres, connected, held
from infra.cli.version import release
from infra.errors import KehuError, ServerUnavailable
from infra.kafka.topics import TOPICS, Topics
from infra.master_keys import configured
from infra.postgres import erasure, key_rotation, migrate, reconciliation
from infra.postgres.builds import every_build, of_row
from infra.postgres.completeness import first_hole
from infra.postgres.dead_letters import count_dead_letters
from infra.postgres.running_deadlines import unknown_presets
from infra.settings import ErasureSettings, checked
from projections.catalogue import ALL

OK, WARNING, WRONG, SKIPPED = "ok", "warning", "wrong", "skipped"
OLDEST_POSTGRES = 150_000
LONG = timedelta(minutes=5)
"""A transaction that is open for longer holds back the clean-up of all tables."""
LAGS = 10_000
"""Messages or events behind from which on a lag is a warning and not the ordinary way of a batch."""
PROVED = 1_000_000
"""Events, the last ones, of which it is checked that each was folded once; `kehu projections check` checks all."""
DAY = timedelta(days=1)
UNSEALED = timedelta(minutes=10)
"""How long events may wait to be sealed, where the log is sealed at all."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    check: str
    verdict: str
    detail: str
    remedy: str = ""


class SomethingIsWrong(KehuError):
    """Something is wrong. See the remedies above."""


def doctor(
    postgres: OptionalPostgres = "",
    kafka: OptionalKafka = "",
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Look at servers, schema, topics, lag, projections, waiting and dead messages; each with its remedy.

    Changes nothing. A server that is away or not given is told, and the rest is checked. Exit code 1 when something is
    wrong; warnings do not count.

    Example: kehu doctor --postgres "host=db dbname=kehu" --kafka broker:9092
    """
    checks = list(examine(postgres, kafka, bootstrap.now()))
    rows = [asdict(one) for one in checks]
    print_rows("Doctor", rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("detail",))
    wrong = sum(one.verdict == WRONG for one in checks)
    if wrong:
        raise SomethingIsWrong(f"{wrong} of {len(checks)} checks")
    if not (as_json or as_csv or as_ndjson):
        say("Nothing is wrong.", "green")


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "check": row["check"],
        "verdict": row["verdict"],
        "detail": f"{row['detail']}\n→ {row['remedy']}" if row["remedy"] else row["detail"],
    }


def examine(postgres: str, kafka: str, now: datetime) -> Iterator[Check]:
    """All checks. A check that cannot be made is skipped, with the reason."""
    yield Check("release", OK, release())
    topics = yield from _kafka(kafka)
    if not postgres:
        yield Check("PostgreSQL", SKIPPED, "not given", "Give --postgres or set KEHU_POSTGRES.")
        return
    try:
        conn = connected(postgres)
    except psycopg.Error as error:
        detail = " ".join(str(error).split())
        yield Check("PostgreSQL", WRONG, detail, "Check --postgres, and that the server runs and lets this user in.")
        return
    with conn:
        conn.autocommit = True
        yield from _guarded("PostgreSQL", lambda: _postgres(conn))
        pending = migrate.pending(postgres)
        yield _schema(pending)
        if any("_pre_" in name for name in pending):
            return
        yield from _guarded("read models", lambda: _read_models(conn))
        yield from _guarded("ingest lag", lambda: _ingest(conn, topics))
        yield from _guarded("projections", lambda: _projections(conn))
        yield from _guarded("presets", lambda: _presets(conn))
        yield from _guarded("parked", lambda: _parked(conn, now))
        yield from _guarded("dead letters", lambda: _dead_letters(conn, now))
        yield from _guarded("seals", lambda: _seals(conn, now))
        yield from _guarded("master key", lambda: _keys(conn, postgres))
        yield from _guarded("erasures", lambda: _erasures(conn, now))
        yield from _guarded("transactions", lambda: _transactions(conn))


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except psycopg.Error as error:
        yield Check(name, WRONG, " ".join(str(error).split()), "Run `kehu setup`.")


def _kafka(kafka: str) -> Generator[Check, None, Held | None]:
    """Checks of the broker; returns what it holds, None when that is not known."""
    if not kafka:
        yield Check("Kafka", SKIPPED, "not given", "Give --kafka or set KEHU_KAFKA.")
        return None
    try:
        known = held(kafka)
    except (KehuError, DomainError) as error:
        detail = getattr(error, "detail", str(error))
        yield Check("Kafka", WRONG, detail, "Check --kafka, and that the broker runs and is reachable from here.")
        return None
    yield Check("Kafka", OK, f"answers at {kafka}")
    yield _retention(kafka, list(known))
    if missing := [name for name in TOPICS.values() if name not in known]:
        yield Check("topics", WRONG, f"missing: {', '.join(missing)}", "Run `kehu setup`.")
    if known:
        counts = ", ".join(f"{name.removeprefix('kehu.')} {len(parts)}" for name, (_, parts) in known.items())
        yield Check("topics", OK, f"partitions: {counts}")
    return known


def _retention(kafka: str, names: list[str]) -> Check:
    """How long messages of channels are kept: as long as that, somebody who was forgotten stands in them."""
    policy = checked(ErasureSettings).topic_retention
    admin = Topics(kafka)
    try:
        found = admin.settings(names)
    except ServerUnavailable as error:
        return Check("topic retention", SKIPPED, error.detail)
    finally:
        admin.close()
    long = []
    for name, settings in found.items():
        kept = int(settings.get("retention.ms", 0))
        if "compact" in settings.get("cleanup.policy", "") or kept < 0:
            long.append(f"{name} for ever")
        elif timedelta(milliseconds=kept) > policy:
            long.append(f"{name} {span(kept / 1000)}")
    if long:
        remedy = "Set retention.ms of these topics, or KEHU_TOPIC_RETENTION to the policy of the bank."
        return Check(
            "topic retention", WARNING, f"longer than {span(policy.total_seconds())}: {', '.join(long)}", remedy
        )
    told = sum("retention.ms" in settings for settings in found.values())
    return Check("topic retention", OK, f"{told} of {len(found)} topics tell theirs, none is too long")


def _keys(conn: Connection, postgres: str) -> Iterator[Check]:
    """Whether personal data can be read and written, and whether a rotation is unfinished."""
    try:
        current = configured(postgres).current
    except KehuError as error:
        yield Check("master key", WARNING, str(error), "Workers need it; who only asks about figures does not.")
        return
    rows = key_rotation.counted(conn, current)
    former = sum(row["keys"] for row in rows if row["state"] == "former")
    if former:
        detail = f"{former} data keys are wrapped under a former master key"
        yield Check("master key", WARNING, detail, "Run `kehu keys rotate`; keep the former key until then.")
    else:
        yield Check("master key", OK, f"{current} wraps all of {sum(row['keys'] for row in rows)} data keys")


def _erasures(conn: Connection, now: datetime) -> Iterator[Check]:
    """Whose erasure was interrupted, and who may be forgotten by now. Their keys are not needed to say so."""
    unfinished = conn.execute("SELECT customer_id FROM kehu.erasures WHERE ended_at IS NULL ORDER BY 1").fetchall()
    if unfinished:
        remedy = "Run `kehu erase --due`, or `kehu erase` for them again: it goes on where it stopped."
        yield Check("erasures", WRONG, f"{len(unfinished)} were interrupted: {_first(unfinished)}", remedy)
    there = conn.execute("SELECT to_regclass('kehu.customer_restrictions') IS NOT NULL AS there").fetchone()
    begun = {row["customer_id"] for row in unfinished}
    asked = erasure.due(conn, now) if there and there["there"] else []
    if over := [row for row in asked if row["customer_id"] not in begun]:
        remedy = "Run `kehu erase --due`, once a day from a timer: it asks again for each of them."
        yield Check("erasures", WARNING, f"{len(over)} need be kept no longer: {_first(over)}", remedy)
    if not unfinished and not over:
        yield Check("erasures", OK, "none was interrupted, and nobody is due")


def _first(rows: list[dict[str, Any]]) -> str:
    """The first customers of these, by id; that there are more."""
    return ", ".join(row["customer_id"] for row in rows[:5]) + (" …" if len(rows) > 5 else "")


def _postgres(conn: Connection) -> Iterator[Check]:
    row = conn.execute(
        "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version"
    ).fetchone()
    assert row is not None
    old = row["number"] < OLDEST_POSTGRES
    yield Check("PostgreSQL", WRONG if old else OK, f"version {row['version']}", "Use 15 or newer." if old else "")


def _schema(pending: list[str]) -> Check:
    if not pending:
        return Check("schema", OK, "all migrations have run")
    return Check("schema", WRONG, f"pending: {', '.join(pending)}", "Run `kehu setup`.")


def _read_models(conn: Connection) -> Iterator[Check]:
    live = {row["name"]: row["version"] for row in every_build(conn) if row["state"] == "live"}
    ours = [p for p in ALL if live.get(p.name, p.version) == p.version]
    wanted = [f"kehu.{table.name}" for p in ours for table in p.tables]
    rows = conn.execute(
        "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NULL", (wanted,)
    ).fetchall()
    if rows:
        missing = ", ".join(row["name"] for row in rows)
        yield Check("read models", WRONG, f"missing: {missing}", "Run `kehu setup`.")
    else:
        yield Check("read models", OK, f"{len(wanted)} tables of {len(ours)} projections")


def _ingest(conn: Connection, topics: Held | None) -> Iterator[Check]:
    positions = reconciliation.positions(conn)
    if topics is None:
        yield Check("ingest lag", SKIPPED, "unknown without Kafka")
        return
    current = {topic_id for topic_id, _ in topics.values()}
    former = sorted({p["topic"] for p in positions if p["topic_id"] not in current})
    if former:
        detail = f"positions of former topics: {', '.join(former)}"
        remedy = "Nothing to do if they were made anew on purpose: the new ones are read from their beginning."
        yield Check("topic ids", WARNING, detail, remedy)
    known = {(p["topic_id"], p["partition"]): p["next_offset"] for p in positions}
    behind, beyond = 0, []
    for name, (topic_id, ends) in topics.items():
        for number, end in ends.items():
            read = known.get((topic_id, number), 0)
            behind += max(0, end - read)
            if read > end:
                beyond.append(f"{name} {number}: {read} of {end}")
    if beyond:
        yield Check("positions", WRONG, f"beyond the end of {', '.join(beyond)}", _LOST_MESSAGES)
    moved = max((p["updated_at"] for p in positions), default=None)
    since = f", last read {moved:%Y-%m-%d %H:%M:%S} UTC" if moved else ", nothing was ever read"
    remedy = "Start `kehu worker`, or more of them: partitions are shared." if behind > LAGS else ""
    yield Check("ingest lag", WARNING if behind > LAGS else OK, f"{behind} messages not read{since}", remedy)


_LOST_MESSAGES = (
    "The broker lost messages that were read, and new ones at those offsets would be skipped. Restore the broker, or "
    "delete the topic and make it anew with `kehu setup`."
)


def _projections(conn: Connection) -> Iterator[Check]:
    ours = {p.name: p for p in ALL}
    for row in every_build(conn):
        projection = ours.get(row["name"])
        if projection is None or row["state"] != "live":
            continue
        name = f"projection {row['name']}"
        since = max(0, row["position"] - PROVED)
        if row["version"] != projection.version:
            detail = f"version {row['version']} is live, this release folds and asks version {projection.version}"
            yield Check(name, WARNING, detail, f"Run `kehu rebuild {row['name']}`, and then with --switch.")
        elif row["error"]:
            remedy = f"Mend the cause (new code: restart the workers), then run `kehu projections retry {row['name']}`."
            yield Check(name, WRONG, f"stopped {row['error']}", remedy)
        elif row["paused"]:
            remedy = f"`kehu projections resume {row['name']}` lets it go on."
            yield Check(name, WARNING, f"paused at position {row['position']}", remedy)
        elif row["behind"] > LAGS:
            yield Check(name, WARNING, f"{row['behind']} events behind", "Check that a `kehu worker` runs.")
        elif hole := first_hole(conn, projection, of_row(row), since):
            yield Check(name, WRONG, f"{hole}", f"Run `kehu rebuild {row['name']} --switch`.")
        else:
            yield Check(name, OK, f"at position {row['position']}, {row['behind']} events behind, complete")


def _presets(conn: Connection) -> Iterator[Check]:
    """Open cases are decided on by the versions that they have, which must be here too."""
    if missing := unknown_presets(conn):
        told = ", ".join(f"{name} {version}" for name, version in missing)
        remedy = "Give every worker the folder `kehu_bank_rules` that has them; `kehu rules` shows what is read here."
        yield Check("presets", WRONG, f"open cases have presets that are not known here: {told}", remedy)
    else:
        yield Check("presets", OK, "those of all open cases are known")


def _parked(conn: Connection, now: datetime) -> Iterator[Check]:
    row = conn.execute("SELECT count(*) AS n, min(parked_at) AS oldest FROM kehu.parked").fetchone()
    assert row is not None
    if row["n"]:
        detail = f"{row['n']} messages wait, the oldest for {span((now - row['oldest']).total_seconds())}"
        yield Check("parked", OK, detail, "`kehu parked list` shows for what.")
    else:
        yield Check("parked", OK, "no message waits")


def _dead_letters(conn: Connection, now: datetime) -> Iterator[Check]:
    counts: dict[str, int] = {}
    for row in count_dead_letters(conn, since=now - DAY):
        counts[row["rule"]] = counts.get(row["rule"], 0) + row["letters"]
    if counts:
        told = ", ".join(f"{n} {rule}" for rule, n in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
        yield Check("dead letters", WARNING, f"in the last day: {told}", "`kehu dead-letters list` shows them.")
    else:
        yield Check("dead letters", OK, "none in the last day")


def _seals(conn: Connection, now: datetime) -> Iterator[Check]:
    row = conn.execute(
        "SELECT t.size, (SELECT recorded_at FROM kehu.stored_events WHERE notification_id = t.size + 1) AS waits_since,"
        " (SELECT string_agg(name, ', ' ORDER BY name) FROM kehu.anchors WHERE size < t.size) AS untold"
        " FROM kehu.tree_heads t ORDER BY t.size DESC LIMIT 1"
    ).fetchone()
    if row is None:
        yield Check("seals", OK, "nothing is sealed", "To be able to prove the log, give a worker KEHU_SEAL_KEY.")
    elif row["waits_since"] and now - row["waits_since"] > UNSEALED:
        waited = span((now - row["waits_since"]).total_seconds())
        remedy = "Look into the log of the worker that has KEHU_SEAL_KEY, and run `kehu audit verify`."
        yield Check("seals", WARNING, f"{row['size']} events, the next one waits for {waited}", remedy)
    elif row["untold"]:
        yield Check("seals", WARNING, f"not told to {row['untold']}", "Check that the place outside can be written.")
    else:
        yield Check("seals", OK, f"{row['size']} events")


def _transactions(conn: Connection) -> Iterator[Check]:
    rows = conn.execute(
        "SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds"
        " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND xact_start < clock_timestamp() - %s ORDER BY xact_start LIMIT 5",
        (LONG,),
    ).fetchall()
    if rows:
        told = ", ".join(f"{r['pid']} ({r['application_name'] or 'no name'}) {span(r['seconds'])}" for r in rows)
        remedy = "End it with `SELECT pg_terminate_backend(pid)`: old row versions are kept for it."
        yield Check("transactions", WARNING, f"open for long: {told}", remedy)
    else:
        yield Check("transactions", OK, f"none is open for more than {span(LONG.total_seconds())}")
