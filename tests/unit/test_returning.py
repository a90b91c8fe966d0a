"""What an answer about a regulatory return says of itself."""

from datetime import UTC, date, datetime

import pytest

from domain.returns import Period
from domain.values import Position
from infra.returning import Question


@pytest.mark.parametrize(
    ("name", "until", "over"),
    [
        ("uk_disp", datetime(2026, 6, 30, 22, 59, tzinfo=UTC), False),
        ("uk_disp", datetime(2026, 6, 30, 23, tzinfo=UTC), True),
        ("cn_2020", datetime(2026, 6, 30, 16, tzinfo=UTC), True),
    ],
)
def test_a_period_is_over_when_its_last_day_is_where_the_regulator_is(name: str, until: datetime, over: bool) -> None:
    question = Question(name, Period(date(2026, 1, 1), date(2026, 7, 1)), {})
    assert question.about(Position(7), until)["return"]["over"] is over
