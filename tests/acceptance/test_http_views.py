"""Read models over HTTP: what the command line shows, page by page, as of other moments, and as a stream."""

import csv
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson
import psycopg
import pytest
from pydantic import BaseModel

from consumers.projector import Projector
from domain.administration import ParkedReleased
from infra import bootstrap
from infra.embedded.postgres import EmbeddedPostgres
from infra.http.routes.audit import ACCESS_LOG, ACTS
from infra.http.routes.audit_returns import RETURNS_VIEW
from infra.http.routes.operations import DEAD_LETTERS, PARKED, PROJECTIONS
from infra.http.routes.views import CASES_VIEW, QUEUES_VIEW, RISK_VIEW, SATISFACTION_VIEW, TIMELINE_VIEW
from infra.http.rows import CaseRow, CustomerRow, FigureRow, Receipt, ReturnedRow, Scores, Service
from infra.postgres import acts
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from tests.support.cli import History
from tests.support.issuer import Issuer, issuing
from tests.support.served import Served, served

TIMELINE = "/v1/customers/c-told/timeline"
LISTS = {
    "/v1/satisfaction?by=channel,branch": SATISFACTION_VIEW,
    "/v1/retention-risk": RISK_VIEW,
    "/v1/queues": QUEUES_VIEW,
    "/v1/cases": CASES_VIEW,
    TIMELINE: TIMELINE_VIEW,
    "/v1/projections": PROJECTIONS,
    "/v1/dead-letters": DEAD_LETTERS,
    "/v1/parked": PARKED,
    "/v1/access-log": ACCESS_LOG,
    "/v1/acts": ACTS,
    "/v1/audit/returns": RETURNS_VIEW,
}
EVERY_LIST = pytest.mark.parametrize("path", LISTS)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(scope="module")
def still(history: History, postgres_server: EmbeddedPostgres) -> History:
    """A copy that nothing changes; the original stays free, for others to be copied from it."""
    copy = replace(history, postgres=postgres_server.create_database("history_http", template="history"))
    with psycopg.connect(copy.postgres) as conn:
        for number in range(3):
            acts.record(conn, ParkedReleased(by="ops-1", reason="a test", messages=(number,)), bootstrap.now())
    with closing(PostgresLog(copy.postgres)) as log, closing(PostgresReadModels(copy.postgres)) as models:
        Projector(log, models, ALL).run_until_caught_up()
    return copy


@pytest.fixture(scope="module")
def server(still: History, issuer: Issuer) -> Iterator[Served]:
    with served(still.postgres, still.kafka, issuer) as running:
        yield running


@pytest.fixture
def changing(copied: History, issuer: Issuer) -> Iterator[tuple[Served, "psycopg.Connection[Any]"]]:
    """A server, and a connection that changes what it asks."""
    with (
        served(copied.postgres, copied.kafka, issuer) as running,
        psycopg.connect(copied.postgres, autocommit=True) as conn,
    ):
        yield running, conn


