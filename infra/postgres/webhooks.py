"""The webhooks: whom, of what, how far, and what none of them took.

What signs their messages is encrypted under a data key of the system, bound to the name of the webhook.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from domain import complaint
from infra.boxes import NotOpened, box, opened
from infra.errors import KehuError
from infra.postgres import data_keys
from infra.postgres.changes import Token
from infra.postgres.connection import Connection
from infra.postgres.data_keys import DataKeyMissing, DataKeys, Keys
from infra.postgres.querying import dict_rows

HANDOVER = timedelta(hours=24)
"""How long a former secret signs beside the new one."""
OWNER = "kehu webhooks"
"""Whose data key hides the secrets. No id of a customer has a blank."""
_BOXED = "box:"
"""Before a secret that is encrypted, in base64; a former release kept it as it is."""
_FIELDS = """name, url, view, segments, secret, CASE WHEN former_until > clock_timestamp() THEN former_secret END,
    token, after_position, attempts, next_at,
    EXISTS (SELECT FROM kehu.webhook_letters l WHERE l.webhook = w.name AND l.again)"""


_OWN = f"""SELECT unnest(%(ids)s::text[]) AS said
    UNION SELECT stream FROM customer_timeline WHERE customer_id = ANY(%(ids)s)
    UNION SELECT substr(stream, {len(complaint.stream_name("")) + 1}) FROM customer_timeline
        WHERE customer_id = ANY(%(ids)s) AND starts_with(stream, '{complaint.stream_name("")}')"""  # noqa: S608
KEYS_OF = f"""ARRAY(SELECT key FROM unnest(keys) AS key WHERE key IN ({_OWN})
    OR starts_with(key, '[') AND EXISTS (SELECT FROM ({_OWN}) own WHERE strpos(key, to_json(said)::text) > 0))"""  # noqa: S608
"""Of the keys of a dead letter those of rows about the customers `ids`: their id, one of their streams or cases, or
several columns with one of these among them."""


class NoSuchWebhook(KehuError):
    """There is no webhook of this name. `kehu webhooks list` has all of them."""

    exit_code = 2


class AlreadyThere(KehuError):
    """There is a webhook of this name. Choose another, or remove it first."""

    exit_code = 2


class Moved(KehuError):
    """A webhook was changed, or is told by another process by now. Nothing is lost: what it took is looked up again."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One who is told, and how far."""

    name: str
    url: str
    view: str
    segments: frozenset[str] | None
    secrets: Sequence[str]
    """Those that sign."""
    token: Token | None
    after_position: int
    attempts: int
    """That failed since the last one that did not."""
    next_at: datetime | None
    """Not before then."""
    again: bool
    """Whether a dead letter is to be sent again."""

    @property
    def place(self) -> tuple[Token | None, int]:
        """How far it is."""
        return self.token, self.after_position


@dataclass(frozen=True, slots=True)
class Letter:
    """Rows that a webhook did not take, to be sent again."""

    id: int
    webhook: str
    keys: Sequence[str]


