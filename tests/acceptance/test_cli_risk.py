"""`kehu risk` and `kehu show risk-history`: a model is trained, compared, promoted and explained."""

import csv
import sys
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from tests.support.cli import Done, History

SOON = "2036-01-01T00:00:00Z"


def customers(history: History) -> list[str]:
    rows = history("show", "retention-risk", "--json", "--limit", "0").rows
    return sorted(row["customer_id"] for row in rows if row["probability"] is not None)


def write_labels(file: Path, rows: list[tuple[str, object, str]]) -> Path:
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("customer_id", "label", "as_of"), *rows])
    return file


@pytest.fixture
def trained(copied: History, tmp_path: Path) -> tuple[History, Path, Done]:
    """A model by which every second customer leaves."""
    labels = write_labels(tmp_path / "labels.csv", [(one, n % 2, SOON) for n, one in enumerate(customers(copied))])
    file = tmp_path / "chance.1.json"
    done = copied(
        *("risk", "train", "--labels", str(labels), "--model-out", str(file), "--name", "chance"),
        *("--kind", "woe", "--json"),
    )
    return copied, file, done


def test_a_trained_model_is_compared_and_promoted_and_every_row_follows(trained: tuple[History, Path, Done]) -> None:
    history, file, done = trained
    assert done.code == 0, done.err
    told = orjson.loads(done.out)
    assert told["model"] == "chance.1"
    assert {"auc", "ks", "psi", "brier", "calibration_error"} <= told["figures"].keys()
    compared = orjson.loads(history("risk", "compare", "champion", str(file), "--json").out)
    assert compared["customers"] == len(customers(history)) == sum(one["customers"] for one in compared["bands"])
    asked = ("risk", "compare", "champion", str(file))
    everybody = history(*asked, "--limit", "0", "--json").rows
    assert [one["customer_id"] for one in everybody] == customers(history)
    assert [one["difference"] for one in compared["rows"]] == sorted(one["difference"] for one in everybody)[:-11:-1]
    assert history("risk", "add", str(file)).code == 0
    promoted = history("risk", "promote", "chance", "--reason", "a test", "--by", "risk committee", "--json")
    assert orjson.loads(promoted.out)["former"] == "cold_start.1"
    rows = {row["model"]: row for row in history("risk", "models", "--json").rows if row["champion"]}
    assert rows.keys() == {"chance.1"}
    assert rows["chance.1"]["promoted"]["promoted_by"] == "risk committee"
    for row in history("show", "retention-risk", "--json", "--limit", "0", "--model", "cold_start").rows:
        assert row["other"]["model"] == "cold_start.1"
        assert row["probability"] is None or row["model"] == "chance.1"
    shown = history("show", "retention-risk", "--customer", "c-told", "--model", "cold_start").out
    assert "on the scale of chance.1" in shown
    assert "By cold_start.1:" in shown
    assert "chance.1" in history("risk", "compare", "cold_start", "chance").out
    assert "chance.1" in history("risk", "models").out


def test_two_models_are_compared_over_some_customers_and_as_of_another_moment(history: History) -> None:
    asked = ("risk", "compare", "champion", "cold_start", "--limit", "0", "--json")
    leeds = history("show", "retention-risk", "--branch", "Leeds", "--limit", "0", "--json").rows
    some = {row["customer_id"] for row in leeds if row["probability"] is not None}
    told = orjson.loads(history(*asked, "--branch", "Leeds").out)
    assert {row["customer_id"] for row in told["rows"]} == some
    assert told["customers"] == len(some) > 0
    assert {row["difference"] for row in told["rows"]} == {0.0}
    assert orjson.loads(history(*asked, "--known-at", "2001-01-01").out)["customers"] == 0


def test_the_history_of_a_score_ends_with_the_score_that_is_shown(history: History) -> None:
    (now,) = history("show", "retention-risk", "--customer", "c-told", "--json").rows
    for asked in ((), ("--as-happened",)):
        told = history("show", "risk-history", "c-told", "--json", *asked).rows
        assert told == sorted(told, key=lambda one: one["at"])
        assert (told[-1]["logit"], told[-1]["band"], told[-1]["reasons"]) == (now["logit"], now["band"], now["reasons"])
    assert len(told) > 2, "as it happened: at each event, and when time passed"
    assert {one["because"] is None for one in told} == {True, False}
    # The opening, or the clocks that it set.
    assert (told[0]["because"]["source"], told[0]["because"]["event_id"]) == ("/told", "told-opened")
    assert "time passed" in history("show", "risk-history", "c-told", "--as-happened").out
    latest = history("show", "risk-history", "c-told", "--as-happened", "--limit", "1", "--json").rows
    assert latest == told[-1:]


