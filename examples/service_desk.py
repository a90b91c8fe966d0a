"""A service desk's audit log (UCI "Incident management process enriched event log") as cases of type service_request.

    python -m examples.service_desk service_desk_events.csv.gz | kehu publish -

One row is one state of a ticket. Each row becomes what changed since the ticket's row before it: opened, assigned,
waiting, resumed, escalated (a higher priority), resolved, reopened (states that go backwards), closed. A row that
changes none of these says again where the ticket stands, under its own id: it passes through Kafka like any other, and
the ingest counts it as a duplicate.

- Rows are ordered by `sys_mod_count`, the version, then by time. `resolved_at` and `closed_at` are never used: they
  hold the final value on every row. Times have no zone in the file and are read as UTC.
- `?` is unknown: an unknown assignee or group changes nothing. Where only a group is known, it is the owner.
- The customer is the caller; a ticket with an unknown caller gets a customer of its own.
- Rows that are equal in all fields have the same ids.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from examples.common import CloudEvent, Report, Row, cloud_event, main, row_id

SOURCE = "/examples/service-desk"
REGIME = "service_default"
WAITING = {
    "Awaiting User Info": ("customer", "waiting_customer"),
    "Awaiting Evidence": ("customer", "waiting_evidence"),
    "Awaiting Vendor": ("third_party", "waiting_vendor"),
    "Awaiting Problem": ("third_party", "waiting_problem"),
}
STATUS = {"New": "open", "Active": "open", "Resolved": "resolved", "Closed": "closed"} | dict.fromkeys(
    WAITING, "waiting"
)


class Ticket:
    """A ticket as its rows so far tell it; turns the next row into events."""

    def __init__(self, first: Row) -> None:
        self.number = first["number"]
        caller = first["caller_id"]
        self.customer = _slug(caller) if caller != "?" else f"unknown-{self.number}"
        self.status = ""
        self.waiting = ""
        self.queue = _known(first["assignment_group"])
        self.owner: str | None = None
        self.priority = int(first["priority"][0])

    def events(self, row: Row, report: Report) -> Iterator[CloudEvent]:
        """What the row says that the rows before it did not; if nothing, where the ticket stands."""
        made = list(self._changes(row, report))
        if not made:
            report.notes["rows that say again what was known"] += 1
            made = [self._again()]
        version = f"{self.number}-{int(row['sys_mod_count'])}-{row_id(row)}"
        for name, data in made:
            at = _moment(row["opened_at"] if name == "opened" else row["sys_updated_at"])
            data = {"complaint_id": self.number, **data}
            yield cloud_event(SOURCE, f"{version}-{name}", f"complaint.{name}", self.customer, at, data)

    def _changes(self, row: Row, report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
        state = row["incident_state"]
        target = STATUS.get(state, self.status or "open")
        if state not in STATUS:
            report.notes[f"rows with the unknown state {state!r}: the state before it is kept"] += 1
            state = self.waiting
        if not self.status:
            self.status = "open"
            opening = {"channel": row["contact_type"].lower(), "issue": row["category"], "severity": self.priority}
            yield (
                "opened",
                {**opening, "case_type": "service_request", "regime": REGIME, "queue": self.queue or "unknown"},
            )
        if self.status in ("resolved", "closed") and target not in ("closed", self.status):
            self.status = "open"
            yield "reopened", {"reason": f"state went back to {row['incident_state']}"}
        if self.status == "waiting" and target != "closed" and (target, state) != ("waiting", self.waiting):
            self.status = "open"
            yield "resumed", {}
        if self.status in ("open", "waiting"):
            yield from self._handling(row)
        if target == "waiting" and self.status != "waiting":
            self.waiting = state
            waiting_for, pause = WAITING[state]
            yield "waiting", {"waiting_for": waiting_for, "pause": pause}
        if target in ("resolved", "closed") and self.status in ("open", "waiting"):
            yield "resolved", {"outcome": "settled", "reasons": "Resolved by the service desk.", "by": self.owner}
        if target == "closed" and self.status != "closed":
            yield "closed", {}
        self.status = target

    def _handling(self, row: Row) -> Iterator[tuple[str, dict[str, Any]]]:
        person, group = _known(row["assigned_to"]), _known(row["assignment_group"])
        owner = _slug(person) if person else self.owner
        if (person and owner != self.owner) or (group and group != self.queue):
            self.queue = group or self.queue
            self.owner = owner if person else _slug(group or "")
            yield "assigned", {"owner": self.owner, "queue": self.queue}
        priority = int(row["priority"][0])
        if priority < self.priority:
            yield "escalated", {"reason": f"priority {row['priority']}"}
        self.priority = priority

    def _again(self) -> tuple[str, dict[str, Any]]:
        if self.status == "closed":
            return "closed", {}
        if self.status == "resolved":
            return "resolved", {"outcome": "settled", "reasons": "Resolved by the service desk.", "by": self.owner}
        if self.status == "waiting":
            waiting_for, pause = WAITING[self.waiting]
            return "waiting", {"waiting_for": waiting_for, "pause": pause}
        if self.owner:
            return "assigned", {"owner": self.owner, "queue": self.queue}
        return "acknowledged", {}


def convert(table: Iterable[Row], report: Report) -> Iterator[CloudEvent]:
    """All rows as events, in the order of time, and within a ticket in the order of versions."""
    versions: dict[str, list[tuple[int, str, int, Row]]] = {}
    for number, row in enumerate(table, start=1):
        report.rows += 1
        try:
            _moment(row["opened_at"]), int(row["priority"][0])
            version = (int(row["sys_mod_count"]), _moment(row["sys_updated_at"]), number, row)
            versions.setdefault(row["number"], []).append(version)
        except (KeyError, ValueError, IndexError) as error:
            report.unreadable.append(f"row {number}: {error!r}")
    made: list[tuple[str, CloudEvent]] = []
    for history in versions.values():
        history.sort(key=lambda one: one[:3])
        ticket = Ticket(history[0][3])
        published, before, last = "", None, list[CloudEvent]()
        for _, at, _, row in history:
            published = max(published, at)  # a version keeps its place, even when its time goes back
            last = last if row == before else list(ticket.events(row, report))
            before = row
            made += [(published, event) for event in last]
    made.sort(key=lambda one: one[0])
    yield from (event for _, event in made)


def _moment(said: str) -> str:
    return datetime.fromisoformat(said).strftime("%Y-%m-%dT%H:%M:%SZ")


def _known(value: str) -> str | None:
    return None if value in ("", "?") else value


def _slug(value: str) -> str:
    return value.lower().replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main(convert, __doc__))
