"""Retention risk: each rule of the scorecard at its edges, reasons that add up, and time that changes the score."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert
from msgspec.structs import replace

from consumers.projector import Projector
from domain.account import TransactionPosted, TransactionReversed
from domain.complaint import (
    ComplaintClockSet,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintWithdrawn,
)
from domain.contact import ContactQueued
from domain.customer import CustomerClosed, CustomerManagerAssigned, CustomerProfileChanged, CustomerRegistered
from domain.survey import SurveyScored
from infra.memory.log import MemoryLog
from infra.memory.read_models import MemoryReadModels
from projections.declare import Row
from projections.retention_risk import AT_RISK, COLD_START, RETENTION_RISK, RISK, Scored, alert, score, sweep
from tests.support.builders import NOON
from tests.support.rows import Dated, fold, recorded

DAY = timedelta(days=1)


def ago(days: float) -> datetime:
    return NOON - days * DAY


def posted(days: float = 0, kind: str = "card", minor: int = -1000, balance: int | None = None, n: Any = 0) -> Dated:
    at = ago(days)
    data: dict[str, Any] = {"account_id": "a1", "transaction_id": f"t{n}", "booked_on": at.date(), "kind": kind}
    data |= {"amount": {"minor": minor, "currency": "EUR"}}
    data |= {"balance": {"minor": balance, "currency": "EUR"}} if balance is not None else {}
    return convert(data, TransactionPosted), at


def opened(days: float, complaint: str = "q1", **more: Any) -> Dated:
    return ComplaintOpened(complaint_id=complaint, channel="app", **more), ago(days)


def due(at: datetime | None, complaint: str = "q1", clock: Any = "statutory", days: float = 1) -> Dated:
    clock_set = ComplaintClockSet(
        complaint_id=complaint,
        clock=clock,
        preset="p",
        preset_version=1,
        starts_at=ago(days),
        due_at=at,
        because="complaint.opened",
    )
    return clock_set, ago(days)


def resolved(days: float, complaint: str = "q1", outcome: Any = "upheld") -> Dated:
    return ComplaintResolved(complaint_id=complaint, outcome=outcome, reasons="r"), ago(days)


def contacted(days: float) -> Dated:
    return ContactQueued(contact_id=f"k{days}", queue="q", channel="phone"), ago(days)


def answered(metric: Any, score: int, scale: Any, days: float = 1) -> Dated:
    scored = SurveyScored(
        invitation_id="i1",
        metric=metric,
        scale=scale,
        score=score,
        previous=None,
        channel="app",
        owner=None,
        invited_at=ago(days),
    )
    return scored, ago(days)


def row(*events: Dated) -> Row:
    [found] = fold(RETENTION_RISK, recorded(*sorted(events, key=lambda one: one[1]))).whole(RISK)
    return found


def at_noon(*events: Dated) -> Scored:
    """The score at noon, after the events."""
    return score(row(*events)["features"], NOON)


def points(scored: Scored) -> dict[str, str]:
    return {reason.code: str(reason.points) for reason in scored.reasons}


# --- who has a score ---


def test_a_customer_who_has_just_come_scores_the_base() -> None:
    scored = at_noon((CustomerRegistered(), NOON))
    assert (scored.logit, scored.band, scored.reasons) == (Decimal("-3.0"), "low", ())
    assert scored.probability == pytest.approx(0.047426)


def test_nothing_known_is_no_score() -> None:
    assert score({}, NOON) == Scored("unknown")


def test_a_customer_who_left_is_closed_and_has_no_score() -> None:
    left = row((CustomerRegistered(), ago(200)), (CustomerClosed(), ago(1)))
    assert (left["band"], left["logit"], left["probability"]) == ("closed", None, None)
    assert (left["reasons"], left["next_change_at"]) == ([], None)


def test_dimensions_come_from_the_registration_and_else_from_what_happened() -> None:
    first = row((ContactQueued(contact_id="k", queue="q", channel="phone", branch="b1"), ago(3)))
    assert (first["branch"], first["segment"], first["manager_id"]) == ("b1", None, None)
    later = row(
        (ContactQueued(contact_id="k", queue="q", channel="phone", branch="b1"), ago(3)),
        (CustomerRegistered(branch="b2", segment="mass", manager_id="m1"), ago(2)),
        (ContactQueued(contact_id="k2", queue="q", channel="phone", branch="b3"), ago(1)),
        (CustomerProfileChanged(segment="private"), ago(1)),
        (CustomerManagerAssigned(manager_id="m2"), ago(0)),
    )
    assert (later["branch"], later["segment"], later["manager_id"]) == ("b2", "private", "m2")


# --- the rules ---


@pytest.mark.parametrize(
    ("days", "expected"), [(29.9, None), (30, "0.4"), (59.9, "0.4"), (60, "0.9"), (89.9, "0.9"), (90, "1.5")]
)
def test_inactivity_has_three_steps(days: float, expected: str | None) -> None:
    assert points(at_noon(posted(days))).get("inactive") == expected


def test_only_what_the_customer_does_is_activity() -> None:
    passive = [posted(1, "salary", 5), posted(1, "fee", -5), posted(1, "interest", 5), posted(1, "transfer", 5)]
    assert "inactive" in points(at_noon(posted(40), *passive))
    for active in (posted(1), posted(1, "cash", 5), posted(1, "transfer", -5), opened(1), contacted(1)):
        assert "inactive" not in points(at_noon(posted(40), active))


@pytest.mark.parametrize(
    ("now", "expected"), [(71, None), (70, "0.6"), (40, "0.6"), (39, "1.2"), (0, "1.2"), (150, None)]
)
def test_a_falling_balance_counts_from_thirty_percent(now: int, expected: str | None) -> None:
    scored = at_noon(posted(180, balance=100), posted(100, balance=100), posted(80, balance=now), posted(0))
    assert points(scored).get("balance-falls") == expected


def test_a_balance_without_a_history_says_nothing() -> None:
    assert "balance-falls" not in points(at_noon(posted(50, balance=1000), posted(1, balance=1)))


@pytest.mark.parametrize(("recent", "expected"), [(5, None), (4, "0.8"), (0, "0.8")])
def test_less_than_half_the_transactions_of_the_quarter_before_count(recent: int, expected: str | None) -> None:
    before = [posted(100 + n, n=n) for n in range(10)]
    scored = at_noon(*before, *(posted(n, n=f"r{n}") for n in range(recent)), contacted(0))
    assert points(scored).get("fewer-transactions") == expected


def test_a_reversed_transaction_does_not_count() -> None:
    reversed_ = TransactionReversed(account_id="a1", transaction_id="t1", booked_on=ago(100).date())
    assert "fewer-transactions" in points(at_noon(posted(100, n=1), contacted(0)))
    assert "fewer-transactions" not in points(at_noon(posted(100, n=1), (reversed_, ago(5)), contacted(0)))


@pytest.mark.parametrize(("days", "expected"), [(15, None), (15.1, "0.9")])
def test_a_complaint_that_is_open_for_more_than_fifteen_days_counts(days: float, expected: str | None) -> None:
    assert points(at_noon(opened(days))).get("open-complaint") == expected


def test_a_complaint_that_is_over_and_a_consultation_do_not_count_as_open() -> None:
    withdrawn = (ComplaintWithdrawn(complaint_id="q1"), ago(2))
    for events in ([opened(40), resolved(2)], [opened(40), withdrawn], [opened(40, case_type="consultation")]):
        assert "open-complaint" not in points(at_noon(*events))


def test_the_age_of_a_complaint_counts_from_its_receipt() -> None:
    assert "open-complaint" in points(at_noon(opened(1, received_at=ago(16))))


@pytest.mark.parametrize(("days", "expected"), [(180, None), (179.9, "0.5")])
def test_a_rejected_complaint_counts_for_half_a_year(days: float, expected: str | None) -> None:
    rejected = at_noon(opened(200), resolved(days, outcome="rejected"))
    assert points(rejected).get("complaint-rejected") == expected


def test_two_reopened_cases_count_and_one_does_not() -> None:
    def back(days: float) -> Dated:
        return ComplaintReopened(complaint_id="q1", reason="r"), ago(days)

    once = [opened(50), resolved(45), back(40), resolved(35)]
    assert "service-failed" not in points(at_noon(*once))
    assert points(at_noon(*once, back(30), resolved(20)))["service-failed"] == "0.5"


def test_a_missed_deadline_counts_while_the_case_is_open_and_ninety_days_after() -> None:
    late = [opened(10), due(ago(5), days=10)]
    assert "service-failed" in points(at_noon(*late))
    assert "service-failed" in points(at_noon(*late, resolved(4)))
    assert "service-failed" not in points(at_noon(opened(10), due(ago(3), days=10), resolved(4)))
    assert "service-failed" not in points(at_noon(opened(200), due(ago(195), days=200), resolved(90)))


def test_a_stopped_clock_misses_nothing() -> None:
    assert "service-failed" not in points(at_noon(opened(10), due(ago(5), days=10), due(None, days=6)))


def test_bad_answers_count_until_a_better_one() -> None:
    bad = [answered("csat", 2, 5, 20), answered("nps", 6, 10, 20)]
    found = points(at_noon(*bad))
    assert (found["dissatisfied"], found["detractor"]) == ("0.7", "0.6")
    better = points(at_noon(*bad, answered("csat", 3, 5), answered("nps", 7, 10)))
    assert better.keys().isdisjoint({"dissatisfied", "detractor"})


@pytest.mark.parametrize(("recent", "before", "expected"), [(2, 0, None), (3, 0, "0.6"), (3, 12, None), (4, 12, "0.6")])
def test_a_surge_of_contacts_is_over_three_times_the_own_mean(recent: int, before: int, expected: str | None) -> None:
    events = [contacted(40 + 29 * n) for n in range(before)] + [contacted(1 + n) for n in range(recent)]
    assert points(at_noon((CustomerRegistered(), ago(500)), *events)).get("contact-surge") == expected


def test_a_new_customer_has_no_own_mean_to_surge_over() -> None:
    assert "contact-surge" not in points(at_noon((CustomerRegistered(), ago(40)), *(contacted(n) for n in range(9))))


@pytest.mark.parametrize(("last", "expected"), [(44, None), (45, "1.3")])
def test_a_regular_salary_that_stops_counts(last: int, expected: str | None) -> None:
    salaries = [posted(last + 30 * n, "salary", 500) for n in range(3)]
    assert points(at_noon(*salaries)).get("salary-stopped") == expected
    assert "salary-stopped" not in points(at_noon(*salaries[:2]))


def test_products_and_tenure_speak_for_staying() -> None:
    registered = CustomerRegistered(products=("a", "b", "c"), customer_since=date(2021, 3, 1))
    assert points(at_noon((registered, NOON))) == {"many-products": "-0.6", "long-tenure": "-0.4"}
    young = CustomerRegistered(products=("a", "b"), customer_since=date(2021, 3, 3))
    assert points(at_noon((young, NOON))) == {}


# --- reasons ---


def test_reasons_name_value_window_and_sources_and_the_worst_comes_first() -> None:
    stored = row(opened(20), answered("csat", 1, 5), (CustomerProfileChanged(products=("a", "b", "c")), ago(0)))
    assert stored["reasons"] == [
        {
            "code": "open-complaint",
            "points": "0.9",
            "value": "open since 2026-02-10",
            "window": "while it is open",
            "sources": ["/test#e1"],
        },
        {
            "code": "dissatisfied",
            "points": "0.7",
            "value": "CSAT 1 of 5",
            "window": "last answer",
            "sources": ["/test#e2"],
        },
        {"code": "many-products", "points": "-0.6", "value": "3 products", "window": "now", "sources": ["/test#e3"]},
    ]
    assert stored["logit"] == Decimal("-2.0")
    assert stored["band"] == "medium"


@pytest.mark.parametrize(("features", "band"), [(["csat"], "low"), (["csat", "nps"], "medium")])
def test_bands_begin_at_ten_percent(features: list[str], band: str) -> None:
    bad = {"csat": answered("csat", 1, 5), "nps": answered("nps", 0, 10)}
    assert at_noon(*(bad[name] for name in features)).band == band


def test_a_customer_with_many_reasons_is_in_the_high_band() -> None:
    events = [posted(95), opened(95), resolved(91, outcome="rejected"), answered("csat", 1, 5), answered("nps", 0, 10)]
    scored = at_noon(*events)
    assert list(points(scored).values()) == ["1.5", "0.8", "0.7", "0.6", "0.5"]
    assert (scored.logit, scored.band) == (Decimal("1.1"), "high")
    assert scored.probability == pytest.approx(0.75026)


# --- time ---


def test_a_row_is_scored_at_the_time_of_its_event_and_never_earlier_than_before() -> None:
    late = recorded(contacted(1), posted(40))
    [stored] = fold(RETENTION_RISK, late).whole(RISK)
    assert stored["scored_at"] == ago(1)
    assert "inactive" not in {reason["code"] for reason in stored["reasons"]}


def test_a_sweep_re_evaluates_when_a_window_ends() -> None:
    stored = row(posted(0))
    assert stored["next_change_at"] == NOON + 30 * DAY
    assert sweep(stored, NOON + 29 * DAY)["band"] == "low"
    swept = sweep(stored, stored["next_change_at"])
    assert [reason["code"] for reason in swept["reasons"]] == ["inactive"]
    assert swept["next_change_at"] == NOON + 60 * DAY


def walk(stored: Row) -> dict[datetime, set[str]]:
    """The codes that apply from each moment on, following `next_change_at` from row to row."""
    found = {}
    while True:
        found[stored["scored_at"]] = {reason["code"] for reason in stored["reasons"]}
        if stored["next_change_at"] is None:
            return found
        assert stored["next_change_at"] > stored["scored_at"]
        stored = sweep(stored, stored["next_change_at"])


MIDNIGHT = NOON.replace(hour=0)


@pytest.mark.parametrize(
    ("code", "events", "since", "until"),
    [
        ("complaint-rejected", [opened(9), resolved(0, outcome="rejected")], NOON, NOON + 180 * DAY),
        ("open-complaint", [opened(0)], NOON + 15 * DAY + timedelta(seconds=1), None),
        ("service-failed", [opened(1), due(NOON + DAY)], NOON + DAY + timedelta(seconds=1), None),
        ("service-failed", [opened(2), due(ago(1), days=2), resolved(0)], NOON, NOON + 90 * DAY),
        ("salary-stopped", [posted(30 * n, "salary", 5) for n in range(3)], MIDNIGHT + 45 * DAY, None),
        ("contact-surge", [posted(100), *(contacted(n) for n in range(3))], NOON, MIDNIGHT + 28 * DAY),
        ("fewer-transactions", [posted(0)], MIDNIGHT + 90 * DAY, MIDNIGHT + 180 * DAY),
        ("long-tenure", [(CustomerRegistered(customer_since=NOON.date()), NOON)], MIDNIGHT + 1827 * DAY, None),
    ],
)
def test_sweeps_alone_find_when_a_reason_begins_and_ends(
    code: str, events: list[Dated], since: datetime, until: datetime | None
) -> None:
    found = walk(row(*events))
    applies = [at for at, codes in found.items() if code in codes]
    ended = [at for at in found if at > applies[-1]]
    assert (applies[0], ended[0] if until else None) == (since, until)


def test_the_order_in_which_a_database_returns_json_does_not_matter() -> None:
    events = recorded(opened(40, "q2"), opened(30, "q10"), opened(20, "q3"), opened(19, "q1"), contacted(0))
    [whole] = fold(RETENTION_RISK, events).whole(RISK)
    [split] = fold(RETENTION_RISK, events, splits=[4]).whole(RISK)
    assert whole == split
    assert whole["reasons"][0]["sources"] == ["/test#e1", "/test#e2", "/test#e3"]


def test_a_sweep_in_between_does_not_change_what_later_events_lead_to() -> None:
    first, second = recorded(posted(100), posted(0, n=1))
    rows = fold(RETENTION_RISK, [first])
    [stored] = rows.whole(RISK)
    rows.put(RISK, ("c1",), {c: sweep(stored, ago(50))[c] for c in RISK.columns})
    RETENTION_RISK.fold(rows, second)
    rows.finish(RETENTION_RISK)
    assert rows.whole(RISK) == fold(RETENTION_RISK, [first, second]).whole(RISK)


def test_the_end_of_the_calendar_is_no_error() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    [stored] = fold(RETENTION_RISK, recorded((posted(0)[0], last))).whole(RISK)
    assert stored["next_change_at"] is None


days = st.floats(0, 500).map(lambda n: round(n, 3))
histories = st.lists(
    st.one_of(
        st.builds(
            posted,
            days,
            st.sampled_from(["card", "salary", "fee", "transfer"]),
            st.integers(-9, 9),
            st.none() | st.integers(-5, 1000),
            st.integers(0, 99),
        ),
        st.builds(contacted, days),
        st.builds(opened, days, st.sampled_from(["q1", "q2", "q3"])),
        st.builds(
            resolved, days, st.sampled_from(["q1", "q2", "q3"]), st.sampled_from(["upheld", "rejected", "settled"])
        ),
        st.builds(
            due,
            days.map(lambda n: NOON - (n - 250) * DAY),
            st.sampled_from(["q1", "q2"]),
            st.sampled_from(["statutory", "service"]),
            days,
        ),
        st.builds(lambda n: (ComplaintReopened(complaint_id="q1", reason="r"), ago(n)), days),
        st.builds(answered, st.sampled_from(["csat"]), st.integers(1, 5), st.just(5), days),
        st.builds(answered, st.sampled_from(["nps"]), st.integers(0, 10), st.just(10), days),
        st.builds(
            lambda n: (TransactionReversed(account_id="a1", transaction_id="t1", booked_on=ago(n).date()), ago(n)), days
        ),
        st.builds(
            lambda n, since, products: (CustomerRegistered(customer_since=since, products=products), ago(n)),
            days,
            st.dates(date(2015, 1, 1), date(2026, 3, 1)),
            st.lists(st.sampled_from("abcd")).map(tuple),
        ),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(histories, st.sets(st.integers(1, 25)))
def test_any_order_of_events_scores_and_any_split_gives_the_same_row(history: list[Dated], splits: set[int]) -> None:
    events = recorded(*history)
    rows = fold(RETENTION_RISK, events, sorted(splits)).whole(RISK)
    assert rows == fold(RETENTION_RISK, events).whole(RISK)
    scored = score(rows[0]["features"], rows[0]["scored_at"])
    if scored.logit is not None:
        assert scored.logit == Decimal(COLD_START.base) / 1000 + sum(reason.points for reason in scored.reasons)
        assert scored.probability is not None
        assert 0 < scored.probability < 1
        assert all(reason.sources for reason in scored.reasons)
    assert all(n > 0 for series in ("posted", "contacts", "year") for n in rows[0]["features"].get(series, [[], []])[1])


@settings(max_examples=100, deadline=None)
@given(histories, st.floats(0, 1))
def test_nothing_changes_before_next_change_at_and_a_sweep_is_the_score(history: list[Dated], share: float) -> None:
    [stored] = fold(RETENTION_RISK, recorded(*history)).whole(RISK)
    start, features = stored["scored_at"], stored["features"]
    for _ in range(40):
        here = score(features, start)
        end = here.next_change_at or start + 1000 * DAY
        between = start + share * (end - start) - timedelta(seconds=2)
        for moment in (max(start, between), max(start, end - timedelta(microseconds=1))):
            assert score(features, moment) == here
        swept = sweep(stored, end)
        assert (swept["logit"], swept["band"]) == (score(features, end).logit, score(features, end).band)
        start = end


BY_TOPIC: tuple[tuple[Dated, ...], ...] = (
    ((CustomerRegistered(branch="b1"), ago(900)), (CustomerProfileChanged(products=("card",)), ago(3))),
    tuple((ContactQueued(contact_id=f"k{n}", queue="q", channel="phone"), ago(n)) for n in (500, 390, 40, 3, 0)),
    (opened(20), due(ago(10), days=20), resolved(5)),
    tuple(posted(n, n=n) for n in (400, 200, 179, 178, 30, 3, 0)),
)


@given(st.permutations([n for n, topic in enumerate(BY_TOPIC) for _ in topic]))
@settings(max_examples=60, deadline=None)
def test_the_order_of_messages_of_different_topics_does_not_matter(order: list[int]) -> None:
    topics = [iter(topic) for topic in BY_TOPIC]
    named = [iter(f"{n}-{i}" for i in range(len(topic))) for n, topic in enumerate(BY_TOPIC)]
    events = []
    for n in order:
        (one,) = recorded(next(topics[n]))
        events.append(replace(one, meta=replace(one.meta, event_id=next(named[n]))))
    (row,) = fold(RETENTION_RISK, events).whole(RISK)
    (usual,) = fold(RETENTION_RISK, sorted(events, key=lambda one: one.meta.occurred_at)).whole(RISK)
    assert row["features"] == usual["features"]


# --- alerts ---

UNHAPPY = (opened(20), answered("csat", 1, 5), answered("nps", 2, 10), *(contacted(n / 10) for n in range(4)))
IN_THE_NORTH = (CustomerRegistered(branch="north", segment="private", manager_id="m1"), ago(60))
CONTENT = (answered("csat", 5, 5, days=0), answered("nps", 10, 10, days=0), resolved(0))


def test_a_customer_whose_band_is_high_has_an_alert_with_what_raises_the_risk() -> None:
    rows = fold(RETENTION_RISK, recorded(IN_THE_NORTH, *UNHAPPY))
    [known] = rows.whole(RISK)
    [told] = rows.whole(AT_RISK)
    assert known["band"] == "high"
    assert {name: told[name] for name in told if name != "reasons"} == {
        name: known[name] for name in told if name != "reasons"
    }
    assert (told["branch"], told["segment"], told["manager_id"]) == ("north", "private", "m1")
    assert [reason["code"] for reason in told["reasons"]] == [
        reason["code"] for reason in known["reasons"] if float(reason["points"]) > 0
    ]


@pytest.mark.parametrize("splits", [(), (len(UNHAPPY) + 1,), range(1, 12)])
def test_an_alert_is_gone_when_the_band_is_high_no_more_or_the_customer_has_left(splits: Sequence[int]) -> None:
    events = [IN_THE_NORTH, *UNHAPPY]
    assert fold(RETENTION_RISK, recorded(*events), splits).whole(AT_RISK) != []
    assert fold(RETENTION_RISK, recorded(*events, *CONTENT), splits).whole(AT_RISK) == []
    assert fold(RETENTION_RISK, recorded(*events, (CustomerClosed(), NOON)), splits).whole(AT_RISK) == []


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_runner_keeps_the_alerts_of_the_rows_also_when_time_passes(batch: int) -> None:
    log, models = MemoryLog(), MemoryReadModels()
    log.events += recorded(IN_THE_NORTH, *UNHAPPY)
    log.events += recorded(IN_THE_NORTH, *UNHAPPY, *CONTENT, customer="c2", after=log.head())
    log.events += recorded(IN_THE_NORTH, posted(0), customer="c3", after=log.head())
    projector = Projector(log, models, [RETENTION_RISK], batch=batch)
    projector.run_until_caught_up()
    seen = [alerts_of(models)]
    assert seen == [{("c1",)}]
    for days in (30, 60, 100, 400):
        while projector.sweep(NOON + days * DAY):
            pass
        seen.append(alerts_of(models))
    assert any(before - after for before, after in pairwise(seen))
    assert any(after - before for before, after in pairwise(seen))


def alerts_of(models: MemoryReadModels) -> set[Any]:
    """Whose alerts there are, which are those that the rows say."""
    stored = models.rows[RETENTION_RISK.name, RISK.name]
    alerts = models.rows[RETENTION_RISK.name, AT_RISK.name]
    assert {key: (position, alert(row)) for key, (position, row) in stored.items() if row["band"] == "high"} == alerts
    return set(alerts)
