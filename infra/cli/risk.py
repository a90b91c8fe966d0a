"""`kehu risk`: models of retention risk: which there are, who scores, how two of them differ."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_json, print_rows, say
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Connection, Postgres, connected
from infra.cli.who import By, who
from infra.errors import KehuError
from infra.postgres import risk_models
from infra.postgres.questions.risk import SCORED, Comparison, both_opinions, compared
from projections.retention_risk import RETENTION_RISK, Model, NoModel, from_json

WHICH = "Its id such as cold_start.1, its name for the newest version, or the file of one."


class NoSuchFile(KehuError):
    """The file of a model cannot be read. `kehu risk train` writes one; `kehu risk models` lists what is known."""

    exit_code = 2


def chosen(conn: Connection, said: str) -> Model:
    """The model that a person named. Raises UnknownModel, NoSuchFile or UnusableModel."""
    if not said.endswith(".json"):
        return risk_models.model(conn, said)
    try:
        return from_json(Path(said).read_bytes())
    except OSError as error:
        raise NoSuchFile(f"{said}: {error.strerror}") from error
    except NoModel as error:
        raise risk_models.UnusableModel(f"{said}: {error}") from error


def models(postgres: Postgres = "", as_json: Json = False, as_csv: Csv = False, as_ndjson: Ndjson = False) -> None:
    """The models that are known, with their figures on customers that were held out, and the champion.

    Example: kehu risk models
    """
    with connected(postgres) as conn:
        best, known = risk_models.champion(conn, bootstrap.now()), risk_models.models(conn)
        done = {row["model"]: row for row in reversed(risk_models.promotions(conn))}
    rows = [_row(one, one.id == best.id, done.get(one.id)) for one in known]
    print_rows("Models of retention risk", rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("promoted",))


def _row(one: Model, champion: bool, promoted: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "model": one.id,
        "kind": one.kind,
        "champion": champion,
        "effective_from": one.effective_from,
        "terms": len(one.terms),
        "figures": one.card.figures,
        "purpose": one.card.purpose,
        "population": one.card.population,
        "period": one.card.period,
        "limits": list(one.card.limits),
        "promoted": promoted,
    }


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    promoted, figures = row["promoted"], row["figures"]
    return {
        **{name: row[name] for name in ("model", "kind", "champion", "terms")},
        **{name: figures.get(name) for name in ("auc", "ks", "psi")},
        "promoted": promoted
        and f"{promoted['promoted_at']:%Y-%m-%d} by {promoted['promoted_by']}: {promoted['reason']}",
    }


def promote(
    model: Annotated[str, typer.Argument(help=WHICH)],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")],
    postgres: Postgres = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Let every row be scored by this model from now on. A file is made known first.

    All workers change over with their next batch; rows that no event touches are scored anew by sweeps, and whoever
    asks before sees the new score already. To go back, promote the former model.

    Example: kehu risk promote attrition.1.json --reason "KS 0.88 on customers held out"
    """
    with connected(postgres) as conn:
        found = chosen(conn, model)
        if model.endswith(".json"):
            risk_models.add(conn, found)
        former = risk_models.champion(conn, bootstrap.now())
        due = risk_models.promote(conn, found, who(by), reason, bootstrap.now())
    if as_json:
        print_json({"champion": found.id, "former": former.id, "due": due})
    else:
        say(f"{found.id} scores now, {former.id} did before; {due:,} customers are due to be scored anew.")


def add(
    file: Annotated[str, typer.Argument(help="A model as `kehu risk train` wrote it.")],
    postgres: Postgres = "",
) -> None:
    """Make a model known without its scoring anything: a challenger.

    Example: kehu risk add attrition.1.json
    """
    with connected(postgres) as conn:
        found = chosen(conn, file if file.endswith(".json") else f"{file}.json")
        risk_models.add(conn, found)
    say(f"{found.id} is known. Compare it: kehu risk compare champion {found.id}")


def compare(
    champion: Annotated[str, typer.Argument(help=f"{WHICH} `champion` is the one that scores.")],
    challenger: Annotated[str, typer.Argument(help=WHICH)],
    postgres: Postgres = "",
    branch: Annotated[str | None, typer.Option(help="Only this branch.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only this segment.")] = None,
    manager: Annotated[str | None, typer.Option(help="Only customers of this relationship manager.")] = None,
    limit: Limit = 10,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Score every customer by two models as of now: who changes the band, how stable both are, and who differs most.

    --limit chooses how many of those are listed who differ most; --limit 0 exports everybody, by id. CSV and NDJSON
    have only the customers, JSON also the bands and how stable both models are.

    Example: kehu risk compare champion attrition.1.json --branch Leeds
    """
    filters = {"branch": branch, "segment": segment, "manager_id": manager}
    with reading(postgres, RETENTION_RISK, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        ours, theirs = (
            risk_models.usable(answer.ask(lambda conn, said=said: _one_of(conn, said, now)))  # type: ignore[misc]
            for said in (champion, challenger)
        )
        found = compared(answer, ours, theirs, now, limit, filters)
        told = _compared(found, ours.model.id, theirs.model.id)
        if not (as_json or as_csv or as_ndjson):
            _print_comparison(told)
        print_rows(
            "Customers that differ most" if limit else "Customers",
            [one for _, _, one in found.most] if limit else both_opinions(answer, ours, theirs, now, filters),
            as_json,
            as_csv,
            as_ndjson,
            people=_difference,
            wide=("champion", "challenger"),
            limit=limit,
            fresh=answer.fresh,
            about=told,
        )


def _one_of(conn: Connection, said: str, now: datetime) -> Model:
    return risk_models.champion(conn, now) if said == "champion" else chosen(conn, said)


def _compared(found: Comparison, ours: str, theirs: str) -> dict[str, Any]:
    return {
        "champion": ours,
        "challenger": theirs,
        "customers": found.customers,
        "bands": [{"champion": a, "challenger": b, "customers": found.bands[a, b]} for a in SCORED for b in SCORED],
        "psi_of_bands": found.psi_of_bands(),
        "psi_against_reference": dict(zip(("champion", "challenger"), found.against_reference, strict=True)),
        "correlation": found.correlation(),
    }


def _print_comparison(told: dict[str, Any]) -> None:
    counts = {(one["champion"], one["challenger"]): one["customers"] for one in told["bands"]}
    rows = [
        {f"{told['champion']} ↓  {told['challenger']} →": a, **{b: f"{counts[a, b]:,}" for b in SCORED}} for a in SCORED
    ]
    print_rows(f"Bands of {told['customers']:,} customers", rows)
    both = told["psi_against_reference"]
    figures = {
        "correlation of the logits": told["correlation"],
        "PSI of the bands": told["psi_of_bands"],
        f"PSI of {told['champion']} against its population": both["champion"],
        f"PSI of {told['challenger']} against its population": both["challenger"],
    }
    print_rows(
        "How far they differ", [{"figure": n, "value": None if v is None else f"{v:.3f}"} for n, v in figures.items()]
    )


def _difference(one: dict[str, Any]) -> dict[str, Any]:
    return {"customer": one["customer_id"], **{side: _opinion(one, side) for side in ("champion", "challenger")}}


def _opinion(one: dict[str, Any], side: str) -> str:
    reason = one[f"{side}_reason"]
    because = f"\n{float(reason['points']):+.1f} {reason['code']}: {reason['value']}" if reason else ""
    return f"{one[f'{side}_band']}, {percent(one[f'{side}_probability'], 1)}{because}"
