"""Champion and challenger on PostgreSQL: a promotion reaches every projector, and rebuilds keep it."""

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from msgspec.structs import replace

from benchmarks.load import batches
from consumers.ingest import Ingest
from consumers.projector import Projector
from domain.values import Position
from examples.bank import Bank
from infra import bootstrap
from infra.cli.servers import connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres import risk_models
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.customers import ABOUT_ONE, events_of, risk_of, riskiest
from infra.postgres.questions.risk import compared
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from projections.declare import Mark, Save
from projections.retention_risk import COLD, COLD_START, RETENTION_RISK, Model, Scorer
from projections.retention_risk.observed import trajectory
from tests.support.builders import NOON
from tests.support.cli import kehu
from tests.support.histories import END

_numbers = count(1)
LATER = END + timedelta(days=1)
STRICT = replace(COLD_START, name="strict", base=-1000, terms=COLD_START.terms[:4])
MESSAGES = 700


@pytest.fixture(scope="module")
def filled(postgres_server: EmbeddedPostgres) -> str:
    """The log and the read models of a small bank."""
    url = postgres_server.create_database("risk_models")
    migrate(url)
    with closing(PostgresLog(url)) as log, closing(PostgresReadModels(url)) as models:
        for projection in ALL:
            models.create(projection)
        ingest = Ingest(log, bootstrap.decoder(lambda: END), lambda: END)
        sent = [(m.topic, m.key.encode(), m.value) for m in Bank(29, end=END).messages(MESSAGES)]
        for batch in batches(ingest, sent):
            ingest.take(batch)
        Projector(log, models, ALL).run_until_caught_up()
    return url


@pytest.fixture
def bank(filled: str, postgres_server: EmbeddedPostgres) -> str:
    """A copy that a test may change."""
    name = f"risk_models_{next(_numbers)}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE risk_models")
    return postgres_server.url(name)


def promoted(url: str, model: Model = STRICT) -> int:
    with connected(url) as conn:
        if model is not COLD_START:
            risk_models.add(conn, model)
        return risk_models.promote(conn, model, "risk committee", "a test", NOON)


def stored(url: str) -> dict[str, tuple[str, object]]:
    """Customer -> the model and the logit of the row."""
    with connected(url) as conn:
        rows = conn.execute("SELECT customer_id, model, logit FROM kehu.retention_risk").fetchall()
    return {row["customer_id"]: (row["model"], row["logit"]) for row in rows}


def test_after_a_promotion_sweeps_score_every_row_by_the_new_model(bank: str) -> None:
    before = stored(bank)
    scored = {customer for customer, (_, logit) in before.items() if logit is not None}
    assert {model for model, _ in before.values()} == {"cold_start.1"}
    assert promoted(bank) == len(scored) > 20
    with closing(PostgresLog(bank)) as log, closing(PostgresReadModels(bank)) as models:
        projector = Projector(log, models, [RETENTION_RISK])
        swept = 0
        while n := projector.sweep(bootstrap.now(), 50):
            swept += n
    assert swept >= len(scored)
    after = stored(bank)
    assert {after[customer][0] for customer in scored} == {"strict.1"}
    assert any(after[customer][1] != before[customer][1] for customer in scored)
    assert promoted(bank) == 0, "the same again finds nothing to do"


def test_a_projector_that_folded_under_the_former_model_cannot_save(bank: str) -> None:
    with closing(PostgresLog(bank)) as log, closing(PostgresReadModels(bank)) as models:
        projector = Projector(log, models, [RETENTION_RISK])
        with psycopg.connect(bank, autocommit=True) as conn:
            conn.execute("UPDATE kehu.projection_builds SET position = position - 300 WHERE name = 'retention_risk'")
        original = models.save
        tried: list[dict[str, Mark]] = []

        def promote_first(saves: Sequence[Save]) -> dict[str, Mark]:
            if not tried:
                promoted(bank)
            marks = original(saves)
            tried.append(dict(marks))
            return marks

        models.save = promote_first  # type: ignore[method-assign]
        projector.run_once()
        assert tried == [{}], "the batch was folded under the former model"
        projector.run_until_caught_up()
        assert tried[1], "and again under the new one"
        while projector.sweep(bootstrap.now()):
            pass
    assert {model for model, logit in stored(bank).values() if logit is not None} == {"strict.1"}


