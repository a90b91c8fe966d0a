"""What a model of retention risk is: data that says how many points each value of a feature is worth, and for whom.

A model is additive: base plus points of its terms is the logit, in thousandths, so that it adds up exactly. Those of a
release are in `domain/rules/retention_models.toml`; trained ones are JSON documents of the same fields.
"""

from itertools import pairwise
from math import log, prod
from typing import Annotated, Literal

import msgspec
from msgspec import Meta as Says

from domain.rules import Rule, read

Points = Annotated[int, Says(ge=-1_000_000, le=1_000_000)]
"""Thousandths of a logit."""
Share = Annotated[float, Says(ge=0, le=1)]
Name = Annotated[str, Says(pattern=r"^[a-z][a-z0-9_-]{0,63}\Z")]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a model."""


class Term(Part, frozen=True):
    """What one feature is worth, or two together: each of their bins has its points.

    The bins of a feature lie between its `cuts`; `closed` says to which bin a cut itself belongs: left, to the one that
    begins with it, or right, to the one that ends. `points` has a feature's unknown value first, then its bins; of two
    features the second one runs faster.
    """

    code: Annotated[str, Says(min_length=1, max_length=120)]
    features: tuple[str, ...]
    cuts: tuple[tuple[float, ...], ...]
    points: tuple[Points, ...]
    closed: Literal["left", "right"] = "left"


class Bands(Part, frozen=True):
    """The probabilities from which on the risk is medium, and high."""

    medium: Share
    high: Share


class Scaling(Part, frozen=True):
    """score = offset + factor * ln(odds of staying): `score` points at these odds, and `pdo` more at the double.

    https://www.mathworks.com/help/finance/creditscorecard.formatpoints.html
    """

    pdo: float
    score: float
    odds: float

    @property
    def factor(self) -> float:
        """Points per unit of ln(odds)."""
        return self.pdo / log(2)

    @property
    def offset(self) -> float:
        """Points at odds of 1."""
        return self.score - self.factor * log(self.odds)

    def of(self, logit: float) -> int:
        """The scaled score at these log odds of leaving; the higher it is, the safer."""
        return round(self.offset - self.factor * logit)


class Population(Part, frozen=True):
    """How logits are spread: the `shares` below the first of `cuts`, between each two, and above the last."""

    cuts: tuple[Points, ...]
    shares: tuple[Share, ...]


class Calibration(Part, frozen=True):
    """A tenth of the customers, by their probability: how many left as forecast, and as observed."""

    n: int
    forecast: float
    observed: float


class Card(Part, frozen=True):
    """What a reader must know before using a model."""

    purpose: str
    population: str
    period: str
    reference: str
    """Against what the points of a reason count."""
    figures: dict[str, float] = {}
    """On customers that were held out."""
    calibration: tuple[Calibration, ...] = ()
    limits: tuple[str, ...] = ()


class Model(Rule, frozen=True):
    """A model, with what a rule says of itself: version, date from which it applies, and source."""

    name: Name
    kind: Literal["expert", "woe", "boosted"]
    base: Points
    terms: tuple[Term, ...]
    bands: Bands
    scaling: Scaling
    card: Card
    population: Population | None = None

    @property
    def id(self) -> str:
        """How rows and people name it: `cold_start.1`."""
        return f"{self.name}.{self.version}"


class NoModel(ValueError):
    """A document is no model that can score."""


_decode = msgspec.json.Decoder(Model).decode


def from_json(document: bytes) -> Model:
    """A model from a file or a table. Raises NoModel with what is wrong."""
    try:
        model = _decode(document)
    except msgspec.DecodeError as error:
        raise NoModel(str(error)) from error
    check(model)
    return model


def to_json(model: Model) -> bytes:
    """The model as a document that `from_json` reads."""
    return msgspec.json.encode(model)


def check(model: Model) -> None:
    """Raises NoModel where a term has another number of points than bins, or cuts that do not grow."""
    codes = [term.code for term in model.terms]
    if len(set(codes)) < len(codes):
        raise NoModel(f"{model.id}: give each term a code of its own")
    if not 0 < model.bands.medium <= model.bands.high:
        raise NoModel(f"{model.id}: the bands must grow")
    if min(model.scaling.pdo, model.scaling.odds) <= 0:
        raise NoModel(f"{model.id}: pdo and odds must be more than 0")
    for term in model.terms:
        if not 1 <= len(term.features) <= 2 or len(term.features) != len(term.cuts):
            raise NoModel(f"{term.code}: give one or two features, each with its cuts")
        if any(not a < b for cuts in term.cuts for a, b in pairwise(cuts)):
            raise NoModel(f"{term.code}: the cuts must grow")
        if len(term.points) != (bins := prod(len(cuts) + 2 for cuts in term.cuts)):
            raise NoModel(f"{term.code}: {len(term.points)} points for {bins} bins, of which each needs its own")


RELEASED = {one.id: one for versions in read("retention_models", Model).values() for one in versions}
"""The models that come with this release, by their id."""
COLD_START = RELEASED["cold_start.1"]
"""What scores as long as nothing else was promoted."""
