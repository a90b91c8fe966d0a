"""Forgetting a customer, from the question whether it may be to the certificate; what was interrupted goes on.

The key is destroyed first, since all else follows from that: whoever reads afterwards reads `[erased]`. Read models
forget by folding the event that says so, as a rebuild does, so both lead to the same rows.
"""

import tomllib
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from consumers.projector import Projector
from domain.erasure import Outcome, Restricted, Retention, Retentions, decide
from domain.ports import Conflict
from domain.rules import Versions
from domain.values import BANK
from infra import certificates
from infra.errors import KehuError
from infra.failpoints import reach
from infra.postgres import erasure
from infra.postgres.log import PostgresLog
from infra.postgres.proving import NotAsSealed
from infra.postgres.querying import Row
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.identity import merges_around
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.seals import Seals
from infra.postgres.tree import HolesInTheLog, TreeDamaged
from infra.signing import Signer
from projections.catalogue import ALL
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.customers import CUSTOMERS
from projections.declare import Projection

ATTEMPTS = 5
DAMAGED = (HolesInTheLog, TreeDamaged, NotAsSealed)
"""What there is no certificate over."""
FORGETFUL = tuple(projection for projection in ALL if "customer.erased" in projection.handles)
"""The read models that have something to forget."""


class UnknownCustomer(KehuError):
    """Nothing is stored about this customer. Check the id with `kehu show customers`."""


class NotPurged(KehuError):
    """The key is destroyed, but a read model could not forget the customer. Do what the detail says, then run the same
    command again: it goes on where it stopped."""


class NotCertified(KehuError):
    """The customer is forgotten, but the log is not as it was sealed, so no certificate was made. `kehu audit verify`
    says what was changed; when that is put right, run the same command again for the certificate."""


class WrongRules(KehuError):
    """The file of KEHU_ERASURE_RULES is not understood. It has the shape of domain/rules/erasure.toml."""

    exit_code = 2


