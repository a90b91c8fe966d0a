"""Fits an additive model: what each bin of a feature, and of the pairs that matter, adds to the logit.

- `boosted`: trees that see one feature or one pair at a time (Lou et al. 2013, "Accurate intelligible models with
  pairwise interactions"), fitted to bins. The sum of the trees is taken apart exactly: of a function that adds up over
  pairs, f(a, b) - f(a, r) - f(r, b) + f(r, r) is what a pair adds to both of its features, seen from a reference r.
- `woe`: a scorecard, the weight of evidence of each bin times a factor (Siddiqi 2006, "Credit risk scorecards").

Both are scaled once more on forecasts for customers that the fit had not seen, so that probabilities are not too sure.
Points are rounded to thousandths of a logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from projections.measures.discrimination import woe
from projections.retention_risk.model import Term
from projections.retention_risk.sheet import Number

Kind = Literal["woe", "boosted"]
Numbers = Sequence[Sequence[Number]]
"""A row for each customer, a column for each feature."""
Bins = npt.NDArray[np.int64]
FOLDS = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """How much a model may say. `bins` of each feature at most, and so many pairs."""

    kind: Kind = "boosted"
    bins: int = 40
    pairs: int = 12
    rounds: int = 500
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Fitted:
    """The base and the terms of a model, and the bins of the customer against whom points count."""

    base: int
    terms: tuple[Term, ...]


def fit(names: Sequence[str], numbers: Numbers, left: Sequence[int], shape: Shape) -> Fitted:
    """Learn who left. Features that are the same for all customers are left out."""
    y = np.array(left)
    cuts = [cuts_of([row[column] for row in numbers], shape) for column in range(len(names))]
    bins = np.array([[bin_of(n, c) for n, c in zip(row, cuts, strict=True)] for row in numbers])
    used = [column for column in range(len(names)) if len(np.unique(bins[:, column])) > 1]
    bins, cuts = bins[:, used], [cuts[column] for column in used]
    if not used:
        return Fitted(_thousandths(np.log(y.mean() / (1 - y.mean()))), ())
    make = _boosted if shape.kind == "boosted" else _woe
    with threadpool_limits(1):  # the same sums in the same order whatever the machine; and for few rows it is faster
        tables = make(bins, y, cuts, shape)
        seen = np.zeros(len(y))
        for train, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=shape.seed).split(bins, y):
            seen[rest] = make(bins[train], y[train], cuts, shape, tables.pairs).logits(bins[rest])
        scaled = LogisticRegression(C=np.inf).fit(seen.reshape(-1, 1), y)
    slope, shift = float(scaled.coef_[0, 0]), float(scaled.intercept_[0])
    return _fitted([names[column] for column in used], cuts, tables, max(slope, 0.05), shift)


def cuts_of(numbers: Sequence[Number], shape: Shape) -> tuple[float, ...]:
    """The upper ends of the bins but the last, each with about as many customers, rounded to four digits."""
    known = np.array([n for n in numbers if n is not None and np.isfinite(n)])
    if not len(known):
        return ()
    bins = shape.bins if shape.kind == "boosted" else min(shape.bins, 20)
    ends = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])
    rounded = sorted({float(f"{end:.4g}") for end in ends})
    return tuple(end for end in rounded if known.min() <= end < known.max())


def bin_of(number: Number, cuts: Sequence[float]) -> int:
    """0 for what is not known, then the bins, each with its upper end."""
    return 0 if number is None else int(np.searchsorted(cuts, number, side="left")) + 1


@dataclass(slots=True)
class _Tables:
    """A base, and what each bin adds: of single features, and of pairs."""

    base: float
    singles: list[npt.NDArray[np.float64]]
    of_pairs: dict[tuple[int, int], npt.NDArray[np.float64]]

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        return tuple(self.of_pairs)

    def logits(self, bins: Bins) -> npt.NDArray[np.float64]:
        total = np.full(len(bins), self.base)
        for column, table in enumerate(self.singles):
            total += table[bins[:, column]]
        for (a, b), table in self.of_pairs.items():
            total += table[bins[:, a], bins[:, b]]
        return total


def _boosted(
    bins: Bins,
    y: npt.NDArray[Any],
    cuts: Sequence[Sequence[float]],
    shape: Shape,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> _Tables:
    sizes = [len(c) + 2 for c in cuts]
    if pairs is None:
        every = list(combinations(range(len(sizes)), 2))
        first = _taken_apart(_trees(bins, y, every, shape), bins, sizes, every)
        weights = {pair: float(np.abs(t[bins[:, pair[0]], bins[:, pair[1]]]).mean()) for pair, t in first.items()}
        pairs = sorted(weights, key=lambda pair: weights[pair], reverse=True)[: shape.pairs]
    model = _trees(bins, y, pairs, shape)
    reference = _reference(bins)

    def at(changes: dict[int, npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
        rows = np.tile(reference, (len(next(iter(changes.values()))), 1))
        for column, values in changes.items():
            rows[:, column] = values
        told: npt.NDArray[np.float64] = model.decision_function(rows)
        return told

    base = float(model.decision_function(reference.reshape(1, -1))[0])
    singles = [at({column: np.arange(size)}) - base for column, size in enumerate(sizes)]
    return _Tables(base, singles, _taken_apart(model, bins, sizes, pairs))


def _trees(
    bins: Bins, y: npt.NDArray[Any], pairs: Sequence[tuple[int, int]], shape: Shape
) -> HistGradientBoostingClassifier:
    alone = [{column} for column in range(bins.shape[1])]
    return HistGradientBoostingClassifier(
        max_iter=shape.rounds,
        learning_rate=0.06,
        max_leaf_nodes=6,
        min_samples_leaf=max(2, min(10, len(y) // 20)),
        l2_regularization=1.0,
        early_stopping=False,
        interaction_cst=[*alone, *map(set, pairs)],
        random_state=shape.seed,
    ).fit(bins, y)


def _reference(bins: Bins) -> Bins:
    """The customer in the middle: the median bin of each feature."""
    middle: Bins = np.sort(bins, axis=0)[len(bins) // 2]
    return middle


def _taken_apart(
    model: HistGradientBoostingClassifier, bins: Bins, sizes: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], npt.NDArray[np.float64]]:
    """What each pair adds to both of its features."""
    reference = _reference(bins)
    found = {}
    for a, b in pairs:
        rows = np.tile(reference, (sizes[a] * sizes[b], 1))
        rows[:, a] = np.repeat(np.arange(sizes[a]), sizes[b])
        rows[:, b] = np.tile(np.arange(sizes[b]), sizes[a])
        grid = model.decision_function(rows).reshape(sizes[a], sizes[b])
        middle_a, middle_b = reference[a], reference[b]
        found[a, b] = grid - grid[:, [middle_b]] - grid[[middle_a], :] + grid[middle_a, middle_b]
    return found


def _woe(
    bins: Bins,
    y: npt.NDArray[Any],
    cuts: Sequence[Sequence[float]],
    shape: Shape,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> _Tables:
    """Points count against the mean of the population. A bin in which nobody was has the weight of the mean."""
    bad, evidence = int(y.sum()), []
    for column, c in enumerate(cuts):
        sums = [
            (int(((bins[:, column] == b) & (y == 0)).sum()), int(((bins[:, column] == b) & (y == 1)).sum()))
            for b in range(len(c) + 2)
        ]
        weights = np.array([woe(g, b, len(y) - bad, bad) if g + b else np.nan for g, b in sums])
        mean = float(np.nanmean(weights[bins[:, column]]))
        evidence.append(np.where(np.isnan(weights), 0.0, weights - mean))
    columns = np.column_stack([table[bins[:, column]] for column, table in enumerate(evidence)])
    model = LogisticRegression(C=1.0, max_iter=1000).fit(columns, y)
    singles = [factor * table for factor, table in zip(model.coef_[0], evidence, strict=True)]
    return _Tables(float(model.intercept_[0]), singles, {})


def _fitted(
    names: Sequence[str], cuts: Sequence[tuple[float, ...]], tables: _Tables, slope: float, shift: float
) -> Fitted:
    terms = [
        Term(
            code=name.replace("_", "-"),
            features=(name,),
            cuts=(c,),
            points=tuple(map(_thousandths, slope * table)),
            closed="right",
        )
        for name, c, table in zip(names, cuts, tables.singles, strict=True)
    ]
    terms += [
        Term(
            code=f"{names[a]} × {names[b]}".replace("_", "-"),
            features=(names[a], names[b]),
            cuts=(cuts[a], cuts[b]),
            points=tuple(map(_thousandths, (slope * table).ravel())),
            closed="right",
        )
        for (a, b), table in tables.of_pairs.items()
    ]
    return Fitted(_thousandths(slope * tables.base + shift), tuple(term for term in terms if any(term.points)))


def _thousandths(logit: float) -> int:
    return round(1000 * float(logit))
