"""The NPS file gives, by quarter and market, what pandas computes from the file itself, without any of our code."""

from math import sqrt

import pandas as pd
import pytest

from examples import nps_answers
from projections.satisfaction import DAILY, SATISFACTION, summarise
from tests.acceptance.test_real_data_adapters import data_file
from tests.support.real_data import log_of
from tests.support.rows import fold

NAME = "nps_answers.csv.gz"


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    """The file: an answer a row. The quarter is that of the file's own column."""
    return pd.read_csv(data_file(NAME))


def test_nps_by_quarter_and_market_is_that_of_the_file(answers: pd.DataFrame) -> None:
    cells = fold(SATISFACTION, log_of(nps_answers.convert, data_file(NAME)).events).whole(DAILY)
    rows = [{**cell, "quarter": (cell["day"].month - 1) // 3 + 1} for cell in cells]
    found = {one.group: one for one in summarise(rows, by=("quarter", "branch"))}
    groups = answers.groupby(["Quarter", "Market"])["NPS"]
    assert len(found) == len(groups) > 8
    for group, given in groups:
        quarter, market = group if isinstance(group, tuple) else (group, "")
        n, promoters, detractors = len(given), int((given >= 9).sum()), int((given <= 6).sum())
        # Adjusted Wald: three answers more, three quarters of one to each side.
        p, d = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
        half = 1.959964 * sqrt((p + d - (p - d) ** 2) / (n + 3))
        one = found[int(str(quarter)), str(market)]
        assert (one.n, one.answered, one.metric, one.scale) == (n, n, "nps", 10)
        assert one.measure is not None
        assert one.measure.value == pytest.approx(100 * (promoters - detractors) / n)
        assert (one.measure.low, one.measure.high) == pytest.approx((100 * (p - d - half), 100 * (p - d + half)))
        assert one.mean == pytest.approx(float(given.mean()))


def test_every_answer_is_kept_as_it_was_given(answers: pd.DataFrame) -> None:
    log = log_of(nps_answers.convert, data_file(NAME))
    rows = fold(SATISFACTION, log.events).whole(SATISFACTION.tables[1])
    assert {row["invitation_id"]: row["score"] for row in rows} == {
        f"nps-{number}": score for number, score in zip(answers["ID"], answers["NPS"], strict=True)
    }
