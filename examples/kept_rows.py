"""Rows of a view in SQLite, for subscribers of any kind: what arrives again, or late, is known by its sequence."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, sequence TEXT NOT NULL, row TEXT, stale INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS effects (changes INTEGER NOT NULL);
INSERT INTO effects SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM effects);
"""


def take(db: sqlite3.Connection, key: str, sequence: str, row: str | None) -> bool:
    """Keep a row, None for one that is gone; whether it was news. The caller commits."""
    known = db.execute("SELECT sequence FROM rows WHERE key = ?", (key,)).fetchone()
    if known is not None and known[0] >= sequence:
        db.execute("UPDATE rows SET stale = 0 WHERE key = ?", (key,))
        return False
    # A row that is gone leaves its sequence, since what is older may still arrive.
    db.execute("INSERT OR REPLACE INTO rows (key, sequence, row) VALUES (?, ?, ?)", (key, sequence, row))
    db.execute("UPDATE effects SET changes = changes + 1")  # stands for whatever must happen once
    return True


def apply(db: sqlite3.Connection, events: Iterable[Mapping[str, Any]]) -> int:
    """Take CloudEvents in; how many were news. What is not told between `restarted` and `complete` is gone."""
    news = 0
    for event in events:
        match event["type"].rpartition(".")[2]:
            case "restarted":
                db.execute("UPDATE rows SET stale = 1 WHERE row IS NOT NULL")
            case "complete":
                db.execute("UPDATE rows SET row = NULL, stale = 0 WHERE stale = 1")
            case _:
                row = json.dumps(event["data"]) if "data" in event else None
                news += take(db, event["subject"], event["sequence"], row)
    return news
