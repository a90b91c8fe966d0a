"""A changed fold under an unchanged version fails, and any cut of the log into batches or customers is the same."""

import json
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.filling import fill
from consumers.held_rows import HeldRows
from consumers.projector import Projector
from domain import personal
from domain.personal import HIDDEN
from domain.values import Position, Recorded
from infra.memory.log import MemoryLog
from infra.memory.read_models import MemoryReadModels
from infra.postgres.mapper import to_recorded
from projections.catalogue import ALL
from projections.completeness import Folded, proofs_of
from projections.declare import Changed, Changes, Projection, Save
from projections.retention_risk import RETENTION_RISK, RISK, sweep
from tests.support.histories import END, bank_log

GOLDEN = Path(__file__).parents[1] / "data" / "projections"
LOG = bank_log(2_000, seed=17)
EVERY = pytest.mark.parametrize("projection", ALL, ids=lambda p: p.name)
Rows = dict[str, dict[Any, Any]]


@dataclass
class Part(MemoryLog):
    """A part of the log, at the positions of the whole."""

    def __init__(self, events: Iterable[Recorded]) -> None:
        super().__init__()
        self.events = list(events)

    def read(
        self,
        after: Position,
        limit: int,
        names: Collection[str] | None = None,
        personal: Collection[str] | None = None,
    ) -> list[Recorded]:
        part = [e for e in self.events if e.position is not None and after < e.position <= after + limit]
        return [event for event in part if names is None or event.name in names]

    def head(self) -> Position:
        return self.events[-1].position or Position(0)


def folded(projection: Projection, batch: int = 500, log: MemoryLog = LOG) -> MemoryReadModels:
    """The read model of a log."""
    models = MemoryReadModels()
    projector = Projector(log, models, [projection], batch=batch)
    projector.run_until_caught_up()
    assert projector.stopped == {}
    return models


def fixed_log() -> Part:
    """The stored events of `log.jsonl`, which never change: part of a bank, every kind that is handled."""
    lines = map(orjson.loads, (GOLDEN / "log.jsonl").read_bytes().splitlines())
    return Part(
        to_recorded(stream, version, topic, orjson.dumps(state), position, END)
        for position, stream, version, topic, state in lines
    )


def rows_of(models: MemoryReadModels) -> Rows:
    """Table -> key -> position and row."""
    return {table: dict(rows) for (_, table), rows in models.rows.items()}


def golden(projection: Projection) -> dict[str, Any]:
    """What the fixed log leads to: rows and a digest for each table, and the tables' columns."""
    models = folded(projection, log=fixed_log())
    tables = {}
    for table in projection.tables:
        rows = models.rows.get((projection.name, table.name), {})
        said = sorted(orjson.dumps([*key, position, row], default=str) for key, (position, row) in rows.items())
        shape = orjson.dumps([table.key, table.columns])
        digest = blake2b(b"\n".join([shape, *said]), digest_size=12).hexdigest()
        tables[table.name] = {"rows": len(rows), "digest": digest}
    return {"version": projection.version, "tables": tables}


@EVERY
def test_a_changed_fold_needs_a_new_version(projection: Projection) -> None:
    file = GOLDEN / f"{projection.name}.v{projection.version}.json"
    now = golden(projection)
    remedy = (
        f"{projection.name} folds the fixed log into other rows or tables than version {projection.version} did. Raise "
        f"`version` in its declaration and write tests/data/projections/{projection.name}.v<version>.json with this "
        f"content and the new version: {json.dumps(now)}. `kehu rebuild` then makes the new version beside the old one."
    )
    assert file.exists(), remedy
    assert json.loads(file.read_bytes()) == now, remedy


def test_the_fixed_log_has_every_event_that_is_handled() -> None:
    names = {event.name for event in fixed_log().events}
    assert {name for projection in ALL for name in projection.handles} - names == set()


