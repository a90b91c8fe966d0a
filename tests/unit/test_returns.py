"""Regulatory returns: the bands to their last instant, what is open, comes and goes, and figures that add up."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import clocks
from domain.complaint import (
    ComplaintClosed,
    ComplaintExtended,
    ComplaintFactsAdded,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
)
from domain.returns import NAMES, RETURNS, Chosen, Counts, Line, Period, Return, Row, rows_of
from domain.values import Fact, Money, Recorded
from tests.support.builders import NOON
from tests.support.rows import Dated, decided
from tests.unit.test_handling_properties import PUBLISHED, decide_all, facts

DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
HALF = Period(date(2026, 1, 1), date(2026, 7, 1))
RESOLVED = ComplaintResolved(complaint_id="p", outcome="rejected", reasons="r", onward_rights="o")
ACCEPTED = replace(RESOLVED, outcome="upheld", accepted=True)
WITHDRAWN = ComplaintWithdrawn(complaint_id="p")
EXTENDED = ComplaintExtended(complaint_id="p", actor="a", reason="r", provided=("in_progress_response",))
CAME_BACK = ComplaintReopened(complaint_id="p", reason="r")
COMPLAINTS = [kind for kind in PUBLISHED if kind.__module__ == "domain.complaint.events"]


def opened(regime: str) -> ComplaintOpened:
    return ComplaintOpened(complaint_id="p", channel="app", regime=regime)


def rule(name: str, period: Period = HALF) -> Return:
    return RETURNS[name].on(period.since)


def rows(name: str, *said: ComplaintOpened | Dated, period: Period = HALF) -> list[Row]:
    return rows_of(decided(*said), rule(name, period), period)


def row(name: str, *said: ComplaintOpened | Dated, period: Period = HALF) -> Row:
    [found] = rows(name, *said, period=period)
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Received at noon of Monday 2 March. London has summer time from 29 March, New York from 8 March.
@pytest.mark.parametrize(
    ("name", "regime", "last", "band", "then"),
    [
        ("uk_disp", "uk_disp_summary", "2026-03-05T17:00:00", "within_3_business_days", "within_8_weeks"),
        ("uk_disp", "uk_disp_standard", "2026-04-27T22:59:59.999999", "within_8_weeks", "over_8_weeks"),
        ("us_cfpb", "us_cfpb", "2026-03-18T03:59:59.999999", "within_15_days", "within_60_days"),
        ("us_cfpb", "us_cfpb", "2026-05-02T03:59:59.999999", "within_60_days", "over_60_days"),
        ("cn_2020", "cn_2020", "2026-03-17T15:59:59.999999", "within_15_days", "within_30_days"),
        ("cn_2020", "cn_2020", "2026-04-01T15:59:59.999999", "within_30_days", "within_60_days"),
        ("cn_2020", "cn_2020", "2026-05-01T15:59:59.999999", "within_60_days", "over_60_days"),
    ],
)
def test_a_band_ends_with_its_last_day_where_the_regulator_is(
    name: str, regime: str, last: str, band: str, then: str
) -> None:
    assert row(name, opened(regime), (ACCEPTED, utc(last))).band == band
    assert row(name, opened(regime), (ACCEPTED, utc(last) + INSTANT)).band == then


def test_the_bands_are_those_of_the_day_on_which_the_period_begins() -> None:
    received, answered = utc("2016-06-06T12:00"), utc("2016-06-07T12:00")
    before, after = Period(date(2016, 1, 1), date(2016, 7, 1)), Period(date(2016, 7, 1), date(2017, 1, 1))
    said = (opened("uk_disp_standard"), received)
    assert row("uk_disp", said, (RESOLVED, answered), period=before).band == "within_4_weeks"
    assert row("uk_disp", said, (RESOLVED, received + 28 * DAY), period=after).band == "within_8_weeks"
    assert row("uk_disp", said, (RESOLVED, received + 28 * DAY), period=before).band == "within_4_weeks"  # still open
    assert row("uk_disp", said, (RESOLVED, answered + 57 * DAY), period=after).band == "over_8_weeks"


def test_received_before_the_period_and_closed_in_it() -> None:
    found = row("uk_disp", (opened("uk_disp_standard"), utc("2025-12-20T12:00")), (RESOLVED, utc("2026-01-12T12:00")))
    assert (found.outstanding_at_start, found.opened, found.closed, found.outstanding_at_end) == (
        True,
        False,
        True,
        False,
    )
    assert (found.days, found.band, found.state, found.verdict) == (23, "within_8_weeks", "answered", "met")


def test_what_happens_after_the_period_is_not_known_in_it() -> None:
    said = (opened("uk_disp_standard"), (replace(ACCEPTED, redress=Money(minor=5, currency="GBP")), NOON + 150 * DAY))
    found = row("uk_disp", *said)
    assert (found.opened, found.closed, found.outstanding_at_end, found.ended_at) == (True, False, True, None)
    assert (found.state, found.verdict, found.outcome, found.redress_minor) == ("overdue", "missed", None, None)
    assert (found.days, found.band) == (120, "over_8_weeks")  # to 30 June
    later = row("uk_disp", *said, period=Period(date(2026, 7, 1), date(2027, 1, 1)))
    assert (later.outstanding_at_start, later.closed, later.redress_minor, later.currency) == (True, True, 5, "GBP")


@pytest.mark.parametrize(
    ("until", "there"), [(date(2026, 3, 2), False), (date(2026, 3, 3), True)], ids=["ends before", "ends with the day"]
)
def test_the_day_after_the_period_is_not_in_it(until: date, there: bool) -> None:
    assert bool(rows("cn_2020", opened("cn_2020"), period=Period(date(2026, 1, 1), until))) == there


def test_days_are_those_of_the_place_of_the_regulator() -> None:
    night = utc("2026-06-30T17:00")  # in Shanghai it is July
    assert not rows("cn_2020", (opened("cn_2020"), night))
    assert row("uk_disp", (opened("uk_disp_psd"), night)).opened


def test_a_complaint_counts_from_receipt_however_late_it_was_taken_down() -> None:
    late = replace(opened("uk_disp_standard"), received_at=utc("2026-06-20T12:00"))
    found = row("uk_disp", (late, utc("2026-07-03T12:00")))
    assert (found.opened, found.outstanding_at_end, found.days) == (True, True, 10)


def test_a_withdrawn_complaint_is_closed_without_an_answer() -> None:
    found = row("us_cfpb", opened("us_cfpb"), (WITHDRAWN, NOON + DAY))
    assert (found.closed, found.outcome, found.state, found.verdict) == (True, "withdrawn", "withdrawn", "met")


def test_a_reopened_complaint_counts_once_for_each_answer() -> None:
    said = (
        opened("uk_disp_standard"),
        (RESOLVED, NOON + 7 * DAY),
        (ComplaintClosed(complaint_id="p"), NOON + 8 * DAY),
        (CAME_BACK, NOON + 40 * DAY),
        (replace(RESOLVED, outcome="upheld"), NOON + 60 * DAY),
    )
    first, second = rows("uk_disp", *said)
    assert [(r.round, r.opened, r.reopened, r.closed, r.outcome, r.band) for r in (first, second)] == [
        (1, True, False, True, "rejected", "within_8_weeks"),
        (2, False, True, True, "upheld", "over_8_weeks"),  # the statutory clock runs from receipt
    ]
    assert (first.verdict, second.verdict, second.days) == ("met", "missed", 60)
    [open_again] = rows("uk_disp", *said, period=Period(date(2026, 4, 20), date(2026, 4, 25)))
    assert (open_again.round, open_again.outstanding_at_start, open_again.outstanding_at_end) == (2, True, True)


@pytest.mark.parametrize(
    ("said", "state", "verdict"),
    [
        ([], "untimely_response", "missed"),
        ([(EXTENDED, NOON + 14 * DAY)], "in_progress", None),
        ([(RESOLVED, NOON + 15 * DAY)], "closed_with_explanation", "met"),
        ([(RESOLVED, NOON + 17 * DAY)], "closed_with_explanation", "missed"),
        ([(replace(ACCEPTED, redress=Money(minor=1, currency="USD")), NOON)], "closed_with_monetary_relief", "met"),
        ([(replace(ACCEPTED, redress=Money(minor=0, currency="USD")), NOON)], "closed_with_explanation", "met"),
    ],
)
def test_what_the_company_responded(said: list[Dated], state: str, verdict: str | None) -> None:
    found = row("us_cfpb", opened("us_cfpb"), *said, period=Period(date(2026, 1, 1), date(2026, 4, 1)))
    assert (found.state, found.verdict) == (state, verdict)


def test_a_summary_resolution_that_can_go_on_is_not_overdue() -> None:
    found = row("uk_disp", opened("uk_disp_summary"), period=Period(date(2026, 1, 1), date(2026, 3, 12)))
    assert (found.state, found.verdict, found.band) == ("open", None, "within_8_weeks")


def test_an_appraisal_is_excluded_and_new_facts_start_the_count_anew() -> None:
    appraisal = ComplaintWaiting(complaint_id="p", waiting_for="third_party", pause="external_appraisal", notice_id="n")
    away = [(appraisal, NOON + 2 * DAY), (ComplaintResumed(complaint_id="p"), NOON + 12 * DAY)]
    found = row("cn_2020", opened("cn_2020"), *away, (RESOLVED, NOON + 25 * DAY))
    assert (found.days, found.band, found.verdict) == (15, "within_15_days", "met")
    found = row("cn_2020", opened("cn_2020"), *away, (RESOLVED, NOON + 26 * DAY))
    assert (found.days, found.band, found.verdict) == (16, "within_30_days", "missed")
    anew = (ComplaintFactsAdded(complaint_id="p"), NOON + 10 * DAY)
    found = row("cn_2020", opened("cn_2020"), anew, (RESOLVED, NOON + 25 * DAY))
    assert (found.days, found.band, found.counted_from) == (15, "within_15_days", NOON + 10 * DAY)


def test_only_cases_of_its_regimes_are_in_a_return() -> None:
    assert not rows("us_cfpb", opened("uk_disp_standard"))
    repeated = replace(opened("uk_disp_standard"), same_matter=True, related_to="q")
    assert not rows("uk_disp", repeated), "it has no statutory clock of its own"


def test_a_cell_without_complaints_is_0_and_one_that_events_cannot_say_is_empty() -> None:
    told = {(one.measure, one.value): one.cases for one in Counts(rule("us_cfpb")).lines()}
    assert told.pop(("complaints", "closed_with_non_monetary_relief")) is None
    assert set(told.values()) == {0}
    assert ("closed", "over_60_days") in told


def test_a_period_ends_after_it_begins() -> None:
    with pytest.raises(ValueError, match="begins earlier"):
        Period(date(2026, 7, 1), date(2026, 7, 1))


# --- whatever happened, figures add up ---

ANY = {
    name: replace(versions.latest, regimes=frozenset(one.name for one in clocks.PRESETS))
    for name, versions in RETURNS.items()
}
DAYS = st.integers(-5, 40).map(lambda days: (NOON + days * DAY).date())


@st.composite
def lives(draw: st.DrawFn) -> list[Fact]:
    """Complaints that go far, in the order of their facts and mostly of time."""
    first = draw(facts([ComplaintOpened], usual=True))
    later = draw(st.lists(facts([kind for kind in COMPLAINTS if kind is not ComplaintOpened], usual=True), max_size=9))
    return [first, *(sorted(later, key=lambda one: one.meta.occurred_at) if draw(st.booleans()) else later)]


def redressed(events: Sequence[Recorded], minor: int) -> list[Recorded]:
    return [
        replace(one, event=replace(one.event, redress=Money(minor=minor, currency="EUR")))
        if isinstance(one.event, ComplaintResolved)
        else one
        for one in events
    ]


@settings(max_examples=60)
@given(st.lists(lives(), max_size=4), st.lists(DAYS, min_size=3, max_size=3, unique=True), st.sampled_from(sorted(ANY)))
def test_figures_are_the_sums_of_their_rows_and_periods_add_up(
    told: list[list[Fact]], days: list[date], name: str
) -> None:
    since, middle, until = sorted(days)
    streams = [redressed(made, n) for n, one in enumerate(told) for made in decide_all(one)[1].values()]
    found = {}
    for period in (Period(since, middle), Period(middle, until), Period(since, until)):
        counts, listed = Counts(ANY[name]), list[Row]()
        for events in filter(None, streams):
            listed += (of := rows_of(events, ANY[name], period))
            assert of == rows_of([one for one in events if one.name in NAMES], ANY[name], period)
        for one in listed:
            counts.add(one)
            assert one.days >= 0
        lines = list(counts.lines())
        for line in lines:
            if line.cases is None:
                continue
            behind = Chosen(line.measure, **({line.by: line.value} if line.by not in ("", "currency") else {}))
            assert line.cases == sum(map(behind.has, listed)), line
            if line.by == "currency":
                assert line.minor == sum(one.redress_minor or 0 for one in listed)
        for measure, by, cells in parts(lines):
            assert sum(cells) == next(one.cases for one in lines if (one.measure, one.by) == (measure, "")), (
                measure,
                by,
            )
        found[period] = {one.measure: one.cases or 0 for one in lines if not one.by}
    for figures in found.values():
        came = figures["outstanding_at_start"] + figures["opened"] + figures["reopened"]
        assert came == figures["complaints"] == figures["closed"] + figures["outstanding_at_end"]
    first, second, both = found.values()
    assert first["outstanding_at_end"] == second["outstanding_at_start"]
    assert all(first[name] + second[name] == both[name] for name in ("opened", "reopened", "closed", "redress"))


def parts(lines: Sequence[Line]) -> list[tuple[str, str, list[int]]]:
    """The cells of each figure by what they are cut."""
    cut: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        if line.by and line.by != "currency" and line.cases is not None:
            cut.setdefault((line.measure, line.by), []).append(line.cases)
    return [(measure, by, cells) for (measure, by), cells in cut.items()]