def test_whoever_asks_before_the_sweep_sees_the_new_score_already(bank: str) -> None:
    promoted(bank)
    with connected(bank) as conn:
        answer = Answer(conn, RETENTION_RISK)
        now = bootstrap.now()
        rows = [row for row in riskiest(answer, now, other=COLD) if row["logit"] is not None]
        assert {row["model"] for row in rows} == {"strict.1"}
        assert {row["other"]["model"] for row in rows} == {"cold_start.1"}
        one = risk_of(answer, rows[0]["customer_id"], now, COLD)
        assert one is not None
        assert (one["logit"], one["other"]) == (rows[0]["logit"], rows[0]["other"])


def test_a_rebuild_is_scored_by_the_champion(bank: str) -> None:
    promoted(bank)
    with closing(PostgresLog(bank)) as log, closing(PostgresReadModels(bank)) as models:
        Projector(log, models, ALL).run_until_caught_up()
    done = kehu("rebuild", "retention_risk", "--switch", "--postgres", bank, "--json")
    assert (done.code, done.rows[0]["same_rows"]) == (0, True)
    assert {model for model, logit in stored(bank).values() if logit is not None} == {"strict.1"}


def test_a_model_is_known_once_and_the_history_of_promotions_stays(bank: str) -> None:
    promoted(bank)
    promoted(bank, COLD_START)
    with connected(bank) as conn:
        assert [(row["former"], row["model"]) for row in risk_models.promotions(conn)] == [
            ("strict.1", "cold_start.1"),
            ("cold_start.1", "strict.1"),
        ]
        with pytest.raises(risk_models.OtherModel, match=r"strict\.1"):
            risk_models.add(conn, replace(STRICT, base=-900))
        with pytest.raises(risk_models.OtherModel, match=r"cold_start\.1"):
            risk_models.add(conn, COLD_START)
        with pytest.raises(risk_models.UnknownModel, match=r"known: cold_start\.1, strict\.1"):
            risk_models.model(conn, "loose")
        assert risk_models.champion(conn, bootstrap.now()) == COLD_START
        moment = risk_models.promotions(conn)[1]["promoted_at"]
        assert risk_models.champion(conn, moment) == STRICT
        assert risk_models.champion(conn, moment - timedelta(microseconds=1)) == COLD_START


def test_a_comparison_counts_every_customer_with_a_score(bank: str) -> None:
    with connected(bank) as conn:
        answer, strict = Answer(conn, RETENTION_RISK), Scorer(STRICT)
        rows = answer.rows("SELECT * FROM retention_risk WHERE logit IS NOT NULL")
        found = compared(answer, COLD, strict, LATER, 3)
        same = compared(answer, COLD, COLD, LATER, 3)
    expected = [tuple(one.score(row["features"], LATER) for one in (COLD, strict)) for row in rows]
    assert found.customers == len(rows) == found.bands.total()
    for (a, b), n in found.bands.items():
        assert n == sum((ours.band, theirs.band) == (a, b) for ours, theirs in expected)
    gaps = sorted((abs((a.probability or 0) - (b.probability or 0)) for a, b in expected), reverse=True)
    assert [gap for gap, _, _ in found.most] == gaps[:3]
    assert same.correlation() == pytest.approx(1)
    assert same.psi_of_bands() == 0
    assert (found.psi_of_bands() or 0) > 0.1


def test_a_history_is_folded_from_all_events_of_the_customer(bank: str) -> None:
    with connected(bank) as conn, closing(PostgresLog(bank)) as log:
        answer = Answer(conn, *ABOUT_ONE)
        everything = log.read(Position(0), 100_000)
        rows = answer.rows("SELECT customer_id, features, scored_at FROM retention_risk ORDER BY 1 LIMIT 25")
        for row in rows:
            events = events_of(answer, [row["customer_id"]])
            of_one = [event.position for event in everything if event.meta.customer_id == row["customer_id"]]
            assert [event.position for event in events] == of_one
            [*_, last] = trajectory(events, COLD, LATER, recorded_later=True)
            assert last.scored.logit == COLD.score(row["features"], LATER).logit
