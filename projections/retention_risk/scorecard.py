"""Scores by a model: base plus points of the reasons is the logit, exactly; with the worst reason first.

`features` hold seconds and days since 1970-01-01 (UTC); `projections.retention_risk.features` makes them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from math import ceil, floor
from operator import itemgetter

from domain.values import Value
from projections.measures.odds import logistic
from projections.retention_risk.measures import FEATURES, Feature
from projections.retention_risk.model import COLD_START, Model, NoModel, Term, check
from projections.retention_risk.sheet import Features, Number, Sheet, Steps
from projections.retention_risk.windows import LAST_SECOND, RELEASED, Measured, second_of


class Reason(Value):
    """One line of the scorecard that applies: its points on the logit scale, what was seen, when, and in which events.

    `sources` are `source#event_id` of messages; of counted things the latest few.
    """

    code: str
    points: Decimal
    value: str
    window: str
    sources: tuple[str, ...]


class Scored(Value):
    """A score. `logit` is the base plus the points of the reasons, exactly; None when there is nothing to score.

    `score` is the same in scaled points: the higher it is, the safer. Until `next_change_at` the score and its reasons
    stay as they are unless an event comes; None: for ever.
    """

    band: str
    logit: Decimal | None = None
    probability: float | None = None
    score: int | None = None
    reasons: tuple[Reason, ...] = ()
    next_change_at: datetime | None = None


UNKNOWN = Scored("unknown")
CLOSED = Scored("closed")


Find = Callable[[Sequence[float], float], int]
"""How many of the cuts lie below a number, or below or at it."""


class _Single:
    """A term of one feature, ready to be looked up."""

    __slots__ = ("code", "cuts", "feature", "find", "points")

    def __init__(self, term: Term) -> None:
        self.code, self.points, self.cuts = term.code, term.points, term.cuts[0]
        self.feature = FEATURES[term.features[0]]
        self.find = _find(term)

    def reason(self, points: int, sheet: Sheet, number: Number) -> Reason:
        value, sources = _told(self.feature, sheet, number)
        return Reason(self.code, points_of(points), value, self.feature.over(sheet.spans), tuple(sources))


class _Pair:
    """A term of two features together."""

    __slots__ = ("code", "cuts", "features", "find", "indexes", "points", "width")

    def __init__(self, term: Term, places: Sequence[str]) -> None:
        self.code, self.points, self.cuts = term.code, term.points, term.cuts
        self.features = [FEATURES[name] for name in term.features]
        self.indexes = [places.index(name) for name in term.features]
        self.width = len(term.cuts[1]) + 2
        self.find = _find(term)

    def of(self, numbers: Sequence[Number]) -> int:
        a, b = (numbers[index] for index in self.indexes)
        row = 0 if a is None else self.find(self.cuts[0], a) + 1
        column = 0 if b is None else self.find(self.cuts[1], b) + 1
        return self.points[row * self.width + column]

    def reason(self, points: int, sheet: Sheet, numbers: Sequence[Number]) -> Reason:
        told = [_told(f, sheet, numbers[i]) for f, i in zip(self.features, self.indexes, strict=True)]
        values, windows = "; ".join(value for value, _ in told), "; ".join(f.over(sheet.spans) for f in self.features)
        sources = dict.fromkeys(source for _, sources in told for source in sources)
        return Reason(self.code, points_of(points), values, windows, tuple(sources))


def _find(term: Term) -> Find:
    return bisect_right if term.closed == "left" else bisect_left


def _told(feature: Feature, sheet: Sheet, number: Number) -> tuple[str, Sequence[str]]:
    """What was seen, and in which events; nothing was seen in the event that first told of the customer."""
    if number is None:
        return "not known", [sheet.features["seen"][1]]
    return feature.shown(sheet, number), feature.sources(sheet) or [sheet.features["seen"][1]]


class Scorer:
    """A model that scores. Only the features that it uses are measured."""

    def __init__(self, model: Model, windows: Measured = RELEASED) -> None:
        """Raises NoModel when it uses a feature that this release does not know."""
        check(model)
        if unknown := {name for term in model.terms for name in term.features} - FEATURES.keys():
            raise NoModel(f"{model.id}: this release has no feature {', '.join(sorted(unknown))}")
        self.model, self._windows = model, windows
        names = list(dict.fromkeys(name for term in model.terms for name in term.features))
        singles = [_Single(term) for term in model.terms if len(term.features) == 1]
        # One look for each feature: what it needs, how it is measured, and the terms that it decides alone.
        self._measured = [
            (
                FEATURES[name].needs,
                FEATURES[name].measure,
                _steps(model, name),
                [(one.cuts, one.points, one.find, one) for one in singles if one.feature is FEATURES[name]],
            )
            for name in names
        ]
        self._pairs = [_Pair(term, names) for term in model.terms if len(term.features) == 2]
        self._medium, self._high = model.bands.medium, model.bands.high
        self.of_logit = cache(self._of_logit)

    def score(self, features: Features, at: datetime) -> Scored:
        """The score at a moment.

        It must not lie before the last event that `features` know of: what was older than a window then is gone.
        """
        if features.get("closed"):
            return CLOSED
        if "seen" not in features:
            return UNKNOWN
        sheet = Sheet(features, second_of(at), self._windows)
        numbers: list[Number] = []
        following = sheet.until
        reasons: list[tuple[int, Reason]] = []
        for needs, measure, steps, lookups in self._measured:
            number = None
            if needs is None or needs in features:
                number, changes = measure(sheet, steps)
                if changes < following:
                    following = changes
            numbers.append(number)
            for cuts, points_of_bins, find, term in lookups:
                if points := points_of_bins[0 if number is None else find(cuts, number) + 1]:
                    reasons.append((points, term.reason(points, sheet, number)))
        reasons += [
            (points, pair.reason(points, sheet, numbers)) for pair in self._pairs if (points := pair.of(numbers))
        ]
        reasons.sort(key=itemgetter(0), reverse=True)
        total = sum(map(itemgetter(0), reasons), self.model.base)
        probability, band, scaled = self.of_logit(total)
        change = datetime.fromtimestamp(following, UTC) if following < LAST_SECOND else None
        return Scored(band, points_of(total), probability, scaled, tuple(reason for _, reason in reasons), change)

    def thousandths(self, numbers: Mapping[str, Number]) -> int:
        """The logit of a customer with these features."""
        total = self.model.base
        for term in self.model.terms:
            index, find = 0, _find(term)
            for name, cuts in zip(term.features, term.cuts, strict=True):
                number = numbers[name]
                index = index * (len(cuts) + 2) + (0 if number is None else find(cuts, number) + 1)
            total += term.points[index]
        return total

    def _of_logit(self, thousandths: int) -> tuple[float, str, int]:
        probability = round(logistic(thousandths / 1000), 6)
        band = "low" if probability < self._medium else "medium" if probability < self._high else "high"
        return probability, band, self.model.scaling.of(thousandths / 1000)


def _steps(model: Model, name: str) -> Steps:
    """The whole days at which a feature that counts days enters another bin of any term."""
    steps = {
        ceil(cut) if term.closed == "left" else floor(cut) + 1
        for term in model.terms
        for feature, cuts in zip(term.features, term.cuts, strict=True)
        for cut in cuts
        if feature == name
    }
    return tuple(sorted(steps))


@cache
def points_of(thousandths: int) -> Decimal:
    """Points for people, in units of a logit: with one digit where that says all, else with three."""
    if thousandths % 100:
        return Decimal(thousandths).scaleb(-3)
    return Decimal(thousandths // 100).scaleb(-1)


COLD = Scorer(COLD_START)
"""The scorecard without labels."""


def score(features: Features, at: datetime) -> Scored:
    """The score at a moment by the scorecard without labels."""
    return COLD.score(features, at)
