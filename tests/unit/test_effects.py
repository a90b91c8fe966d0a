"""Each measure before and after a day: the value, the change, and whether it is more than chance."""

from datetime import date, timedelta
from typing import Any

import pytest

from domain.survey import RULES as SURVEYS
from projections.measures.rates import rate_ratio, share_change
from projections.measures.surveys import nps_change
from projections.outcomes import DAILY
from projections.outcomes.effects import Effect, effects, windows
from projections.outcomes.summaries import Tally, Window, complaint_rate

CHANGE = date(2026, 1, 15)
WINDOW = Window(date(2025, 10, 17), date(2026, 1, 14))


def tally(days: int = 90, customers: int | None = 1000, **more: Any) -> Tally:
    counts = {**dict.fromkeys(DAILY.columns, 0), **{n: more.pop(n) for n in list(more) if n in DAILY.columns}}
    return Tally(days=days, counts=counts, customer_days=None if customers is None else customers * days, **more)


def found(before: Tally, after: Tally, measure: str, of: str = "", *, since_last: int = 100) -> Effect:
    [one] = [e for e in effects(before, after, 90, since_last) if (e.measure, e.of) == (measure, of)]
    return one


def test_the_windows_meet_at_the_change_and_end_with_the_last_whole_day() -> None:
    assert windows(CHANGE, 90, date(2026, 12, 1)) == (WINDOW, Window(CHANGE, CHANGE + timedelta(days=89)))
    _, running = windows(CHANGE, 90, CHANGE + timedelta(days=10))
    assert running == Window(CHANGE, CHANGE + timedelta(days=9))
    with pytest.raises(ValueError, match="no whole day since 2026-01-15"):
        windows(CHANGE, 90, CHANGE)


def test_a_share_has_newcombes_interval() -> None:
    effect = found(tally(decided=80, came_back=48), tally(decided=70, came_back=56), "reopen_rate")
    expected = share_change(48, 80, 56, 70)
    assert expected is not None
    assert (effect.before, effect.after, effect.n_before, effect.n_after) == (0.6, 0.8, 80, 70)
    assert (effect.change, effect.low, effect.high) == (expected.delta, expected.low, expected.high)
    assert effect.significant
    assert "Newcombe" in effect.method


def test_in_time_is_told_for_each_clock_and_preset() -> None:
    before = tally(deadlines={("statutory", "us_cfpb"): (40, 10), ("service", "service_default"): (20, 30)})
    after = tally(deadlines={("statutory", "us_cfpb"): (45, 5)})
    law = found(before, after, "in_deadline", "statutory us_cfpb")
    assert (law.before, law.after, law.n_before) == (0.8, 0.9, 50)
    gone = found(before, after, "in_deadline", "service service_default")
    assert (gone.suppressed, gone.n_after, gone.before, gone.change) == (True, 0, None, None)


def test_complaints_are_compared_per_customer_also_when_the_window_after_is_not_over() -> None:
    """Half of the complaints in half of the time is no change."""
    effect = found(tally(complaints=40), tally(days=45, complaints=20), "complaint_rate")
    assert (effect.before, effect.after, effect.change) == pytest.approx((40, 40, 1))
    assert effect.unit == "per 1,000 customers in 90 days"
    assert (effect.significant, effect.provisional) == (False, True)
    expected = rate_ratio(40, 90.0, 20, 45.0)
    assert expected is not None
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))


def test_more_customers_explain_more_complaints() -> None:
    effect = found(tally(complaints=40), tally(customers=2000, complaints=80), "complaint_rate")
    assert (effect.change, effect.n_before, effect.n_after) == pytest.approx((1, 1000, 2000))
    fell = found(tally(complaints=80), tally(complaints=40), "complaint_rate")
    assert fell.change == pytest.approx(0.5)
    assert fell.significant


def test_without_customers_there_is_no_rate_per_customer() -> None:
    sides = tally(customers=None, complaints=40, contacts=400), tally(customers=None, complaints=20, contacts=400)
    assert found(*sides, "complaint_rate").suppressed
    assert found(*sides, "complaint_rate_contacts").before == 100


