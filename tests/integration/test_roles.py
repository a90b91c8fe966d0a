"""Each role can do its work, and nothing else: every statement on every table is tried as every role."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from consumers.outcome import Outcome
from consumers.projector import Projector
from domain.values import Position
from infra import signing
from infra.kafka import codec
from infra.postgres import data_keys, roles
from infra.postgres.changes import Feed, connection
from infra.postgres.following import step
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.webhooks import OWNER, Webhooks
from infra.settings import Settings
from projections.catalogue import ALL
from projections.customers import CUSTOMERS
from projections.satisfaction import SATISFACTION
from projections.views import VIEWS
from tests.support.cli import kehu
from tests.support.ingesting import ingesting, publish, survey
from tests.support.own_postgres import guarded_database

STATEMENTS = {
    "SELECT": "SELECT * FROM {} LIMIT 0",
    "INSERT": "INSERT INTO {} DEFAULT VALUES",
    "UPDATE": "UPDATE {} SET {column} = {column} WHERE false",
    "DELETE": "DELETE FROM {} WHERE false",
    "TRUNCATE": "TRUNCATE {}",
}
FOLLOWED = (f"satisfaction_v{SATISFACTION.version}.satisfaction_daily", "kehu.satisfaction_daily")
"""A table of a build whose changes are told, and the view that shows it."""
OTHERS = (f"customers_v{CUSTOMERS.version}.customer_personal", "kehu.customer_personal")
"""One that stays here."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A database with schema, read models and roles; on a server of its own, since roles belong to the server."""
    with guarded_database() as url:
        yield url


def tables(conn: "psycopg.Connection[tuple[str, ...]]") -> list[str]:
    """Every table and view of the schema `kehu`, with two tables of builds instead of all of them."""
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'kehu'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1"
    ).fetchall()
    views = {table.name for projection in ALL for table in projection.tables}
    return [f"kehu.{name}" for (name,) in rows if name not in views] + [*FOLLOWED, *OTHERS]


def allowed(role: str, table: str) -> set[str]:
    """What the declaration says."""
    rights = roles.MAY[role]
    if table in FOLLOWED:
        return set(rights.get(roles.MODELS, ())) | set(rights.get(roles.FOLLOWED, ()))
    return set(rights.get(roles.MODELS if table in OTHERS else table.removeprefix("kehu."), ()))


@pytest.mark.parametrize("role", roles.MAY)
def test_a_role_can_do_what_is_declared_and_nothing_else(guarded: str, role: str) -> None:
    with psycopg.connect(guarded, autocommit=True) as conn:
        names = tables(conn)
        assert len(names) > 12
        columns = {
            name: conn.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attidentity = ''"
                " ORDER BY attnum",
                (name,),
            ).fetchone()
            for name in names
        }
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        found = {(name, what) for name in names for what in STATEMENTS if may(conn, name, what, columns[name])}
    expected = {(name, what) for name in names for what in allowed(role, name)}
    assert found == expected
    for kept in ("kehu.stored_events", "kehu.tree_heads"):
        assert not {what for name, what in found if name == kept} - {"SELECT", "INSERT"}


def may(conn: "psycopg.Connection[tuple[str, ...]]", table: str, what: str, column: tuple[str, ...] | None) -> bool:
    """Whether PostgreSQL lets the statement through to the table; what the table says to it is another matter."""
    statement = STATEMENTS[what].format(table, column=column[0] if column else "").encode()
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except (psycopg.errors.NotNullViolation, psycopg.errors.FeatureNotSupported):
        return True  # the right was there: what is inserted is another matter
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.WrongObjectType):
        return False  # a view that cannot be written by anybody
    return True


@pytest.mark.parametrize("role", roles.MAY)
def test_a_role_makes_nothing(guarded: str, role: str) -> None:
    with psycopg.connect(guarded, autocommit=True) as conn:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        for statement in ("CREATE TABLE kehu.mine (a int)", "CREATE SCHEMA mine", "DROP TABLE kehu.inbox"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement.encode())


def test_a_reader_sees_when_events_were_recorded_and_none_of_them(guarded: str) -> None:
    with psycopg.connect(guarded, autocommit=True) as conn:
        conn.execute("SET ROLE kehu_reader")
        assert conn.execute(
            "SELECT count(recorded_at) FROM kehu.stored_events WHERE notification_id < 0"
        ).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT state FROM kehu.stored_events")


@pytest.mark.parametrize("table", ["kehu.data_keys", "kehu.parked", "kehu.dead_letters", "kehu.stored_events", *OTHERS])
def test_who_delivers_webhooks_reads_nothing_personal(guarded: str, table: str) -> None:
    with psycopg.connect(guarded, autocommit=True) as conn:
        conn.execute("SET ROLE kehu_deliverer")
        assert not may(conn, table, "SELECT", None)
        assert may(conn, FOLLOWED[1], "SELECT", None)


def as_user(url: str, name: str, *granted: str) -> str:
    """A user of its own with these roles; a connection string."""
    with psycopg.connect(url) as conn:
        user = sql.Identifier(name)
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
        for role in granted:
            conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), user))
    return make_conninfo(url, user=name)


