"""PostgreSQL roles with least rights: who writes the log, who seals it, who folds it, who asks (people, and the HTTP
server for others), who looks after, who forgets, who checks.

They are roles without a login, made once for a server; a bank grants them to users of its own. Nobody, not even these,
may change or remove a stored event: no role is granted UPDATE, DELETE or TRUNCATE on the event store. Whoever owns the
tables (who ran `kehu setup`) can always grant more; only a proof finds that out.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from infra.errors import KehuError
from infra.postgres import access_log
from projections.views import VIEWS

READ = ("SELECT",)
ADD = ("SELECT", "INSERT")
KEEP = ("SELECT", "INSERT", "UPDATE")
ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
MODELS = "read models"
"""Stands for the tables of every build of a read model, and for the views that show the live ones."""
FOLLOWED = "followed tables"
"""Stands for those of them whose changes are told, and the keys of what was dropped: none has a personal column."""
Rights = Mapping[str, tuple[str, ...]]

MAY: Mapping[str, Rights] = {
    "kehu_writer": {
        "stored_events": ADD,
        "inbox": ADD,
        "log_head": ("SELECT", "UPDATE"),
        "snapshots": KEEP,
        "positions": KEEP,
        "attempts": ALL,
        "parked": ALL,
        "dead_letters": KEEP,
        "data_keys": ADD,
        "key_epoch": READ,
    },
    "kehu_sealer": {
        "stored_events": READ,
        "log_head": READ,
        "proof_tiles": KEEP,
        "tree_heads": ADD,
        "anchors": KEEP,
        "access_log": READ,
    },
    "kehu_projector": {
        "stored_events": READ,
        "log_head": READ,
        "data_keys": READ,
        "key_epoch": READ,
        "projection_builds": ("SELECT", "UPDATE"),
        "projection_folds": KEEP,
        "view_marks": KEEP,
        "places": ("SELECT", "INSERT", "DELETE"),
        "risk_models": ADD,
        "risk_promotions": ADD,
        MODELS: ALL,
    },
    "kehu_reader": {
        "projections": READ,
        "log_head": READ,
        "positions": READ,
        "projection_builds": READ,
        "view_marks": READ,
        "risk_models": READ,
        "risk_promotions": READ,
        MODELS: READ,
    },
    "kehu_deliverer": {
        "webhooks": ("SELECT", "UPDATE"),
        "webhook_keys": ALL,
        "webhook_letters": ALL,
        "webhook_data_keys": READ,
        "key_epoch": READ,
        "projection_builds": READ,
        "log_head": READ,
        FOLLOWED: READ,
    },
    "kehu_operator": {
        "webhooks": ALL,
        "webhook_letters": ("SELECT", "UPDATE"),
        "view_marks": ("SELECT", "UPDATE"),
        "projections": ("SELECT", "UPDATE"),
        "projection_builds": READ,
        "log_head": READ,
        "inbox": READ,
        "positions": ("SELECT", "UPDATE"),
        "attempts": READ,
        "event_log": READ,
        "stored_events": READ,
        "parked": ("SELECT", "UPDATE", "DELETE"),
        "dead_letters": ("SELECT", "INSERT", "UPDATE"),
        "data_keys": ADD,
        "key_epoch": READ,
        "risk_models": READ,
        "risk_promotions": READ,
        MODELS: READ,
    },
    "kehu_eraser": {
        "data_keys": KEEP,
        "key_epoch": ("SELECT", "UPDATE"),
        "erasures": KEEP,
        "stored_events": ADD,
        "log_head": ("SELECT", "UPDATE"),
        "positions": ("SELECT", "UPDATE"),
        "parked": ("SELECT", "UPDATE", "DELETE"),
        "dead_letters": KEEP,
        "snapshots": ("SELECT", "DELETE"),
        "webhook_letters": ("SELECT", "UPDATE"),
        "proof_tiles": READ,
        "tree_heads": READ,
        "projections": READ,
        "projection_builds": ("SELECT", "UPDATE"),
        "projection_folds": KEEP,
        "risk_models": READ,
        "places": ("SELECT", "INSERT", "DELETE"),
        MODELS: ALL,
    },
    "kehu_api": {
        "stored_events": READ,
        "event_log": READ,
        "log_head": READ,
        "projections": READ,
        "projection_builds": READ,
        "inbox": READ,
        "positions": ("SELECT", "UPDATE"),
        "parked": ("SELECT", "UPDATE", "DELETE"),
        "dead_letters": KEEP,
        "webhooks": ALL,
        "webhook_letters": ("SELECT", "UPDATE"),
        "data_keys": ADD,
        "key_epoch": READ,
        "access_log": ADD,
        "places": READ,
        "risk_models": READ,
        "risk_promotions": READ,
        MODELS: READ,
    },
    "kehu_auditor": {
        "access_log": READ,
        "webhook_letters": READ,
        "stored_events": READ,
        "event_log": READ,
        "inbox": READ,
        "positions": READ,
        "parked": READ,
        "dead_letters": READ,
        "data_keys": READ,
        "key_epoch": READ,
        "erasures": READ,
        "log_head": READ,
        "proof_tiles": READ,
        "tree_heads": READ,
        "anchors": READ,
        "projections": READ,
        "projection_builds": READ,
        "projection_folds": READ,
        "view_marks": READ,
        "risk_models": READ,
        "risk_promotions": READ,
        MODELS: READ,
    },
}
"""Role -> table or view of the schema `kehu` -> what it may do there."""

ACTS = ("record_act(text, text, bytea)", "told_settings(text)")
"""The functions that tell in the log what was done."""
READS = "record_reads(text, bytea)"
"""The function that puts reads of personal data under the proof of the log."""
MAY_TELL = (
    "kehu_sealer",
    "kehu_projector",
    "kehu_operator",
    "kehu_eraser",
    "kehu_api",
    "kehu_deliverer",
    "kehu_auditor",
)
"""Who does what is told, and may write nothing else to the log."""

_FORGOTTEN = ("SELECT (customer_id, position)",)
"""Who was forgotten, and neither why nor by whom."""
OF_COLUMNS: Mapping[str, Rights] = {
    # When something was recorded, to say how fresh an answer is: no event.
    "kehu_reader": {"stored_events": ("SELECT (notification_id, recorded_at)",), "erasures": _FORGOTTEN},
    "kehu_operator": {"erasures": _FORGOTTEN},
    "kehu_api": {"erasures": _FORGOTTEN},
    # What a receiver answered last, and neither where it is nor what signs.
    "kehu_eraser": {"webhooks": ("SELECT (error)", "UPDATE (error)")},
}
"""What roles may do with some columns of a table, beside MAY."""

_BUILDS = """SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN kehu.projection_builds b ON n.nspname = b.name || '_v' || b.version || CASE WHEN b.build > 1
        THEN '_b' || b.build ELSE '' END WHERE c.relkind = 'r'"""
_VIEWS = """SELECT 'kehu' AS schema, c.relname AS name FROM pg_class c
    WHERE c.relnamespace = 'kehu'::regnamespace AND c.relkind = 'v'
        AND c.relname NOT IN ('event_log', 'projections', 'webhook_data_keys')"""


class NoRightToMakeRoles(KehuError):
    """The user of --postgres may not make roles. Let a user with CREATEROLE run `kehu roles` once."""


def make(conn: "psycopg.Connection[Any]") -> list[str]:
    """Make the roles that are missing and grant what each may do; the names of those made."""
    there = existing(conn)
    missing = [role for role in MAY if role not in there]
    try:
        for role in missing:
            conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise NoRightToMakeRoles(str(error)) from error
    grant(conn)
    return missing


def existing(conn: "psycopg.Connection[Any]") -> set[str]:
    """Those of the roles that this server has."""
    rows = conn.execute("SELECT rolname AS name FROM pg_roles WHERE rolname = ANY(%s)", (list(MAY),)).fetchall()
    return {_of(row, "name", 0) for row in rows}


def grant(conn: "psycopg.Connection[Any]") -> None:
    """Grant each role that there is what it may do, and nothing else; again after tables were made."""
    roles = existing(conn)
    if not roles:
        return
    models = [
        (_of(row, "schema", 0), _of(row, "name", 1))
        for query in (_BUILDS, _VIEWS)
        for row in conn.execute(query.encode()).fetchall()
    ]
    told = {name for view in VIEWS for name in (view.table.name, view.table.removed)}
    meant = {MODELS: models, FOLLOWED: [one for one in models if one[1] in told]}
    for role in sorted(roles):
        name = sql.Identifier(role)
        for schema in sorted({"kehu", *(schema for schema, _ in models)}):
            conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), name))
            revoke = sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}")
            conn.execute(revoke.format(sql.Identifier(schema), name))
        for table, rights in (*MAY[role].items(), *OF_COLUMNS.get(role, {}).items()):
            for target in meant.get(table, [("kehu", table)]):
                conn.execute(
                    sql.SQL("GRANT {} ON {} TO {}").format(
                        sql.SQL(", ").join(map(sql.SQL, rights)), sql.Identifier(*target), name
                    )
                )
        if role in MAY_TELL:
            for function in ACTS:
                conn.execute(sql.SQL(f"GRANT EXECUTE ON FUNCTION kehu.{function} TO {{}}").format(name))
        if role == "kehu_sealer":
            conn.execute(sql.SQL(f"GRANT EXECUTE ON FUNCTION kehu.{READS} TO {{}}").format(name))
        if "INSERT" in MAY[role].get("access_log", ()):
            columns = sql.SQL(", ").join(map(sql.Identifier, access_log.COLUMNS))
            conn.execute(sql.SQL("REVOKE INSERT ON kehu.access_log FROM {}").format(name))
            # All but the id: whoever chose one could keep a read out of what is sealed.
            conn.execute(sql.SQL("GRANT INSERT ({}) ON kehu.access_log TO {}").format(columns, name))


def _of(row: Any, name: str, index: int) -> Any:
    """A column, whatever rows the connection gives."""
    return row[name] if isinstance(row, dict) else row[index]