@EVERY
def test_a_fold_reads_personal_fields_of_those_events_only_that_it_names(projection: Projection) -> None:
    """What it is given hidden leads to the same rows: so it need not be opened, and cannot be in a row."""
    log = fixed_log()
    given = [event if event.name in projection.personal else _hidden(event) for event in log.events]
    assert any(before is not after for before, after in zip(log.events, given, strict=True))
    assert rows_of(folded(projection, log=Part(given))) == rows_of(folded(projection, log=log))


def _hidden(event: Recorded) -> Recorded:
    said = tuple(personal.said(event.event))
    return msgspec.structs.replace(event, event=personal.replaced(event.event, said, HIDDEN)) if said else event


@EVERY
@settings(max_examples=8)
@given(batch=st.integers(1, 4000))
def test_batches_of_any_size_give_the_same_rows(projection: Projection, batch: int) -> None:
    assert rows_of(folded(projection, max(batch, 40))) == rows_of(folded(projection))


@EVERY
def test_a_batch_that_is_not_saved_changes_no_row(projection: Projection) -> None:
    half = len(LOG.events) // 2
    models = folded(projection, log=Part(LOG.events[:half]))
    before = deepcopy(models.rows)
    rows = HeldRows(projection, lambda table, keys: models.load([(projection, table, keys)])[0], empty=False)
    rows.fold(LOG.events[half:], proofs_of(LOG.events[half:]))
    assert any(changed != Changed() for changed in rows.changes().values())
    assert models.rows == before


class Tables(MemoryReadModels):
    """Empty builds in memory; a key that is written twice is an error."""

    def write(self, projection: Projection, changes: Changes) -> None:
        assert not any(changed.replaced or changed.dropped for changed in changes.values())
        self._add(projection, changes, Folded())

    def count(self, projection: Projection, folded: Folded) -> None:
        self._add(projection, {}, folded)

    def _add(self, projection: Projection, changes: Changes, folded: Folded) -> None:
        stands = self.standing([projection])[projection.name]
        assert self.save([Save(projection, stands.position, stands.mark, stands.position, changes, folded)])


@settings(max_examples=10)
@given(slices=st.integers(1, 5), batch=st.integers(1, 3000), salt=st.binary(max_size=4))
def test_builds_that_are_filled_customer_by_customer_have_the_same_rows_and_proof(
    slices: int, batch: int, salt: bytes
) -> None:
    def part(customer: str) -> int:
        return blake2b(customer.encode() + salt, digest_size=4).digest()[0] % slices

    filled = Tables()
    for number in range(slices):
        own = [event for event in LOG.events if part(event.meta.customer_id) == number]
        own.sort(key=lambda e: (e.meta.customer_id, e.position))
        fill(ALL, [own[first : first + batch] for first in range(0, len(own), batch)], filled)
    for projection in ALL:
        saved = folded(projection)
        assert {name: filled.rows[projection.name, name] for name in rows_of(saved)} == rows_of(saved)
        assert filled.folded[projection.name] == saved.folded[projection.name]


@settings(max_examples=10)
@given(days=st.lists(st.integers(0, 500), min_size=1, max_size=6).map(sorted))
def test_a_row_as_of_a_moment_is_what_sweeps_up_to_then_have_written(days: list[int]) -> None:
    models = folded(RETENTION_RISK)
    projector = Projector(LOG, models, [RETENTION_RISK])
    stored: Mapping[Any, Any] = models.rows[RETENTION_RISK.name, RISK.name]
    unswept = dict(stored)
    for day in days:
        while projector.sweep(END + timedelta(days=day), 100):
            pass
    now = END + timedelta(days=days[-1])
    shown = ("band", "probability", "logit", "reasons", "next_change_at")
    for key, (position, row) in unswept.items():
        as_of = sweep(row, now)
        assert stored[key][0] == position, "the position is that of the last event"
        assert {name: stored[key][1][name] for name in shown} == {name: as_of[name] for name in shown}