def test_a_worker_a_reader_an_operator_and_an_auditor_work_with_their_own_rights(
    guarded: str, topics: str, tmp_path: Path
) -> None:
    worker = as_user(guarded, "a_worker", "kehu_writer", "kehu_projector")
    messages = [codec.structured(one) for number in range(60) for one in survey(number)]
    messages.append((b"c1", b"{not json", []))

    async def run() -> int:
        await publish(topics, messages)
        async with ingesting(Settings(postgres=worker, kafka=topics)) as counted:
            await counted.until(len(messages))
        return counted.outcomes[Outcome.APPENDED]

    assert asyncio.run(run()) == 120
    with closing(PostgresLog(worker)) as log, closing(PostgresReadModels(worker)) as models:
        projector = Projector(log, models, ALL)
        projector.run_until_caught_up()
        assert projector.stopped == {}
        assert models.position(SATISFACTION) == log.head() > Position(120)
    reader = as_user(guarded, "a_reader", "kehu_reader")
    for command in (["satisfaction"], ["retention-risk"], ["queues"], ["cases"], ["customer", "c1"]):
        done = kehu("show", *command, "--postgres", reader, "--json")
        assert done.code == 0, done.err
    operator = as_user(guarded, "an_operator", "kehu_operator")
    for command in (["dead-letters", "list"], ["parked", "list"], ["projections", "pause", "satisfaction"]):
        done = kehu(*command, "--postgres", operator)
        assert done.code == 0, done.err
    assert kehu("projections", "resume", "satisfaction", "--postgres", operator).code == 0
    eraser = as_user(guarded, "an_eraser", "kehu_eraser")
    assert kehu("erase", "c1", "--reason", "request dr-1", "--postgres", eraser).code == 0
    auditor = as_user(guarded, "an_auditor", "kehu_auditor")
    replayed = kehu("show", "satisfaction", "--known-at", "2100-01-01", "--postgres", auditor, "--json")
    assert replayed.code == 0, replayed.err
    assert sum(row["n"] for row in replayed.rows) == 60
    for command in (
        ["replay", "queue_items", "--live"],
        ["replay", "satisfaction", "--as-of-position", "9", "--diff", "now"],
    ):
        replayed = kehu("audit", *command, "--postgres", auditor)
        assert replayed.code == 0, replayed.err
    sealer = as_user(guarded, "a_sealer", "kehu_sealer")
    key, heads = tmp_path / "seal.pem", tmp_path / "heads.jsonl"
    signing.make(key)
    sealed = kehu("audit", "seal", "--key", str(key), "--anchor", str(heads), "--postgres", sealer)
    assert sealed.code == 0, sealed.err
    verified = kehu("audit", "verify", "--heads", str(heads), "--postgres", auditor, "--json")
    assert (verified.code, verified.rows) == (0, []), verified.err
    counted = kehu("audit", "return", "uk_disp", "--since=2026-01-01", "--until=2026-07-01", "--postgres", auditor)
    assert counted.code == 0, counted.err
    told = kehu("subject-access", "c1", "--postgres", auditor)
    assert told.code == 0, told.err
    both = as_user(guarded, "an_eraser_who_seals", "kehu_eraser", "kehu_sealer")
    signed = kehu("erase", "c1", "--reason", "request dr-1", "--key", str(key), "--postgres", both, "--json")
    assert (signed.code, "signature" in signed.rows[0]) == (0, True), signed.err
    url = ("--url", "https://crm.example/", "--view", "customers")
    added = kehu("webhooks", "add", "crm", *url, "--postgres", operator, "--json")
    deliverer = as_user(guarded, "a_deliverer", "kehu_deliverer")
    with closing(connection(deliverer)) as shared:
        (webhook,) = Webhooks(shared, data_keys.of_webhooks(deliverer)).active()
        # It has the master key: of the keys that this opens it is given that of the secrets, and no customer's.
        with shared.use() as conn:
            assert conn.execute("SELECT customer_id FROM kehu.webhook_data_keys").fetchall() == [(OWNER,)]
        live, rows = Feed(shared).live(), {}
        for view in VIEWS:
            rows[view.name] = step(Feed(shared), view, None, live[view.projection.name], 10).page.updates
    assert webhook.secrets == [added.rows["secret"]]
    assert rows["satisfaction"]
    refused = kehu("show", "satisfaction", "--known-at", "2100-01-01", "--postgres", reader)
    assert (refused.code, "has no right to that" in refused.err) == (3, True)


def test_a_rebuild_keeps_the_rights(guarded: str) -> None:
    done = kehu("rebuild", "service_queues", "--switch", "--postgres", guarded)
    assert done.code == 0, done.err
    with psycopg.connect(guarded, autocommit=True) as conn:
        conn.execute("SET ROLE kehu_reader")
        assert conn.execute("SELECT count(*) FROM kehu.queue_items").fetchone() == (0,)


def test_the_command_shows_who_may_do_what_and_can_be_repeated(guarded: str) -> None:
    rows = kehu("roles", "--postgres", guarded, "--json").rows
    assert {"role": "kehu_writer", "table": "stored_events", "may": "select, insert"} in rows
    assert "made: none" in kehu("roles", "--postgres", guarded).out
    plain = as_user(guarded, "nobody_special")
    assert "CREATEROLE" in kehu("roles", "--postgres", plain).err or kehu("roles", "--postgres", plain).code == 3
