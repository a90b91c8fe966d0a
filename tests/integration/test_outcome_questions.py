"""Complaint rates, effects, root causes and actions: what the database adds up is what the events say.

What they say is counted a second time here, from the events themselves and day by day.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from consumers.projector import Projector
from domain import handling, registry
from domain.action import ActionClosed, ActionOpened
from domain.complaint import ComplaintOpened
from domain.values import BANK, Event, Position, Recorded
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.memory.log import MemoryLog
from infra.postgres.migrate import migrate
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.outcomes import (
    action_effect,
    actions,
    clusters,
    complaint_rates,
    complaints_of,
    effect_of,
    tally,
)
from infra.postgres.read_models import PostgresReadModels
from projections.outcomes import CUSTOMER_DIMENSIONS, DAILY, OUTCOMES
from projections.outcomes.effects import Effect
from projections.outcomes.summaries import DIMENSIONS, Window
from projections.satisfaction import SATISFACTION
from tests.support.builders import fact
from tests.support.histories import END, bank_log

TODAY = END.date()
DAY = timedelta(days=1)
WINDOW = Window(TODAY - timedelta(days=60), TODAY - timedelta(days=20))
ACTION = ActionOpened(
    action_id="n-1", owner="m-1", due=TODAY + 9 * DAY, description="tell the fee", product="card", cause="fees"
)


def stored(log: MemoryLog, event: Event, at: datetime, customer: str) -> None:
    said = fact(event, f"x-{len(log.events)}", customer=customer, at=at)
    position = Position(len(log.events) + 1)
    name = registry.of(event).name
    log.events.append(Recorded(handling.stream_of(said), 1, event, said.meta, name, position, recorded_at=END))


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    """Half a year of a bank; and a card that led to one complaint a week in Leeds for a year, and then to one a day."""
    log = bank_log(3000, seed=23)
    days = [*range(400, 28, -7), *range(27, 0, -1)]
    for number, ago in enumerate(days):
        opened = ComplaintOpened(
            complaint_id=f"z-{number}", channel="app", product="card", cause="fees", branch="Leeds"
        )
        stored(log, opened, END - ago * DAY, f"c-z{number}")
    stored(log, ACTION, END - 10 * DAY, BANK)
    stored(log, ActionClosed(action_id="n-1", effective_on=TODAY - 14 * DAY), END - DAY, BANK)
    stored(log, ActionOpened(action_id="n-2", owner="m-2", due=TODAY - DAY, description="later"), END, BANK)
    return log


@pytest.fixture(scope="module")
def read_models(postgres_server: EmbeddedPostgres, log: MemoryLog) -> str:
    url = postgres_server.create_database("outcomes")
    migrate(url)
    with closing(PostgresReadModels(url)) as models:
        for projection in (OUTCOMES, SATISFACTION):
            models.create(projection)
        projector = Projector(log, models, [OUTCOMES, SATISFACTION], batch=700)
        projector.run_until_caught_up()
        assert projector.stopped == {}
    return url


@pytest.fixture
def bank(read_models: str) -> Iterator[Connection]:
    with closing(connected(read_models)) as conn:
        yield conn


Where = Mapping[str, str]


class Told:
    """What the events say, with each dimension as the customer had it when the event did not say it."""

    def __init__(self, log: MemoryLog) -> None:
        self.contacts: list[tuple[date, dict[str, str]]] = []
        self.complaints: list[tuple[date, dict[str, str]]] = []
        self.lives: list[tuple[date, date | None, dict[str, str]]] = []
        homes: dict[str, dict[str, str]] = {}
        begun: dict[str, date] = {}
        for recorded in log.events:
            event: Any = recorded.event
            customer, at = recorded.meta.customer_id, recorded.meta.occurred_at.astimezone(UTC)
            home = homes.get(customer, dict.fromkeys(CUSTOMER_DIMENSIONS, ""))
            if recorded.name == "customer.registered":
                homes[customer] = {name: getattr(event, name) or "" for name in CUSTOMER_DIMENSIONS}
                begun[customer] = min(at.date(), event.customer_since or at.date())
            elif recorded.name == "customer.closed":
                self.lives.append((begun.pop(customer), at.date(), home))
            elif recorded.name in ("contact.queued", "complaint.opened"):
                where = {name: getattr(event, name, None) or home.get(name, "") for name in DIMENSIONS}
                if recorded.name == "contact.queued":
                    self.contacts.append((at.date(), where))
                elif event.case_type == "complaint":
                    day = (event.received_at or at).astimezone(UTC).date()
                    self.complaints.append((day, where))
            else:
                assert recorded.name != "customer.profile-changed", "nobody moves in this history"
        self.lives += [(first, None, homes[customer]) for customer, first in begun.items()]


def fits(has: Where, where: Where) -> bool:
    return all(has[name] == value for name, value in where.items())


def by_day(days: list[tuple[date, dict[str, str]]], window: Window, by: str, where: Where) -> Counter[str]:
    inside = (has for day, has in days if window.first <= day <= window.last and fits(has, where))
    return Counter(has[by] if by else "" for has in inside)


def customer_days(told: Told, window: Window, by: str, where: Where) -> Counter[str]:
    days: Counter[str] = Counter()
    for first, end, home in told.lives:
        if fits(home, where):
            # On the day that a customer leaves there is one less already.
            from_day, until = max(first, window.first), min(end or date.max, window.last + DAY)
            days[home[by] if by else ""] += max(0, (until - from_day).days)
    return days


CONDITIONS: tuple[Where, ...] = (
    {},
    {"segment": "mass"},
    {"branch": "Leeds"},
    {"channel": "phone"},
    {"segment": "affluent", "branch": "Leeds"},
)


@pytest.mark.parametrize(("by", "where"), [*product(("", *DIMENSIONS), CONDITIONS)])
def test_what_is_added_up_is_what_the_events_say(bank: Connection, log: MemoryLog, by: str, where: Where) -> None:
    told = Told(log)
    found = tally(Answer(bank, OUTCOMES, SATISFACTION), WINDOW, by, where)
    complaints, contacts = (by_day(days, WINDOW, by, where) for days in (told.complaints, told.contacts))
    assert {group: one.counts["complaints"] for group, one in found.items()} == {g: complaints[g] for g in found}
    assert {group: one.counts["contacts"] for group, one in found.items()} == {g: contacts[g] for g in found}
    assert complaints.keys() | contacts.keys() <= found.keys()
    if {by, *where} - {""} <= set(CUSTOMER_DIMENSIONS):
        days = customer_days(told, WINDOW, by, where)
        assert {group: one.customer_days for group, one in found.items()} == {g: days[g] for g in found}
        assert days.keys() <= found.keys()
    else:
        assert {one.customer_days for one in found.values()} <= {None}


def test_the_bank_has_something_to_count(bank: Connection) -> None:
    (whole,) = tally(Answer(bank, OUTCOMES, SATISFACTION), Window(date(2000, 1, 1), TODAY)).values()
    nothing = [name for name in DAILY.columns if not whole.counts[name]]
    assert set(nothing) <= {"consultations", "service_requests", "disputes", "data_requests", "settled"}
    assert whole.closed
    assert whole.redress
    assert {clock for clock, _ in whole.deadlines} == {"statutory", "service"}


def test_who_left_on_the_last_day_left_in_the_window(bank: Connection, log: MemoryLog) -> None:
    ends = [end for _, end, _ in Told(log).lives if end is not None]
    day = max(ends)
    (whole,) = tally(Answer(bank, OUTCOMES, SATISFACTION), Window.up_to(day, 30)).values()
    assert whole.closed == sum(day - 30 * DAY < end <= day for end in ends) > 0
    (before,) = tally(Answer(bank, OUTCOMES, SATISFACTION), Window.up_to(day - DAY, 30)).values()
    assert before.closed == sum(day - 31 * DAY < end < day for end in ends)


def test_another_dimension_is_refused(bank: Connection) -> None:
    with pytest.raises(ValueError, match="no dimension owner: choose among channel"):
        tally(Answer(bank, OUTCOMES), WINDOW, "owner")


def test_rates_come_for_each_window_with_the_most_complaints_first(bank: Connection) -> None:
    windows = [Window.up_to(TODAY - DAY, 28), Window.up_to(TODAY - 29 * DAY, 28)]
    rates = list(complaint_rates(Answer(bank, OUTCOMES), windows, "branch"))
    for window in windows:
        counts = [one.complaints for one in rates if one.window == window]
        assert counts == sorted(counts, reverse=True)
        assert counts
    assert rates[0].group == "Leeds"


def test_an_effect_has_each_side_of_the_change(bank: Connection) -> None:
    change = TODAY - 45 * DAY
    answer = Answer(bank, OUTCOMES, SATISFACTION)
    effects = {(group, e.measure, e.of): e for group, e in effect_of(answer, change, 60, TODAY, "segment")}
    before, after = Window.up_to(change - DAY, 60), Window(change, TODAY - DAY)
    groups = {group for group, _, _ in effects}
    assert {"mass", "affluent", "private"} <= groups
    for group in groups:
        contacts: Effect = effects[group, "complaint_rate_contacts", ""]
        sides = [tally(answer, window, "segment") for window in (before, after)]
        assert [contacts.count_before, contacts.count_after] == [
            side[group].counts["complaints"] if group in side else 0 for side in sides
        ]
        assert contacts.provisional, "the window after has 45 days of 60"
    measures = {measure for _, measure, _ in effects}
    assert {"csat", "nps", "ces", "in_deadline", "reopen_rate", "churn_rate", "cost_per_contact"} <= measures
    csat = [tally(answer, window)[""].answers["csat", 5] for window in (before, after)]
    [whole] = [e for _, e in effect_of(answer, change, 60, TODAY) if e.measure == "csat"]
    assert [whole.n_before, whole.n_after] == [sum(histogram) for histogram in csat]
    assert [whole.count_before, whole.count_after] == [sum(histogram[4:6]) for histogram in csat]


def test_a_cluster_above_its_year_is_found_with_its_complaints(bank: Connection) -> None:
    answer = Answer(bank, OUTCOMES)
    found = clusters(answer, TODAY - DAY)
    first = found.clusters[0]
    assert (first.product, first.cause, first.branch, first.state) == ("card", "fees", "Leeds", "alert")
    assert (first.count, first.mean, found.periods.number) == (27, 4, 12)
    assert found.looked_at == len(found.clusters) > 1
    only = clusters(answer, TODAY - DAY, {"product": "card", "branch": "Leeds"})
    assert [(one.cause, one.count) for one in only.clusters] == [("fees", 27)]
    where = {"product": "card", "cause": "fees", "branch": "Leeds"}
    cases = list(complaints_of(answer, where, found.periods.last))
    assert len(cases) == first.count
    assert [case["received_on"] for case in cases] == sorted((c["received_on"] for c in cases), reverse=True)
    assert len(list(complaints_of(answer, where, found.periods.last, 5))) == 5


def test_before_the_year_is_known_nothing_is_an_alert(bank: Connection) -> None:
    found = clusters(Answer(bank, OUTCOMES), TODAY - 360 * DAY)
    assert {one.state for one in found.clusters} == {"too early"}


def test_actions_are_listed_with_the_open_ones_first(bank: Connection) -> None:
    answer = Answer(bank, OUTCOMES)
    assert [row["action_id"] for row in actions(answer)] == ["n-2", "n-1"]
    assert [row["action_id"] for row in actions(answer, only_open=True)] == ["n-2"]
    assert [row["action_id"] for row in actions(answer, owner="m-1")] == ["n-1"]


def test_an_action_is_compared_from_the_day_on_which_it_works(bank: Connection) -> None:
    row = action_effect(Answer(bank, OUTCOMES), "n-1", 14, TODAY)
    assert row is not None
    assert (row["since"], row["overdue"], row["days_after"]) == (TODAY - 14 * DAY, False, 14)
    # 15 to 28 days ago there were 13 of the daily ones, and no weekly one; since then one a day.
    assert (row["complaints_before"], row["complaints_after"]) == (13, 14)
    assert (row["significant"], row["unit"]) == (False, "per 1,000 customers in 14 days")
    longer = action_effect(Answer(bank, OUTCOMES), "n-1", 28, TODAY)
    assert longer is not None
    assert (longer["complaints_before"], longer["complaints_after"], longer["days_after"]) == (15, 14, 14)
    assert longer["ratio"] == pytest.approx(14 / 15 * 2, rel=0.05)
    assert longer["low"] < longer["ratio"] < longer["high"]


def test_an_action_of_today_has_no_effect_yet(bank: Connection) -> None:
    row = action_effect(Answer(bank, OUTCOMES), "n-2", 30, TODAY)
    assert row is not None
    assert (row["overdue"], row["days_after"], row["ratio"], row["significant"]) == (True, 0, None, None)
    assert action_effect(Answer(bank, OUTCOMES), "n-3", 30, TODAY) is None
