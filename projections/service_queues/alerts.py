"""Missed deadlines of cases that are open: what was missed, and in whose hands the case is now.

A miss is here from the event that records it until the case is over, also when its deadline is moved afterwards. Only
a fact that had happened before the deadline, and moves it, proves the record wrong. A deadline whose preset says itself
under which one the case goes on is none that can be missed (`domain.clocks.judgement`).
"""

from datetime import datetime
from typing import Any

from domain.clocks.judgement import goes_on
from domain.values import Recorded
from projections.declare import Row, Rows
from projections.service_queues.tables import MISSED

_OF_THE_CASE = tuple(name for name in MISSED.columns if name not in {"preset", "preset_version", "due_at"})


def missed(_rows: Rows, event: Recorded, item: Row) -> None:
    """A deadline passed while the case was open. Of a clock that has missed one before, that one counts."""
    said: Any = event.event
    if not goes_on(said.preset):
        late = item["late"] or {}
        item["late"] = {said.clock: [said.preset, said.preset_version, said.due_at.isoformat()], **late}


def moved(rows: Rows, event: Recorded, item: Row) -> None:
    """A clock has another deadline: one that is on record as missed, or one that the case had before that passed."""
    said: Any = event.event
    if said.missed and said.due_at is not None:
        missed(rows, event, item)
    elif (known := (item["late"] or {}).get(said.clock)) and event.meta.occurred_at <= datetime.fromisoformat(known[2]):
        rows.drop(MISSED, (said.complaint_id, said.clock))
        item["late"] = {clock: one for clock, one in item["late"].items() if clock != said.clock} or None


def forget(rows: Rows, event: Recorded, item: Row) -> None:
    """The case is over, or begins again: nobody need see to what was missed before."""
    said: Any = event.event
    for clock in item["late"] or ():
        rows.drop(MISSED, (said.complaint_id, clock))
    item["late"] = None


def show(rows: Rows, event: Recorded, item: Row) -> None:
    """Bring the rows of a case that has some up to date, whatever its event was."""
    if not item["open"]:
        forget(rows, event, item)
        return
    said: Any = event.event
    for clock, (preset, version, due) in item["late"].items():
        row = {name: item[name] for name in _OF_THE_CASE}
        row |= {"preset": preset, "preset_version": version, "due_at": datetime.fromisoformat(due)}
        rows.put(MISSED, (said.complaint_id, clock), row)
