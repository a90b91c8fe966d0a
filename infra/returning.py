"""Regulatory returns of a log, in one snapshot: which there are, the figures of one, and the complaints behind them.

The command line and HTTP ask the same; `domain.returns` counts.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from domain.complaint import stream_name
from domain.returns import MEASURES, NAMES, OUTCOMES, RETURNS, VERDICTS, Chosen, Counts, Period, Return, Row, rows_of
from domain.rules.own import FIRST_OWN
from domain.values import Position
from infra.plain import json_of
from infra.postgres.as_of import AsOf, recorded_at
from infra.postgres.questions.answer import Freshness
from infra.postgres.streams import streams

Conn = psycopg.Connection[Any]
Told = Callable[[int], None]
Place = tuple[str, int]
"""Where a row stands in the order of all: its case and its round."""
DIMENSIONS = ("branch", "product", "segment", "project_id")
"""What of a complaint a return may be narrowed by."""
EVERY = Chosen()
_FRESH = """SELECT (SELECT recorded_at FROM kehu.stored_events WHERE notification_id = %(upto)s), n - %(upto)s,
        coalesce((SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM kehu.stored_events
            WHERE notification_id = %(upto)s + 1), 0)::float8
    FROM kehu.log_head"""


@dataclass(frozen=True, slots=True)
class Question:
    """A return of a period, of the complaints with these values of DIMENSIONS, and which of its rows."""

    name: str
    period: Period
    where: Mapping[str, str]
    chosen: Chosen = EVERY

    @property
    def rule(self) -> Return:
        """The version in force on the first day of the period. Raises KeyError for a name that there is none of."""
        return RETURNS[self.name].on(self.period.since)

    def impossible(self) -> tuple[str, Sequence[str]] | None:
        """A choice that nothing could have, and what it may be; None when there is no such."""
        rule = self.rule
        known: Mapping[str, Sequence[str]] = {
            "measure": [*MEASURES],
            "band": [band.name for band in rule.bands],
            "state": rule.states.names,
            "outcome": OUTCOMES,
            "verdict": VERDICTS,
        }
        said = {name: getattr(self.chosen, name) for name in known}
        return next(((name, known[name]) for name, value in said.items() if value not in (None, *known[name])), None)

    def over(self, told_until: datetime) -> bool:
        """Whether the period had ended by then, where the regulator is."""
        return self.period.instants(self.rule.place)[1] <= told_until

    def about(self, upto: Position, told_until: datetime) -> dict[str, Any]:
        """What an answer says of itself, beside its rows; the period is `over` if what it counts goes beyond."""
        rule = self.rule
        note = " ".join(rule.note.split())
        version = {"name": self.name, "version": rule.version, "source": rule.source, "note": note}
        period = {**asdict(self.period), "over": self.over(told_until)}
        return {"return": {**version, **period, "where": dict(self.where)}, "as_of": as_of(upto)}


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of a return, and the SHA-256 of their NDJSON: the same whenever the position is asked about again."""

    rows: Sequence[Mapping[str, Any]]
    digest: str


def listed(today: date) -> Iterator[dict[str, Any]]:
    """Every version of every return; one applies to periods that begin today."""
    for name in sorted(RETURNS):
        for one in RETURNS[name]:
            yield {
                "name": name,
                "version": one.version,
                "effective_from": one.effective_from,
                "applies": one is RETURNS[name].on(today),
                "own": one.version >= FIRST_OWN,
                "source": one.source,
                "note": one.note,
                "regimes": sorted(one.regimes),
                "calendar": one.calendar,
                "bands": [
                    {"name": band.name, "upto": band.upto, "kind": None if band.upto is None else band.kind}
                    for band in one.bands
                ],
                "states": [*one.states.names, *one.untold],
            }


@dataclass(frozen=True, slots=True)
class Begun:
    """What an answer is by, and what it says of itself beside its rows."""

    upto: Position
    """The last position that counts."""
    fresh: Freshness
    about: Mapping[str, Any]


def begun(conn: Conn, question: Question, asked: AsOf, now: datetime) -> Begun:
    """The moment of an answer. Raises NoSuchMoment for one that the log does not have, or that is not over."""
    upto = asked.resolved(conn, now).position
    # The log tells until it was known, or the next event was recorded, or now.
    until = asked.known_at or recorded_at(conn, Position(upto + 1)) or now
    return Begun(upto, _freshness(conn, upto), question.about(upto, until))


def as_of(upto: Position) -> str:
    """What names the same figures again, whatever is recorded later."""
    return f"position:{upto}"


def cases(
    conn: Conn, question: Question, upto: Position, after: Place | None = None, told: Told = lambda _events: None
) -> Generator[dict[str, Any], None, None]:
    """The rows that are chosen, by case and round, from behind a place; `told` hears how many events were read since.

    Raises CannotFold, TimeOutOfRange.
    """
    with closing(_rows(conn, question, upto, after, told)) as rows:
        yield from (asdict(row) for row in rows if question.chosen.has(row))


def figures(conn: Conn, question: Question, upto: Position, told: Told = lambda _events: None) -> Figures:
    """The figures of all rows, whichever are chosen. Raises CannotFold, TimeOutOfRange."""
    counts = Counts(question.rule)
    with closing(_rows(conn, question, upto, None, told)) as rows:
        for row in rows:
            counts.add(row)
    lines = [asdict(line) for line in counts.lines()]
    return Figures(lines, _digest(lines))


def _freshness(conn: Conn, upto: Position) -> Freshness:
    """How much of the log counts."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        recorded_at, behind, seconds = cursor.execute(_FRESH, {"upto": upto}).fetchone() or (None, 0, 0.0)
    return Freshness("log", upto, recorded_at, behind, seconds)


def _rows(
    conn: Conn, question: Question, upto: Position, after: Place | None, told: Told
) -> Generator[Row, None, None]:
    rule, where = question.rule, question.where
    begin = None if after is None else stream_name(after[0])
    with closing(streams(conn, "complaint", NAMES, upto, told, begin)) as found:
        for events in found:
            for row in rows_of(events, rule, question.period):
                if after is not None and row.case == after[0] and row.round <= after[1]:
                    continue
                if all(getattr(row, one) == value for one, value in where.items()):
                    yield row


def _digest(lines: Iterable[Mapping[str, Any]]) -> str:
    return sha256(b"".join(json_of(line) + b"\n" for line in lines)).hexdigest()
