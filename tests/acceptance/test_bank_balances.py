"""Account movements of a real bank: counts and balances of each account and month, as pandas computes them."""

from collections import Counter

import pandas as pd
import pytest

from consumers.projector import Projector
from domain.account import AccountMonth
from examples import bank_transactions, common
from infra.memory.log import MemoryLog
from infra.memory.read_models import MemoryReadModels
from projections.customer_timeline import CUSTOMER_TIMELINE
from tests.acceptance.test_real_data_adapters import Streams, data_file, streams_of
from tests.support.real_data import log_of

FILE = "bank_transactions.csv.gz"
ROUNDED = 100
"""Minor units: the file rounds interest in amounts and balances, each by itself."""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The file, with whole minor units and the month of each row; rows of an account lie in their order."""
    table = pd.read_csv(data_file(FILE))
    minor = (table["amount"] * 100).round().astype("int64")
    table["minor"] = minor.where(table["type"] == "credit", -minor)
    table["balance_minor"] = (table["balance"] * 100).round().astype("int64")
    table["month"] = table["date"].str.slice(0, 7)
    table["account"] = table["account_id"].astype(str)
    return table


@pytest.fixture(scope="module")
def made() -> Streams:
    return streams_of(bank_transactions.convert, common.rows(data_file(FILE)))


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return log_of(bank_transactions.convert, data_file(FILE))


def months(made: Streams) -> dict[tuple[str, str], tuple[int, int]]:
    """Account and month -> number of postings and their sum, as the streams have them."""
    found = {}
    for stream, state in made.states.items():
        assert isinstance(state, AccountMonth)
        account, _, month = stream.removeprefix("account-").partition(":")
        postings = state.postings.values()
        assert {currency for _, currency, _ in postings} == {"CZK"}
        found[account, month] = len(postings), sum(minor for minor, _, _ in postings)
    return found


def test_each_account_and_month_has_as_many_postings_and_the_sum_of_the_file(
    table: pd.DataFrame, made: Streams
) -> None:
    expected = table.groupby(["account", "month"])["minor"].agg(n="size", total="sum").reset_index()
    assert months(made) == {(one.account, one.month): (one.n, one.total) for one in expected.itertuples()}
    assert len(expected) > 2000


def test_the_balance_at_the_end_of_each_month_is_one_that_the_bank_wrote_that_day(
    table: pd.DataFrame, made: Streams
) -> None:
    """Rows of one day lie in no order in the file: the balance of its last posting is one of those of that day."""
    last_days = table.groupby(["account", "month"])["date"].transform("max")
    written = table[table["date"] == last_days].groupby(["account", "month"])["balance_minor"].agg(list)
    balance: Counter[str] = Counter()
    found = months(made)
    for account, month in sorted(found):
        balance[account] += found[account, month][1]
        assert min(abs(balance[account] - one) for one in written[account, month]) <= ROUNDED, (account, month)
    net = table.groupby("account")["minor"].sum()
    assert balance == {account: int(total) for account, total in net.items()}


def test_each_event_has_the_balance_of_its_row(table: pd.DataFrame, log: MemoryLog) -> None:
    found = {
        one.event.transaction_id: one.event.balance.minor  # type: ignore[attr-defined]
        for one in log.events
    }
    assert found == dict(zip(table["trans_id"].astype(str), table["balance_minor"].tolist(), strict=True))


def test_the_timeline_of_each_customer_has_as_many_postings_of_each_month(table: pd.DataFrame, log: MemoryLog) -> None:
    models = MemoryReadModels()
    Projector(log, models, [CUSTOMER_TIMELINE]).run_until_caught_up()
    rows = models.rows[CUSTOMER_TIMELINE.name, "customer_timeline"]
    found = Counter((customer, f"{row['occurred_at']:%Y-%m}") for (customer, _), (_, row) in rows.items())
    expected = table.groupby(["client_id", "month"]).size()
    counts = expected.rename("n").reset_index()
    assert found == {(f"client-{one.client_id}", one.month): one.n for one in counts.itertuples()}
