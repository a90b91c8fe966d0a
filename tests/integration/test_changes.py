"""Whoever follows a view, from any token, over drops, sweeps and switches, ends with exactly its rows."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact import ContactStarted
from domain.customer import CustomerProfileChanged, CustomerRegistered
from domain.values import Position
from infra.postgres.change_queries import changed_rows
from infra.postgres.changes import KEPT, Feed, Token, Walk, WrongToken
from projections.customers import CUSTOMERS
from projections.service_queues import SERVICE_QUEUES
from projections.views import NAMED, VIEWS, View, microseconds
from tests.support.builders import NOON
from tests.support.views import Reader, shown
from tests.support.world import QUEUES_BUILD, World, arrives, is_seen_to, leaves, troubles

QUEUES_VIEW = NAMED["service-queues"]
VIEW = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


@VIEW
@pytest.mark.parametrize("seed", range(3))
def test_a_reader_that_restarts_all_the_time_ends_with_the_rows_whatever_happens(
    world: World, view: View, seed: int
) -> None:
    rng = random.Random(seed)
    reader, lazy = Reader(world.feed, view), Reader(world.feed, view)
    here: list[int] = []
    in_trouble: list[int] = []
    for number in range(60):
        match rng.randrange(14):
            case 0:
                world.switch(view.projection)
            case 1 if "former" in world.builds.of(view.projection.name):
                world.roll_back(view.projection)
            case 2:
                world.sweep(NOON + timedelta(days=number))
            case 3 if "former" in world.builds.of(view.projection.name):
                world.builds.drop(world.builds.of(view.projection.name)["former"])
            case 4 | 5 if here:
                for one in [here.pop(rng.randrange(len(here))) for _ in range(min(3, len(here)))]:
                    world.happens(*leaves(one), customer=f"c{one % 9}")
            case 6 if here:
                lazy.catch_up(rng.choice((1, 2, 50)))
            case 7 | 8:
                world.happens(*troubles(number), customer=f"t{number}")
                in_trouble.append(number)
            case 9 if in_trouble:
                done = in_trouble.pop(rng.randrange(len(in_trouble)))
                world.happens(*is_seen_to(done), customer=f"t{done}")
            case _:
                for one in (2 * number, 2 * number + 1):
                    world.happens(*arrives(one), customer=f"c{one % 9}")
                    here.append(one)
        reader.step(rng.choice((1, 2, 3, 50)))
    for last in (reader, lazy):
        last.catch_up(2)
        assert last.rows == shown(world.database, view)
        assert last.rows
        assert last.catch_up() == []


def test_a_burst_is_one_change_and_nothing_is_told_twice(world: World) -> None:
    reader = Reader(world.feed, QUEUES_VIEW)
    world.happens(*arrives(1))
    assert [one.key for one in reader.catch_up()] == ["contact-k1"]
    for number in (2, 3):
        world.happens(*arrives(number))
    world.happens(ContactStarted(contact_id="k2"))
    told = reader.catch_up()
    assert [one.key for one in told] == ["contact-k3", "contact-k2"], "in the order of their last commits"
    assert [one.position for one in told] == [5, 7]
    assert reader.catch_up() == []


def test_a_dropped_row_is_told_once_and_when_it_is_back_it_is_a_row_again(world: World) -> None:
    reader = Reader(world.feed, QUEUES_VIEW)
    world.happens(*arrives(1))
    reader.catch_up()
    world.happens(*leaves(1))
    world.happens(*arrives(2))
    world.happens(*leaves(2))
    told = reader.catch_up()
    assert [(one.key, one.row) for one in told] == [("contact-k1", None), ("contact-k2", None)]
    assert [one.position for one in told] == [8, 8]
    world.happens(*arrives(1))
    assert [one.key for one in reader.catch_up()] == ["contact-k1"]
    assert reader.rows == shown(world.database, QUEUES_VIEW)


def test_after_a_switch_only_what_differs_is_told(world: World) -> None:
    for number in range(20):
        world.happens(*arrives(number))
    reader = Reader(world.feed, QUEUES_VIEW)
    reader.catch_up()
    world.change(f"DELETE FROM {QUEUES_BUILD}.queue_items WHERE item_id = 'contact-k1'")
    world.change(f"UPDATE {QUEUES_BUILD}.queue_items SET queue = 'lost' WHERE item_id = 'contact-k2'")
    world.change(
        f"INSERT INTO {QUEUES_BUILD}.queue_items (item_id, kind, queue, open, position)"
        " VALUES ('made-up', 'contact', 'cards', true, 1)"
    )
    seen = Reader(world.feed, QUEUES_VIEW)
    seen.catch_up()
    world.happens(*leaves(3))
    world.happens(ContactStarted(contact_id="k4"))
    world.switch(SERVICE_QUEUES)
    told = seen.catch_up(4)
    assert {(one.key, one.row is None) for one in told} == {
        ("contact-k1", False),
        ("contact-k2", False),
        ("contact-k3", True),
        ("contact-k4", False),
        ("made-up", True),
    }
    assert len(told) == 5
    assert seen.starts == ["everything", "comparing"]
    assert seen.rows == shown(world.database, QUEUES_VIEW)


def test_a_build_that_has_the_number_of_one_that_was_dropped_is_not_taken_for_it(world: World) -> None:
    world.happens(*arrives(1))
    world.switch(SERVICE_QUEUES)
    reader = Reader(world.feed, QUEUES_VIEW)
    reader.catch_up()
    world.roll_back(SERVICE_QUEUES)
    world.builds.drop(world.builds.of("service_queues")["former"])
    world.change(f"DELETE FROM {QUEUES_BUILD}.queue_items")
    world.switch(SERVICE_QUEUES)
    world.change(f"DELETE FROM {QUEUES_BUILD}_b2.queue_items")
    assert world.builds.of("service_queues")["live"].build == 2
    reader.catch_up()
    assert reader.starts == ["everything", "everything"]
    assert reader.rows == {}


def test_what_was_dropped_long_ago_is_forgotten_and_then_everything_is_told(world: World) -> None:
    world.happens(*arrives(1), *arrives(2))
    reader = Reader(world.feed, QUEUES_VIEW)
    reader.catch_up()
    world.happens(*leaves(1))
    live = world.feed.live()["service_queues"]
    assert world.feed.forget(QUEUES_VIEW, live) == 0
    past = f"- interval '{KEPT.total_seconds() + 1} s'"
    world.change(f"UPDATE {QUEUES_BUILD}.queue_items_removed SET removed_at = removed_at {past}")
    assert world.feed.forget(QUEUES_VIEW, live) == 1
    assert reader.token is not None
    token = Token.read(reader.token)
    reader.token = str(Token(token.build, token.at - KEPT))
    reader.catch_up()
    assert reader.starts == ["everything", "everything"]
    assert reader.rows == shown(world.database, QUEUES_VIEW)


def test_a_token_from_the_future_of_a_restored_database_leads_to_everything(world: World) -> None:
    world.happens(*arrives(1))
    live = world.feed.live()["service_queues"]
    assert not world.feed.follows(Token(live.build.serial, live.at + timedelta(seconds=1)), live)


@VIEW
def test_what_changed_is_found_by_an_index(world: World, view: View) -> None:
    for number in range(20):
        world.happens(*arrives(number))
    live = world.feed.live()[view.projection.name]
    given = {"after": live.at, "upto": live.at, "most": 10, "position": 1}
    with psycopg.connect(world.database) as conn:
        conn.execute("SET enable_seqscan = off")  # the tables are small; without an index it is the only way
        query = b"EXPLAIN " + changed_rows(view, live.build.schema, places=view.table.placed)
        plan = "\n".join(line for (line,) in conn.execute(query, given).fetchall())
    assert "Seq Scan" not in plan
    assert f"{view.table.name}_changed_at_idx" in plan


SERIALS = st.integers(0, 2**62)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WALKS = st.builds(
    Walk, st.none() | st.tuples(SERIALS, MOMENTS), st.booleans(), st.none() | st.text(st.characters(codec="utf-8"))
)


@given(st.builds(Token, SERIALS, MOMENTS, st.none() | WALKS))
def test_a_token_is_read_as_it_was_written(token: Token) -> None:
    assert Token.read(str(token)) == token
    assert str(token).startswith(f"{token.build}.{microseconds(token.at)}")


@pytest.mark.parametrize("text", ["", "1", "a.b", "1.2.zz", "1.2.5b5d", "1." + "9" * 40, "1.2.3.4"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(WrongToken):
        Token.read(text)


def test_a_position_of_the_log_is_known(world: World) -> None:
    assert world.feed.live()["service_queues"].head == Position(0)


def test_a_place_that_was_left_is_told_though_the_row_changes_again_while_it_is_read(world: World) -> None:
    view, feed = NAMED["customers"], Feed(world.connection, places=True)
    world.happens(CustomerRegistered(kind="person", segment="private"), customer="c1")
    had = Token(feed.live()["customers"].build.serial, feed.live()["customers"].at)
    world.happens(CustomerProfileChanged(segment="retail"), customer="c1")
    live = feed.live()["customers"]
    world.happens(CustomerProfileChanged(segment="other"), customer="c1")
    page = feed.page(view, had, live, 10)
    assert [(one.key, one.row, one.later, one.left) for one in page.updates] == [
        ("c1", None, True, [{"branch": None, "segment": "private"}])
    ]
    (then,) = feed.page(view, page.token, feed.live()["customers"], 10).updates
    assert (then.later, then.left) == (False, [{"branch": None, "segment": "retail"}])
    assert world.feed.page(view, had, live, 10).updates == [], "who sees all rows has it from the next page"


def test_places_that_were_left_long_ago_are_forgotten_and_those_of_a_dropped_build(world: World) -> None:
    def kept() -> int:
        with psycopg.connect(world.database) as conn:
            (found,) = conn.execute("SELECT count(*) FROM kehu.places WHERE table_name = 'customers'").fetchone() or (
                0,
            )
        return int(found)

    view = NAMED["customers"]
    world.happens(CustomerRegistered(kind="person", segment="private"), customer="c1")
    world.happens(CustomerProfileChanged(segment="retail"), customer="c1")
    live = world.feed.live()["customers"]
    world.feed.forget(view, live)
    assert kept() == 1
    world.feed.forget(view, replace(live, at=live.at + KEPT + timedelta(seconds=1)))
    assert kept() == 0
    world.happens(CustomerProfileChanged(segment="other"), customer="c1")
    assert kept() == 1
    world.switch(CUSTOMERS)
    world.builds.drop(world.builds.of("customers")["former"])
    assert kept() == 0