def test_customers_who_left_are_told_per_thousand() -> None:
    effect = found(tally(closed=10), tally(closed=30), "churn_rate")
    assert (effect.before, effect.after, effect.change) == pytest.approx((10, 30, 3))
    assert effect.significant


def test_few_answers_are_not_shown() -> None:
    effect = found(tally(handled=9, first_time=9), tally(handled=500, first_time=400), "first_contact_resolution")
    assert effect.suppressed
    assert (effect.count_before, effect.n_before, effect.before, effect.low, effect.significant) == (
        9, 9, None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "since_last", "provisional"),
    [
        ("first_contact_resolution", 6, True),
        ("first_contact_resolution", 7, False),
        ("reopen_rate", 29, True),
        ("reopen_rate", 30, False),
        ("upheld_rate", 1, False),
    ],
)
def test_what_later_events_still_change_is_provisional(measure: str, since_last: int, provisional: bool) -> None:
    assert found(tally(), tally(), measure, since_last=since_last).provisional == provisional


def test_answers_are_compared_by_the_convention_of_their_metric() -> None:
    def answers(*csat: int, nps: tuple[int, ...]) -> dict[tuple[str, int], list[int]]:
        return {("csat", 5): [0, *csat, *[0] * 5], ("nps", 10): [*nps, *[0] * (11 - len(nps))]}

    first, second = answers(5, 5, 5, 5, 5, nps=(20, 0, 0, 0, 0, 0, 0, 0, 0, 20)), answers(0, 0, 5, 10, 10, nps=(30,))
    before, after = tally(answers=first), tally(answers=second)
    csat = found(before, after, "csat", "1 to 5")
    assert (csat.before, csat.after, csat.n_before, csat.count_after) == (0.4, 0.8, 25, 20)
    nps = found(before, after, "nps")
    expected = nps_change(first["nps", 10], second["nps", 10])
    assert expected is not None
    assert (nps.before, nps.after, nps.change, nps.significant) == (0, -100, expected.delta, True)


def test_answers_have_the_smallest_n_of_surveys_and_contacts_their_own() -> None:
    side = tally(answers={("csat", 5): [0, 0, 0, 0, 0, 9]}, handled=12, first_time=6)
    least = SURVEYS.latest.smallest_n
    shown = {one.measure: not one.suppressed for one in effects(side, side, 90, 100, fewest_answers=least)}
    assert (shown["csat"], shown["first_contact_resolution"]) == (False, True)
    shown = {one.measure: not one.suppressed for one in effects(side, side, 90, 100, fewest_answers=9)}
    assert (shown["csat"], shown["first_contact_resolution"]) == (True, True)


def test_work_has_its_price_in_minor_units() -> None:
    """30.00 EUR an hour: six minutes of work cost 3.00."""
    before = tally(handled=20, seconds=20 * 360, seconds_squared=20 * 360 * 360, complaints=4, disputes=6)
    after = tally(handled=40, seconds=40 * 180, seconds_squared=40 * 180 * 180, complaints=20)
    contact = found(before, after, "cost_per_contact")
    assert (contact.before, contact.after, contact.change, contact.low) == (300, 150, -150, -150)
    assert contact.unit == "EUR, minor units"
    each = found(before, after, "contact_cost_per_case")
    assert (each.before, each.after, each.change, each.significant) == (600, 300, -300, None)


# --- the rate alone ---


def test_a_complaint_rate_is_per_thousand_customers_of_an_average_day_and_per_thousand_contacts() -> None:
    rate = complaint_rate("Leeds", WINDOW, tally(complaints=12, contacts=300, decided=10, upheld=3, partly_upheld=1))
    assert rate.per_customers is not None
    assert rate.per_contacts is not None
    assert (rate.customers, rate.per_customers.value, rate.per_contacts.value) == (1000, 12, 40)
    assert rate.per_customers.low < 12 < rate.per_customers.high
    assert (rate.decided, rate.upheld) == (10, 4)


def test_a_rate_of_few_customers_or_contacts_is_not_shown() -> None:
    rate = complaint_rate("Leeds", WINDOW, tally(customers=9, complaints=2, contacts=9))
    assert (rate.complaints, rate.per_customers, rate.per_contacts) == (2, None, None)
    assert complaint_rate("Leeds", WINDOW, tally(customers=None)).customers is None
