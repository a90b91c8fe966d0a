"""Moments as an auditor names them: by position, by when it was recorded, by when it happened, or by two of these."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from domain.values import Position, Recorded
from infra.errors import KehuError
from infra.postgres.past import Moment, known_position

EVER = datetime.max.replace(tzinfo=UTC)
SYNTAX = "position:N, known:TIME or happened:TIME, happened beside one of the others with a comma, or now"


class NoSuchMoment(KehuError):
    """No such moment can be replayed. Name one that is over, by position or known at, and happened by."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Resolved:
    """A moment of one log, whose answer is always the same."""

    moment: Moment
    at: datetime
    """The time as of which rows are shown that change as time passes, by the model that was the champion then."""
    text: str
    """What names this moment again, whatever is recorded later."""

    @property
    def position(self) -> Position:
        """The last position that counts."""
        return self.moment.upto or Position(0)

    def counts(self, event: Recorded) -> bool:
        """Whether an event of the log counts."""
        assert event.position is not None
        return event.position <= self.position and event.meta.occurred_at <= self.moment.happened_by


@dataclass(frozen=True, slots=True)
class AsOf:
    """A moment as it is asked for. Without position and `known_at` all that is recorded counts, early or late."""

    position: int | None = None
    known_at: datetime | None = None
    happened_by: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> "AsOf":
        """`position:1200`, `known:2026-03-01`, `known:2026-03-01T12:00,happened:2026-02-01`, or `now`.

        Times without a zone are in UTC. Raises NoSuchMoment.
        """
        found: dict[str, Any] = {}
        if text != "now":
            for part in text.split(","):
                name, colon, value = part.strip().partition(":")
                field = {"position": "position", "known": "known_at", "happened": "happened_by"}.get(name)
                if field is None or not colon or field in found:
                    raise NoSuchMoment(f"{text!r}: write {SYNTAX}")
                found[field] = _position(value) if field == "position" else time_of(value)
        return cls(**found)

    def resolved(self, conn: "psycopg.Connection[Any]", now: datetime) -> Resolved:
        """The moment in this log. Raises NoSuchMoment for one that is not over, or has two ends."""
        if self.position is not None and self.known_at is not None:
            raise NoSuchMoment("position and known at: give one of them")
        head = known_position(conn, self.known_at)
        if self.position is not None and self.position > head:
            raise NoSuchMoment(f"position {self.position}: the log has {head}")
        for time in (self.known_at, self.happened_by):
            if time is not None and time > now:
                raise NoSuchMoment(f"{_written(time)}: more may be recorded until then")
        last = Position(head if self.position is None else self.position)
        at = self.happened_by or self.known_at
        if at is None:
            at = now if self.position is None else recorded_at(conn, last) or now
        told = [] if self.happened_by is None else [f"happened:{_written(self.happened_by)}"]
        known = self.known_at or (now if self.happened_by is None else None)
        if self.position is None and known is not None:
            told.insert(0, f"known:{_written(known)}")
        else:
            told.insert(0, f"position:{last}")
        return Resolved(Moment(self.happened_by or EVER, upto=last), at, ",".join(told))


def recorded_at(conn: "psycopg.Connection[Any]", position: Position) -> datetime | None:
    """When the event at a position was recorded; None where there is none."""
    query = "SELECT recorded_at FROM kehu.stored_events WHERE notification_id = %s"
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query, (position,)).fetchone()
    return row[0].astimezone(UTC) if row else None


def _position(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NoSuchMoment(f"position:{text}: a position is a number from 0 on")
    return int(text)


def time_of(text: str) -> datetime:
    """A time as it is typed: ISO 8601, in UTC where it has no zone. Raises NoSuchMoment."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise NoSuchMoment(f"{text!r}: write a time like 2026-03-01T12:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
