"""How a difference between two moments is written for people."""

from typing import Any

from infra.cli.audit_replay import change_for_people
from projections.retention_risk import RETENTION_RISK

(TABLE, *_) = RETENTION_RISK.tables
EVENT = {"position": 7, "name": "transaction.posted", "stream": "account-a"}
REASON = {"code": "salary-stopped", "value": "2026-08-06"}


def told(before: dict[str, Any] | None, after: dict[str, Any] | None, kind: str = "changed") -> dict[str, Any]:
    row = {"kind": kind, "key": {"customer_id": "c-1"}, "before": before, "after": after}
    return change_for_people(TABLE, {**row, "events": [EVENT], "events_total": 3})


def test_each_changed_column_has_a_line_and_documents_are_abbreviated() -> None:
    shown = told(
        {"band": "low", "branch": "north", "reasons": []}, {"band": "high", "branch": "north", "reasons": [REASON]}
    )
    assert shown == {
        "customer_id": "c-1",
        "row": "changed",
        "changed": "band low → high\nreasons – → 1 entry, see --json",
        "by": "7 transaction.posted (account-a)\n2 more",
    }


def test_a_row_that_is_new_or_gone_has_its_values_only() -> None:
    assert told(None, {"band": "high", "branch": None}, "added")["changed"] == "band high"
    assert told({"band": "high"}, None, "removed")["changed"] == "band high"


def test_a_change_of_what_is_not_shown_is_told() -> None:
    shown = told({"features": {"a": 1}}, {"features": {"a": 2}})["changed"]
    assert shown == "only what is not shown here (features), see --json"