def asked(server: Served, path: str, **more: Any) -> Any:
    """An answer that must be one, as an administrator gets it."""
    answer = server.client.get(path, params=more or None, headers=server.bearer(scope="admin"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def pages(server: Served, path: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Every page from the first on."""
    cursor: str | None = ""
    while cursor is not None:
        more = f"{'&' if '?' in path else '?'}limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        told = asked(server, path + more)
        yield told["rows"]
        cursor = told["next"]


@EVERY_LIST
def test_pages_joined_are_the_whole(server: Served, path: str) -> None:
    if path == "/v1/access-log":  # that is read, and so grows
        path += "?subject=nobody"
    view = LISTS[path.replace("?subject=nobody", "")]
    whole = asked(server, path + ("&" if "?" in path else "?") + "limit=1000")["rows"]
    places = [list(view.place(row)) for row in whole]
    for limit, most in ((1, 20), (37, 1000)):
        joined = islice((row for page in pages(server, path, limit) for row in page), most)
        assert [list(view.place(row)) for row in joined] == places[:most]


@EVERY_LIST
def test_a_row_has_the_fields_that_the_document_describes(server: Served, path: str) -> None:
    asked(server, "/v1/cases")  # so that the access log has a row
    row = asked(server, path)["rows"][0]
    _describes(LISTS[path].fields, row)


def test_a_customer_and_a_receipt_have_the_fields_that_the_document_describes(server: Served) -> None:
    (row,) = asked(server, "/v1/customers/c-told")["rows"]
    _describes(CustomerRow, row)
    _describes(Scores, row["scores"])
    _describes(RISK_VIEW.fields, row["scores"]["retention"])
    _describes(Service, row["scores"]["service"])
    _describes(CaseRow, row["cases"][0])
    _describes(Receipt, asked(server, "/v1/receipts?source=/told&id=told-opened")["rows"][0])


def _describes(model: type[BaseModel], row: dict[str, Any]) -> None:
    assert list(row) == list(model.model_fields)
    model.model_validate(row)


@EVERY_LIST
def test_an_export_is_the_whole_in_both_forms(server: Served, path: str) -> None:
    if path == "/v1/access-log":
        path += "?subject=nobody"
    whole = asked(server, path + ("&" if "?" in path else "?") + "limit=1000")["rows"]
    admin = server.bearer(scope="admin")
    lines = server.client.get(path, headers={**admin, "accept": "application/x-ndjson"})
    assert lines.headers["content-type"] == "application/x-ndjson"
    exported = [orjson.loads(line) for line in lines.text.splitlines()]
    assert [_still(row) for row in exported] == [_still(row) for row in whole]
    table = server.client.get(path, headers={**admin, "accept": "text/csv"})
    read = list(csv.DictReader(io.StringIO(table.text)))
    assert len(read) == len(whole)
    assert not whole or list(read[0]) == list(whole[0])
    assert lines.headers["kehu-position"] == table.headers["kehu-position"]


def _still(row: dict[str, Any]) -> dict[str, Any]:
    """Without what the passing of time changes."""
    passing = ("age", "business_", "scored_at", "at_risk", "overdue_")
    return {name: value for name, value in row.items() if not any(part in name for part in passing)}


def test_while_rows_come_and_go_every_row_that_stays_is_seen_once(
    changing: "tuple[Served, psycopg.Connection[Any]]",
) -> None:
    server, conn = changing
    _more_cases(conn)
    for path, table, key, name in (
        ("/v1/retention-risk", "retention_risk", "customer_id", "customer_id"),
        ("/v1/cases", "queue_items", "item_id", "case"),
    ):
        before = [row[name] for row in asked(server, f"{path}?limit=1000")["rows"]]
        assert len(before) > 30
        seen: list[str] = []
        gone: set[str] = set()
        for number, page in enumerate(pages(server, path, 5)):
            seen += [row[name] for row in page]
            ahead = [one for one in before if one not in seen]
            # One that was shown goes, and one that was not; a new one comes first of all.
            for leaving in (page[0][name], *ahead[3:4]):
                gone.add(leaving)
                stored = f"complaint-{leaving}" if name == "case" else leaving
                conn.execute(f"DELETE FROM kehu.{table} WHERE {key} = %s".encode(), (stored,))
            columns = _columns(conn, table, key)
            source = next(one for one in before if one not in gone)
            stored = f"complaint-{source}" if name == "case" else source
            fresh = f"complaint-new-{number}" if name == "case" else f"z-new-{number}"
            conn.execute(
                f"INSERT INTO kehu.{table} ({key}, {columns}) SELECT %s, {columns} FROM kehu.{table}"
                f" WHERE {key} = %s".encode(),
                (fresh, stored),
            )
        stayed = [one for one in before if one not in gone]
        assert len(gone) > 5
        assert [one for one in seen if one in stayed] == stayed
        assert len(seen) == len(set(seen))


def _more_cases(conn: "psycopg.Connection[Any]") -> None:
    """Forty more: overdue, at risk, in time, and without a deadline; some at the same moment."""
    columns = _columns(conn, "queue_items", "item_id")
    conn.execute(
        f"INSERT INTO kehu.queue_items (item_id, {columns}) SELECT 'complaint-more-' || n, {columns}"
        " FROM kehu.queue_items, generate_series(1, 40) n WHERE item_id = 'complaint-told-2'".encode()
    )
    conn.execute(
        "UPDATE kehu.queue_items SET service_due = NULL, statutory_due = at, due = at, at_risk_at = at - interval '5 d'"
        " FROM (SELECT 'complaint-more-' || n AS item, CASE n % 5 WHEN 0 THEN NULL"
        " ELSE date_trunc('hour', now()) + (n / 2 - 10) * interval '1 d' END AS at FROM generate_series(1, 40) n) more"
        " WHERE item_id = item"
    )


def _columns(conn: "psycopg.Connection[Any]", table: str, key: str) -> str:
    """All columns but the key."""
    query = """SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns
        WHERE table_schema = 'kehu' AND table_name = %s AND column_name <> %s"""
    row = conn.execute(query, (table, key)).fetchone()
    assert row is not None
    return str(row[0])


def test_a_cursor_of_another_question_is_refused(server: Served) -> None:
    cursor = asked(server, "/v1/cases?limit=1")["next"]
    for path in ("/v1/cases?queue=told&limit=1", "/v1/retention-risk?limit=1", "/v1/dead-letters?limit=1"):
        answer = server.get(f"{path}&cursor={cursor}", scope="admin")
        assert (answer.status_code, answer.json()["errors"][0]["at"]) == (422, "query.cursor")
    for spoilt in (cursor[:-3], "e30", "x", "W10", cursor[::-1]):
        assert server.get(f"/v1/cases?limit=1&cursor={spoilt}").status_code == 422


@EVERY_LIST
def test_an_answer_says_how_fresh_it_is(server: Served, path: str) -> None:
    answer = server.client.get(path, headers=server.bearer(scope="admin"))
    for fresh in answer.json()["freshness"].values():
        assert fresh["position"] > 900
        assert fresh["behind"] == 0
        assert fresh["lag_seconds"] == 0
        assert answer.headers["kehu-position"] == str(fresh["position"])
        assert answer.headers["kehu-recorded-at"] == fresh["recorded_at"]
        assert float(answer.headers["kehu-lag-seconds"]) == 0
    assert set(answer.json()["freshness"]) == {one.name for one in LISTS[path].projections} or {"log"}


def test_who_has_the_rows_already_gets_no_body(server: Served) -> None:
    asked_for = "/v1/retention-risk?fields=customer_id,reasons&limit="
    first = server.get(f"{asked_for}1000")
    tag = first.headers["etag"]
    again = server.get(f"{asked_for}1000", {"if-none-match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["kehu-position"] == first.headers["kehu-position"]
    other = server.get(f"{asked_for}6", {"if-none-match": tag})
    assert other.status_code == 200


def test_only_the_fields_that_are_asked_for_come_in_that_order(server: Served) -> None:
    rows = asked(server, "/v1/cases?fields=queue,case&limit=3")["rows"]
    assert [list(row) for row in rows] == [["queue", "case"]] * 3
    wrong = server.get("/v1/cases?fields=queue,salary")
    assert (wrong.status_code, wrong.json()["errors"][0]["at"]) == (422, "query.fields")
    assert "choose among case, state" in wrong.json()["errors"][0]["detail"]


def test_filters_choose(server: Served, still: History) -> None:
    assert {row["case"] for row in asked(server, "/v1/cases?queue=told")["rows"]} == {"told-2"}
    overdue = asked(server, "/v1/cases?overdue=true&fields=case")["rows"]
    everything = asked(server, "/v1/cases?limit=1000")["rows"]
    assert [row["case"] for row in overdue] == [row["case"] for row in everything if row["state"] == "overdue"][:100]
    assert {row["band"] for row in asked(server, "/v1/retention-risk?band=low")["rows"]} == {"low"}
    assert {row["type"].partition(".")[0] for row in asked(server, f"{TIMELINE}?kind=complaint")["rows"]} == {
        "complaint"
    }
    middle = still.now - timedelta(days=3)
    everything = [row["log_position"] for row in asked(server, TIMELINE)["rows"]]
    later, earlier = (
        [row["log_position"] for row in asked(server, TIMELINE, **{name: middle.isoformat()})["rows"]]
        for name in ("since", "until")
    )
    assert later + earlier == everything
    assert 0 < len(later) < len(everything)
    assert asked(server, TIMELINE, channel="branch")["rows"] == []
    assert [row["log_position"] for row in asked(server, TIMELINE, channel="app")["rows"]] == everything
    assert [row["outcome"] for row in asked(server, "/v1/receipts?source=/told&id=told-answer")["rows"]] == ["parked"]


def test_the_same_rows_as_the_command_line(server: Served, still: History) -> None:
    shown = still("show", "retention-risk", "--json", "--limit", "20").rows
    assert [_still(row) for row in asked(server, "/v1/retention-risk?limit=20")["rows"]] == [
        _still(row) for row in shown
    ]
    assert asked(server, "/v1/parked")["rows"][0]["remedy"].startswith("The invitation")


def of_a_return(still: History, more: str = "") -> str:
    """The return of the last 120 days and what is left of today, as a path, or as options of the command line."""
    since, until = still.now - timedelta(days=120), still.now + timedelta(days=2)
    if more.startswith("--"):
        return f"audit return uk_disp --since {since:%Y-%m-%d} --until {until:%Y-%m-%d} {more}"
    what, _, query = more.partition("?")
    return f"/v1/audit/returns/uk_disp{what}?since={since:%Y-%m-%d}&until={until:%Y-%m-%d}&{query}".rstrip("&")


def test_the_figures_of_a_return_are_those_of_the_command_line(server: Served, still: History) -> None:
    ours = orjson.loads(still(*of_a_return(still, "--json").split()).out)
    answer = server.get(of_a_return(still), scope="audit:read")
    theirs = answer.json()
    told = ("rows", "return", "as_of", "digest")
    assert {name: theirs[name] for name in told} == {name: ours[name] for name in told}
    _describes(FigureRow, theirs["rows"][0])
    assert answer.headers["kehu-digest"] == ours["digest"]
    assert answer.headers["kehu-as-of"] == ours["as_of"] == f"position:{answer.headers['kehu-position']}"
    lines = server.get(of_a_return(still, "?format=ndjson"), scope="audit:read")
    assert sha256(lines.content).hexdigest() == ours["digest"]
    table = list(csv.DictReader(io.StringIO(server.get(of_a_return(still, "?format=csv"), scope="audit:read").text)))
    assert [(row["measure"], row["value"], row["cases"]) for row in table] == [
        (row["measure"], row["value"], str(row["cases"])) for row in ours["rows"]
    ]
    tag = answer.headers["etag"]
    same = server.get(
        of_a_return(still, f"?as_of_position={answer.headers['kehu-position']}"),
        {"if-none-match": tag},
        scope="audit:read",
    )
    assert (same.status_code, same.headers["kehu-digest"]) == (304, ours["digest"])
    before = server.get(of_a_return(still, "?as_of_position=0"), scope="audit:read").json()
    assert {row["cases"] for row in before["rows"]} == {0}
    assert before["freshness"]["log"]["behind"] == theirs["freshness"]["log"]["position"]


def test_the_complaints_behind_a_figure_come_in_pages_and_as_a_whole(server: Served, still: History) -> None:
    path = of_a_return(still, "/cases")
    ours = still(*of_a_return(still, "--cases --limit 0 --json").split()).rows
    whole = server.get(of_a_return(still, "/cases?limit=1000"), scope="audit:read").json()
    assert whole["rows"] == ours
    _describes(ReturnedRow, whole["rows"][0])
    for limit in (1, len(ours) - 2):
        found, cursor = list[Any](), ""
        while cursor is not None:
            page = server.get(f"{path}&limit={limit}{cursor}", scope="audit:read").json()
            assert page["as_of"] == whole["as_of"]
            found += page["rows"]
            cursor = page["next"] and f"&cursor={page['next']}"
        assert found == ours
    exported = server.get(f"{path}&format=ndjson", scope="audit:read")
    assert [orjson.loads(line) for line in exported.text.splitlines()] == ours
    assert exported.headers["kehu-as-of"] == whole["as_of"]
    figures = server.get(of_a_return(still), scope="audit:read").json()["rows"]
    late = {(row["measure"], row["value"]): row["cases"] for row in figures}["closed", "over_8_weeks"]
    behind = server.get(f"{path}&measure=closed&band=over_8_weeks&limit=1000", scope="audit:read").json()["rows"]
    assert [row["case"] for row in behind if row["case"].startswith("told-")] == ["told-1"]
    assert len(behind) == late


def test_pages_of_a_return_are_of_the_log_as_it_was_at_the_first(
    changing: "tuple[Served, psycopg.Connection[Any]]", copied: History
) -> None:
    server, conn = changing
    first = server.get(of_a_return(copied, "/cases?limit=1"), scope="audit:read").json()
    with conn.transaction():
        acts.record(conn, ParkedReleased(by="ops-1", reason="a test", messages=(1,)), bootstrap.now())
    second = server.get(of_a_return(copied, f"/cases?limit=1&cursor={first['next']}"), scope="audit:read").json()
    assert second["as_of"] == first["as_of"]
    assert second["freshness"]["log"]["behind"] == 1
    assert server.get(of_a_return(copied), scope="audit:read").json()["as_of"] != first["as_of"]


def test_who_sees_some_branches_gets_figures_of_one_of_them_and_never_the_total(server: Served, still: History) -> None:
    ours: dict[str, Any] = {"scope": "audit:read", "branches": ["Harbour"]}
    for what in ("", "/cases", "?branch=Elsewhere", "/cases?branch=Elsewhere&format=csv", "?segment=mass"):
        refused = server.get(of_a_return(still, what), **ours)
        assert (refused.status_code, "name a branch" in refused.json()["detail"]) == (403, True)
    segment = server.get(of_a_return(still), scope="audit:read", segments=["mass"])
    assert (segment.status_code, "name a segment" in segment.json()["detail"]) == (403, True)
    harbour = server.get(of_a_return(still, "?branch=Harbour"), **ours).json()
    everything = server.get(of_a_return(still), scope="audit:read").json()
    assert 0 < harbour["rows"][0]["cases"] < everything["rows"][0]["cases"]
    assert (harbour["return"]["where"], everything["return"]["where"]) == ({"branch": "Harbour"}, {})
    rows = server.get(of_a_return(still, "/cases?branch=Harbour"), **ours).json()["rows"]
    assert {row["branch"] for row in rows} == {"Harbour"}
    assert len(rows) == harbour["rows"][0]["cases"]


def test_reading_a_return_is_recorded(server: Served, still: History) -> None:
    for what in ("", "/cases?limit=2", "/cases?format=csv"):
        assert server.get(of_a_return(still, what), scope="audit:read", sub="returns-1").status_code == 200
    log = asked(server, "/v1/access-log?subject=returns-1")["rows"]
    assert [(row["path"].rpartition("/")[2], row["answered_rows"]) for row in log[:2]] == [
        ("cases", None),
        ("cases", 2),
    ]
    assert log[2]["path"] == "/v1/audit/returns/uk_disp"
    assert {row["position"] for row in log} == {log[0]["position"]}


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("us?since=2026-01-01&until=2026-07-01", 404, "there are cn_2020"),
        ("uk_disp?until=2026-07-01", 422, "query.since"),
        ("uk_disp?since=2026-07-01&until=2026-01-01", 422, "begins earlier"),
        ("uk_disp?since=2026-01-01&until=2026-07-01&as_of_position=99999999", 422, "the log has"),
        (
            "uk_disp?since=2026-01-01&until=2026-07-01&as_of_position=1&known_at=2026-01-01T00:00:00Z",
            422,
            "one of them",
        ),
        ("uk_disp?since=2026-01-01&until=2026-07-01&known_at=2199-01-01T00:00:00Z", 422, "more may be recorded"),
        ("uk_disp?since=2026-01-01&until=2026-07-01&limit=1", 422, "query.limit"),
        ("uk_disp?since=2026-01-01&until=2026-07-01&fields=case", 422, "choose among measure"),
        ("uk_disp/cases?since=2026-01-01&until=2026-07-01&band=late", 422, "use within_3_business_days"),
        ("uk_disp/cases?since=2026-01-01&until=2026-07-01&cursor=x", 422, "query.cursor"),
    ],
)
def test_a_return_that_cannot_be_asked_for_is_a_problem(server: Served, path: str, status: int, told: str) -> None:
    answer = server.get(f"/v1/audit/returns/{path}", scope="audit:read")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert told in answer.text
    assert server.get(f"/v1/audit/returns/{path}").status_code == 403, "it needs the scope audit:read"


def test_as_of_another_moment(server: Served, still: History) -> None:
    then = (still.now - timedelta(days=101)).isoformat().replace("+", "%2B")
    mine = "/v1/cases?customer_id=c-told&as_of="
    assert {row["case"] for row in asked(server, mine + then)["rows"]} == {"told-1"}
    assert {row["case"] for row in asked(server, "/v1/cases?customer_id=c-told")["rows"]} == {"told-2"}
    ahead = asked(server, mine + "2100-01-01T00:00:00Z")["rows"]
    assert {row["state"] for row in ahead} == {"overdue"}
    known = asked(server, "/v1/retention-risk?known_at=2001-01-01T00:00:00Z")
    assert known["rows"] == []
    assert known["freshness"]["retention_risk"]["position"] == 0
    assert len(next(pages(server, f"/v1/retention-risk?as_of={then}", 3))) == 3
    refused = server.get(f"/v1/queues?as_of={then}&min_position=1")
    assert refused.status_code == 422


def test_a_position_that_is_not_shown_yet_is_waited_for(changing: "tuple[Served, psycopg.Connection[Any]]") -> None:
    server, conn = changing
    head = asked(server, "/v1/queues")["freshness"]["service_queues"]["position"]
    assert server.get(f"/v1/queues?min_position={head}").status_code == 200
    late = server.get(f"/v1/queues?min_position={head + 1}&wait=0.2")
    assert (late.status_code, late.json()["type"]) == (409, "urn:kehu:problem:behind")
    assert late.json()["positions"] == {"service_queues": head}
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(server.get, f"/v1/queues?min_position={head + 1}&wait=20") for _ in range(8)]
        assert not waiting[0].done()
        conn.execute("UPDATE kehu.log_head SET n = n + 1")
        conn.execute("UPDATE kehu.projection_builds SET position = position + 1")
        assert {one.result(20).status_code for one in waiting} == {200}


def test_reading_personal_data_is_recorded_and_reading_sums_is_not(
    changing: "tuple[Served, psycopg.Connection[Any]]",
) -> None:
    server, conn = changing
    conn.execute("TRUNCATE kehu.access_log")
    reads = {
        "/v1/customers/c-told": ("c-told", 200, 1),
        "/v1/customers/c-nobody": ("c-nobody", 404, None),
        TIMELINE + "?limit=2": ("c-told", 200, 2),
        "/v1/retention-risk?limit=3": (None, 200, 3),
        "/v1/cases?format=csv": (None, 200, None),
    }
    for path in ("/v1/queues", "/v1/satisfaction", *reads):
        server.get(path, {"x-purpose": "complaint 17"}, sub="agent-9")
    auditor = server.get("/v1/access-log", {"x-purpose": "review"}, sub="auditor-1", scope="audit:read")
    rows = auditor.json()["rows"][::-1]
    assert [(row["customer_id"], row["status"], row["answered_rows"]) for row in rows] == list(reads.values())
    assert [row["path"] + f"?{row['query']}" * bool(row["query"]) for row in rows] == list(reads)
    assert {(row["subject"], row["client"], row["purpose"]) for row in rows} == {("agent-9", "desk", "complaint 17")}
    assert {row["position"] for row in rows if row["status"] == 200} == {int(auditor.headers["kehu-position"])}
    (first, *_) = server.get("/v1/access-log", scope="audit:read").json()["rows"]
    assert (first["subject"], first["path"]) == ("auditor-1", "/v1/access-log")
    mine = server.get("/v1/access-log?customer_id=c-told&subject=agent-9", scope="audit:read").json()["rows"]
    assert len(mine) == 2


def test_a_customer_who_was_erased_is_told_as_such_and_has_no_score_at_any_moment(
    changing: "tuple[Served, psycopg.Connection[Any]]",
) -> None:
    server, conn = changing
    path, why = "/v1/customers/c-told", "/v1/audit/explain/risk/c-told"
    assert asked(server, path)["rows"][0]["scores"]["retention"]["customer_id"] == "c-told"
    conn.execute("INSERT INTO kehu.erasures (customer_id, reason, erased_by, position) VALUES ('c-told', 'r', 'd', 7)")
    for when in ("", "?as_of=2100-01-01T00:00:00Z", "?known_at=2100-01-01T00:00:00Z"):
        (told,) = asked(server, path + when)["rows"]
        assert [(one["customer_id"], one["position"]) for one in told["erased"]] == [("c-told", 7)]
        assert (told["scores"]["retention"], told["scores"]["retention_of_each"]) == (None, [])
        assert "c-told" not in {row["customer_id"] for row in asked(server, f"/v1/retention-risk{when}")["rows"]}
    for when in ("", "?known_at=2100-01-01T00:00:00Z"):
        gone = server.get(why + when, scope="audit:read")
        assert (gone.status_code, "was erased on" in gone.json()["detail"]) == (404, True)
    # To who may not see the customer it is as if there was none.
    hidden = server.get(why, scope="audit:read", branches=["Elsewhere"])
    assert (hidden.status_code, "detail" in hidden.json()) == (404, False)


def test_what_cannot_be_recorded_is_not_shown(changing: "tuple[Served, psycopg.Connection[Any]]") -> None:
    server, conn = changing
    conn.execute("ALTER TABLE kehu.access_log RENAME TO lost")
    for path in ("/v1/customers/c-told", "/v1/cases?format=ndjson"):
        answer = server.get(path)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:kehu:problem:away")
        assert "told" not in answer.text
    assert server.get("/v1/queues").status_code == 200


def test_a_purpose_can_be_required(still: History, issuer: Issuer) -> None:
    with served(still.postgres, still.kafka, issuer, purpose_required=True) as server:
        assert server.get("/v1/customers/c-told").status_code == 428
        assert server.get("/v1/customers/c-told", {"x-purpose": "a call"}).status_code == 200
        for path in (of_a_return(still), of_a_return(still, "/cases")):
            assert server.get(path, scope="audit:read").status_code == 428
            assert server.get(path, {"x-purpose": "the half-year"}, scope="audit:read").status_code == 200
        assert server.get("/v1/queues").status_code == 200


def test_many_exports_at_once_are_told_to_wait_and_questions_go_on(still: History, issuer: Issuer) -> None:
    with served(still.postgres, still.kafka, issuer, exports=1) as server:
        with server.client.stream("GET", "/v1/cases?format=csv", headers=server.bearer()) as running:
            assert running.status_code == 200
            running.read()
        taken = server.parts.store.export((), None, lambda answer: (None, iter(())))
        refused = server.get("/v1/cases?format=csv")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert server.get("/v1/cases").status_code == 200
        taken.close()
        started = time.monotonic()
        assert server.get("/v1/cases?format=csv").status_code == 200
        assert time.monotonic() - started < 10


def test_text_that_a_spreadsheet_would_run_is_quoted(changing: "tuple[Served, psycopg.Connection[Any]]") -> None:
    server, conn = changing
    conn.execute("UPDATE kehu.queue_items SET owner = '=cmd()' WHERE item_id = 'complaint-told-2'")
    table = server.get("/v1/cases?queue=told&format=csv").text
    assert "'=cmd()" in table
    assert [row["owner"] for row in asked(server, "/v1/cases?queue=told")["rows"] if row["owner"]] == ["=cmd()"]


def test_postgresql_that_went_away_is_a_problem_and_is_found_again(
    changing: "tuple[Served, psycopg.Connection[Any]]",
) -> None:
    server, conn = changing
    assert server.get("/v1/queues").status_code == 200
    conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kehu-http'"
        " AND datname = current_database()"
    )
    found = [server.get("/v1/customers/c-told").status_code for _ in range(12)]
    assert set(found) <= {200, 503}
    assert found[-1] == 200
