"""Customers: the newest fact about each field, what set it, consents, projects, answers, and merges."""

import json
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import TransactionPosted
from domain.contact import ContactEnded, ContactQueued
from domain.customer import (
    Customer,
    CustomerClosed,
    CustomerConsentChanged,
    CustomerManagerAssigned,
    CustomerMerged,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnmerged,
    evolve,
)
from domain.customer.identity import MATCHING, normal_form
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Money
from projections.customers import ALIASES, ANSWERS, CONSENTS, CUSTOMERS, PERSONAL, PROFILES, PROJECTS
from tests.support.builders import NOON, smallest
from tests.support.rows import Dated, decided, fold, recorded

DAY = timedelta(days=1)
registered = CustomerRegistered(
    name="A company", segment="smb", products=("loan",), manager_id="m0", email="a@b.example"
)


def profile(*events: Event | Dated) -> dict[str, Any]:
    [row] = fold(CUSTOMERS, recorded(*events)).whole(PROFILES)
    return row


def personal(*events: Event | Dated) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["field"], row["item"]): row for row in fold(CUSTOMERS, recorded(*events)).whole(PERSONAL)}


def test_a_registration_sets_every_field_that_it_says() -> None:
    row = profile(registered)
    assert (row["kind"], row["segment"], row["products"], row["manager_id"]) == ("person", "smb", ["loan"], "m0")
    assert row["set_by"] == {"": ["/test#e1", 1, "2026-03-02T12:00:00+00:00"]}
    assert (row["branch"], row["closed_at"], row["registered_at"]) == (None, None, NOON)


def test_each_field_names_the_event_that_set_it() -> None:
    row = profile(
        registered,
        (CustomerProfileChanged(segment="corporate", branch="Harbour"), NOON + DAY),
        (CustomerManagerAssigned(manager_id="m1"), NOON + 2 * DAY),
        (CustomerClosed(), NOON + 3 * DAY),
    )
    assert {name: mark[:2] for name, mark in row["set_by"].items()} == {
        "": ["/test#e1", 1],
        "segment": ["/test#e2", 2],
        "branch": ["/test#e2", 2],
        "manager_id": ["/test#e3", 3],
        "closed_at": ["/test#e4", 4],
    }
    assert (row["manager_id"], row["closed_at"]) == ("m1", NOON + 3 * DAY)


def test_personal_data_is_in_one_table_only() -> None:
    secrets: dict[str, Any] = {
        "name": "Ann Lee",
        "email": "ann@lee.example",
        "phone": "+44 20 7946 0018",
        "customer_number": "40017",
    }
    hashes: dict[str, Any] = {"national_id_hash": "a1" * 16, "tax_id_hash": "b2" * 16}
    rows = fold(CUSTOMERS, recorded(CustomerRegistered(**secrets, **hashes, device_ids=("phone-of-ann",))))
    whole = {table.name: str(rows.whole(table)) for table in CUSTOMERS.tables}
    for secret in (*secrets.values(), *hashes.values(), "phone-of-ann"):
        assert {name for name, told in whole.items() if secret in told} == {PERSONAL.name}


def test_ids_are_compared_in_their_normal_form() -> None:
    rows = personal(CustomerRegistered(email=" Ann@Lee.Example", phone="0044 (20) 7946-0018", name="Ann"))
    assert {name: row["matched"] for (name, _), row in rows.items()} == {
        "email": "ann@lee.example",
        "phone": "442079460018",
        "name": None,
    }
    assert rows["email", ""]["value"] == " Ann@Lee.Example"


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        ("email", "ＡＮＮ@lee.example", "ann@lee.example"),
        ("email", "   ", None),
        ("phone", "+86 10 6505 9999", "861065059999"),
        ("phone", "٠٠٨٦١٠٦٥٠٥٩٩٩٩", "861065059999"),
        ("phone", "ext. 204", None),
        ("device_ids", " d-1 ", "d-1"),
    ],
)
def test_normal_forms(name: str, value: str, normal: str | None) -> None:
    assert normal_form(name, value, MATCHING.latest) == normal


def test_devices_are_compared_one_by_one_and_leave_with_the_list() -> None:
    first = CustomerRegistered(device_ids=("d1", "d2"))
    rows = personal(first, (CustomerProfileChanged(device_ids=("d2", "d3")), NOON + DAY))
    assert json.loads(rows["device_ids", ""]["value"]) == ["d2", "d3"]
    assert {item for name, item in rows if item} == {"d2", "d3"}
    assert rows["device_ids", "d2"]["event_id"] == "e1"


def test_numbers_of_two_issuers_stand_beside_each_other() -> None:
    rows = personal(
        CustomerRegistered(customer_number="1"),
        CustomerProfileChanged(customer_number="2", customer_number_issuer="cards"),
        CustomerProfileChanged(customer_number="3"),
    )
    values = {name: row["value"] for (name, _), row in rows.items()}
    assert values == {"customer_number": "3", "customer_number@cards": "2"}


CHANGES = st.lists(
    st.tuples(
        st.builds(
            CustomerProfileChanged,
            segment=st.sampled_from([None, "mass", "private"]),
            branch=st.sampled_from([None, "Harbour"]),
            email=st.sampled_from([None, "a@b.example", "b@c.example"]),
            products=st.sampled_from([None, (), ("card",)]),
            device_ids=st.sampled_from([None, (), ("d1",), ("d1", "d2")]),
        ),
        st.integers(-2, 3).map(lambda days: NOON + days * DAY),
    ),
    max_size=5,
)


