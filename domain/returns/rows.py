"""One complaint in a return. A complaint that is reopened is in it once for each round: from receipt to the first
answer, and from each reopening to the next.

So what was open at the start, came and went always adds up to what is open at the end, and two periods to the one that
they make. The time to an answer is counted from where the statutory clock of the case starts: also a second answer
from receipt, unless new facts have started the clock anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from domain import clocks
from domain.clocks.deadlines import paused_days, stopped_spans
from domain.clocks.judgement import goes_on, verdicts
from domain.complaint import (
    Complaint,
    ComplaintClockSet,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintWithdrawn,
)
from domain.complaint.standing import judge
from domain.complaint.state import Clock, evolve
from domain.returns.rules import Period, Return
from domain.values import Event, Money, Position, Recorded

NAMES = tuple(
    f"complaint.{name}" for name in ("opened", "waiting", "resumed", "resolved", "withdrawn", "reopened", "clock-set")
)
"""The events that a return follows from; it is the same whether others are there or not."""
INSTANT = timedelta(microseconds=1)
TURNS = (ComplaintResolved, ComplaintWithdrawn, ComplaintReopened)
"""What ends a round, or begins one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One round of a complaint as it stood at the end of the period.

    `counted_from` is the start of the statutory clock, `days` the calendar days from then to the answer, or to the end
    of the period while there is none, without excluded ones. The verdict is that of the statutory clock. Positions
    are those of the events that began and ended the round.
    """

    case: str
    round: int
    regime: str
    branch: str | None
    product: str | None
    segment: str | None
    project_id: str | None
    begun_at: datetime
    counted_from: datetime
    ended_at: datetime | None
    days: int
    band: str
    state: str
    outcome: str | None
    verdict: Literal["met", "missed"] | None
    redress_minor: int | None
    currency: str | None
    outstanding_at_start: bool
    opened: bool
    reopened: bool
    closed: bool
    outstanding_at_end: bool
    begun_position: int | None
    ended_position: int | None


@dataclass(slots=True)
class _Round:
    """One round while it is read: when it began and ended, and how the case stood at the end."""

    number: int
    begun_at: datetime
    begun_position: Position | None
    ended_at: datetime | None = None
    ended_position: Position | None = None
    outcome: str | None = None
    redress: Money | None = None
    clock: Clock | None = None
    pauses: Sequence[clocks.Pause] = ()
    verdict: Literal["met", "missed"] | None = None

    def stands(self, state: Complaint, judged: dict[str, Any], at: datetime) -> None:
        """Keep how the case stands at a time."""
        self.clock, self.pauses = state.statutory, state.pauses
        found = next((one for one in verdicts(judged, at) if one.clock == "statutory"), None)
        if found is not None and (self.ended_at is not None or not (found.is_met or goes_on(found.preset))):
            self.verdict = found.word  # of an open case only what is missed is certain


def rows_of(events: Sequence[Recorded], rule: Return, period: Period) -> list[Row]:
    """The rounds of one stream, in order, that were open at some time in the period; only what had happened by its end
    counts. Empty for a case of other regimes.

    Raises ValueError when the first event does not open a case, TimeOutOfRange.
    """
    first = events[0] if events else None
    if first is None or not isinstance(opening := first.event, ComplaintOpened):
        raise ValueError("the first event of a case opens it")
    since, until = period.instants(rule.place)
    received = opening.received_at or first.meta.occurred_at
    if received >= until:
        return []
    return [
        _row(opening, one, rule, since, until)
        for one in _rounds(events, received, until)
        if one.clock is not None
        and one.clock.preset in rule.regimes
        and (one.ended_at is None or one.ended_at >= since)
    ]


def _rounds(events: Sequence[Recorded], received: datetime, until: datetime) -> list[_Round]:
    state: Complaint | None = None
    judged: dict[str, Any] = {}
    current = _Round(1, received, events[0].position)
    rounds, turned_at = [current], received
    for recorded in events:
        event, at = recorded.event, recorded.meta.occurred_at
        if isinstance(event, TURNS):  # in the order of the stream, or two periods would see other rounds than one
            at = turned_at = max(at, turned_at)
        if at >= until and not _opens(event):  # what was received is open, however late it was taken down
            continue
        state = evolve(state, event, recorded.meta)
        judge(judged, recorded)
        match event:
            case ComplaintResolved() | ComplaintWithdrawn() if current.ended_at is None:
                current.ended_at, current.ended_position = at, recorded.position
                current.outcome = event.outcome if isinstance(event, ComplaintResolved) else "withdrawn"
                current.redress = event.redress if isinstance(event, ComplaintResolved) else None
                current.stands(state, judged, recorded.meta.occurred_at)
            case ComplaintReopened() if current.ended_at is not None:
                current = _Round(current.number + 1, at, recorded.position)
                rounds.append(current)
    if current.ended_at is None:
        assert state is not None
        current.stands(state, judged, until - INSTANT)
    return rounds


def _opens(event: Event) -> bool:
    return isinstance(event, ComplaintOpened) or (isinstance(event, ComplaintClockSet) and event.because == "opened")


def _row(opening: ComplaintOpened, of: _Round, rule: Return, since: datetime, until: datetime) -> Row:
    assert of.clock is not None
    start, at, begins_here = of.clock.starts_at, of.ended_at or until - INSTANT, of.begun_at >= since
    redress = of.redress if of.redress is not None and of.redress.minor > 0 else None
    return Row(
        case=opening.complaint_id,
        round=of.number,
        regime=of.clock.preset,
        branch=opening.branch,
        product=opening.product,
        segment=opening.segment,
        project_id=opening.project_id,
        begun_at=of.begun_at,
        counted_from=start,
        ended_at=of.ended_at,
        days=_days(rule, start, at, of.pauses),
        band=rule.band(start, at, of.pauses),
        state=_state(rule, of, redress),
        outcome=of.outcome,
        verdict=of.verdict,
        redress_minor=None if redress is None else redress.minor,
        currency=None if redress is None else redress.currency,
        outstanding_at_start=not begins_here,
        opened=begins_here and of.number == 1,
        reopened=begins_here and of.number > 1,
        closed=of.ended_at is not None,
        outstanding_at_end=of.ended_at is None,
        begun_position=of.begun_position,
        ended_position=of.ended_position,
    )


def _state(rule: Return, of: _Round, redress: Money | None) -> str:
    if of.outcome == "withdrawn":
        return rule.states.withdrawn
    if of.outcome is not None:
        return rule.states.answered if redress is None else rule.states.answered_with_redress
    return rule.states.open_in_time if of.verdict is None else rule.states.open_late


def _days(rule: Return, start: datetime, at: datetime, pauses: Sequence[clocks.Pause]) -> int:
    place = rule.place
    paused = paused_days(place, start, stopped_spans(rule.limits[0][1], start, pauses, at))
    return max(0, (place.local_date(at) - place.local_date(start)).days - len(paused))
