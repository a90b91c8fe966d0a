"""`kehu audit return`: figures of a period from the complaints' own events, and the complaints behind each."""

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

import psycopg

from tests.support.cli import Done, History


def asked(history: History, *more: str, name: str = "uk_disp") -> Done:
    """The return of the last 120 days and what is left of today."""
    since, until = history.now - timedelta(days=120), history.now + timedelta(days=2)
    done = history("audit", "return", name, "--since", f"{since:%Y-%m-%d}", "--until", f"{until:%Y-%m-%d}", *more)
    assert done.code == 0, done.err
    return done


def figures(done: Done) -> dict[tuple[str, str], int]:
    return {(one["measure"], one["value"]): one["cases"] for one in done.rows}


def test_the_complaints_behind_a_figure_are_as_many_as_it_says(history: History) -> None:
    told = figures(asked(history, "--json"))
    with psycopg.connect(history.postgres) as conn:
        (stored,) = conn.execute(
            "SELECT count(DISTINCT originator_id) FROM kehu.stored_events WHERE topic = 'complaint.clock-set.v1'"
            " AND convert_from(state, 'UTF8')::json -> 'data' ->> 'preset' LIKE 'uk_disp%'"
        ).fetchone() or (0,)
    cases: list[dict[str, Any]] = asked(history, "--cases", "--limit", "0", "--json").rows
    assert len({one["case"] for one in cases}) == stored > 3
    assert told["complaints", ""] == len(cases)
    closed = asked(history, "--cases", "--measure", "closed", "--band", "over_8_weeks", "--limit", "0", "--json").rows
    assert told["closed", "over_8_weeks"] == len(closed) > 0
    [mine] = [one for one in closed if one["case"] == "told-1"]
    assert (mine["outstanding_at_start"], mine["outcome"], mine["verdict"]) == (True, "rejected", "missed")
    harbour = asked(history, "--cases", "--branch", "Harbour", "--limit", "0", "--ndjson").out
    assert '"told-1"' in harbour
    assert '"told-2"' not in harbour


def test_the_table_says_to_which_position_it_counts(history: History) -> None:
    table = asked(history).out
    assert "uk_disp version 2" in table
    assert "within_3_business_days" in table
    assert "log shows position" in table
    assert "were not read at the source" in " ".join(table.split()), "what is not certain of a version is told"
    assert "The period is not over" in table
    assert "1 rows, as many as --limit lets through" in asked(history, "--cases", "--limit", "1").out


def test_it_is_counted_again_as_it_was_known(history: History) -> None:
    nothing = figures(asked(history, "--as-of-position", "0", "--json"))
    now = json.loads(asked(history, "--json").out)
    again = asked(history, *now["as_of"].replace("position:", "--as-of-position=").split(), "--json")
    assert json.loads(again.out) == now
    assert sha256(asked(history, "--ndjson").out.encode()).hexdigest() == now["digest"]
    assert f"digest {now['digest']}" in asked(history, "--csv").err
    assert now["return"]["over"] is False
    assert now["return"]["source"].startswith("https://www.handbook.fca.org.uk")
    assert set(nothing.values()) == {0}
    before = f"{history.now - timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
    assert figures(asked(history, "--known-at", before, "--json")) == nothing
    response = figures(asked(history, "--known-at", before, "--json", name="us_cfpb"))
    assert response.pop(("complaints", "closed_with_non_monetary_relief")) is None
    assert set(response.values()) == {0}


def test_a_choice_that_nothing_could_have_is_told(history: History) -> None:
    period = ("--since", "2026-01-01", "--until", "2026-07-01")
    for arguments, told in (
        (("uk", *period), "us_cfpb"),
        (("uk_disp", *period, "--cases", "--band", "late"), "within_8_weeks"),
        (("uk_disp", *period, "--band", "over_8_weeks"), "--cases"),
        (("uk_disp", "--since", "2026-07-01", "--until", "2026-01-01"), "begins earlier"),
        (("uk_disp", *period, "--as-of-position", "99999999"), "the log has"),
        (("uk_disp", *period, "--known-at", "2999-01-01"), "more may be recorded"),
    ):
        done = history("audit", "return", *arguments)
        assert done.code == 2
        assert told in done.err