class Webhooks:
    """Read and kept by who tells them, over the connection of a `Feed`."""

    def __init__(self, connection: Connection[tuple[Any, ...]], keys: DataKeys) -> None:
        self._connection = connection
        self._keys = keys

    def active(self) -> Sequence[Webhook]:
        """All that do not rest. One whose secret does not open rests from now on.

        Raises NoMasterKey, MasterKeyMissing.
        """
        with self._connection.use() as conn:
            rows = conn.execute(f"SELECT {_FIELDS} FROM kehu.webhooks w WHERE paused IS NULL ORDER BY name")  # noqa: S608
            found, keys = [], self._keys.known(conn, [OWNER])
            for row in rows.fetchall():
                try:
                    found.append(_webhook(row, keys))
                except (NotOpened, DataKeyMissing):
                    pause(conn, row[0], "its secret does not open: give it another one with `kehu webhooks secret`")
            return found

    def took(
        self,
        before: Webhook,
        token: Token,
        events: int,
        keys: Mapping[str, bool],
    ) -> Webhook:
        """It took everything up to the token. `keys`: of rows chosen by segment, those it has now, and has no more.

        Raises Moved.
        """
        with self._connection.use() as conn, conn.transaction():
            ended = 0 if token.walk is None else before.after_position
            saved = conn.execute(
                "UPDATE kehu.webhooks SET token = %s, after_position = %s, delivered = delivered + %s, attempts = 0,"
                " delivered_at = CASE WHEN %s > 0 THEN clock_timestamp() ELSE delivered_at END,"
                " next_at = NULL, error = NULL"
                " WHERE name = %s AND token IS NOT DISTINCT FROM %s AND after_position = %s",
                (str(token), ended, events, events, before.name, _text(before.token), before.after_position),
            )
            if saved.rowcount != 1:
                raise Moved(before.name)
            _keep_keys(conn, before.name, keys)
        return replace(before, token=token, after_position=ended, attempts=0, next_at=None)

    def failed(self, of: Webhook, attempts: int, error: str, wait: float) -> None:
        """It did not take something, and is not told anything for so many seconds."""
        with self._connection.use() as conn:
            conn.execute(
                "UPDATE kehu.webhooks SET attempts = %s, error = %s,"
                " next_at = clock_timestamp() + %s * interval '1 s' WHERE name = %s",
                (attempts, error[:1000], wait, of.name),
            )

    def give_up(self, of: Webhook, keys: Sequence[str], error: str, attempts: int) -> None:
        """What it did not take so often becomes a dead letter, and it is told what comes next."""
        with self._connection.use() as conn, conn.transaction():
            conn.execute(
                "INSERT INTO kehu.webhook_letters (webhook, keys, error, attempts) VALUES (%s, %s, %s, %s)",
                (of.name, list(keys), error[:1000], attempts),
            )
            conn.execute("UPDATE kehu.webhooks SET attempts = 0, next_at = NULL WHERE name = %s", (of.name,))

    def pause(self, name: str, reason: str) -> None:
        """Tell it nothing until it is resumed."""
        with self._connection.use() as conn:
            conn.execute("UPDATE kehu.webhooks SET paused = %s WHERE name = %s", (reason[:1000], name))

    def known(self, name: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that it has a row of."""
        with self._connection.use() as conn:
            query = "SELECT key FROM kehu.webhook_keys WHERE webhook = %s AND key = ANY(%s)"
            return {row[0] for row in conn.execute(query, (name, list(keys))).fetchall()}

    def again(self, name: str) -> Letter | None:
        """The oldest of its dead letters that is to be sent again."""
        with self._connection.use() as conn:
            query = (
                "SELECT id, webhook, keys FROM kehu.webhook_letters WHERE webhook = %s AND again ORDER BY id LIMIT 1"
            )
            row = conn.execute(query, (name,)).fetchone()
        return None if row is None else Letter(*row)

    def taken(self, letter: Letter, keys: Mapping[str, bool]) -> None:
        """A dead letter was sent again and taken: it is forgotten. `keys` as for `took`."""
        with self._connection.use() as conn, conn.transaction():
            conn.execute("DELETE FROM kehu.webhook_letters WHERE id = %s", (letter.id,))
            _keep_keys(conn, letter.webhook, keys)

    def not_taken(self, letter: Letter) -> None:
        """A dead letter was sent again in vain: it stays."""
        with self._connection.use() as conn:
            conn.execute("UPDATE kehu.webhook_letters SET again = false WHERE id = %s", (letter.id,))


def _keep_keys(conn: "psycopg.Connection[Any]", webhook: str, keys: Mapping[str, bool]) -> None:
    if keys:
        conn.execute(
            "INSERT INTO kehu.webhook_keys SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
            (webhook, [key for key, there in keys.items() if there]),
        )
        conn.execute(
            "DELETE FROM kehu.webhook_keys WHERE webhook = %s AND key = ANY(%s)",
            (webhook, [key for key, there in keys.items() if not there]),
        )


def _webhook(row: Sequence[Any], keys: Keys) -> Webhook:
    name, url, view, segments, secret, former, token, after, attempts, next_at, again = row
    return Webhook(
        name,
        url,
        view,
        None if segments is None else frozenset(segments),
        [_shown(keys, name, one) for one in (secret, former) if one],
        token and Token.read(token),
        after,
        attempts,
        next_at,
        again,
    )


def _text(token: Token | None) -> str | None:
    return None if token is None else str(token)


def _hidden(conn: "psycopg.Connection[Any]", name: str, secret: str) -> str:
    """A secret as it is kept; the key is made with the first one. Raises NoMasterKey."""
    key = data_keys.of(conn.info.dsn).made(conn, [OWNER])[OWNER]
    if key is None:
        raise DataKeyMissing(OWNER)
    return _BOXED + b64encode(box(key, secret.encode(), _place(name))).decode()


def _shown(keys: Keys, name: str, kept: str) -> str:
    """A secret as it is. Raises NotOpened, DataKeyMissing."""
    if not kept.startswith(_BOXED):
        return kept
    if (key := keys.get(OWNER)) is None:
        raise DataKeyMissing(OWNER)
    return opened(key, b64decode(kept.removeprefix(_BOXED)), _place(name)).decode()


def _place(name: str) -> bytes:
    return f"webhook\0{name}".encode()


def hide(conn: "psycopg.Connection[Any]") -> int:
    """Encrypt the secrets that a former release kept in the clear; of how many webhooks."""
    query = """SELECT name, secret, former_secret FROM kehu.webhooks
        WHERE NOT starts_with(secret, %(box)s) OR NOT starts_with(former_secret, %(box)s) FOR UPDATE"""
    with conn.transaction(), conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(query, {"box": _BOXED}).fetchall()
        for name, *secrets in rows:
            kept = [one if one is None or one.startswith(_BOXED) else _hidden(conn, name, one) for one in secrets]
            conn.execute("UPDATE kehu.webhooks SET secret = %s, former_secret = %s WHERE name = %s", (*kept, name))
    return len(rows)


def add(
    conn: "psycopg.Connection[Any]",
    name: str,
    url: str,
    view: str,
    segments: Sequence[str] | None,
    secret: str,
    token: Token | None,
) -> None:
    """Tell somebody from now on: everything, or with a token what comes after it. Raises AlreadyThere."""
    try:
        conn.execute(
            "INSERT INTO kehu.webhooks (name, url, view, segments, secret, token) VALUES (%s, %s, %s, %s, %s, %s)",
            (name, url, view, segments and list(segments), _hidden(conn, name, secret), _text(token)),
        )
    except psycopg.errors.UniqueViolation as error:
        raise AlreadyThere(name) from error


def remove(conn: "psycopg.Connection[Any]", name: str) -> None:
    """Tell it nothing any more, and forget its dead letters. Raises NoSuchWebhook."""
    _one(conn, "DELETE FROM kehu.webhooks WHERE name = %s", name)


def pause(conn: "psycopg.Connection[Any]", name: str, reason: str) -> None:
    """Tell it nothing until it is resumed. Raises NoSuchWebhook."""
    _one(conn, "UPDATE kehu.webhooks SET paused = %s WHERE name = %s", name, reason)


def resume(conn: "psycopg.Connection[Any]", name: str) -> None:
    """Go on where it was, and at once. Raises NoSuchWebhook."""
    _one(conn, "UPDATE kehu.webhooks SET paused = NULL, attempts = 0, next_at = NULL WHERE name = %s", name)


def replay(conn: "psycopg.Connection[Any]", name: str, after_position: int) -> None:
    """Tell all rows again whose last event has a later position; 0 for everything. Raises NoSuchWebhook."""
    _one(
        conn,
        "UPDATE kehu.webhooks SET token = NULL, after_position = %s, attempts = 0, next_at = NULL WHERE name = %s",
        name,
        after_position,
    )


def one(conn: "psycopg.Connection[Any]", name: str) -> dict[str, Any]:
    """One of them, without its secrets. Raises NoSuchWebhook."""
    found = listed(conn, name=name)
    if not found:
        raise NoSuchWebhook(name)
    return found[0]


def change(
    conn: "psycopg.Connection[Any]", name: str, url: str | None = None, segments: Sequence[str] | None = None
) -> None:
    """Another URL, or rows of other segments: then everything is told again. None for what stays, no segments for all.

    Raises NoSuchWebhook.
    """
    _one(
        conn,
        "UPDATE kehu.webhooks SET url = coalesce(%s, url), attempts = 0, next_at = NULL WHERE name = %s",
        name,
        url,
    )
    if segments is not None:
        _one(
            conn,
            "UPDATE kehu.webhooks SET segments = %s, token = NULL, after_position = 0 WHERE name = %s",
            name,
            list(segments) or None,
        )


def renew_secret(conn: "psycopg.Connection[Any]", name: str, secret: str) -> None:
    """Sign with another secret, and for `HANDOVER` with the former one, too. Raises NoSuchWebhook."""
    _one(
        conn,
        "UPDATE kehu.webhooks SET former_secret = secret, former_until = clock_timestamp() + %s, secret = %s"
        " WHERE name = %s",
        name,
        HANDOVER,
        _hidden(conn, name, secret),
    )


def retry(conn: "psycopg.Connection[Any]", name: str, letter: int | None = None) -> int:
    """Send its dead letters again, or one of them; how many. Raises NoSuchWebhook."""
    _one(conn, "UPDATE kehu.webhooks SET name = name WHERE name = %s", name)
    query = "UPDATE kehu.webhook_letters SET again = true WHERE webhook = %s AND (%s::bigint IS NULL OR id = %s)"
    return conn.execute(query, (name, letter, letter)).rowcount


def listed(
    conn: "psycopg.Connection[Any]",
    view: str | None = None,
    failing: bool = False,
    name: str | None = None,
    after: str = "",
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """The webhooks, without their secrets; in the order of names, those behind `after`."""
    return dict_rows(
        conn,
        "SELECT name, view, url, segments, CASE WHEN paused IS NOT NULL THEN 'paused'"
        " WHEN attempts > 0 THEN 'failing' ELSE 'active' END AS state, paused AS reason, delivered, delivered_at,"
        " attempts, next_at, error, (SELECT count(*) FROM kehu.webhook_letters l WHERE l.webhook = w.name)"
        " AS dead_letters, token, added_at FROM kehu.webhooks w"
        " WHERE (%(view)s::text IS NULL OR view = %(view)s) AND (NOT %(failing)s OR attempts > 0"
        " OR paused IS NOT NULL) AND (%(name)s::text IS NULL OR name = %(name)s) AND name > %(after)s"
        " ORDER BY name LIMIT %(limit)s",
        {"view": view, "failing": failing, "name": name, "after": after, "limit": limit},
    )


def letters(
    conn: "psycopg.Connection[Any]", name: str | None, limit: int | None, before: int | None = None
) -> list[dict[str, Any]]:
    """What webhooks did not take, the newest first; with `before` those before the one of this id."""
    return dict_rows(
        conn,
        "SELECT id, webhook, cardinality(keys) AS rows, keys, error, attempts, again, given_up_at"
        " FROM kehu.webhook_letters WHERE (%(name)s::text IS NULL OR webhook = %(name)s)"
        " AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT nullif(%(limit)s, 0)",
        {"name": name, "limit": limit, "before": before},
    )


def _one(conn: "psycopg.Connection[Any]", statement: str, name: str, *given: Any) -> None:
    if conn.execute(statement.encode(), (*given, name)).rowcount != 1:
        raise NoSuchWebhook(name)
