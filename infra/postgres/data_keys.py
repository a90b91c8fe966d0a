"""One data key for each customer, wrapped in the table `kehu.data_keys`: made, remembered, forgotten.

A key that is remembered is not looked up again, unless a key was destroyed since: a counter tells, which is read with
every use. So a process that did not hear of an erasure cannot go on reading what was erased.
"""

import os
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from time import monotonic
from typing import Any, LiteralString

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.rows import tuple_row

from infra.errors import KehuError
from infra.master_keys import MasterKeyMissing, MasterKeys, NoMasterKey, configured
from infra.postgres.arrays import lines

Connection = psycopg.Connection[Any]
Keys = Mapping[str, AESGCM | None]
"""Customer -> their data key; None for one that was destroyed."""
NONE: Keys = {}

SYSTEM = "kehu system"
"""Whose key hides what cannot be read, so that nobody knows whom it is about. No id of a customer has a blank."""
REMEMBERED = 50_000
ASK_AGAIN = 30.0
"""Seconds after which the master keys are asked for again."""

_KNOWN: LiteralString = """SELECT e.n, k.customer_id, k.master, k.wrapped FROM kehu.key_epoch e
    LEFT JOIN (SELECT k.* FROM unnest(string_to_array(%b, chr(10))) AS asked (customer)
        JOIN kehu.data_keys k ON k.customer_id = asked.customer) AS k ON true"""
_KNOWN_OF_WEBHOOKS = _KNOWN.replace("kehu.data_keys", "kehu.webhook_data_keys")
_MAKE = """INSERT INTO kehu.data_keys (customer_id, master, wrapped)
    SELECT customer_id, %b, wrapped FROM unnest(string_to_array(%b, chr(10)), %b::bytea[]) AS new (customer_id, wrapped)
    ON CONFLICT (customer_id) DO NOTHING RETURNING customer_id"""


class DataKeyMissing(KehuError):
    """The data key of a customer is gone without an erasure. Restore the table kehu.data_keys from a backup."""


class DataKeys:
    """The data keys of one database. Not thread-safe: as the connection that it is used with."""

    _known = _KNOWN

    def __init__(self, master: Callable[[], MasterKeys], *, most: int = REMEMBERED) -> None:
        """`master` is asked when it is first needed; `most` keys are remembered."""
        self._ask = master
        self._master: MasterKeys | None = None
        self._asked = 0.0
        self._most = most
        self._epoch = 0
        self._remembered: dict[str, AESGCM | None] = {}

    @property
    def master(self) -> MasterKeys:
        """The master keys. Raises NoMasterKey, WrongMasterKey."""
        # Not for ever: what is made after a rotation is wrapped under the new one.
        if self._master is None or monotonic() - self._asked > ASK_AGAIN:
            self._master, self._asked = self._ask(), monotonic()
        return self._master

    @property
    def epoch(self) -> int:
        """How often a key was destroyed, as far as is known here."""
        return self._epoch

    def known(self, conn: Connection, customers: Collection[str]) -> Keys:
        """The keys of those of these customers who have or had one. Raises MasterKeyMissing."""
        if not customers:
            return NONE
        epoch, found = self._read(conn, [one for one in customers if one not in self._remembered])
        if self._remembered and epoch != self._epoch:  # a key was destroyed since
            self._remembered.clear()
            epoch, found = self._read(conn, customers)
        self._epoch = epoch
        keys = {one: self._remembered[one] for one in customers if one in self._remembered} | found
        self.remember(found)
        return keys

    def made(self, conn: Connection, customers: Collection[str]) -> Keys:
        """The keys of all these customers, made where there is none, in the caller's transaction.

        When it is committed, `remember` them. Another worker that makes the same at the same time is waited for.
        """
        keys = dict(self.known(conn, customers))
        if missing := sorted({*customers} - keys.keys()):
            new = {one: os.urandom(32) for one in missing}
            master, wrapped = self.master.current, [self.master.wrap(one, key) for one, key in new.items()]
            with conn.cursor(row_factory=tuple_row) as cur:
                ours = {one for (one,) in cur.execute(_MAKE, (master, lines(missing), wrapped)).fetchall()}
            keys |= {one: AESGCM(new[one]) for one in ours}
            keys |= self._read(conn, [one for one in missing if one not in ours])[1] if len(ours) < len(missing) else {}
        return keys

    def remember(self, keys: Keys) -> None:
        """Keep keys that are stored for the next time."""
        self._remembered.update(keys)
        for one in list(islice(self._remembered, max(0, len(self._remembered) - self._most))):
            del self._remembered[one]

    def _read(self, conn: Connection, customers: Collection[str]) -> tuple[int, dict[str, AESGCM | None]]:
        with conn.cursor(row_factory=tuple_row, binary=True) as cur:
            rows = cur.execute(self._known, (lines(customers),)).fetchall()
        found: dict[str, AESGCM | None] = {}
        for _, customer, master, wrapped in rows:
            if customer is not None:
                found[customer] = None if wrapped is None else AESGCM(self._unwrapped(master, customer, wrapped))
        return int(rows[0][0]), found

    def _unwrapped(self, master: str, customer: str, wrapped: bytes) -> bytes:
        try:
            return self.master.unwrap(master, customer, wrapped)
        except MasterKeyMissing:
            self._master = None  # it was rotated a moment ago
            return self.master.unwrap(master, customer, wrapped)


class ReaderKeys(DataKeys):
    """Data keys for those who read: without the master key everything is hidden to them, and nothing fails."""

    def known(self, conn: Connection, customers: Collection[str]) -> Keys:
        try:
            return super().known(conn, customers)
        except (NoMasterKey, MasterKeyMissing):
            return NONE


class WebhookKeys(DataKeys):
    """The data key of webhooks alone, for those who may read no other."""

    _known = _KNOWN_OF_WEBHOOKS


def of(conninfo: str) -> DataKeys:
    """The data keys of a database, with the master keys that the environment names."""
    return DataKeys(lambda: configured(conninfo))


def for_reading(conninfo: str) -> DataKeys:
    """The same for those who only read."""
    return ReaderKeys(lambda: configured(conninfo))


def of_webhooks(conninfo: str) -> DataKeys:
    """That of webhooks, for those who deliver."""
    return WebhookKeys(lambda: configured(conninfo))