def test_the_history_of_a_score_ends_at_the_moment_that_is_asked_about(history: History) -> None:
    whole = history("show", "risk-history", "c-told", "--as-happened", "--json").rows
    then = (history.now - timedelta(days=50)).isoformat()[:16]
    earlier = history("show", "risk-history", "c-told", "--as-happened", "--at", then, "--json").rows
    assert earlier == [one for one in whole if one["at"][:16] <= then]
    assert 0 < len(earlier) < len(whole)
    (shown,) = history("show", "retention-risk", "--customer", "c-told", "--at", then, "--json").rows
    assert (earlier[-1]["logit"], earlier[-1]["reasons"]) == (shown["logit"], shown["reasons"])
    ahead = history("show", "risk-history", "c-told", "--as-happened", "--at", "2100-01-01", "--json").rows
    assert ahead[: len(whole)] == whole
    assert {one["because"] for one in ahead[len(whole) :]} == {None}, "ahead nothing happens but that time passes"
    assert history("show", "risk-history", "c-told", "--at", then, "--json").rows == [], "nothing was known then"
    unknown = history("show", "risk-history", "c-told", "--known-at", then)
    assert (unknown.code, "Nothing is stored about this customer" in unknown.err) == (1, True)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("c", 2, SOON)], "line 2: label '2' is neither 0 nor 1"),
        ([("c", 1, "soon")], "line 2: as_of 'soon' is no time"),
        ([("c", 1, SOON)] * 2, "c is there twice"),
        ([(f"c{n}", 1, SOON) for n in range(30)], "0 customers who stayed, 20 are needed"),
        ([(f"c{n}", n % 2, SOON) for n in range(30)], "15 customers who left, 20 are needed"),
        ([(f"c{n}", n % 2, SOON) for n in range(60)], "60 of 60: c0, c1, c2, c3, c4 and 55 more"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_what_is_wrong(
    history: History, tmp_path: Path, rows: list[tuple[str, object, str]], told: str
) -> None:
    done = history("risk", "train", "--labels", str(write_labels(tmp_path / "labels.csv", rows)))
    assert done.code in (1, 2)
    assert told in done.err


def test_what_was_recorded_after_the_moment_of_a_label_does_not_count(history: History, tmp_path: Path) -> None:
    past = history.now.isoformat()  # all of it had happened, and nothing was recorded yet
    chosen = customers(history)
    labels = write_labels(tmp_path / "labels.csv", [(one, n % 2, past) for n, one in enumerate(chosen)])
    asked = ("risk", "train", "--labels", str(labels), "--kind", "woe", "--model-out", str(tmp_path / "m.json"))
    refused = history(*asked)
    assert f"{len(chosen)} of {len(chosen)}" in refused.err
    assert "--recorded-later" in refused.err
    assert history(*asked, "--recorded-later").code == 0
    assert "brought in afterwards" in (tmp_path / "m.json").read_text()


def test_without_the_extra_training_says_how_to_get_it(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = write_labels(tmp_path / "labels.csv", [(f"c{n}", n % 2, SOON) for n in range(60)])
    for module in [name for name in sys.modules if name.startswith("infra.training.")]:
        if module != "infra.training.labels":
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    done = history("risk", "train", "--labels", str(labels))
    assert (done.code, "pip install -e '.[train]'" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("risk", "compare", "champion", "absent"), "No such model"),
        (("risk", "compare", "champion", "absent.json"), "cannot be read"),
        (("risk", "promote", "absent", "--reason", "r"), "known: cold_start.1"),
        (("show", "risk-history", "nobody"), "Nothing is stored about this customer"),
        (("risk", "train", "--labels", "absent.csv"), "absent.csv"),
    ],
)
def test_what_is_not_there_is_named(history: History, asked: tuple[str, ...], told: str) -> None:
    done = history(*asked)
    assert done.code != 0
    assert told in done.err
