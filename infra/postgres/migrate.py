"""The schema, as numbered SQL files: `pre` files run before the new code starts, `post` files after the old stopped."""

from pathlib import Path
from typing import Any

import psycopg

FOLDER = Path(__file__).parent / "migrations"


def files() -> list[Path]:
    """All migrations in their order."""
    return sorted(FOLDER.glob("*.sql"))


def migrate(conninfo: str, *, only_pre: bool = False) -> list[str]:
    """Run what has not run yet, one transaction each, and return its names; nothing to do is no error.

    With `only_pre` the `post` files stay pending: for as long as processes of the former release still run.
    """
    done = []
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("SET client_min_messages = warning")
        conn.execute("SELECT pg_advisory_lock(hashtext('kehu-migrations'))")
        conn.execute(
            "CREATE TABLE IF NOT EXISTS public.kehu_migrations"
            " (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        for file in _missing(conn):
            if only_pre and "_post_" in file.stem:
                continue
            with conn.transaction():
                conn.execute(file.read_bytes())
                conn.execute("INSERT INTO public.kehu_migrations (name) VALUES (%s)", (file.stem,))
            done.append(file.stem)
    return done


def pending(conninfo: str) -> list[str]:
    """The names of the migrations that have not run yet. Changes nothing."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        return [file.stem for file in _missing(conn)]


def _missing(conn: "psycopg.Connection[Any]") -> list[Path]:
    exists = conn.execute("SELECT to_regclass('public.kehu_migrations') IS NOT NULL").fetchone()
    if exists is None or not exists[0]:
        return files()
    known = {name for (name,) in conn.execute("SELECT name FROM public.kehu_migrations").fetchall()}
    return [file for file in files() if file.stem not in known]
