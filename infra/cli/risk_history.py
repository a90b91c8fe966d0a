"""`kehu show risk-history`: each moment at which the score of a customer changed, and why."""

from typing import Annotated, Any

import typer

from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows
from infra.cli.reading import At, KnownAt, reading
from infra.cli.retention_risk import UnknownCustomer
from infra.cli.risk import WHICH, chosen
from infra.cli.servers import Postgres
from infra.postgres.questions.customers import as_row, events_of, scorer_at
from infra.postgres.questions.forgotten import require_living
from infra.postgres.risk_models import usable
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.retention_risk import RETENTION_RISK, Scorer
from projections.retention_risk.observed import Change, trajectory


def risk_history(
    customer: Annotated[str, typer.Argument(help="The customer.")],
    postgres: Postgres = "",
    model: Annotated[str | None, typer.Option(help=f"{WHICH} The champion if absent.")] = None,
    as_happened: Annotated[
        bool, typer.Option("--as-happened", help="Also by what was recorded later: how it was, not what was known.")
    ] = False,
    limit: Limit = 0,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Each moment at which the score of a customer changed, oldest first: at an event, or because time passed.

    It is folded anew from the customer's events, by one model for the whole time, and by what the bank knew at each
    moment; nothing of it is stored. --limit gives the latest ones. It ends at --at, or now, and with --known-at has no
    event that was recorded later. Who was forgotten has no history.

    Example: kehu show risk-history c-100023 --model cold_start
    """
    asked = (RETENTION_RISK, CUSTOMER_TIMELINE)
    with reading(postgres, *asked, at=at, known_at=known_at, customers=(customer,)) as (answer, now):
        require_living(answer, customer)
        scorer = scorer_at(answer, now) if model is None else usable(answer.ask(lambda conn: chosen(conn, model)))
        events = events_of(answer, [customer], upto=answer.fresh[0].position)
        if not events:
            raise UnknownCustomer(customer)
        changes = list(trajectory(events, scorer, now, recorded_later=as_happened))
        fresh = answer.fresh
    rows = [_row(one, scorer) for one in (changes[-limit:] if limit else changes)]
    title = f"Retention risk of {customer} by {scorer.model.id}, oldest first"
    print_rows(title, rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("reasons", "because"), fresh=fresh)


def _row(change: Change, scorer: Scorer) -> dict[str, Any]:
    event = change.because
    because = None
    if event is not None:
        because = {
            "type": event.name,
            "source": event.meta.source,
            "event_id": event.meta.event_id,
            "position": event.position,
        }
    return {"at": change.at, **as_row(change.scored, scorer), "because": because}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    because = row["because"]
    return {
        "since (UTC)": row["at"],
        "band": row["band"],
        "risk": percent(row["probability"], 1),
        "score": row["score"],
        "because": f"{because['type']} {because['source']}#{because['event_id']}" if because else "time passed",
        "reasons": "\n".join(f"{float(one['points']):+.1f} {one['code'].replace('-', ' ')}" for one in row["reasons"]),
    }
