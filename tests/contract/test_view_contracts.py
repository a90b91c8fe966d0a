"""The files in docs/reference/views say what the declarations of the views say."""

from pathlib import Path

import pytest

from infra.kafka import view_contracts
from infra.kafka.view_contracts import TYPES, schema
from projections.catalogue import ALL
from projections.views import VIEWS, View
from tests.support.project import ROOT

EVERY = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


def test_the_reference_is_what_the_declarations_say() -> None:
    assert view_contracts.stale(ROOT / view_contracts.VIEW_SCHEMAS) == [], "run `python -m infra.kafka.view_contracts`"


def test_what_was_changed_by_hand_or_belongs_to_no_view_is_stale_and_put_right(tmp_path: Path) -> None:
    first, *_ = view_contracts.write(tmp_path)
    first.write_text("{}")
    (tmp_path / "kehu.views.lost.json").write_text("{}")
    assert view_contracts.stale(tmp_path) == sorted([first.name, "kehu.views.lost.json"])
    view_contracts.write(tmp_path)
    assert view_contracts.stale(tmp_path) == []


@EVERY
def test_a_view_shows_a_followed_table_of_a_projection_that_there_is(view: View) -> None:
    assert view.projection in ALL
    assert view.table in view.projection.tables
    assert view.table.followed
    assert view.without <= view.table.columns.keys()


def test_no_table_is_followed_that_nobody_publishes() -> None:
    """Its index would cost, and nobody would clean up what it keeps of dropped rows."""
    followed = {table.name for projection in ALL for table in projection.tables if table.followed}
    assert followed == {view.table.name for view in VIEWS}


@EVERY
def test_every_published_column_has_a_type(view: View) -> None:
    shown = schema(view)["properties"]
    assert shown.keys() == {*view.table.key, *view.columns}
    assert {kind.split()[0].partition("(")[0] for kind in view.columns.values()} <= TYPES.keys()