@given(CHANGES)
def test_decisions_and_rows_follow_one_rule_for_late_facts(changes: Sequence[tuple[Event, Any]]) -> None:
    """Each field has the value of the latest fact by its own time, and of equal ones the last of the log."""
    events = recorded(registered, *changes)
    rows = fold(CUSTOMERS, events, splits=(2, 4))
    state: Customer | None = None
    for one in events:
        state = evolve(state, one.event, one.meta)
    assert state is not None
    [row] = rows.whole(PROFILES)
    kept = {r["field"]: r["value"] for r in rows.whole(PERSONAL) if not r["item"]}
    said: list[tuple[Any, int, dict[str, Any]]] = []
    for one in events:
        fields = {name: getattr(one.event, name) for name in ("segment", "branch", "email", "products", "device_ids")}
        empty = ((), None) if one.position == 1 else (None,)
        said.append((one.meta.occurred_at, one.position or 0, {n: v for n, v in fields.items() if v not in empty}))
    latest: dict[str, Any] = {}
    for _, _, fields in sorted(said, key=lambda one: one[:2]):
        latest |= fields
    for name in ("segment", "branch"):
        assert row[name] == state.profile.get(name) == latest.get(name)
    assert tuple(row["products"]) == state.profile.get("products", ()) == latest.get("products", ())
    assert kept.get("email") == state.profile.get("email") == latest.get("email")
    devices = tuple(json.loads(kept.get("device_ids", "[]")))
    assert devices == state.profile.get("device_ids", ()) == latest.get("device_ids", ())
    assert {r["item"] for r in rows.whole(PERSONAL) if r["item"]} == set(devices)


def test_a_late_consent_changes_nothing_newer() -> None:
    said = [
        (CustomerConsentChanged(purpose="marketing", channel="email", status="granted"), NOON),
        (CustomerConsentChanged(purpose="marketing", channel="email", status="revoked"), NOON + 2 * DAY),
        (CustomerConsentChanged(purpose="marketing", channel="phone", status="granted", expires_at=NOON), NOON),
    ]
    for order in permutations(said):
        rows = fold(CUSTOMERS, recorded(registered, *order)).whole(CONSENTS)
        assert [(row["channel"], row["status"], row["since"], row["expires_at"]) for row in rows] == [
            ("email", "revoked", NOON + 2 * DAY, None),
            ("phone", "granted", NOON, NOON),
        ]


def test_projects_are_those_that_any_event_named() -> None:
    posted = smallest(TransactionPosted)
    events = recorded(
        (CustomerRegistered(project_id="p1"), NOON),
        (ContactQueued(contact_id="k", queue="q", channel="phone", project_id="p2"), NOON + DAY),
        (
            TransactionPosted(
                **{n: getattr(posted, n) for n in ("account_id", "transaction_id", "booked_on", "kind")},
                amount=Money(minor=1, currency="EUR"),
                project_id="p2",
            ),
            NOON - DAY,
        ),
        (posted, NOON + 5 * DAY),
        (ContactEnded(contact_id="k", resolved=True), NOON + 6 * DAY),
    )
    rows = fold(CUSTOMERS, events).whole(PROJECTS)
    assert [(row["project_id"], row["first_at"], row["last_at"], row["events"]) for row in rows] == [
        ("p1", NOON, NOON, 1),
        ("p2", NOON - DAY, NOON + DAY, 2),
    ]


def test_the_last_answer_of_each_metric_is_kept() -> None:
    facts: list[Event | Dated] = []
    asked: list[tuple[Any, Any, int]] = [("csat", 5, 4), ("csat", 5, 2), ("nps", 10, 9)]
    for number, (metric, scale, score) in enumerate(asked):
        at = NOON + number * DAY
        facts.append((SurveyInvited(invitation_id=f"i{number}", metric=metric, scale=scale, channel="app"), at))
        facts.append((SurveyAnswered(invitation_id=f"i{number}", score=score), at))
    rows = fold(CUSTOMERS, decided(*facts)).whole(ANSWERS)
    assert [(row["metric"], row["score"], row["invitation_id"]) for row in rows] == [
        ("csat", 2, "i1"),
        ("nps", 9, "i2"),
    ]


def test_a_merge_is_a_row_of_the_absorbed_customer_and_stays_told_when_it_is_undone() -> None:
    merged = CustomerMerged(into="c2", reason="same person", by="desk 3")
    undone = CustomerUnmerged(into="c2", reason="twins", by="desk 4")
    [row] = fold(CUSTOMERS, recorded(registered, merged)).whole(ALIASES)
    assert (row["customer_id"], row["into_id"], row["active"], row["merged_at"]) == ("c1", "c2", True, 2)
    [row] = fold(CUSTOMERS, recorded(registered, merged, (undone, NOON + DAY))).whole(ALIASES)
    assert (row["active"], row["ended_at"], row["ended_reason"], row["ended_by"]) == (
        False,
        NOON + DAY,
        "twins",
        "desk 4",
    )
    [row] = fold(CUSTOMERS, recorded(registered, merged, undone, merged)).whole(ALIASES)
    assert (row["active"], row["merged_at"], row["ended_at"]) == (True, 4, None)
