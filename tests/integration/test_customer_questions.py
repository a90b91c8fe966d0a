"""Who customers are, asked of the database: lists, merges, conflicts, suggestions; and one profile of several ids."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import combinations
from random import Random
from typing import Any

import pytest

from benchmarks import customers as many
from consumers.projector import Projector
from consumers.refolding import as_one, refolded
from domain.complaint import ComplaintOpened
from domain.contact import ContactAbandoned, ContactQueued
from domain.customer import (
    CustomerClosed,
    CustomerConsentChanged,
    CustomerMerged,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnmerged,
)
from domain.customer.identity import MATCHING
from domain.values import Event, Fact
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.log import PostgresLog
from infra.postgres.past import Moment
from infra.postgres.questions import identity, profiles
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.customers import ABOUT_ONE, as_shown, events_of, risk_of, scorer_at, timeline
from infra.postgres.read_models import PostgresReadModels
from infra.replay import replay
from infra.whole_customer import whole_of
from projections.catalogue import ALL
from projections.customers import CUSTOMERS
from projections.customers.aliases import Merge, group_of
from projections.retention_risk import RETENTION_RISK
from tests.integration.test_questions import Explained
from tests.support.builders import NOON, fact
from tests.support.ingesting import stored

DAY = timedelta(days=1)
RULE = MATCHING.latest
HASH, OTHER = "a1" * 16, "b2" * 16


def told() -> Iterator[Fact]:
    """Three registrations of one person, and some who only share something with others."""
    numbers = iter(range(1, 1000))

    def said(customer: str, data: Event, days: int = 0) -> Fact:
        return fact(data, f"e{next(numbers)}", customer=customer, at=NOON + days * DAY)

    yield said("a", CustomerRegistered(name="Ann", email="ann@x.example", segment="mass", products=("loan",)))
    yield said("b", CustomerRegistered(name="Anne", phone="+44 20 7946 0018", products=("card",), branch="Harbour"), 1)
    yield said("c", CustomerRegistered(segment="private", branch="Leeds", national_id_hash=HASH), 2)
    yield said("d", CustomerRegistered(national_id_hash=OTHER, manager_id="m1", products=("loan",)))
    yield said("e", CustomerRegistered(email="ANN@x.example", phone="0044 2079460018", manager_id="m1"), 1)
    yield said("f", CustomerRegistered(national_id_hash=HASH), 1)
    yield said("a", CustomerConsentChanged(purpose="marketing", channel="email", status="granted"), 1)
    yield said("b", CustomerConsentChanged(purpose="marketing", channel="email", status="revoked"), 2)
    expires = NOON + 10 * DAY
    yield said("d", CustomerConsentChanged(purpose="marketing", channel="email", status="granted", expires_at=expires))
    yield said("a", ContactQueued(contact_id="k1", queue="cards", channel="phone", project_id="p1"), 3)
    yield said("b", ContactQueued(contact_id="k2", queue="cards", channel="app", project_id="p2"), 4)
    yield said("a", ContactAbandoned(contact_id="k1"), 5)
    yield said("b", ComplaintOpened(complaint_id="p-1", channel="app", regime="uk_disp_standard"), 5)
    yield said("a", ComplaintOpened(complaint_id="p-2", channel="app", regime="uk_disp_standard"), 6)
    yield said("b", CustomerMerged(into="a", reason="same", by="desk"), 7)
    yield said("a", CustomerMerged(into="c", reason="same", by="desk", national_id_hash=HASH), 8)
    yield said("d", CustomerMerged(into="e", reason="same", by="desk"), 8)
    yield said("d", CustomerUnmerged(into="e", reason="twins", by="desk"), 9)
    yield said("d", CustomerClosed(), 9)


@pytest.fixture
def story(database: str) -> Iterator[Connection]:
    """The read models of these facts."""
    log, models = PostgresLog(database), PostgresReadModels(database)
    stored(log, list(told()))
    for projection in ALL:
        models.create(projection)
    Projector(log, models, ALL).run_until_caught_up()
    log.close()
    models.close()
    with closing(connected(database)) as conn:
        yield conn


def test_a_merged_customer_is_answered_as_one_from_each_of_its_ids(story: Connection) -> None:
    now = NOON + 20 * DAY
    answer = Answer(story, *ABOUT_ONE)
    whole = {one: whole_of(answer, one, now) for one in "abc"}
    for one in "abc":
        assert whole[one].group.members == ("c", "a", "b")
        assert whole[one].profile == whole["a"].profile
        assert [case["case"] for case in whole[one].cases] == ["p-1", "p-2"]
        assert [contact["contact"] for contact in whole[one].contacts] == ["k2"]
        assert whole[one].scores == whole["a"].scores
    shown = {name: (field["value"], field["customer_id"]) for name, field in whole["a"].profile.items()}
    assert shown["segment"] == ("private", "c")  # the survivor's
    assert shown["name"] == ("Anne", "b")  # the newest of the others
    assert shown["email"] == ("ann@x.example", "a")
    assert shown["products"][0] == ["loan", "card"]  # all, those of the survivor first
    assert whole["a"].profile["segment"]["others"] == [{"customer_id": "a", "value": "mass"}]
    assert "closed_at" not in shown
    (consent,) = whole["a"].consents  # the newest, whoever it came from
    assert (consent["status"], consent["valid"], consent["customer_id"]) == ("revoked", False, "b")
    assert {row["project_id"] for row in whole["a"].projects} == {"p1", "p2"}
    assert whole["a"].scores["service"]["open_cases"] == 2
    assert whole["a"].scores["service"]["contacts_waiting"] == 1


def test_an_unmerged_customer_is_alone_again(story: Connection) -> None:
    answer = Answer(story, *ABOUT_ONE)
    whole = whole_of(answer, "d", NOON)
    assert whole.group.members == ("d",)
    assert whole.profile["closed_at"]["value"] == NOON + 9 * DAY
    assert [row["customer_id"] for row in identity.aliases(answer)] == ["a", "b"]
    rows = list(identity.aliases(answer, ended=True))
    assert [(row["customer_id"], row["survivor"], row["active"]) for row in rows] == [
        ("a", "c", True),
        ("b", "c", True),
        ("d", "d", False),
    ]
    assert [row["customer_id"] for row in identity.aliases(answer, into="a")] == ["b"]


def test_merges_and_shared_ids_are_told_as_they_were(story: Connection) -> None:
    """By what had happened: `b` is merged on the seventh day, `a` and `d` on the eighth, and `d` back on the ninth."""

    def as_of(hours: float) -> tuple[list[tuple[str, str]], set[str]]:
        with closing(connected(story.info.dsn)) as conn:
            upto = replay(conn, [CUSTOMERS], Moment(NOON + timedelta(hours=hours)))
            answer = Answer(conn, CUSTOMERS, as_of=upto)
            merged = [(row["customer_id"], row["survivor"]) for row in identity.aliases(answer)]
            return merged, {row["one"] + row["other"] for row in identity.duplicates(answer, RULE)}

    assert as_of(12) == ([], set())  # who shares something registered later
    assert as_of(6 * 24 + 1) == ([], {"cf", "ae", "be"})
    assert as_of(7 * 24 + 1) == ([("b", "a")], {"cf", "ae", "be"})
    assert as_of(8 * 24 + 1)[0] == [("a", "c"), ("b", "c"), ("d", "e")]
    assert as_of(9 * 24 + 1)[0] == [("a", "c"), ("b", "c")]


def test_consent_expires_at_the_moment_of_asking(story: Connection) -> None:
    answer = Answer(story, *ABOUT_ONE)
    for days, valid in ((9, True), (10, False)):
        now = NOON + days * DAY
        (consent,) = profiles.consents(answer.about(["d"], profiles.HELD), now)
        assert (consent["status"], consent["valid"], consent["expired"]) == ("granted", valid, not valid)
        listed = [row["customer_id"] for row in profiles.customers(answer, now, consent=("marketing", "email"))]
        assert listed == (["a", "d"] if valid else ["a"])


def test_each_filter_chooses_customers(story: Connection) -> None:
    answer = Answer(story, CUSTOMERS)

    def listed(**chosen: Any) -> str:
        return "".join(row["customer_id"] for row in profiles.customers(answer, NOON, **chosen))

    assert listed() == "abcdef"
    assert listed(limit=2) == "ab"
    assert listed(filters={"manager_id": "m1"}) == "de"
    assert listed(filters={"branch": "Harbour", "segment": None}) == "b"
    assert listed(filters={"segment": "mass"}) == "a"
    assert listed(product="loan") == "ad"
    assert listed(project_id="p2") == "b"
    assert listed(closed=True) == "d"
    assert listed(closed=False, product="loan") == "a"
    assert listed(ids=identity.holders(answer, "Ann@X.example", RULE)) == "ae"
    assert listed(ids=identity.holders(answer, "+44 (20) 79460018", RULE)) == "be"
    assert listed(ids=identity.holders(answer, HASH, RULE)) == "cf"
    merged = {row["customer_id"]: row["merged_into"] for row in profiles.customers(answer, NOON)}
    assert merged == {"a": "c", "b": "a", "c": None, "d": None, "e": None, "f": None}


def test_shared_ids_suggest_pairs_that_are_not_one_yet(story: Connection) -> None:
    answer = Answer(story, CUSTOMERS)
    rows = list(identity.duplicates(answer, RULE))
    assert [(row["one"], row["other"], row["score"], row["fields"], row["conflicts"]) for row in rows] == [
        ("c", "f", 0.95, ["national_id_hash"], []),
        ("a", "e", 0.6, ["email"], []),
        ("b", "e", 0.5, ["phone"], []),
    ]
    assert [row["one"] for row in identity.duplicates(answer, RULE, customer_id="e")] == ["a", "b"]
    assert [row["one"] for row in identity.duplicates(answer, RULE, smallest_score=0.7)] == ["c"]
    assert len(list(identity.duplicates(answer, RULE, 1))) == 1


def test_the_risk_of_who_is_one_is_that_of_all_their_events(story: Connection) -> None:
    """Refolded, a customer who is not merged has the risk that is stored."""
    now = NOON + 20 * DAY
    answer = Answer(story, *ABOUT_ONE)
    for one in "abcdef":
        events = events_of(answer, [one], RETENTION_RISK.handles, 10**9)
        (row,) = refolded(RETENTION_RISK, as_one(events, one, closed=True))
        assert as_shown(row, now, scorer_at(answer, now)) == risk_of(answer, one, now)
    whole = whole_of(answer, "a", now)
    both = whole.scores["retention"]
    sources = {source for reason in both["reasons"] for source in reason["sources"]}
    of_each = [
        {source for reason in risk["reasons"] for source in reason["sources"]}
        for risk in whole.scores["retention_of_each"]
    ]
    assert len(of_each) == 3
    assert both["customer_id"] == "c"
    assert any(sources & one for one in of_each)


def test_events_come_up_to_the_position_that_is_shown(story: Connection) -> None:
    answer = Answer(story, *ABOUT_ONE)
    events = events_of(answer, ["a", "b"], RETENTION_RISK.handles, 10)
    assert events
    assert [event.position for event in events] == sorted(event.position or 0 for event in events)
    assert max(event.position or 0 for event in events) <= 10


def test_the_timeline_of_who_is_one_is_in_one_order(story: Connection) -> None:
    answer = Answer(story, *ABOUT_ONE)
    whole = list(timeline(answer, ["c", "a", "b"]))
    assert [row["occurred_at"] for row in whole] == sorted((row["occurred_at"] for row in whole), reverse=True)
    assert {row["customer_id"] for row in whole} == {"a", "b", "c"}
    assert list(timeline(answer, ["c", "a", "b"], 3)) == whole[:3]
    within = list(timeline(answer, ["a"], since=NOON + 3 * DAY, until=NOON + 6 * DAY))
    assert [row["type"] for row in within] == ["contact.abandoned", "contact.queued"]
    # The end of a contact says no channel, and belongs to the contact that came by phone.
    by_phone = list(timeline(answer, ["a"], channel="phone"))
    assert [row["type"] for row in by_phone] == ["contact.abandoned", "contact.queued"]
    assert [row["type"] for row in timeline(answer, ["a"], channel="email")] == ["customer.consent-changed"]


def test_ids_that_came_to_conflict_after_a_merge_are_told(database: str) -> None:
    log, models = PostgresLog(database), PostgresReadModels(database)
    facts = [
        fact(CustomerRegistered(national_id_hash=HASH), "1", customer="a"),
        fact(CustomerRegistered(), "2", customer="b"),
        fact(CustomerMerged(into="a", reason="same", by="desk", national_id_hash=HASH), "3", customer="b"),
        fact(CustomerProfileChanged(national_id_hash=OTHER), "4", customer="b"),
    ]
    stored(log, facts)
    for projection in ALL:
        models.create(projection)
    Projector(log, models, ALL).run_until_caught_up()
    log.close()
    models.close()
    with closing(connected(database)) as conn:
        found = whole_of(Answer(conn, *ABOUT_ONE), "a", NOON).customer["conflicts"]
    assert found == [{"field": "national_id_hash", "values": {HASH: ["a"], OTHER: ["b"]}}]


PEOPLE = {"customers", "customer_personal", "customer_consents", "customer_projects", "customer_aliases"}


@pytest.fixture(scope="module")
def bank(postgres_server: EmbeddedPostgres) -> Iterator[Connection]:
    """The read models of many customers."""
    url = postgres_server.create_database("customer_questions")
    many.fill(url, 20_000)
    with closing(connected(url)) as conn:
        yield conn


def test_one_customer_and_a_page_of_them_read_no_table_through(
    bank: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integration.test_questions.LARGE", PEOPLE)
    now = datetime.now(NOON.tzinfo)
    answer = Explained(bank, *ABOUT_ONE)
    assert whole_of(answer, many.name(77), now).profile["email"]["value"] == "email of 77"
    assert whole_of(answer, many.name(99), now).group.members == (many.name(100), many.name(99))
    assert identity.holders(answer, "email of 12345", RULE) == [many.name(12345)]
    for chosen in (
        {},
        {"filters": {"manager_id": "m-7"}},
        {"filters": {"branch": "Branch 7"}},
        {"filters": {"segment": "mass"}},
        {"project_id": "p-30"},
        {"consent": ("marketing", "email")},
        {"ids": [many.name(3)]},
        {"product": "mortgage"},
    ):
        assert list(profiles.customers(answer, now, 20, **chosen)), chosen
    assert list(identity.duplicates(answer, RULE, 5, customer_id=many.name(50)))
    assert answer.read_through == set()


def test_a_value_that_many_share_suggests_nobody(bank: Connection) -> None:
    bank.rollback()
    answer = Answer(bank, CUSTOMERS)
    # One in fifty shares a phone with another, and half of these pairs are one already.
    assert len(list(identity.duplicates(answer, RULE))) == 20_000 // 100
    shared = """UPDATE kehu.customer_personal SET matched = 'switchboard' WHERE field = 'phone'
        AND customer_id IN (SELECT customer_id FROM kehu.customers ORDER BY 1 OFFSET 1000 LIMIT {})"""
    for sharing, pairs in ((RULE.most_sharing, 10), (RULE.most_sharing + 1, 0), (2000, 0)):
        bank.execute(shared.format(sharing).encode())
        found = [
            row
            for row in identity.duplicates(answer, RULE)
            if many.name(1001) <= row["one"] <= many.name(1000 + sharing) and row["other"] <= many.name(1000 + sharing)
        ]
        assert len(found) == pairs, sharing
        assert identity.left_out(answer, RULE) == (sharing > RULE.most_sharing)
        bank.rollback()


def test_the_database_finds_the_group_that_the_rules_find(bank: Connection) -> None:
    """Of any merges, with chains and circles: the same as `group_of` with all of them."""
    rng = Random(4)
    bank.rollback()
    bank.execute(b"DELETE FROM kehu.customer_aliases")
    ids = [f"x{n}" for n in range(30)]
    merges = []
    for position, alias in enumerate(rng.sample(ids, 24), 1):
        into = rng.choice([one for one in ids if one != alias])
        active = rng.random() < 0.8
        bank.execute(
            b"INSERT INTO kehu.customer_aliases (customer_id, into_id, active, merged_at, position)"
            b" VALUES (%s, %s, %s, %s, 1)",
            (alias, into, active, position),
        )
        if active:
            merges.append(Merge(alias, into, position))
    answer = Answer(bank, CUSTOMERS)
    groups = {one: identity.merges_around(answer, one)[0] for one in ids}
    assert groups == {one: group_of(one, merges) for one in ids}
    assert any(len(group.members) > 3 for group in groups.values())
    for one, other in combinations(ids, 2):
        assert (groups[one] == groups[other]) == (other in groups[one].members)
    bank.rollback()
