"""Whose a merged customer is: its page and timeline are for those who may see the survivor, at every moment."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from consumers.projector import Projector
from domain.complaint import ComplaintOpened
from domain.customer import CustomerMerged, CustomerProfileChanged, CustomerRegistered, CustomerUnmerged
from domain.values import Event, Fact
from infra.embedded.postgres import EmbeddedPostgres
from infra.http.rows import ProfileField
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from tests.support.builders import NOON, fact
from tests.support.ingesting import stored
from tests.support.issuer import issuing
from tests.support.served import Served, served

DAY = timedelta(days=1)


def told() -> Iterator[Fact]:
    """One merge that holds, one that was undone, one into somebody of no branch, and one who has moved."""
    numbers = iter(range(1, 1000))

    def said(customer: str, data: Event, days: int = 0) -> Fact:
        return fact(data, f"e{next(numbers)}", customer=customer, at=NOON + days * DAY)

    yield said("kept", CustomerRegistered(branch="Leeds"))
    yield said("gone", CustomerRegistered(branch="York"), 1)  # later, and not the survivor
    yield said("gone", ComplaintOpened(complaint_id="p-1", channel="app", branch="York"), 2)
    yield said("gone", CustomerMerged(into="kept", reason="same", by="desk"), 6)
    yield said("twin-leeds", CustomerRegistered(branch="Leeds"))
    yield said("twin-york", CustomerRegistered(branch="York"))
    yield said("twin-york", CustomerMerged(into="twin-leeds", reason="same", by="desk"), 4)
    yield said("twin-york", CustomerUnmerged(into="twin-leeds", reason="twins", by="desk"), 6)
    yield said("nowhere", CustomerRegistered())
    yield said("somewhere", CustomerRegistered(branch="York"))
    yield said("somewhere", CustomerMerged(into="nowhere", reason="same", by="desk"), 4)
    yield said("moved", CustomerRegistered(branch="York"))
    yield said("moved", CustomerProfileChanged(branch="Leeds"), 6)


@pytest.fixture(scope="module")
def server(postgres_server: EmbeddedPostgres) -> Iterator[Served]:
    database = postgres_server.create_database("http_merged")
    migrate(database)
    with closing(PostgresLog(database)) as log, closing(PostgresReadModels(database)) as models:
        stored(log, list(told()))
        for projection in ALL:
            models.create(projection)
        Projector(log, models, ALL).run_until_caught_up()
    with issuing() as issuer, served(database, "127.0.0.1:1", issuer) as running:
        yield running


def seen(server: Served, branch: str, customer: str, days: float | None = None) -> list[str]:
    """The ids that a page of a customer is about, for somebody of a branch; none where there is no such page."""
    then = "" if days is None else f"?as_of={(NOON + days * DAY).isoformat().replace('+', '%2B')}"
    page = server.get(f"/v1/customers/{customer}{then}", branches=[branch])
    timeline = server.get(f"/v1/customers/{customer}/timeline{then}", branches=[branch])
    assert page.status_code == timeline.status_code
    if page.status_code == 404:
        return []
    (row,) = page.json()["rows"]
    assert {one["customer_id"] for one in timeline.json()["rows"]} == set(row["ids"])
    return list(row["ids"])


@pytest.mark.parametrize(
    ("customer", "days", "leeds", "york"),
    [
        ("kept", None, ["kept", "gone"], []),
        ("gone", None, ["kept", "gone"], []),
        ("gone", 5, ["gone"], []),  # it was alone then, and has become Leeds's
        ("kept", 5, ["kept"], []),
        ("twin-leeds", None, ["twin-leeds"], []),
        ("twin-york", None, [], ["twin-york"]),
        ("twin-leeds", 5, [], []),  # two were one who are not, and nobody here may see both
        ("twin-york", 5, [], []),
        ("twin-leeds", 3, ["twin-leeds"], []),
        ("twin-york", 3, [], ["twin-york"]),
        ("nowhere", None, [], []),
        ("somewhere", None, [], []),
        ("moved", None, ["moved"], []),
        ("moved", 5, ["moved"], []),
    ],
)
def test_a_merged_customer_is_for_those_who_may_see_the_survivor_of_now(
    server: Served, customer: str, days: float | None, leeds: list[str], york: list[str]
) -> None:
    assert seen(server, "Leeds", customer, days) == leeds
    assert seen(server, "York", customer, days) == york
    assert seen(server, "*", customer, days) != []


def test_who_may_see_the_survivor_sees_all_of_it(server: Served) -> None:
    (row,) = server.get("/v1/customers/kept", branches=["Leeds"]).json()["rows"]
    assert [(case["case"], case["branch"]) for case in row["cases"]] == [("p-1", "York")]
    assert row["profile"]["branch"]["value"] == "Leeds"
    assert list(row["profile"]["branch"]) == list(ProfileField.model_fields)
    assert [one["customer_id"] for one in row["scores"]["retention_of_each"]] == ["kept", "gone"]


def test_lists_go_by_the_branch_in_each_row(server: Served) -> None:
    assert [row["case"] for row in server.get("/v1/cases", branches=["York"]).json()["rows"]] == ["p-1"]
    assert server.get("/v1/cases", branches=["Leeds"]).json()["rows"] == []


def test_figures_of_queues_are_of_ones_own_branches(server: Served) -> None:
    (york,) = server.get("/v1/queues", branches=["York"]).json()["rows"]
    assert (york["open"], york["kind"]) == (1, "case")
    assert server.get("/v1/queues?branch=York", branches=["Leeds"]).json()["rows"] == []
    (by,) = server.get("/v1/queues?by=branch").json()["rows"]
    assert (by["group"], by["open"]) == ("York", 1)


def test_who_read_a_customer_is_found_by_each_id_that_was_ever_one_with_it(server: Served) -> None:
    server.get("/v1/customers/gone", sub="reader-of-gone")
    found = server.get("/v1/access-log?customer_id=kept", scope="audit:read").json()["rows"]
    assert "reader-of-gone" in {row["subject"] for row in found}
    other = server.get("/v1/access-log?customer_id=moved", scope="audit:read").json()["rows"]
    assert "reader-of-gone" not in {row["subject"] for row in other}
