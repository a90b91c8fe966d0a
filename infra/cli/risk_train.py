"""`kehu risk train`: a model learned from labels, with features folded from the log as they were known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from domain.values import Recorded
from infra import bootstrap
from infra.cli.output import Json, print_json, print_rows, say
from infra.cli.progress import events, progress
from infra.cli.servers import Connection, Postgres, connected
from infra.errors import KehuError
from infra.postgres.past import Moment, Past
from infra.training.labels import Label, read_labels
from projections.retention_risk import Model, to_json
from projections.retention_risk.measures import numbers
from projections.retention_risk.observed import HANDLED, features_at
from projections.retention_risk.sheet import Number
from projections.retention_risk.windows import second_of

NAMED = 5
"""Unknown customers that an error names."""
MIGRATED = "Features count what had happened by then, also what was recorded later: a history brought in afterwards."


class NoTrainingExtra(KehuError):
    """Training needs numpy and scikit-learn: install the extra with `pip install -e '.[train]'`."""

    exit_code = 3


class UnknownCustomers(KehuError):
    """Of some customers with a label nothing was known by then. Check their ids and as_of, leave them out, or give
    --recorded-later where the history was brought in afterwards.
    """


def train(
    labels: Annotated[Path, typer.Option("--labels", help="CSV: customer_id, label (1 left, 0 stayed), as_of.")],
    postgres: Postgres = "",
    model_out: Annotated[Path | None, typer.Option("--model-out", help="NAME.VERSION.json if absent.")] = None,
    name: Annotated[str, typer.Option("--name", help="Of the model.")] = "attrition",
    version: Annotated[int, typer.Option("--version", min=1)] = 1,
    kind: Annotated[
        str, typer.Option("--kind", help="boosted (single features and pairs) or woe (a scorecard).")
    ] = "boosted",
    holdout: Annotated[float, typer.Option("--holdout", min=0.1, max=0.9, help="Share that the figures are of.")] = 0.5,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same model.")] = 7,
    pairs: Annotated[int, typer.Option("--pairs", min=0, max=30, help="Pairs of features at most.")] = 12,
    population: Annotated[
        str, typer.Option("--population", help="Of whom the labels are; for the model card.")
    ] = "The customers of the labels.",
    recorded_later: Annotated[
        bool, typer.Option("--recorded-later", help="Also what was recorded after as_of.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Learn who leaves from labels, and write a model whose reasons add up exactly.

    Features are folded from the log: for each customer only what had happened and was recorded by their as_of. Figures
    are of the customers that were held out.

    Example: kehu risk train --labels left.csv --holdout 0.5
    """
    if kind not in ("boosted", "woe"):
        raise typer.BadParameter("use boosted or woe", param_hint=f"--kind {kind}")
    asked = read_labels(labels)
    try:
        from infra.training.fit import Shape
        from infra.training.train import About, Example
        from infra.training.train import train as learn
    except ModuleNotFoundError as error:
        raise NoTrainingExtra(str(error)) from error
    with progress(events()) as bar:
        task = bar.add_task("reading the log", total=None)
        with connected(postgres) as conn:
            known = observe(conn, asked, recorded_later, lambda read: bar.advance(task, read))
        examples = [Example(label, known[label]) for label in asked if label in known]
        _all_known(asked, known)
        about = About(name, version, bootstrap.now().date(), population=population, limits=(MIGRATED,) * recorded_later)
        shape = Shape(kind="woe" if kind == "woe" else "boosted", pairs=pairs, seed=seed)
        model = learn(examples, about, holdout, shape, lambda doing: bar.update(task, description=doing))
    file = model_out or Path(f"{model.id}.json")
    file.write_bytes(to_json(model))
    if as_json:
        card = model.card
        print_json({"model": model.id, "file": str(file), "figures": card.figures, "population": card.population})
        return
    _print(model, file)


def observe(
    conn: Connection, labels: Sequence[Label], recorded_later: bool, told: Callable[[int], None] = lambda _: None
) -> dict[Label, Mapping[str, Number]]:
    """The features of each labelled customer as of the label; absent: who had left, or of whom nothing was known."""
    wanted: dict[str, list[Label]] = {}
    for label in labels:
        wanted.setdefault(label.customer_id, []).append(label)
    last = max(label.as_of for label in labels)
    found: dict[Label, Mapping[str, Number]] = {}
    with conn.transaction():
        past = Past.of(conn, Moment(last, None if recorded_later else last), sorted(wanted))
        for customer, events in groupby(_each(conn, past, told), key=lambda event: event.meta.customer_id):
            history = list(events)
            for label in wanted[customer]:
                features = features_at(history, label.as_of, recorded_later=recorded_later)
                if measured := numbers(features, second_of(label.as_of)):
                    found[label] = measured
    return found


def _each(conn: Connection, past: Past, told: Callable[[int], None]) -> Iterator[Recorded]:
    for batch in past.events(conn, HANDLED, (), told):
        yield from batch


def _all_known(labels: Sequence[Label], known: Mapping[Label, Mapping[str, Number]]) -> None:
    unknown = [label.customer_id for label in labels if label not in known]
    if unknown:
        more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
        raise UnknownCustomers(f"{len(unknown):,} of {len(labels):,}: {', '.join(unknown[:NAMED])}{more}")


def _print(model: Model, file: Path) -> None:
    card = model.card
    print_rows(
        f"Model {model.id}", [{"figure": n.replace("_", " "), "value": f"{v:.4f}"} for n, v in card.figures.items()]
    )
    tenths = [
        {"customers": f"{one.n:,}", "forecast": f"{one.forecast:.3f}", "observed": f"{one.observed:.3f}"}
        for one in card.calibration
    ]
    print_rows("Calibration: who left of each tenth of those held out", tenths)
    say(f"{card.population} {len(model.terms)} terms. Written to {file}; compare it: kehu risk compare champion {file}")
