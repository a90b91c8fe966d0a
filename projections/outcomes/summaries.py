"""Counters of one group and window, and the complaint rate that they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from projections.measures.intervals import Measure
from projections.measures.rates import Sample, rate
from projections.outcomes.rules import OUTCOMES
from projections.outcomes.tables import DAILY, TOTALLED

DIMENSIONS = TOTALLED
"""What can be grouped by, and filtered on."""


@dataclass(frozen=True, slots=True)
class Window:
    """Days, the first and the last included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    @classmethod
    def up_to(cls, last: date, days: int) -> "Window":
        """So many days, of which this is the last."""
        return cls(last - timedelta(days=days - 1), last)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of one group in one window."""

    days: int
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(DAILY.columns, 0))
    """By the columns of `outcome_daily`."""
    customer_days: int | None = None
    """Customers, one for each day of the window; None where customers do not have the dimension that was asked for."""
    closed: int = 0
    """Customers who left."""
    deadlines: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Clock and preset -> decisions that met it, and that missed it."""
    redress: Mapping[str, int] = field(default_factory=dict)
    """Currency -> minor units."""
    answers: Mapping[tuple[str, int], Sequence[int]] = field(default_factory=dict)
    """Metric and scale -> how often each score was given, of the invitations of the window."""

    @property
    def customers(self) -> float | None:
        """How many there were on an average day."""
        return None if self.customer_days is None else self.customer_days / self.days

    @property
    def handling(self) -> Sample:
        """Seconds of work of the contacts that an agent ended."""
        return Sample(self.counts["handled"], self.counts["seconds"], self.counts["seconds_squared"])


@dataclass(frozen=True, slots=True)
class ComplaintRate:
    """Complaints of one group, against its customers and its contacts. `group` is a value of the dimension asked for.

    A rate is None when there are fewer customers or contacts than the rules ask for, or when none are known.
    """

    group: str
    window: Window
    complaints: int
    customers: float | None
    contacts: int
    per_customers: Measure | None
    per_contacts: Measure | None
    decided: int
    upheld: int
    """Decided for the customer, wholly or in part."""
    redress: Mapping[str, int]


def complaint_rate(
    group: str, window: Window, tally: Tally, smallest_n: int = OUTCOMES.latest.smallest_n
) -> ComplaintRate:
    """The rates of a group, per 1,000 customers of an average day and per 1,000 contacts of the window."""
    counts = tally.counts
    complaints, contacts, customers = counts["complaints"], counts["contacts"], tally.customers
    shown = customers is not None and customers >= smallest_n
    return ComplaintRate(
        group=group,
        window=window,
        complaints=complaints,
        customers=customers,
        contacts=contacts,
        per_customers=rate(complaints, customers) if customers is not None and shown else None,
        per_contacts=rate(complaints, contacts) if contacts >= smallest_n else None,
        decided=counts["decided"],
        upheld=counts["upheld"] + counts["partly_upheld"],
        redress=tally.redress,
    )