class Erasing:
    """Erasures of one database; over a connection of its own."""

    def __init__(self, postgres: str, clock: Callable[[], datetime], signer: Signer | None = None) -> None:
        """With a signer the log is sealed up to what was done, and the certificate signed."""
        options = "-c timezone=UTC -c search_path=kehu"
        self._postgres = postgres
        self._clock = clock
        self._signer = signer
        self.conn: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            postgres, autocommit=True, row_factory=dict_row, application_name="kehu-erase", options=options
        )

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()

    def fold(self, projections: Sequence[Projection]) -> dict[str, str]:
        """Bring read models up to the log, beside a worker or without one; why one is not, by its name."""
        with closing(PostgresLog(self._postgres)) as log, closing(PostgresReadModels(self._postgres)) as models:
            Projector(log, models, projections).run_until_caught_up()
            standing = models.standing(projections)
        found = {}
        for one in projections:
            stands = standing.get(one.name)
            if stands is None:
                found[one.name] = f"is of another version: run `kehu rebuild {one.name} --switch`"
            elif stands.error or stands.paused:
                found[one.name] = stands.error or f"rests: run `kehu projections resume {one.name}`"
        return found

    def ids_of(self, customer_id: str) -> tuple[str, ...]:
        """All ids under which a customer is known: those that are merged with it as of now. Raises UnknownCustomer."""
        with self.conn.transaction():
            group, _ = merges_around(Answer(self.conn, CUSTOMERS), customer_id)
        if customer_id == BANK or not any(erasure.known(self.conn, one) for one in group.members):
            raise UnknownCustomer(customer_id)
        return group.members

    def outcome(self, ids: Sequence[str], now: datetime, rules: Retentions | None = None) -> Outcome:
        """What becomes of the request of a customer who has these ids."""
        with self.conn.transaction():
            return decide([erasure.standing(self.conn, one) for one in ids], now, rules)

    def has_begun(self, customer_id: str) -> bool:
        """Whether the erasure of an id was begun: it cannot be undone, so nobody asks any more whether it may be."""
        return erasure.begun(self.conn, customer_id) is not None

    def counted(self, customer_id: str) -> Row:
        """What is there to be purged."""
        return erasure.counted(self.conn, customer_id)

    def erase(self, customer_id: str, reason: str, by: str, now: datetime) -> Row:
        """Forget what is stored under one id, or finish that; the certificate.

        Raises NoMasterKey, WrongMasterKey, MasterKeyMissing before anything is done, NotPurged; and NotSealedYet and
        NotCertified when all is done but the certificate.
        """
        before = erasure.begun(self.conn, customer_id)
        if before is None or before["ended_at"] is None:
            erasure.require_keys(self.conn, customer_id)
        with closing(Seals(self._postgres)) as seals:
            if self._signer is not None and seals.last() is None:
                with suppress(*DAMAGED):  # whoever changed the log does not keep anybody from being forgotten
                    certificates.seal(seals, self._signer, self._clock)
            erased, in_the_clear = self._erase(customer_id, reason, by, now)
            try:
                if self._signer is not None:
                    certificates.seal(seals, self._signer, self._clock, erased["position"])
                told = certificates.certificate(
                    erased, [f"{one.name} v{one.version}" for one in FORGETFUL], in_the_clear, seals
                )
            except DAMAGED as error:
                raise NotCertified(f"{customer_id}: {error.detail}") from error
        return told if self._signer is None else certificates.signed(told, self._signer)

    def _erase(self, customer_id: str, reason: str, by: str, now: datetime) -> tuple[Row, int]:
        """What was done, and how many events are in the clear."""
        there = erasure.counted(self.conn, customer_id)
        left = there.pop("events_in_the_clear")
        begun = erasure.begin(self.conn, customer_id, reason, by, there)
        reach("erasing", self.conn)
        if begun["ended_at"] is None:
            self._forget(begun, now)
            reach("forgotten", self.conn)
            tried(lambda: erasure.empty(self.conn, customer_id, now))
            reach("emptied", self.conn)
            if failed := self.fold(FORGETFUL):
                raise NotPurged("; ".join(f"{name} {why}" for name, why in failed.items()))
            erasure.purge_other_builds(self.conn, customer_id)
            reach("purged", self.conn)
            begun = erasure.end(self.conn, customer_id)
        return begun, left

    def restrict(self, ids: Sequence[str], restricted: Restricted, reason: str, by: str, now: datetime) -> None:
        """Keep that these ids asked to be forgotten, and until when they must be kept."""
        for one in ids:
            tried(lambda of=one: erasure.restrict(self.conn, of, restricted, reason, by, now))  # type: ignore[misc]

    def refuse(self, ids: Sequence[str], why: str, reason: str, by: str, now: datetime) -> None:
        """Tell, as acts, that these ids asked to be forgotten and cannot be now."""
        for one in ids:
            erasure.refuse(self.conn, one, why, reason, by, now)

    def due(self, now: datetime) -> list[Row]:
        """Whose erasure was begun and not ended, or whose restriction is over, with the reason they asked for."""
        return erasure.due(self.conn, now)

    def _forget(self, begun: Row, now: datetime) -> None:
        tried(lambda: erasure.forget(self.conn, begun, now))


def tried(write: Callable[[], object]) -> None:
    """Write, and again when a worker was faster."""
    for attempt in range(ATTEMPTS):
        try:
            write()
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, Conflict):
            # A worker wrote the stream of the customer meanwhile, or what waited there: decide on what it is now.
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def rules_of(file: Path | None) -> Retentions | None:
    """The rules of a bank's own file; None without one. Raises WrongRules."""
    if file is None:
        return None
    try:
        found = msgspec.convert(tomllib.loads(file.read_text("utf-8")), dict[str, tuple[Retention, ...]])
        return [Versions(f"{file.name}.{name}", versions) for name, versions in found.items()]
    except (OSError, ValueError) as error:
        raise WrongRules(f"{file}: {error}") from error


BEFORE = (CUSTOMER_TIMELINE, CUSTOMERS)
"""What tells which streams are a customer's, and who is one with whom."""
