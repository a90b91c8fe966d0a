"""How likely an open case is to miss its deadline, from how long cases of its kind take."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from infra.postgres.questions.answer import Answer, Row
from projections.measures.survival import Survival, kaplan_meier
from projections.measures.times import seconds_between
from projections.service_queues import RULES, WINDOWS, rounded

HOUR = 3600
Histogram = dict[int, int]


class Forecasts:
    """Curves of handling time at a moment; read when the first one is asked for."""

    def __init__(self, answer: Answer, now: datetime, least: int | None = None) -> None:
        """`least` finished cases are needed for a curve; as many as the rules say if absent."""
        self._answer = answer
        self._now = now
        self._least = RULES.at(now).forecast_least if least is None else least
        self._curves: dict[tuple[str, ...], Survival] = {}

    def of(self, item: Mapping[str, Any]) -> float | None:
        """The probability, 0..1, that an open case misses its next deadline; 1 when it has.

        None without a deadline, and where too few like it were finished to tell.
        """
        due = item["due"]
        if due is None:
            return None
        if due < self._now:
            return 1.0
        return self._missed(item, due)

    def _missed(self, item: Mapping[str, Any], by: datetime) -> float | None:
        curve = self._curve(item["queue"], item["case_type"] or "")
        if curve is None:
            return None
        elapsed = rounded(seconds_between(item["opened_at"], self._now) // HOUR)
        return curve.missed(elapsed, rounded(seconds_between(item["opened_at"], by) // HOUR))

    def expected(self) -> list[Row]:
        """For each queue how many open cases are expected to miss a deadline that falls into each window.

        The windows and their names are of the rules; `untold` are those of which nothing is known.
        """
        ahead = {
            f"expected_{name}": timedelta(hours=hours) for name, hours in WINDOWS.at(self._now).ahead_hours.items()
        }
        expected: dict[str, Row] = {}
        query = """SELECT queue, case_type, opened_at, due FROM queue_items
            WHERE open AND kind = 'case' AND due >= %(now)s AND due < %(until)s"""
        until = self._now + max(ahead.values())
        for item in self._answer.rows(query, {"now": self._now, "until": until}):
            row = expected.setdefault(item["queue"], {"queue": item["queue"], **dict.fromkeys(ahead, 0.0), "untold": 0})
            share = self._missed(item, item["due"])
            if share is None:
                row["untold"] += 1
                continue
            for name, time in ahead.items():
                if item["due"] < self._now + time:
                    row[name] += share
        return [expected[queue] for queue in sorted(expected)]

    def _curve(self, queue: str, case_type: str) -> Survival | None:
        """Of the same queue and type, or else of the type, or else of all cases, where enough were finished."""
        for like in ((queue, case_type), (case_type,), ()):
            curve = self._curves.get(like)
            if curve is None:
                curve = self._curves[like] = kaplan_meier(self._finished[like], self._running[like])
            if curve.finished >= self._least:
                return curve
        return None

    @cached_property
    def _finished(self) -> Mapping[tuple[str, ...], Histogram]:
        query = "SELECT queue, case_type, hours, finished AS cases FROM queue_durations"
        return _by_likeness(self._answer.rows(query))

    @cached_property
    def _running(self) -> Mapping[tuple[str, ...], Histogram]:
        query = """SELECT queue, coalesce(case_type, '') AS case_type, count(*) AS cases,
                floor(greatest(extract(epoch FROM %(now)s - opened_at), 0) / 3600)::int AS hours
            FROM queue_items WHERE open AND kind = 'case' AND resolved_at IS NULL GROUP BY 1, 2, 4"""
        return _by_likeness(self._answer.rows(query, {"now": self._now}))


def _by_likeness(rows: Sequence[Row]) -> Mapping[tuple[str, ...], Histogram]:
    found: dict[tuple[str, ...], Histogram] = defaultdict(dict)
    for row in rows:
        hours = rounded(row["hours"])
        for like in ((row["queue"], row["case_type"]), (row["case_type"],), ()):
            found[like][hours] = found[like].get(hours, 0) + row["cases"]
    return found
