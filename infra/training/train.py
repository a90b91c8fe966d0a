"""From labelled customers to a model with its card: fitted on one part, checked on the other."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from math import ceil
from random import Random
from typing import NamedTuple

from infra.training.fit import Shape, fit
from infra.training.labels import Label
from projections.measures.discrimination import (
    auc,
    brier,
    calibration_error,
    information_value,
    ks,
    psi,
    shares,
    tenths,
)
from projections.measures.odds import logistic
from projections.retention_risk.measures import FEATURES
from projections.retention_risk.model import COLD_START, Calibration, Card, Model, Population, check
from projections.retention_risk.scorecard import Scorer
from projections.retention_risk.sheet import Number


class Example(NamedTuple):
    """A labelled customer with all features at the moment of the label."""

    label: Label
    numbers: Mapping[str, Number]


class About(NamedTuple):
    """What the model is called and what its card says."""

    name: str
    version: int
    effective_from: date
    purpose: str = "To call the customers who are likely to leave before they do."
    population: str = "The customers of the labels."
    limits: tuple[str, ...] = ()


def train(
    examples: Sequence[Example],
    about: About,
    holdout: float = 0.5,
    shape: Shape | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Model:
    """Fit a model on a part of the examples and measure it on the rest, `holdout` of each kind, drawn by the seed.

    Its features are in the order of their information value.
    """
    shape = shape or Shape()
    learn, check_on = divided(examples, holdout, shape.seed)
    told(f"fitting {shape.kind} on {len(learn):,} customers")
    names = _informative(learn)
    left = [one.label.left for one in learn]
    fitted = fit(names, [[one.numbers[name] for name in names] for one in learn], left, shape)
    model = Model(
        version=about.version,
        effective_from=about.effective_from,
        source="bank's own labels",
        name=about.name,
        kind=shape.kind,
        base=fitted.base,
        terms=fitted.terms,
        bands=COLD_START.bands,
        scaling=COLD_START.scaling,
        card=Card(purpose=about.purpose, population="", period="", reference=""),
    )
    told(f"checking on {len(check_on):,} customers")
    here, there = logits(model, learn), logits(model, check_on)
    ordered = sorted(here)
    cuts = tuple(sorted({ordered[ceil(k * len(ordered) / 10) - 1] for k in range(1, 10)}))
    spread = shares(here, cuts)
    truth, forecast = [one.label.left for one in check_on], [logistic(one / 1000) for one in there]
    days = sorted(one.label.as_of for one in examples)
    card = Card(
        purpose=about.purpose,
        population=f"{about.population} {len(learn):,} to learn from, {sum(left):,} of whom left; "
        f"{len(check_on):,} held out, {sum(truth):,} of whom left.",
        period=f"as of {days[0]:%Y-%m-%d}" + (f" to {days[-1]:%Y-%m-%d}" if days[-1] != days[0] else ""),
        reference="The mean of the population."
        if shape.kind == "woe"
        else "A customer with the median of each feature.",
        figures={
            "auc": round(auc(there, truth), 4),
            "ks": round(ks(there, truth), 4),
            "brier": round(brier(forecast, truth), 4),
            "calibration_error": round(calibration_error(forecast, truth), 4),
            "psi": round(psi(spread, shares(there, cuts)), 4),
            "auc_learned": round(auc(here, left), 4),
        },
        calibration=tuple(
            Calibration(n=n, forecast=round(p, 4), observed=round(y, 4)) for n, p, y in tenths(forecast, truth)
        ),
        limits=about.limits,
    )
    whole = Model(
        **{name: getattr(model, name) for name in model.__struct_fields__ if name not in ("card", "population")},
        card=card,
        population=Population(cuts=cuts, shares=tuple(round(share, 6) for share in spread)),
    )
    check(whole)
    return whole


def divided(examples: Sequence[Example], holdout: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Those to learn from, and those to check on. A customer with several labels is in one part only."""
    rng, held = Random(seed), set[str]()  # noqa: S311 (nobody gains by guessing it)
    for kind in (0, 1):
        whose = sorted({one.label.customer_id for one in examples if one.label.left == kind})
        rng.shuffle(whose)
        held.update(whose[: round(holdout * len(whose))])
    return (
        [one for one in examples if one.label.customer_id not in held],
        [one for one in examples if one.label.customer_id in held],
    )


def logits(model: Model, examples: Sequence[Example]) -> list[int]:
    """The logit of each customer, in thousandths."""
    scorer = Scorer(model)
    return [scorer.thousandths(one.numbers) for one in examples]


def _informative(examples: Sequence[Example]) -> list[str]:
    """The features that say anything, the one that says most first."""
    values = {}
    for name in FEATURES:
        column = [(one.numbers[name], one.label.left) for one in examples]
        known = sorted(number for number, _ in column if number is not None)
        ends = sorted({known[ceil(k * len(known) / 10) - 1] for k in range(1, 10)}) if known else []
        sums = [[0, 0] for _ in range(len(ends) + 2)]
        for number, left in column:
            sums[0 if number is None else sum(end < number for end in ends) + 1][left] += 1
        if sum(any(pair) for pair in sums) > 1:
            values[name] = information_value([(good, bad) for good, bad in sums])
    return sorted(values, key=lambda name: values[name], reverse=True)
