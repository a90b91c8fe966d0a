"""The schema, as numbered SQL files: `pre` files run before the new code starts, `post` files after the old stopped."""

from pathlib import Path

import psycopg

FOLDER = Path(__file__).parent / "migrations"


def files() -> list[Path]:
    """All migrations in their order."""
    return sorted(FOLDER.glob("*.sql"))


def migrate(conninfo: str) -> list[str]:
    """Run what has not run yet, one transaction each, and return its names; nothing to do is no error."""
    done = []
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("SET client_min_messages = warning")
        conn.execute("SELECT pg_advisory_lock(hashtext('kehu-migrations'))")
        conn.execute(
            "CREATE TABLE IF NOT EXISTS public.kehu_migrations"
            " (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        known = {name for (name,) in conn.execute("SELECT name FROM public.kehu_migrations").fetchall()}
        for file in files():
            if file.stem in known:
                continue
            with conn.transaction():
                conn.execute(file.read_bytes())
                conn.execute("INSERT INTO public.kehu_migrations (name) VALUES (%s)", (file.stem,))
            done.append(file.stem)
    return done
