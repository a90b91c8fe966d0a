"""Card customers of public data, spread over a year of events: what is folded back, and what a model learns from it.

What the features must be is computed here from the table, with none of the adapter's code.
"""

from datetime import date
from fractions import Fraction

import pytest

from benchmarks.card_customers import examples_of, recorded_of
from domain.values import Recorded
from infra.training.fit import Shape
from infra.training.labels import Label
from infra.training.train import About, Example, divided, logits, train
from projections.measures.discrimination import auc
from projections.retention_risk import Model, Scorer, from_json, to_json
from projections.retention_risk.measures import numbers
from projections.retention_risk.observed import features_at
from projections.retention_risk.windows import second_of
from tests.acceptance.test_real_data_adapters import data_file, plain_rows

NAME = "card_churn.csv.gz"


@pytest.fixture(scope="module")
def histories() -> list[tuple[Label, list[Recorded]]]:
    """The label and the stored events of each customer."""
    return list(recorded_of(data_file(NAME)))


@pytest.fixture(scope="module")
def examples(histories: list[tuple[Label, list[Recorded]]]) -> list[Example]:
    return examples_of(histories)


@pytest.fixture(scope="module")
def model(examples: list[Example]) -> Model:
    about = About("attrition", 1, date(2026, 1, 1))
    return train(examples, about, holdout=0.5, shape=Shape())


def test_what_is_folded_back_is_what_the_table_says(examples: list[Example]) -> None:
    rows = {f"cardholder-{int(row['CLIENTNUM'])}": row for row in plain_rows(NAME)}
    assert len(examples) == len(rows) == 5030
    differing = 0
    for label, found in examples:
        row = rows[label.customer_id]
        assert label.left == (row["Attrition_Flag"] == "Attrited Customer")
        assert found["transactions_12m"] == int(row["Total_Trans_Ct"])
        assert found["amount_12m"] == 100 * int(row["Total_Trans_Amt"])
        assert found["products"] == int(row["Total_Relationship_Count"])
        assert found["contacts_12m"] == int(row["Contacts_Count_12_mon"])
        assert found["owed"] == 100 * int(row["Total_Revolving_Bal"])
        assert found["credit_limit"] == round(100 * Fraction(row["Credit_Limit"]))
        assert found["utilisation"] == pytest.approx(float(row["Avg_Utilization_Ratio"]), abs=6e-4)
        assert found["count_ratio"] == pytest.approx(float(row["Total_Ct_Chng_Q4_Q1"]), abs=6e-4)
        assert found["tenure_days"] == pytest.approx(int(row["Months_on_book"]) * 30.4375, abs=0.51)
        differing += found["quiet_months"] != int(row["Months_Inactive_12_mon"])
        if found["count_ratio"]:
            assert found["amount_ratio"] == pytest.approx(float(row["Total_Amt_Chng_Q4_Q1"]), abs=6e-4)
    assert differing == 30, "those with fewer transactions than active months, as the adapter says"


def test_a_trained_model_tells_who_leaves_among_those_held_out(examples: list[Example], model: Model) -> None:
    learned, held = divided(examples, 0.5, Shape().seed)
    assert {one.label.customer_id for one in learned}.isdisjoint(one.label.customer_id for one in held)
    assert len(held) == pytest.approx(len(examples) / 2, abs=1)
    found = auc(logits(model, held), [one.label.left for one in held])
    assert found >= 0.98
    assert model.card.figures["auc"] == pytest.approx(found, abs=1e-4)
    assert model.card.figures["ks"] >= 0.85
    assert model.card.figures["psi"] < 0.1
    assert model.card.figures["calibration_error"] < 0.03


def test_its_reasons_add_up_for_every_customer(histories: list[tuple[Label, list[Recorded]]], model: Model) -> None:
    scorer = Scorer(from_json(to_json(model)))
    assert any(len(term.features) == 2 for term in model.terms)
    for label, events in histories[::10]:
        features = features_at(events, label.as_of)
        scored = scorer.score(features, label.as_of)
        assert scored.logit is not None
        thousandths = model.base + sum(int(1000 * reason.points) for reason in scored.reasons)
        assert 1000 * scored.logit == thousandths
        assert thousandths == scorer.thousandths(numbers(features, second_of(label.as_of)))
        known = {f"{event.meta.source}#{event.meta.event_id}" for event in events}
        assert all(set(reason.sources) <= known for reason in scored.reasons)


def test_the_same_seed_gives_the_same_model_and_a_scorecard_is_simpler(examples: list[Example]) -> None:
    about, shape = About("scorecard", 1, date(2026, 1, 1)), Shape(kind="woe")
    first, again = (train(examples, about, shape=shape) for _ in range(2))
    assert to_json(first) == to_json(again)
    assert first.card.figures["auc"] >= 0.94
    assert all(len(term.features) == 1 for term in first.terms)
