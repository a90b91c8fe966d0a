"""Effects: each measure before and after a day, and whether the change is more than chance.

A comparison of before and after is no experiment: whatever else changed meanwhile is in it, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from domain.survey import RULES as SURVEYS
from projections.measures.first_contact import FIRST_CONTACT
from projections.measures.intervals import Change
from projections.measures.rates import Ratio, mean_change, rate_ratio, share_change
from projections.measures.surveys import BEST, nps, nps_change
from projections.outcomes.rules import COSTS, OUTCOMES, OutcomeRule
from projections.outcomes.summaries import Tally, Window
from projections.outcomes.tables import CASE_TYPES

NEWCOMBE = "difference of shares, hybrid score (Newcombe 1998)"
RATIO = "rate ratio, likelihood score (Graham 2003)"
WALD = "difference of NPS, Wald"
WELCH = "difference of means, normal (Welch 1947)"
NONE = "no interval: totals of two different things"


@dataclass(frozen=True, slots=True)
class Effect:
    """One measure before and after. Of a rate the change is the ratio, of all others the difference, after - before.

    `count` are the events of a rate or share, `n` what they are counted against: customers of an average day, contacts,
    decisions, answers. When either n is below the smallest n (of surveys for answers, of outcomes for the rest), all
    but the counts is None.
    """

    measure: str
    of: str
    """Which clock and preset, or which scale; '' where there is only one."""
    unit: str
    count_before: int | None
    n_before: float
    count_after: int | None
    n_after: float
    before: float | None
    after: float | None
    change: float | None
    low: float | None
    high: float | None
    significant: bool | None
    """The 95 % interval leaves out what would be no change; None where there is no interval."""
    suppressed: bool
    provisional: bool
    """The window after still changes: it is not over, or what happens later counts in it."""
    method: str


def windows(change: date, days: int, today: date) -> tuple[Window, Window]:
    """So many days before a day, and as many from it on as are over. Raises ValueError when none is."""
    last = min(change + timedelta(days=days - 1), today - timedelta(days=1))
    if last < change:
        raise ValueError(f"no whole day since {change} is over: ask from {change + timedelta(days=1)} on")
    return Window(change - timedelta(days=days), change - timedelta(days=1)), Window(change, last)


def effects(
    before: Tally,
    after: Tally,
    days: int,
    since_last: int,
    rule: OutcomeRule = OUTCOMES.latest,
    fewest_answers: int = SURVEYS.latest.smallest_n,
) -> Iterator[Effect]:
    """All measures. Rates per customer are of so many `days`; `since_last` days have passed since the window after.

    Below `fewest_answers` no score is shown, as everywhere; all others have the smallest n of the rule.
    """
    part = _Comparison(before, after, days, after.days < days, rule.smallest_n, fewest_answers)
    yield from part.surveys()
    yield part.per_customers("complaint_rate", "complaints", "per 1,000 customers")
    yield part.rate("complaint_rate_contacts", "complaints", "contacts", "per 1,000 contacts")
    yield from part.deadlines()
    yield part.share("upheld_rate", ("upheld", "partly_upheld"), "decided")
    yield part.share("reopen_rate", ("came_back",), "decided", since_last < rule.reopened_days)
    yield part.share("first_contact_resolution", ("first_time",), "handled", since_last < FIRST_CONTACT.latest.days)
    yield part.churn()
    yield from part.costs()


class _Comparison:
    """Two windows of one group."""

    def __init__(
        self, before: Tally, after: Tally, days: int, running: bool, smallest_n: int, fewest_answers: int
    ) -> None:
        self._sides = (before, after)
        self._days, self._running, self._smallest, self._answers = days, running, smallest_n, fewest_answers

    def share(self, measure: str, hits: tuple[str, ...], base: str, later: bool = False, of: str = "") -> Effect:
        """A share of what was counted, 0..1."""
        pairs = [(sum(side.counts[name] for name in hits), side.counts[base]) for side in self._sides]
        return self._share(measure, of, pairs, later)

    def _share(
        self, measure: str, of: str, pairs: Sequence[tuple[int, int]], later: bool = False, least: int | None = None
    ) -> Effect:
        (hits_1, n_1), (hits_2, n_2) = pairs
        values = [hits / n if n else None for hits, n in pairs]
        changed = share_change(hits_1, n_1, hits_2, n_2)
        return self._effect(measure, of, "share", [hits_1, hits_2], [n_1, n_2], values, changed, NEWCOMBE, later, least)

    def deadlines(self) -> Iterator[Effect]:
        """Decisions in time, of each clock and preset."""
        for clock, preset in sorted(self._sides[0].deadlines.keys() | self._sides[1].deadlines.keys()):
            pairs = [side.deadlines.get((clock, preset), (0, 0)) for side in self._sides]
            yield self._share("in_deadline", f"{clock} {preset}", [(met, met + missed) for met, missed in pairs])

    def surveys(self) -> Iterator[Effect]:
        """CSAT and CES as shares, NPS from -100 to 100."""
        least = self._answers
        for metric, scale in sorted(self._sides[0].answers.keys() | self._sides[1].answers.keys()):
            first, second = (list(side.answers.get((metric, scale), [0] * 11)) for side in self._sides)
            n = [sum(first), sum(second)]
            if metric == "nps":
                values = [None if score is None else score.value for score in (nps(first), nps(second))]
                changed = nps_change(first, second)
                yield self._effect("nps", "", "-100 to 100", [None, None], n, values, changed, WALD, least=least)
            elif (lowest := BEST.get((metric, scale))) is not None:
                hits = [sum(histogram[lowest : scale + 1]) for histogram in (first, second)]
                yield self._share(metric, f"1 to {scale}", list(zip(hits, n, strict=True)), least=least)

    def rate(self, measure: str, count: str, base: str, unit: str) -> Effect:
        """So many per 1,000 of something that was counted, too."""
        counts, n = ([side.counts[name] for side in self._sides] for name in (count, base))
        return self._rate(measure, unit, counts, n, n)

    def per_customers(self, measure: str, count: str, unit: str) -> Effect:
        """So many per 1,000 customers of an average day, in the days of the window before."""
        return self._per_customers(measure, [side.counts[count] for side in self._sides], unit)

    def churn(self) -> Effect:
        """Customers who left."""
        return self._per_customers("churn_rate", [side.closed for side in self._sides], "per 1,000 customers")

    def _per_customers(self, measure: str, counts: list[int], unit: str) -> Effect:
        exposure = [(side.customer_days or 0) / self._days for side in self._sides]
        return self._rate(
            measure, f"{unit} in {self._days} days", counts, exposure, [side.customers or 0.0 for side in self._sides]
        )

    def _rate(
        self,
        measure: str,
        unit: str,
        counts: "list[int]",
        exposure: "list[float] | list[int]",
        n: "list[float] | list[int]",
    ) -> Effect:
        values = [1000 * one / of if of else None for one, of in zip(counts, exposure, strict=True)]
        ratio = rate_ratio(counts[0], exposure[0], counts[1], exposure[1])
        return self._effect(measure, "", unit, counts, n, values, ratio, RATIO)

    def costs(self) -> Iterator[Effect]:
        """Cost of a contact that an agent ended, and of all contacts for each case that was opened; minor units."""
        price = COSTS.latest
        unit = f"{price.currency}, minor units"
        samples = [side.handling for side in self._sides]
        means = [one.mean for one in samples]
        changed = mean_change(*samples)
        paid = None if changed is None else Change(*map(_minor, (changed.delta, changed.low, changed.high)))
        values = [None if mean is None else _minor(mean) for mean in means]
        n = [one.n for one in samples]
        yield self._effect("cost_per_contact", "", unit, [None, None], n, values, paid, WELCH)
        cases = [sum(side.counts[name] for name in CASE_TYPES.values()) for side in self._sides]
        each = [_minor(one.total / n) if n else None for one, n in zip(samples, cases, strict=True)]
        yield self._effect("contact_cost_per_case", "", unit, [None, None], cases, each, None, NONE)

    def _effect(
        self,
        measure: str,
        of: str,
        unit: str,
        counts: Sequence[int | None],
        n: Sequence[float],
        values: Sequence[float | None],
        changed: Change | Ratio | None,
        method: str,
        later: bool = False,
        least: int | None = None,
    ) -> Effect:
        shown = min(n) >= (self._smallest if least is None else least)
        before, after = values if shown else (None, None)
        change = low = high = significant = None
        if shown and changed is not None:
            change = changed.value if isinstance(changed, Ratio) else changed.delta
            low, high, significant = changed.low, changed.high, changed.significant
        elif shown and before is not None and after is not None and method == NONE:
            change = after - before
        return Effect(
            measure, of, unit, counts[0], n[0], counts[1], n[1], before, after, change, low, high, significant,
            suppressed=not shown, provisional=self._running or later, method=method,
        )  # fmt: skip


def _minor(seconds: float) -> int:
    """What so many seconds of work cost, in whole minor units."""
    return round(COSTS.latest.minor(seconds))
