"""`kehu show root-causes`: which complaints are more than their own year lets expect."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from infra.cli.outcomes import Day, last_day
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows, say
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions.outcomes import CLUSTER, clusters, complaints_of
from projections.outcomes import OUTCOMES
from projections.outcomes.causes import STATES, Cluster, RootCauses
from projections.outcomes.rules import CLUSTERS, meaning
from projections.outcomes.summaries import Window


def root_causes(
    postgres: Postgres = "",
    product: Annotated[str | None, typer.Option(help="Only this product.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only this cause.")] = None,
    branch: Annotated[str | None, typer.Option(help="Only this branch.")] = None,
    until: Day = None,
    every: Annotated[bool, typer.Option("--all", help="Also clusters that are no alert.")] = False,
    cases: Annotated[
        tuple[str, str, str] | None,
        typer.Option("--cases", metavar="PRODUCT CAUSE BRANCH", help="The complaints of one cluster; '' for none."),
    ] = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Clusters of complaints (product, cause, branch) that are more in 28 days than their own year lets expect.

    Alert above mean + 3 * sqrt(mean) of the 12 times 28 days before, and from 5 complaints on; new when there was none
    before. Out of many clusters some are above by chance: how many is told.

    Example: kehu show root-causes --product credit_card --cases credit_card charges_performance Leeds
    """
    given = {"product": product, "cause": cause, "branch": branch}
    where = {name: value for name, value in given.items() if value is not None}
    with reading(postgres, OUTCOMES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        last = last_day(until, now)
        if cases is not None:
            rule = CLUSTERS.latest
            chosen = dict(zip(CLUSTER, cases, strict=True))
            print_rows(
                f"Complaints of a cluster, {rule.period_days} days to {last}",
                complaints_of(answer, chosen, Window.up_to(last, rule.period_days), limit),
                as_json,
                as_csv,
                as_ndjson,
                people=_case_for_people,
                wide=("case",),
                limit=limit,
                fresh=answer.fresh,
            )
            return
        found = clusters(answer, last, where)
    shown = [one for one in found.clusters if every or one.state in STATES[:2]]
    about = _about(found)
    if not (as_json or as_csv or as_ndjson):
        say(_told(found))
    print_rows(
        f"Root causes, {found.periods.last.days} days to {last}",
        [_row(one) for one in shown][: limit or None],
        as_json,
        as_csv,
        as_ndjson,
        people=_for_people,
        wide=CLUSTER,
        limit=limit,
        fresh=answer.fresh,
        about=about,
    )


def _about(found: RootCauses) -> dict[str, Any]:
    last, before = found.periods.last, found.periods.before
    return {
        "first": last.first,
        "last": last.last,
        "compared_with_first": before.first if before else None,
        "periods_before": found.periods.number,
        "looked_at": found.looked_at,
        "alerts": found.alerts,
        "expected_by_chance": round(found.by_chance, 3),
    }


def _told(found: RootCauses) -> str:
    periods, rule = found.periods, CLUSTERS.latest
    if periods.number < rule.fewest_periods:
        return (
            f"{found.looked_at} clusters; too early for alerts: {periods.number} periods of {rule.period_days} days are"
            f" known before {periods.last.first}, {rule.fewest_periods} are needed."
        )
    return (
        f"{found.looked_at} clusters, {found.alerts} above what {periods.number} periods before let expect; about"
        f" {found.by_chance:.1f} would be by chance."
    )


def _row(of: Cluster) -> dict[str, Any]:
    known = meaning(of.cause)
    numbers = {n: round(v, 6) if isinstance(v, float) else v for n, v in asdict(of).items()}
    return {**numbers, "code_list": known[0] if known else None, "meaning": known[1] if known else None}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    cause = row["meaning"] or (f"{row['cause']} (unknown code)" if row["cause"] else "(none)")
    return {
        "state": row["state"],
        "product": row["product"] or "(none)",
        "cause": cause,
        "branch": row["branch"] or "(none)",
        "now": row["count"],
        "mean\nbefore": f"{row['mean']:.1f}",
        "alert\nabove": f"{row['threshold']:.1f}",
        "chance": None if row["chance"] is None else f"{row['chance']:.2g}",
    }


def _case_for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "case": row["case"],
        "received": row["received_on"],
        "segment": row["segment"] or "(none)",
        "channel": row["channel"],
        "verdict": row["verdict"],
        "reopened": row["reopened"],
        "due by law": row["statutory_due"],
    }
