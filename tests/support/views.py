"""What a view shows, asked without the feed, and readers that keep what they were told of it."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
from psycopg import sql

from infra.postgres.changes import Feed, Token
from projections.views import Update, View

Told = Mapping[str, Any]
MOST = 1000


def shown(postgres: str, view: View) -> dict[str, tuple[int, Any]]:
    """Key -> position and row of the live build, as JSON."""
    query = sql.SQL("SELECT position, to_jsonb(t) AS row, ARRAY[{}] AS key FROM {} t").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in view.table.key),
        sql.Identifier("kehu", view.table.name),
    )
    hidden = {"position", "changed_at", *view.without}
    with psycopg.connect(postgres, options="-c timezone=UTC") as conn:
        return {
            key[0] if len(key) == 1 else json.dumps(key): (
                position,
                {name: value for name, value in row.items() if name not in hidden},
            )
            for position, row, key in conn.execute(query).fetchall()
        }


class Reader:
    """Follows a view from token to token, each written and read again, as a process that restarts at every page."""

    def __init__(self, feed: Feed, view: View) -> None:
        self.feed, self.view = feed, view
        self.token: str | None = None
        self.rows: dict[str, tuple[int, Any]] = {}
        self.starts: list[str] = []
        """How it began each time: with everything, or comparing."""
        self.updates: list[Update] = []

    def step(self, most: int) -> bool:
        """Take the next page in; whether there is more."""
        live = self.feed.live()[self.view.projection.name]
        token = None if self.token is None else Token.read(self.token)
        if token is None or not self.feed.follows(token, live):
            token = self.feed.start(self.view, token, live)
            assert token.walk is not None
            self.starts.append("everything" if token.walk.former is None else "comparing")
            if token.walk.former is None:
                self.feed.note(dict.fromkeys(self.rows, True))
                for gone in self.feed.missing(self.view, live, 3):
                    self._take(gone)
        page = self.feed.page(self.view, token, live, most)
        self._take(page.updates)
        self.token = str(page.token)
        return page.more

    def catch_up(self, most: int = MOST) -> list[Update]:
        """Read until there is nothing; what was told."""
        before = len(self.updates)
        while self.step(most):
            pass
        return self.updates[before:]

    def _take(self, updates: "list[Update] | Any") -> None:
        for update in updates:
            self.updates.append(update)
            if update.row is None:
                self.rows.pop(update.key, None)
            else:
                self.rows[update.key] = (update.position, orjson.loads(update.row))
