"""A follower of a view over HTTP that keeps its rows in SQLite. See docs/howto/follow-over-http.md.

Rows and the last id are saved together, so it goes on where it was after any end of itself, the server or the network.
Example: KEHU_TOKEN=$(kehu token) python -m examples.sse_subscriber retention-risk risks.db
"""

import argparse
import http.client
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

from examples import kept_rows

SCHEMA = kept_rows.SCHEMA + "CREATE TABLE IF NOT EXISTS place (view TEXT PRIMARY KEY, last_id TEXT NOT NULL);"
SILENT = 60.0
"""Seconds without a sign of life after which the connection counts as broken; the server sends one every fifteen."""


def blocks(url: str, token: str, view: str, last_id: str | None) -> Iterator[dict[str, str]]:
    """The fields of one event after the other, until the connection ends. Raises OSError and HTTPException."""
    at = urlsplit(url)
    connect = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
    with closing(connect(at.netloc, timeout=SILENT)) as connection:
        headers = {"Authorization": f"Bearer {token}", **({"Last-Event-ID": last_id} if last_id else {})}
        connection.request("GET", f"/v1/changes?view={quote(view)}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status}: {answer.read(500).decode()}")
        fields: dict[str, str] = {}
        for line in answer:
            name, _, value = line.decode().rstrip("\r\n").partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            elif fields and line.strip() == b"":
                yield fields
                fields = {}


def follow(url: str, token: str, view: str, file: Path) -> None:
    """Follow until the connection ends."""
    with closing(sqlite3.connect(file, timeout=10)) as db:
        db.executescript(SCHEMA)
        row = db.execute("SELECT last_id FROM place WHERE view = ?", (view,)).fetchone()
        events: list[dict[str, object]] = []
        for fields in blocks(url, token, view, row and row[0]):
            if "data" in fields and fields["event"] != "cut":
                events.append(json.loads(fields["data"]))
            if "id" in fields:
                # Only together with an id, so that what is kept and where to go on are never apart.
                with db:
                    kept_rows.apply(db, events)
                    db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (view, fields["id"]))
                events = []


def main() -> None:
    """Follow, and connect again whenever the connection ends."""
    parser = argparse.ArgumentParser(prog="python -m examples.sse_subscriber", description=__doc__)
    parser.add_argument("view")
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    given = parser.parse_args()
    while True:
        try:
            follow(given.url, os.environ["KEHU_TOKEN"], given.view, given.file)
        except (OSError, http.client.HTTPException) as error:
            print(f"{error}: connecting again", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
