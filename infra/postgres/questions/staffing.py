"""How many agents live queues need, from what came and how long it took."""

from datetime import datetime, timedelta

from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Row
from projections.measures.staffing import agents_needed
from projections.service_queues import RULES
from projections.service_queues import WINDOWS as RULED

WINDOWS = (RULED.latest.short_days, RULED.latest.long_days)
"""Over how many days arrivals can be looked at."""
HOUR = 3600


def staffing_of(answer: Answer, now: datetime, days: int, hours: float, queue: str | None = None) -> list[Row]:
    """For each queue of contacts a row for its busiest day and one for the mean of the days before today.

    The load is spread evenly over so many `hours` a day. A queue that handled nothing in the window has no row, since
    nothing says how long a contact takes.
    """
    rule = RULES.at(now)
    chosen = {"kind": "contact", **({"queue": queue} if queue else {})}
    query = f"""SELECT queue, max(inflow) AS busiest, sum(inflow)::float8 / %(days)s AS mean,
            sum(talk_seconds + wrap_up_seconds)::float8 / nullif(sum(handled), 0) AS handling_time
        FROM queue_flow WHERE day >= %(first)s AND day < %(today)s AND {matching(chosen)}
        GROUP BY queue ORDER BY queue"""  # noqa: S608 (names of our own columns; values are parameters)
    today = now.date()
    values = {**chosen, "days": days, "first": today - timedelta(days=days), "today": today}
    rows: list[Row] = []
    for row in answer.rows(query, values):
        handling = row["handling_time"]
        for name in ("busiest", "mean"):
            if not handling or not row[name]:
                continue
            rate = row[name] / (hours * HOUR)
            needed = agents_needed(rate, handling, rule.answer_within_seconds, rule.service_level)
            rows.append(
                {
                    "queue": row["queue"],
                    "day": name,
                    "contacts": round(row[name], 1),
                    "handling_time": round(handling, 1),
                    "agents": needed.agents,
                    "service_level": needed.service_level,
                    "speed_of_answer": needed.speed_of_answer,
                    "occupancy": needed.occupancy,
                    "answer_within": rule.answer_within_seconds,
                    "target": rule.service_level,
                }
            )
    return rows
