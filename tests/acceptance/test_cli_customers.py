"""Customers on the command line: the whole of one, lists, merging and undoing it, and whom to look at."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from domain.contact import ContactQueued
from domain.customer import CustomerConsentChanged, CustomerManagerAssigned, CustomerProfileChanged, CustomerRegistered
from domain.values import CustomerId, Event, Fact, Meta
from infra.kafka import codec
from infra.kafka.producer import publish
from tests.support.cli import History, store

HASH, OTHER = "a1" * 16, "b2" * 16


@pytest.fixture
def people(copied: History) -> History:
    """The bank's history with three more customers: `one-a` and `one-b` are the same person, `two` is another."""
    now = copied.now
    numbers = iter(range(100))

    def said(customer: str, event: Event, days: int) -> Any:
        meta = Meta(f"people-{next(numbers)}", "/crm", CustomerId(customer), now - timedelta(days=days))
        topic = "kehu.contacts" if isinstance(event, ContactQueued) else "kehu.customers"
        return (topic, *codec.structured(Fact(event, meta)))

    messages = [
        said("one-a", CustomerRegistered(name="Ann", email="ann@x.example", manager_id="m-people"), 90),
        said("one-b", CustomerRegistered(email="ANN@x.example", customer_number="7", products=("loan",)), 80),
        said("two", CustomerRegistered(email="ann@x.example", customer_number="8", national_id_hash=HASH), 70),
        said("one-a", CustomerProfileChanged(segment="private", customer_number="7"), 60),
        said("one-a", CustomerProfileChanged(segment="mass"), 61),
        said("two", CustomerManagerAssigned(manager_id="m-people"), 50),
        said("one-b", CustomerConsentChanged(purpose="marketing", channel="email", status="granted"), 40),
        said("one-b", ContactQueued(contact_id="people-k", queue="people", channel="phone", project_id="p-9"), 0),
    ]
    assert copied("setup").code == 0
    asyncio.run(publish(copied.kafka, messages))
    store(copied.postgres, copied.kafka)
    return copied


def shown(of: History, customer: str, *options: str) -> Any:
    return json.loads(of("show", "customer", customer, "--json", *options).out)


def about(of: History, customer: str) -> Any:
    """All that is told of a customer, without what tells of the asking and of the log's growth."""
    told = shown(of, customer, "--limit", "0")
    told["customer"].pop("merges")
    told["rows"] = [row for row in told["rows"] if not row["type"].endswith("merged")]
    for contact in told["contacts"]:
        contact.pop("age_seconds")
    told["scores"]["retention"].pop("scored_at")
    for risk in told["scores"]["retention_of_each"]:
        risk.pop("scored_at")
    return {name: value for name, value in told.items() if name != "freshness"}


def merge(of: History, *options: str, absorbed: str = "one-b", into: str = "one-a") -> Any:
    decided = ("--reason", "two branches", "--by", "data desk")
    return of("customers", "merge", absorbed, into, *decided, *options)


def test_one_customer_is_shown_whole_with_what_set_each_field(people: History) -> None:
    told = shown(people, "one-a")
    segment = told["profile"]["segment"]
    assert (segment["value"], segment["event"]) == ("private", "/crm#people-3")  # the later one came first
    assert told["profile"]["name"]["event"] == "/crm#people-0"
    assert told["scores"]["service"]["open_cases"] == 0
    assert told["scores"]["retention"]["band"] in ("low", "medium", "high")
    other = shown(people, "one-b")
    assert [(one["purpose"], one["status"], one["valid"]) for one in other["consents"]] == [
        ("marketing", "granted", True)
    ]
    assert [one["contact"] for one in other["contacts"]] == ["people-k"]
    assert other["scores"]["service"]["contacts_waiting"] == 1
    assert [one["project_id"] for one in other["projects"]] == ["p-9"]
    table = people("show", "customer", "one-b").out
    for heading in ("Customer one-b", "Consents", "Projects", "Scores", "Open contacts", "What happened"):
        assert heading in table


def test_what_happened_is_filtered_by_time_and_channel(people: History) -> None:
    assert [row["type"] for row in shown(people, "one-b", "--channel", "phone")["rows"]] == ["contact.queued"]
    until = (people.now - timedelta(days=70)).date().isoformat()
    assert [row["type"] for row in shown(people, "one-b", "--until", until)["rows"]] == ["customer.registered"]


def test_the_portfolio_of_a_manager_is_listed_and_exported(people: History) -> None:
    asked = ("show", "customers", "--manager", "m-people")
    assert [row["customer_id"] for row in people(*asked, "--json").rows] == ["one-a", "two"]
    lines = people(*asked, "--csv", "--limit", "0").out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["customer_id", "one-a", "two"]
    assert "one-a" in people(*asked).out
    consent = people("show", "customers", "--consent", "marketing/email", "--limit", "0", "--json").rows
    assert "one-b" in {row["customer_id"] for row in consent}
    assert [row["customer_id"] for row in people("show", "customers", "--having", "ANN@X.example", "--json").rows] == [
        "one-a",
        "one-b",
        "two",
    ]
    assert "ann@" not in people("show", "customers", "--having", "ann@x.example", "--json").out
    assert people("show", "customers", "--consent", "marketing").code == 2


