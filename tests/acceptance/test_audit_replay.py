"""`kehu audit replay` and `explain`, and the same over HTTP: what a bank's log says of other moments."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.cli import History
from tests.support.issuer import issuing
from tests.support.served import Served, served

AUDITOR: dict[str, Any] = {"scope": "audit:read"}


@pytest.fixture(scope="module")
def server(history: History) -> Iterator[Served]:
    with issuing() as issuer, served(history.postgres, history.kafka, issuer) as running:
        yield running


def replayed(history: History, view: str, *options: str) -> Any:
    done = history("audit", "replay", view, *options, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def days_ago(history: History, days: float) -> str:
    return f"{history.now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def test_a_customer_is_replayed_by_what_had_happened(history: History) -> None:
    then = replayed(history, "customer_timeline", "--customer", "c-told", "--happened-by", days_ago(history, 50))
    assert [row["type"] for row in then["rows"]] == ["complaint.opened", "complaint.opened"]
    today = replayed(history, "customer_timeline", "--customer", "c-told")
    assert {"complaint.resolved", "complaint.deadline-missed"} < {row["type"] for row in today["rows"]}
    assert replayed(history, "customer_timeline", "--customer", "c-told", "--known-at", "2020-01-01")["rows"] == []
    again = replayed(history, "customer_timeline", "--customer", "c-told", *options_of(then["as_of"]))
    assert again == then


def options_of(as_of: str) -> list[str]:
    """What an answer says names its moment again, as options."""
    names = {"position": "--as-of-position", "known": "--known-at", "happened": "--happened-by"}
    parts = (part.partition(":") for part in as_of.split(","))
    return [one for name, _, value in parts for one in (names[name], value)]


def test_rows_for_people_and_for_spreadsheets(history: History) -> None:
    shown = history("audit", "replay", "service-queues", "--where", "queue=told", "--limit", "1")
    assert shown.code == 0, shown.err
    assert "queue_items as of known:" in shown.out
    assert "1 rows, as many as --limit lets through" in shown.out
    assert ", digest " in " ".join(shown.out.split())
    exported = history("audit", "replay", "service-queues", "--where", "queue=told", "--limit", "0", "--csv")
    rows = list(csv.DictReader(io.StringIO(exported.out)))
    assert {row["item_id"] for row in rows} == {"complaint-told-1", "complaint-told-2"}
    assert "digest" in exported.err


def test_the_live_read_model_is_what_follows_from_the_log(history: History) -> None:
    done = history("audit", "replay", "retention-risk", "--live", "--limit", "1")
    assert done.code == 0, done.err
    assert "the live read model has the same rows" in " ".join(done.out.split())


def test_what_changed_between_two_moments_and_by_which_events(history: History) -> None:
    options = ["--customer", "c-told", "--happened-by", days_ago(history, 50), "--diff", "now"]
    told = replayed(history, "queue_items", *options)
    assert told["changes"] == {"added": 0, "removed": 0, "changed": 1}
    [row] = told["rows"]
    assert row["key"] == {"item_id": "complaint-told-1"}
    assert (row["before"]["status"], row["after"]["status"], row["because"]) == ("open", "resolved", "events")
    assert "complaint.resolved" in [event["name"] for event in row["events"]]
    assert {event["stream"] for event in row["events"]} == {"complaint-told-1"}
    assert row["events_total"] == len(row["events"])
    shown = history("audit", "replay", "queue_items", *options)
    assert "status open → resolved" in " ".join(shown.out.split())
    assert "1 changed" in shown.out


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["nothing"], "There is no such view. Name one"),
        (["queue_items", "--as-of-position", "99999999"], "the log has"),
        (["queue_items", "--known-at", "tomorrow"], "write a time like 2026-03-01T12:00"),
        (["queue_items", "--diff", "later"], "write position:N, known:TIME or happened:TIME"),
        (["queue_items", "--diff", "now", "--where", "queue=told"], "write NAME=VALUE with one of item_id"),
        (["queue_items", "--live", "--diff", "now"], "it has a moment of its own"),
    ],
)
def test_what_cannot_be_replayed_is_told_with_a_remedy(history: History, options: list[str], remedy: str) -> None:
    done = history("audit", "replay", *options)
    assert done.code == 2
    assert remedy in done.err


def test_a_score_is_explained_by_the_events_behind_its_reasons(history: History) -> None:
    then = days_ago(history, 1)[:-1]
    done = history("audit", "explain", "risk", "c-told", "--at", then, "--known-at", hour_ahead(history), "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    points = sum(float(reason["points"]) for reason in told["reasons"])
    assert told["logit"] == pytest.approx(told["model"]["base"] + points)
    assert (told["model"]["id"], told["windows"]["version"], told["ids"]) == ("cold_start.1", 1, ["c-told"])
    assert told["last_event"]["name"] == "complaint.resolved"
    events = [event for reason in told["reasons"] for event in reason["events"]]
    assert {event["stream"] for event in events} <= {"complaint-told-1", "complaint-told-2"}
    assert all(event["happened_at"] < event["recorded_at"] for event in events)
    shown = history("audit", "explain", "risk", "c-told")
    assert "Model cold_start.1 (expert)" in shown.out
    assert "complaint.opened" in shown.out
    assert history("audit", "explain", "risk", "c-told", "--at", then).code == 1, "nothing was recorded by then"


def hour_ahead(history: History) -> str:
    return f"{history.now + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"


def test_a_deadline_is_explained_by_preset_calendar_and_the_event_that_set_it(history: History) -> None:
    then = f"{history.now - timedelta(days=50):%Y-%m-%dT%H:%M:%S}"
    done = history("audit", "explain", "case", "told-1", "--at", then, "--known-at", hour_ahead(history), "--json")
    told = json.loads(done.out)
    assert (told["status"], told["case"]) == ("open", "told-1")
    statutory, _service = told["explanations"]
    assert (statutory["preset"], statutory["preset_version"], statutory["calendar"]) == ("uk_disp_standard", 1, "uk")
    assert statutory["set_by"]["name"] == "complaint.clock-set"
    names = [event["name"] for event in told["events"]]
    assert names[0] == "complaint.opened"
    assert "complaint.resolved" not in names
    shown = history("audit", "explain", "case", "told-1")
    assert "uk_disp_standard version 1 (law)" in shown.out
    assert "complaint.resolved" in shown.out
    assert history("audit", "explain", "case", "told-1", "--at", then).code == 1, "nothing was recorded by then"


def test_over_http_a_replay_is_that_of_the_command_line(history: History, server: Served) -> None:
    ours = replayed(history, "retention-risk", "--as-of-position", "500", "--limit", "0")
    theirs = server.get("/v1/audit/replay/retention-risk?as_of_position=500&limit=1000", **AUDITOR)
    assert theirs.status_code == 200, theirs.text
    told = theirs.json()
    assert told["rows"] == ours["rows"]
    assert (told["digest"], told["as_of"]) == (ours["digest"], "position:500")
    assert (theirs.headers["kehu-digest"], theirs.headers["kehu-position"]) == (ours["digest"], "500")
    exported = server.get("/v1/audit/replay/retention-risk?as_of_position=500&format=ndjson", **AUDITOR)
    assert [json.loads(line) for line in exported.text.splitlines()] == ours["rows"]
    assert exported.headers["kehu-digest"] == ours["digest"]


@pytest.mark.parametrize("view", ["retention-risk", "satisfaction", "customer_timeline"])
def test_pages_of_a_replay_have_each_row_once(server: Served, view: str) -> None:
    path = f"/v1/audit/replay/{view}?limit=1000"
    whole = server.get(path, **AUDITOR).json()
    total = whole["rows_total"]
    page = server.get(f"/v1/audit/replay/{view}?limit={total - total // 3}", **AUDITOR).json()
    rest = server.get(f"/v1/audit/replay/{view}?limit={total - total // 3}&cursor={page['next']}", **AUDITOR).json()
    rows = [tuple(map(str, row.values())) for row in page["rows"] + rest["rows"]]
    assert (len(rows), len(set(rows)), rest["next"], rest["digest"]) == (total, total, None, page["digest"])


def test_over_http_changes_and_reasons_are_told(history: History, server: Served) -> None:
    asked = f"customer=c-told&happened_by={days_ago(history, 50)}&diff=now"
    told = server.get(f"/v1/audit/replay/queue_items?{asked}", **AUDITOR).json()
    assert told["changes"] == {"added": 0, "removed": 0, "changed": 1}
    assert told["rows"][0]["after"]["status"] == "resolved"
    assert told["before"]["as_of"].endswith(f"happened:{days_ago(history, 50)}")
    [risk] = server.get("/v1/audit/explain/risk/c-told", **AUDITOR).json()["rows"]
    assert risk["model"]["id"] == "cold_start.1"
    [case] = server.get("/v1/audit/explain/case/told-1", **AUDITOR).json()["rows"]
    assert [one["clock"] for one in case["explanations"]] == ["statutory", "service"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("replay/nothing", 404),
        ("replay/queue_items?as_of_position=99999999", 422),
        ("replay/queue_items?as_of_position=1&known_at=2026-01-01T00:00:00Z", 422),
        ("replay/queue_items?diff=later", 422),
        ("replay/queue_items?fields=nothing", 422),
        ("replay/queue_items?cursor=x", 422),
        ("replay/queue_items?diff=now&cursor=x", 422),
        ("explain/risk/nobody", 404),
        ("explain/case/nobody", 404),
    ],
)
def test_what_cannot_be_answered_is_a_problem(server: Served, path: str, status: int) -> None:
    answer = server.get(f"/v1/audit/{path}", **AUDITOR)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


def test_an_auditor_of_a_branch_sees_its_customers_and_no_whole_view(server: Served) -> None:
    ours, theirs = {**AUDITOR, "branches": ["Harbour"]}, {**AUDITOR, "branches": ["Elsewhere"]}
    about_one = ["replay/retention-risk?customer=c-told", "explain/risk/c-told", "explain/case/told-1"]
    for path in about_one:
        assert server.get(f"/v1/audit/{path}", **ours).status_code == 200, path
        assert server.get(f"/v1/audit/{path}", **theirs).status_code == 404, path
    assert server.get("/v1/audit/replay/retention-risk", **ours).status_code == 403
    log = server.get("/v1/access-log?limit=20", **AUDITOR).json()["rows"]
    last = {row["path"]: row for row in reversed(log) if "/v1/audit/" in row["path"]}
    for path in about_one[:2]:
        assert last[f"/v1/audit/{path.partition('?')[0]}"]["customer_id"] == "c-told"
    assert {row["status"] for row in log} >= {200, 404}


def test_an_answer_is_given_only_for_a_reason_where_one_is_required(history: History) -> None:
    with issuing() as issuer, served(history.postgres, history.kafka, issuer, purpose_required=True) as strict:
        for path in ("replay/retention-risk", "explain/risk/c-told", "explain/case/told-1"):
            assert strict.get(f"/v1/audit/{path}", **AUDITOR).status_code == 428
            said = {"x-purpose": "a complaint"}
            assert strict.get(f"/v1/audit/{path}", said, **AUDITOR).status_code == 200


def test_a_moment_is_that_of_the_question_on_all_pages(server: Served) -> None:
    first = server.get("/v1/audit/replay/retention-risk?limit=1", **AUDITOR).json()
    second = server.get(f"/v1/audit/replay/retention-risk?limit=1&cursor={first['next']}", **AUDITOR).json()
    assert datetime.fromisoformat(first["at"]) == datetime.fromisoformat(second["at"])
    assert first["as_of"] == second["as_of"]
