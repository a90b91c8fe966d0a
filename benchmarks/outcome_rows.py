"""Rows of the outcomes of a bank with any number of customers, made by SQL; `benchmarks.customers` fills them in.

A year: every customer has one contact, one in six a complaint; customers came within ten years.
"""

from projections.outcomes import DAILY, TOTALLED

_PLACE = """'Branch ' || n %% %(branches)s AS branch,
        (ARRAY['', 'mortgage', 'credit_card', 'current_account', 'loan', 'savings'])[1 + n / 7 %% 6] AS product,
        (ARRAY['mass', 'affluent', 'private', 'business'])[1 + n / 5 %% 4] AS segment, '' AS project_id"""
_DAILY = f"""INSERT INTO kehu.outcome_daily (day, channel, branch, product, segment, project_id, contacts, handled,
        first_time, complaints, consultations, service_requests, disputes, data_requests, decided, upheld,
        partly_upheld, rejected, settled, redressed, withdrawn, reopened, came_back, seconds, seconds_squared, position)
    SELECT current_date - (random() * 364)::int, (ARRAY['app', 'phone', 'branch'])[1 + n %% 3], branch, product,
        segment, project_id, count(*), count(*), count(*) * 3 / 4, count(*) FILTER (WHERE n %% 6 = 0), 0, 0, 0, 0,
        count(*) FILTER (WHERE n %% 7 = 0), count(*) FILTER (WHERE n %% 14 = 0), 0, count(*) FILTER (WHERE n %% 14 = 7),
        0, 0, 0, 0, count(*) FILTER (WHERE n %% 70 = 0), count(*) * 300, count(*) * 90000, max(n)
    FROM (SELECT n, {_PLACE} FROM generate_series(1, %(customers)s) n) places GROUP BY 1, 2, 3, 4, 5, 6"""
_DEADLINES = """INSERT INTO kehu.outcome_deadlines
    SELECT day, CASE clock WHEN 'service' THEN 'service_default' ELSE 'uk_disp_standard' END, clock, channel, branch,
        product, segment, project_id, sum(decided), 0, max(position)
    FROM kehu.outcome_daily, unnest(ARRAY['statutory', 'service']) clock WHERE decided > 0
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"""
_CAUSES = """INSERT INTO kehu.outcome_causes
    SELECT day, product, 'cause ' || extract(day FROM day)::int %% 10, branch, sum(complaints), max(position)
    FROM kehu.outcome_daily WHERE complaints > 0 GROUP BY 1, 2, 3, 4"""
_MOVES = f"""INSERT INTO kehu.outcome_moves
    SELECT current_date - (random() * 3649)::int, branch, segment, project_id, count(*), 0, 0, 0, max(n)
    FROM (SELECT n, {_PLACE} FROM generate_series(1, %(customers)s) n) places GROUP BY 1, 2, 3, 4"""
_STOCK = """INSERT INTO kehu.outcome_stock
    SELECT branch, segment, project_id, sum(joined), max(position) FROM kehu.outcome_moves GROUP BY 1, 2, 3"""


def _totals(dimension: str) -> str:
    counters = ", ".join(DAILY.columns)
    sums, value = ", ".join(f"sum({name})" for name in DAILY.columns), dimension or "''"
    return f"""INSERT INTO kehu.outcome_totals (dimension, day, value, {counters}, position)
        SELECT '{dimension}', day, {value}, {sums}, max(position) FROM kehu.outcome_daily GROUP BY 1, 2, 3"""


STATEMENTS = (_DAILY, *map(_totals, ("", *TOTALLED)), _DEADLINES, _CAUSES, _MOVES, _STOCK)