def test_a_merge_is_previewed_published_and_undone_without_a_trace(people: History) -> None:
    before = {one: about(people, one) for one in ("one-a", "one-b")}
    preview = json.loads(merge(people, "--dry-run", "--json").out)
    verdicts = {field["field"]: field["verdict"] for field in preview["fields"]}
    assert (verdicts["customer_number"], verdicts["email"], verdicts["name"]) == ("same", "differs", "only one")
    assert (preview["published"], preview["event"]["data"]["customer_number"]) == (False, "7")
    assert {one: about(people, one) for one in ("one-a", "one-b")} == before

    done = merge(people, "--yes")
    assert done.code == 0
    assert "kehu trace" in done.out
    store(people.postgres, people.kafka)
    both = [about(people, one) for one in ("one-a", "one-b")]
    assert both[0]["customer"]["ids"] == both[1]["customer"]["ids"] == ["one-a", "one-b"]
    assert both[0]["profile"]["products"]["value"] == ["loan"]
    assert {row["customer_id"] for row in both[0]["rows"]} == {"one-a", "one-b"}
    assert [one["contact"] for one in both[0]["contacts"]] == ["people-k"]
    (alias,) = people("customers", "aliases", "--json").rows
    assert people("customers", "aliases", "--at", "2001-01-01", "--json").rows == []
    assert people("customers", "aliases", "--known-at", "2001-01-01", "--json").rows == []
    assert (alias["customer_id"], alias["survivor"], alias["merged_by"]) == ("one-b", "one-a", "data desk")
    assert "is one with one-b" in people("show", "customer", "one-a").out
    assert merge(people, "--yes").code == 1  # one already

    undone = people("customers", "unmerge", "one-b", "--reason", "twins", "--by", "data desk", "--yes")
    assert undone.code == 0
    store(people.postgres, people.kafka)
    assert {one: about(people, one) for one in ("one-a", "one-b")} == before
    assert people("customers", "aliases", "--json").rows == []
    (ended,) = people("customers", "aliases", "--all", "--json").rows
    assert (ended["active"], ended["ended_reason"]) == (False, "twins")


def test_different_strong_ids_refuse_a_merge_and_are_named(people: History) -> None:
    refused = merge(people, "--yes", into="two")
    assert refused.code == 1
    assert "customer_number (one-b 7, two 8)" in refused.err
    assert "Correct the one that is wrong" in refused.err
    store(people.postgres, people.kafka)
    assert people("customers", "aliases", "--all", "--json").rows == []


def test_a_merge_that_somebody_publishes_without_a_preview_is_refused_when_it_is_decided(people: History) -> None:
    event = json.loads(merge(people, "--dry-run", "--json").out)["event"]
    event["data"]["customer_number"] = "8"
    message = (
        "kehu.customers",
        b"one-b",
        json.dumps(event).encode(),
        [("content-type", b"application/cloudevents+json")],
    )
    asyncio.run(publish(people.kafka, [message]))
    store(people.postgres, people.kafka)
    (letter,) = people("dead-letters", "list", "--rule", "strong-ids-conflict", "--json").rows
    assert letter["event_id"] == event["id"]
    assert people("customers", "aliases", "--json").rows == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("merge", "nobody", "one-a"), "nobody"),
        (("merge", "one-a", "nobody"), "nobody"),
        (("merge", "one-a", "one-a"), "one already"),
        (("unmerge", "one-a"), "not merged"),
    ],
)
def test_what_cannot_be_merged_or_undone_is_told(people: History, asked: tuple[str, ...], told: str) -> None:
    done = people("customers", *asked, "--reason", "r", "--by", "b", "--yes")
    assert done.code == 1
    assert told in done.err


def test_shared_ids_suggest_whom_to_look_at(people: History) -> None:
    rows = people("customers", "duplicates", "--customer", "one-b", "--json").rows
    assert [(row["one"], row["other"], row["fields"], row["conflicts"]) for row in rows] == [
        ("one-a", "one-b", ["customer_number", "email"], []),
        ("one-b", "two", ["email"], ["customer_number"]),
    ]
    assert rows[0]["score"] > rows[1]["score"]
    earlier = (people.now - timedelta(days=75)).date().isoformat()  # before `two`, and before one-a told its number
    (then,) = people("customers", "duplicates", "--customer", "one-b", "--at", earlier, "--json").rows
    assert (then["other"], then["fields"]) == ("one-b", ["email"])
    assert people("customers", "duplicates", "--known-at", earlier, "--json").rows == []
    assert "customer_number" in people("customers", "duplicates").out
