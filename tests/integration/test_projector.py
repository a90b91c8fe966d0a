"""From the log to the read models: a kill or a rebuild gives the same rows, and two projectors never write twice."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import psycopg
import pytest
from msgspec import convert
from msgspec.structs import replace

from consumers.ingest import Ingest
from consumers.outcome import Outcome
from consumers.projector import Projector
from domain import registry
from domain.complaint import ComplaintOpened
from domain.contact import ContactEnded, ContactQueued, ContactStarted
from domain.ports import Batch, Message, Partition, Unavailable
from domain.survey import SurveyAnswered, SurveyBounced, SurveyDeclined, SurveyInvited
from domain.values import Event, Position, Recorded
from infra import bootstrap
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka import codec
from infra.kafka.topics import topic_of
from infra.memory.log import MemoryLog
from infra.postgres import indexes
from infra.postgres.builds import Builds
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from projections.declare import Rows
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import SATISFACTION
from tests.support.builders import NOON, fact


def happenings(number: int) -> list[Event]:
    """What happens with customer `number`: a contact, with some a complaint, and a survey that some answer, change,
    decline or never get.
    """
    contact, invitation = f"k{number}", f"i{number}"
    metric, scale = (("csat", 5), ("nps", 10), ("ces", 7))[number % 3]
    asked = {"metric": metric, "scale": scale, "channel": "app", "branch": f"b{number % 4}", "owner": f"h{number % 5}"}
    happened: list[Event] = [
        ContactQueued(contact_id=contact, queue="cards", channel="phone"),
        ContactStarted(contact_id=contact),
        ContactEnded(contact_id=contact, resolved=number % 2 == 0),
        convert({"invitation_id": invitation, **asked}, SurveyInvited),
    ]
    if number % 5 == 0:
        happened.append(ComplaintOpened(complaint_id=f"p{number}", channel="app"))
    if number % 7 == 0:
        return [*happened, SurveyDeclined(invitation_id=invitation)]
    if number % 11 == 0:
        return [*happened, SurveyBounced(invitation_id=invitation)]
    return [*happened, *(SurveyAnswered(invitation_id=invitation, score=score) for score in (number % 5 + 1, 3))]


@pytest.fixture(scope="module")
def history() -> MemoryLog:
    """Three hundred customers, decided."""
    log = MemoryLog()
    ingest = Ingest(log, bootstrap.decoder(lambda: NOON), lambda: NOON)
    messages: dict[Partition, list[Message]] = {}
    for number in range(300):
        for n, event in enumerate(happenings(number)):
            made = fact(event, f"{number}-{n}", customer=f"c{number}", at=NOON - timedelta(days=number % 9, minutes=-n))
            topic = topic_of(registry.of(event).name)
            waiting = messages.setdefault(Partition(topic, topic, 0), [])
            key, value, headers = codec.structured(made)
            waiting.append(Message(Partition(topic, topic, 0), len(waiting), 0, key, value, tuple(headers)))
    ingest.claim(list(messages))
    outcomes = ingest.take(ingest.read(messages))
    assert outcomes[Outcome.APPENDED] > 1500
    assert outcomes[Outcome.DEAD] == outcomes[Outcome.PARKED] == 0
    return log


@pytest.fixture
def models(database: str) -> Iterator[PostgresReadModels]:
    models = PostgresReadModels(database)
    for projection in ALL:
        models.create(projection)
    yield models
    models.close()


@pytest.fixture
def anew(database: str, models: PostgresReadModels) -> Iterator[Callable[[], PostgresReadModels]]:
    """Makes a new, empty build of every projection."""
    builds = Builds(database)
    made: list[PostgresReadModels] = []

    def begin() -> PostgresReadModels:
        begun = [builds.begin(projection) for projection in ALL]
        indexes.finish(database, list(zip(ALL, begun, strict=True)), 1)
        made.append(PostgresReadModels(database, begun))
        return made[-1]

    yield begin
    for one in made:
        one.close()
    builds.close()


def test_any_batch_size_and_a_rebuild_give_the_same_rows(
    history: MemoryLog, models: PostgresReadModels, anew: Callable[[], PostgresReadModels]
) -> None:
    assert Projector(history, models, ALL, batch=700).run_until_caught_up() == history.head()
    live = [models.digest(p) for p in ALL]
    assert "" not in live
    rebuilt = anew()
    assert Projector(history, rebuilt, ALL, batch=119).run_until_caught_up() == history.head()
    assert [rebuilt.digest(p) for p in ALL] == live


def test_a_second_projector_that_starts_in_between_changes_nothing(
    history: MemoryLog, models: PostgresReadModels, anew: Callable[[], PostgresReadModels]
) -> None:
    Projector(history, models, ALL, batch=1000).run_until_caught_up()
    alone = [models.digest(p) for p in ALL]
    both = anew()
    first, second = Projector(history, both, ALL, batch=400), Projector(history, both, ALL, batch=300)
    while first.run_once() or second.run_once():
        pass
    assert [both.digest(p) for p in ALL] == alone


def test_a_projection_that_cannot_fold_stops_itself_only(history: MemoryLog, models: PostgresReadModels) -> None:
    def fail(rows: Rows, event: Recorded) -> None:
        if event.position == 500:
            raise ValueError("broken")
        if event.name in ALL[0].handles:
            ALL[0].fold(rows, event)

    every = frozenset(e.name for e in history.events)
    broken = dataclasses.replace(ALL[0], fold=fail, handles=every, keys=lambda _event: ())
    projector = Projector(history, models, [broken, *ALL[1:]], batch=200)
    assert projector.run_until_caught_up() == history.head()
    assert "position 500" in projector.stopped[broken.name]
    assert models.position(broken) < Position(500)
    assert [models.position(p) for p in ALL[1:]] == [history.head() for _ in ALL[1:]]


def test_a_projection_that_is_far_behind_holds_nobody_up(history: MemoryLog, models: PostgresReadModels) -> None:
    history = deepcopy(history)
    Projector(history, models, ALL[1:], batch=200).run_until_caught_up()
    late = history.events[-1]
    history.append(Batch(events=[replace(late, originator_id="survey-late", originator_version=1, position=None)]))
    projector = Projector(history, models, ALL, batch=200)
    projector.run_once()
    assert models.position(ALL[0]) == Position(200)
    assert [models.position(p) for p in ALL[1:]] == [history.head() for _ in ALL[1:]]


def test_a_swept_row_keeps_its_position_and_is_found_among_what_changed(
    history: MemoryLog, models: PostgresReadModels, database: str
) -> None:
    projector = Projector(history, models, ALL, batch=400)
    projector.run_until_caught_up()
    rows = "SELECT customer_id, position, changed_at FROM kehu.retention_risk ORDER BY customer_id"
    with psycopg.connect(database, autocommit=True) as conn:
        before = conn.execute(rows).fetchall()
        mark = max(changed_at for _, _, changed_at in before)
        assert len({changed_at for _, _, changed_at in before}) > 1, "a moment for each save"
        assert projector.sweep(NOON + timedelta(days=60), limit=20) == 20
        after = conn.execute(rows).fetchall()
    assert [row[:2] for row in after] == [row[:2] for row in before]
    found = [new for new, old in zip(after, before, strict=True) if new[2] > mark]
    assert len(found) == 20
    assert {changed_at for _, _, changed_at in found} == {max(row[2] for row in after)}


def test_projections_that_stand_together_are_saved_in_one_transaction(
    history: MemoryLog, models: PostgresReadModels, database: str
) -> None:
    Projector(history, models, ALL, batch=200).run_once()
    with psycopg.connect(database) as conn:
        saved = conn.execute("SELECT position, xmin::text FROM kehu.projection_builds").fetchall()
    assert len(saved) == len(ALL)
    assert {position for position, _ in saved} == {200}
    assert len({transaction for _, transaction in saved}) == 1


def test_one_that_another_projector_moved_meanwhile_is_left_out_and_the_others_are_saved(
    history: MemoryLog, models: PostgresReadModels, anew: Callable[[], PostgresReadModels]
) -> None:
    Projector(history, models, ALL).run_until_caught_up()
    alone = [models.digest(p) for p in ALL]
    both = anew()
    other = Projector(history, both, [ALL[0]], batch=300)

    def interrupted(rows: Rows, event: Recorded) -> None:
        if event.position == 350:
            other.run_once()
        if event.name in ALL[1].handles:
            ALL[1].fold(rows, event)

    every = frozenset(e.name for e in history.events)
    projections = [ALL[0], dataclasses.replace(ALL[1], fold=interrupted, handles=every)]
    projector = Projector(history, both, projections, batch=200)
    projector.run_once()
    projector.run_once()
    assert [both.position(p) for p in projections] == [Position(500), Position(400)]
    for fresh in (Projector(history, both, ALL[:1]), projector, Projector(history, both, ALL)):
        fresh.run_until_caught_up()
    assert [both.digest(p) for p in ALL] == alone


def test_rows_in_memory_give_way_to_those_that_somebody_else_swept(
    history: MemoryLog, models: PostgresReadModels, anew: Callable[[], PostgresReadModels]
) -> None:
    def swept_between(models: PostgresReadModels, *, remembers: bool) -> str:
        first = Projector(history, models, [RETENTION_RISK], batch=900)
        first.run_once()
        assert Projector(history, models, [RETENTION_RISK]).sweep(NOON + timedelta(days=60)) > 0
        then = first if remembers else Projector(history, models, [RETENTION_RISK])
        assert then.run_until_caught_up() == history.head()
        return models.digest(RETENTION_RISK)

    assert swept_between(anew(), remembers=True) == swept_between(models, remembers=False)


def test_what_a_crash_of_the_server_takes_back_is_folded_again(history: MemoryLog) -> None:
    folder = Path(mkdtemp(prefix="kehu-test-"))  # not below pytest's own, which is private
    folder.chmod(0o755)
    slow_to_disk = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}
    with EmbeddedPostgres.start(folder / "data", options=slow_to_disk) as server:
        database = server.create_database("kehu")
        migrate(database)
        with closing(PostgresReadModels(database)) as models:
            for projection in ALL:
                models.create(projection)
            projector = Projector(history, models, ALL, batch=300)
            projector.run_once()
            with psycopg.connect(database, autocommit=True) as conn:
                conn.execute("CREATE TABLE reached_the_disk ()")
            projector.run_once()
            server.stop("immediate", forget=False)
            server.restart(running=False)
            with pytest.raises(Unavailable):
                projector.run_once()
            assert {models.position(p) for p in ALL} == {Position(300)}
            assert projector.run_until_caught_up() == history.head()
            crashed = [models.digest(p) for p in ALL]
            with closing(Builds(database)) as builds:
                begun = [builds.begin(projection) for projection in ALL]
            indexes.finish(database, list(zip(ALL, begun, strict=True)), 1)
            with closing(PostgresReadModels(database, begun)) as quiet:
                Projector(history, quiet, ALL).run_until_caught_up()
                assert [quiet.digest(p) for p in ALL] == crashed
    rmtree(folder)


@pytest.mark.parametrize("part", ["keys", "save"])
def test_whatever_goes_wrong_with_a_projection_stops_it_alone(
    history: MemoryLog, models: PostgresReadModels, part: str
) -> None:
    def fail(_event: Recorded) -> Any:
        raise ValueError("broken")

    def unsaveable(rows: Rows, event: Recorded) -> None:
        ALL[0].fold(rows, event)
        table = ALL[0].tables[1]
        rows.put(table, ("nul\x00",), {**dict.fromkeys(table.columns), "outcome": ""})

    broken = dataclasses.replace(ALL[0], keys=fail) if part == "keys" else dataclasses.replace(ALL[0], fold=unsaveable)
    projector = Projector(history, models, [broken, *ALL[1:]], batch=200)
    assert projector.run_until_caught_up() == history.head()
    assert projector.stopped[broken.name].startswith("between positions ")
    assert [models.position(p) for p in ALL[1:]] == [history.head() for _ in ALL[1:]]


def test_the_log_in_postgres_feeds_the_same_rows(
    history: MemoryLog, models: PostgresReadModels, anew: Callable[[], PostgresReadModels], database: str
) -> None:
    Projector(history, models, ALL).run_until_caught_up()
    expected = models.digest(SATISFACTION)
    log = PostgresLog(database)
    for start in range(0, len(history.events), 500):
        log.append(Batch(events=history.events[start : start + 500]))
    stored = [(e.position, e.originator_id, e.event, e.meta) for e in log.read(Position(0), 10_000)]
    assert stored == [(e.position, e.originator_id, e.event, e.meta) for e in history.events]
    again = anew()
    Projector(log, again, ALL).run_until_caught_up()
    log.close()
    # The timeline keeps recorded_at, which differs between the two logs; satisfaction does not.
    assert again.digest(SATISFACTION) == expected
