"""Complaint rates, root causes, effects and actions: counters added up where they are, for any grouping and window."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta

from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.totals import source_of
from projections.measures.rates import Ratio, rate_ratio
from projections.outcomes import COUNTED, CUSTOMER_DIMENSIONS, DAILY, DEADLINES, REDRESS
from projections.outcomes.causes import RootCauses, periods_until, root_causes
from projections.outcomes.effects import Effect, effects, windows
from projections.outcomes.summaries import DIMENSIONS, ComplaintRate, Tally, Window, complaint_rate
from projections.satisfaction import COUNTED as SURVEYED
from projections.satisfaction import SCORES

EVERYTHING: Mapping[str, str] = {}
CLUSTER = ("product", "cause", "branch")


def complaint_rates(
    answer: Answer, windows: Sequence[Window], by: str = "", where: Mapping[str, str] = EVERYTHING
) -> Iterator[ComplaintRate]:
    """The rates of each window, by value of a dimension or, with '', of all together, most complaints first."""
    for window in windows:
        tallies = tally(answer, window, by, where, whole=False)
        found = [complaint_rate(group, window, one) for group, one in tallies.items()]
        yield from sorted(found, key=lambda one: (-one.complaints, -one.contacts, one.group))


def effect_of(
    answer: Answer, change: date, days: int, today: date, by: str = "", where: Mapping[str, str] = EVERYTHING
) -> Iterator[tuple[str, Effect]]:
    """Each measure of each group before and after a day. Raises ValueError when no day since then is over."""
    earlier, later = windows(change, days, today)
    before, after = (tally(answer, window, by, where) for window in (earlier, later))
    for group in sorted(before.keys() | after.keys()):
        sides = before.get(group), after.get(group)
        nobody = 0 if any(side is not None and side.customer_days is not None for side in sides) else None
        first, second = (
            side or Tally(window.days, customer_days=nobody)
            for side, window in zip(sides, (earlier, later), strict=True)
        )
        for effect in effects(first, second, days, (today - later.last).days):
            yield group, effect


def tally(
    answer: Answer, window: Window, by: str = "", where: Mapping[str, str] = EVERYTHING, *, whole: bool = True
) -> dict[str, Tally]:
    """What was counted in a window, by value of a dimension, or under '' when that is ''.

    Deadlines and answers take most of the time; they are left out unless the `whole` is wanted.
    """
    if wrong := {by, *where} - {"", *DIMENSIONS}:
        raise ValueError(f"no dimension {', '.join(sorted(wrong))}: choose among {', '.join(DIMENSIONS)}")
    counts = _daily(answer, window, by, where)
    customers = _customers(answer, window, by, where)
    redress = _by_day(answer, REDRESS.name, ("currency",), ("minor",), window, by, where)
    deadlines: dict[str, list[Row]] = {}
    answers: dict[str, dict[tuple[str, int], list[int]]] = {}
    if whole:
        deadlines = _by_day(answer, DEADLINES.name, ("clock", "regime"), DEADLINES.columns, window, by, where)
        answers = _answers(answer, window, by, where)
    groups = counts.keys() | (customers or {}).keys() | deadlines.keys() | answers.keys()
    nothing = dict.fromkeys(DAILY.columns, 0)
    found = {}
    for group in sorted(groups):
        customer_days, closed = (None, 0) if customers is None else customers.get(group, (0, 0))
        found[group] = Tally(
            days=window.days,
            counts=counts.get(group, nothing),
            customer_days=customer_days,
            closed=closed,
            deadlines={(r["clock"], r["regime"]): (r["met"], r["missed"]) for r in deadlines.get(group, ())},
            redress={row["currency"]: row["minor"] for row in redress.get(group, ())},
            answers=answers.get(group, {}),
        )
    return found


def _daily(answer: Answer, window: Window, by: str, where: Mapping[str, str]) -> dict[str, Row]:
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in DAILY.columns)
    statement = f"SELECT {_group(by)}, {sums} FROM {source_of(COUNTED, [by, *where])} WHERE {_during(where)} GROUP BY 1"
    rows = answer.rows(statement, {**where, **_days(window)})
    return {row.pop("named"): row for row in rows}


def _customers(answer: Answer, window: Window, by: str, where: Mapping[str, str]) -> dict[str, tuple[int, int]] | None:
    """Days of customers and how many left, by group; None where customers do not have a dimension.

    Those of an earlier day are those of today without what moved since, so only moves from the window on are read.
    """
    if not {by, *where} - {""} <= set(CUSTOMER_DIMENSIONS):
        return None
    known, group, chosen = {}, _group(by), matching(where)
    values = {**where, **_days(window)}
    stock = f"SELECT {group}, sum(customers)::bigint AS customers FROM outcome_stock WHERE {chosen} GROUP BY 1"
    for row in answer.rows(stock, values):
        known[row["named"]] = (window.days * row["customers"], 0)
    # Whoever came on a day was missing on all days of the window before it.
    moves = f"""SELECT {group},
            sum((joined + moved_in - closed - moved_out) * (least(day, %(last)s::date + 1) - %(first)s::date))::bigint
                AS missing,
            coalesce(sum(closed) FILTER (WHERE day <= %(last)s), 0)::bigint AS closed
        FROM outcome_moves WHERE day >= %(first)s AND {chosen} GROUP BY 1"""
    for row in answer.rows(moves, values):
        all_days, _ = known.get(row["named"], (0, 0))
        known[row["named"]] = (all_days - row["missing"], row["closed"])
    return known


def _by_day(
    answer: Answer,
    table: str,
    named: Sequence[str],
    summed: Collection[str],
    window: Window,
    by: str,
    where: Mapping[str, str],
) -> dict[str, list[Row]]:
    """Counters of a table, by group."""
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in summed)
    names = ", ".join(named)
    places = ", ".join(str(place) for place in range(1, len(named) + 2))
    statement = f"SELECT {_group(by)}, {names}, {sums} FROM {table} WHERE {_during(where)} GROUP BY {places}"
    found: dict[str, list[Row]] = {}
    for row in answer.rows(f"{statement} ORDER BY {places}", {**where, **_days(window)}):
        found.setdefault(row["named"], []).append(row)
    return found


def _answers(
    answer: Answer, window: Window, by: str, where: Mapping[str, str]
) -> dict[str, dict[tuple[str, int], list[int]]]:
    """How often each score was given, of the invitations of a window: the cells of the read model of satisfaction."""
    if not {by, *where} - {""} <= set(SURVEYED.dimensions):
        return {}
    source = source_of(SURVEYED, [by, *where])
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in SCORES)
    statement = f"SELECT {_group(by)}, metric, scale, {sums} FROM {source} WHERE {_during(where)} GROUP BY 1, 2, 3"
    found: dict[str, dict[tuple[str, int], list[int]]] = {}
    for row in answer.rows(statement, {**where, **_days(window)}):
        histogram = [row[name] for name in SCORES]
        found.setdefault(row["named"], {})[row["metric"], row["scale"]] = histogram
    return found


def clusters(answer: Answer, until: date, where: Mapping[str, str] = EVERYTHING) -> RootCauses:
    """Product, cause and branch of the last period against their own year."""
    first = answer.rows("SELECT min(day) AS day FROM outcome_causes")[0]["day"]
    periods = periods_until(until, first)
    begin = (periods.before or periods.last).first
    statement = f"""SELECT product, cause, branch,
            coalesce(sum(complaints) FILTER (WHERE day >= %(split)s), 0)::bigint AS last,
            coalesce(sum(complaints) FILTER (WHERE day < %(split)s), 0)::bigint AS before
        FROM outcome_causes WHERE {_during(where)} GROUP BY 1, 2, 3"""
    values = {**where, "first": begin, "last": until, "split": periods.last.first}
    counted = ((r["product"], r["cause"], r["branch"], r["last"], r["before"]) for r in answer.rows(statement, values))
    return root_causes(counted, periods)


def complaints_of(answer: Answer, where: Mapping[str, str], window: Window, limit: int = 0) -> Iterator[Row]:
    """The complaints of a cluster that were received in a window, newest first; with 0 all of them."""
    statement = f"""SELECT case_id, received_on, product, cause, branch, segment, channel, verdict, decided_at,
            reopened, statutory_due FROM outcome_cases
        WHERE case_type = 'complaint' AND received_on BETWEEN %(first)s AND %(last)s AND {matching(where)}
        ORDER BY received_on DESC, case_id LIMIT %(limit)s"""
    for row in answer.page(statement, {**where, **_days(window)}, limit):
        yield {"case": row.pop("case_id").removeprefix("complaint-"), **row}


def actions(answer: Answer, limit: int = 0, *, only_open: bool = False, owner: str | None = None) -> Iterator[Row]:
    """Actions, the open ones first and those that are due first among them; with 0 all of them."""
    where = matching({"owner": owner}) + (" AND result IS NULL" if only_open else "")
    statement = f"""SELECT action_id, owner, due, description, product, cause, branch, opened_on, result, closed_on,
            effective_on, note FROM outcome_actions WHERE {where}
        ORDER BY result IS NOT NULL, due, action_id LIMIT %(limit)s"""
    return answer.page(statement, {"owner": owner}, limit)


def action_effect(answer: Answer, action_id: str, days: int, today: date) -> Row | None:
    """An action with the complaints of its cluster before and after it; None when there is no such action.

    What is done works from `effective_on`; what is still open is looked at from the day it was opened on. The rate is
    per customer of the branch, or per day where no customers are known.
    """
    found = answer.rows("SELECT * FROM outcome_actions WHERE action_id = %(id)s", {"id": action_id})
    if not found:
        return None
    action: Row = found[0]
    where = {name: action[name] for name in CLUSTER if action[name] is not None}
    since = action["effective_on"] or action["opened_on"]
    row = {name: value for name, value in action.items() if name not in ("position", "changed_at")}
    row |= {"since": since, "overdue": action["result"] is None and action["due"] < today, "days": days}
    if since > today - timedelta(days=1):
        return {**row, **_compared(0, 0, [None, None])}
    before, after = windows(since, days, today)
    counts = [_complaints(answer, window, where) for window in (before, after)]
    people = [_customers(answer, w, "", {n: v for n, v in where.items() if n == "branch"}) for w in (before, after)]
    customer_days = [(one or {}).get("", (0, 0))[0] for one in people]
    per_customer = min(customer_days) > 0
    exposure = [float(d) for d in customer_days] if per_customer else [float(before.days), float(after.days)]
    ratio = rate_ratio(counts[0], exposure[0], counts[1], exposure[1])
    scale = 1000 * days if per_customer else days
    rates = [scale * one / of for one, of in zip(counts, exposure, strict=True)]
    unit = f"per {'1,000 customers in ' if per_customer else ''}{days} days"
    return {**row, **_compared(counts[0], counts[1], rates, unit, ratio, after.days)}


def _compared(
    before: int,
    after: int,
    rates: Sequence[float | None],
    unit: str | None = None,
    ratio: Ratio | None = None,
    days_after: int = 0,
) -> Row:
    return {
        "days_after": days_after,
        "unit": unit,
        "complaints_before": before,
        "complaints_after": after,
        "before": rates[0],
        "after": rates[1],
        "ratio": ratio.value if ratio else None,
        "low": ratio.low if ratio else None,
        "high": ratio.high if ratio else None,
        "significant": ratio.significant if ratio else None,
    }


def _complaints(answer: Answer, window: Window, where: Mapping[str, str]) -> int:
    statement = f"SELECT coalesce(sum(complaints), 0)::bigint AS n FROM outcome_causes WHERE {_during(where)}"
    n: int = answer.rows(statement, {**where, **_days(window)})[0]["n"]
    return n


def _group(by: str) -> str:
    return f"{by} AS named" if by else "'' AS named"


def _during(where: Mapping[str, str]) -> str:
    return f"day BETWEEN %(first)s AND %(last)s AND {matching(where)}"


def _days(window: Window) -> dict[str, date]:
    return {"first": window.first, "last": window.last}
