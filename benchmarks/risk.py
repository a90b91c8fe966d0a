"""Group risk: how well a trained model tells who leaves, on the half of the card customers that was held out.

The file is `card_churn.csv.gz` in the folder that KEHU_DATA names; its rows are spread over a year of events, decided
and folded back. Beside the model of single features and pairs stands the simpler scorecard of weights of evidence.
"""

import os
from datetime import date
from pathlib import Path

from benchmarks.card_customers import examples_of, recorded_of
from benchmarks.figures import Figure, Figures, Settings
from infra.errors import KehuError
from infra.training.fit import Shape
from infra.training.train import About, train

NAME = "card_churn.csv.gz"


class NoRealData(KehuError):
    """The card customers are not there: set KEHU_DATA to the folder that holds them."""

    exit_code = 2


def data_file() -> Path:
    """The file. Raises NoRealData."""
    folder = Path(os.environ.get("KEHU_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / NAME).is_file():
        raise NoRealData(f"{folder / NAME}")
    return folder / NAME


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    examples = examples_of(recorded_of(data_file()))
    about = About("attrition", 1, date(2026, 1, 1))
    additive, plain = (train(examples, about, shape=shape).card.figures for shape in (Shape(), Shape(kind="woe")))
    of = "a scorecard of weights of evidence, on the same half"
    return {
        name: Figure(additive[name], unit, plain[name], of) for name, unit in (("auc", "area"), ("ks", "share"))
    } | {
        "psi": Figure(additive["psi"], "index", 0.1, "from where on a population is another one"),
    }
