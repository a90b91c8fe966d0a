"""Read models of a bank with any number of customers, made by SQL in the shape and the numbers of the example bank."""

import psycopg

from benchmarks import outcome_rows
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from projections.satisfaction import DAILY, TOTALLED
from projections.service_queues import ITEMS

EVENTS_EACH = 9
"""Events on the timeline of a customer, as in the example bank."""
BRANCHES, MANAGERS, QUEUES = 100, 500, 6

_RISK = """INSERT INTO kehu.retention_risk (customer_id, band, probability, logit, reasons, scored_at, next_change_at,
        branch, segment, manager_id, features, position)
    SELECT 'c-' || lpad(n::text, 9, '0'),
        CASE WHEN share < 0.04 THEN 'closed' WHEN share < 0.05 THEN 'high' WHEN share < 0.09 THEN 'medium'
            ELSE 'low' END,
        CASE WHEN share < 0.04 THEN NULL WHEN share < 0.05 THEN 0.3 + (n %% 30) / 50.0
            WHEN share < 0.09 THEN 0.1 + (n %% 20) / 101.0 ELSE 0.01 + (n %% 18) / 201.0 END,
        -3, '[{"code": "inactive", "value": "since 2026-01-04", "points": "0.4", "window": "30 d",
            "sources": ["/complaints-desk#e-0050202"]}, {"code": "many-products", "value": "3 products",
            "points": "-0.6", "window": "now", "sources": ["/crm#e-0000135"]}]',
        now(), now() + (1 + n %% 90) * interval '1 day', 'Branch ' || n %% %(branches)s,
        (ARRAY['mass', 'affluent', 'private', 'business'])[1 + (random() * 3)::int], 'm-' || n %% %(managers)s,
        '{"at": 1771003226, "nps": [1771003226, 5, 10, "/surveys#e-0050219"], "cases": {}, "salaries": [20342, 20372],
            "since": [18718, "/crm#e-0000135"], "active": [1767530841, "/complaints-desk#e-0050202"],
            "posted": [[20342, 20372, 20402, 20407, 20419, 20431], [1, 1, 1, 1, 1, 1]],
            "products": [3, "/crm#e-0000135"], "salary_source": "/core-banking#e-0050190"}', n
    FROM (SELECT n, random() AS share FROM generate_series(1, %(customers)s) n) shares"""
_TIMELINE = """INSERT INTO kehu.customer_timeline (customer_id, log_position, occurred_at, recorded_at, type, stream,
        summary, source, event_id, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), n::bigint * %(each)s + e, now() - random() * interval '180 days', now(),
        'transaction.posted', 'account-a-' || n, 'Card purchase -12.50 GBP on a-' || n, '/core-banking',
        'e-' || n::bigint * %(each)s + e, n::bigint * %(each)s + e
    FROM generate_series(1, %(customers)s) n, generate_series(1, %(each)s) e"""
_CUSTOMERS = """INSERT INTO kehu.customers (customer_id, kind, country, customer_since, branch, segment, manager_id,
        products, registered_at, set_by, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), 'person', 'GB', date '2010-01-01' + n %% 5000,
        'Branch ' || n %% %(branches)s,
        (ARRAY['mass', 'affluent', 'private', 'business'])[1 + n %% 4], 'm-' || n %% %(managers)s,
        '["savings", "mortgage"]', now(), jsonb_build_object('', jsonb_build_array('/crm#e-' || n, n, now())), n
    FROM generate_series(1, %(customers)s) n"""
# One in fifty shares a phone with another; nobody else shares anything.
_PERSONAL = """INSERT INTO kehu.customer_personal (customer_id, field, item, value, matched, occurred_at, source,
        event_id, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), field, '', field || ' of ' || n, CASE field WHEN 'name' THEN NULL
            WHEN 'phone' THEN 'phone of ' || n - CASE WHEN n %% 50 = 0 THEN 1 ELSE 0 END ELSE field || ' of ' || n END,
        now(), '/crm', 'e-' || n, n
    FROM generate_series(1, %(customers)s) n, unnest(ARRAY['name', 'email', 'phone', 'customer_number']) field"""
_CONSENTS = """INSERT INTO kehu.customer_consents (customer_id, purpose, channel, status, since, expires_at, source,
        event_id, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), 'marketing', channel,
        (ARRAY['granted', 'denied', 'revoked'])[1 + n %% 3], now(),
        CASE WHEN n %% 2 = 0 THEN now() + n %% 400 * interval '1 day' - interval '200 days' END, '/app', 'e-' || n, n
    FROM generate_series(1, %(customers)s) n, unnest(ARRAY['email', 'phone']) channel WHERE n %% 4 = 0"""
_PROJECTS = """INSERT INTO kehu.customer_projects (customer_id, project_id, first_at, last_at, events, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), 'p-' || n %% 1000, now(), now(), 3, n
    FROM generate_series(1, %(customers)s) n WHERE n %% 30 = 0"""
_ANSWERS = """INSERT INTO kehu.customer_answers (customer_id, metric, score, scale, answered_at, invitation_id, channel,
        source, event_id, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), 'csat', 1 + n %% 5, 5, now(), 's-' || n, 'app', '/surveys', 'e-' || n, n
    FROM generate_series(1, %(customers)s) n WHERE n %% 5 = 0"""
# One in twenty is merged into the next.
_ALIASES = """INSERT INTO kehu.customer_aliases (customer_id, into_id, active, since, reason, merged_by, source,
        event_id, merged_at, position)
    SELECT 'c-' || lpad(n::text, 9, '0'), 'c-' || lpad((n + 1)::text, 9, '0'), true, now(), 'the same', 'desk',
        '/kehu/customers', 'e-' || n, n, n
    FROM generate_series(1, %(customers)s - 1) n WHERE n %% 20 = 19"""
_PEOPLE = (_CUSTOMERS, _PERSONAL, _CONSENTS, _PROJECTS, _ANSWERS, _ALIASES)
# One customer in six had a case, one in thirty has one that is open; one in a thousand waits for an agent. Rows lie as
# they came.
_ITEMS = """INSERT INTO kehu.queue_items (item_id, kind, queue, status, case_type, open, customer_id, channel, priority,
        regime, opened_at, waiting_since, statutory_from, statutory_due, service_from, service_due, due, at_risk_at,
        reopened, branch, product, segment, position)
    SELECT CASE WHEN contact THEN 'contact-' ELSE 'complaint-' END || n,
        CASE WHEN contact THEN 'contact' ELSE 'case' END, 'queue ' || n / 30 %% %(queues)s,
        CASE WHEN contact THEN 'waiting' WHEN open THEN 'assigned' ELSE 'closed' END,
        CASE WHEN NOT contact THEN 'complaint' END, open,
        'c-' || lpad(n::text, 9, '0'), 'app', 3, 'uk-fca', opened_at, opened_at, opened_at,
        CASE WHEN open AND NOT contact THEN opened_at + interval '56 days' END, opened_at,
        CASE WHEN open AND NOT contact THEN opened_at + interval '10 days' END,
        CASE WHEN open AND NOT contact THEN opened_at + interval '10 days' END,
        CASE WHEN open AND NOT contact THEN opened_at + interval '7.5 days' END, 0, 'Branch ' || n %% %(branches)s,
        'credit_card', 'mass', n
    FROM (SELECT n, n %% 1000 = 7 AS contact, n %% 30 = 0 OR n %% 1000 = 7 AS open,
            now() - random() * CASE WHEN n %% 30 = 0 THEN 40 WHEN n %% 1000 = 7 THEN 0.1 ELSE 180 END * interval '1 day'
                AS opened_at
        FROM generate_series(1, %(customers)s) n WHERE n %% 6 = 0 OR n %% 1000 = 7) items ORDER BY opened_at"""
_FLOW = """INSERT INTO kehu.queue_flow
    SELECT 'queue ' || q, kind, current_date - d,
        90, 88, 85, 3, 5, 80, 70, 80, 60, 55, 20, 2, 18, 4, 900, 9000, 300, 600, 1
    FROM generate_series(0, %(queues)s - 1) q, unnest(ARRAY['case', 'contact']) kind, generate_series(0, 179) d"""
# Nearly half of the customers were invited within half a year.
_SATISFACTION = """INSERT INTO kehu.satisfaction_daily
    SELECT current_date - (random() * 179)::int, (ARRAY['csat', 'nps', 'ces'])[1 + m],
        (ARRAY[5, 10, 7])[1 + m], (ARRAY['app', 'email', 'sms', 'web'])[1 + (random() * 3)::int],
        'Branch ' || (random() * (%(branches)s - 1))::int,
        (ARRAY['', 'mortgage', 'credit_card', 'current_account', 'loan', 'savings'])[1 + (random() * 5)::int],
        (ARRAY['mass', 'affluent', 'private', 'business'])[1 + (random() * 3)::int], '', '',
        count(*), count(*) FILTER (WHERE score >= 0), 0, 0, 0,
        {scores}, max(n)
    FROM (SELECT n, n %% 3 AS m, CASE WHEN random() < 0.3 THEN (random() * 4)::int + 1 ELSE -1 END AS score
        FROM generate_series(1, (%(customers)s * 0.46)::int) n) answers GROUP BY 1, 2, 3, 4, 5, 6, 7""".replace(
    "{scores}", ", ".join(f"count(*) FILTER (WHERE score = {score})" for score in range(11))
)
_TOTALS = """INSERT INTO kehu.satisfaction_totals (dimension, day, metric, scale, value, {counters}, position)
    SELECT '{dimension}', day, metric, scale, {value}, {sums}, max(position)
    FROM kehu.satisfaction_daily GROUP BY 1, 2, 3, 4, 5"""


def name(number: int) -> str:
    """The id of a customer, counted from 1."""
    return f"c-{number:09}"


def _totals(dimension: str) -> str:
    sums = ", ".join(f"sum({name})" for name in DAILY.columns)
    value = dimension or "''"
    return _TOTALS.format(dimension=dimension, value=value, counters=", ".join(DAILY.columns), sums=sums)


def fill(postgres: str, customers: int) -> None:
    """Schema, and the rows of so many customers, as old as a half a year."""
    migrate(postgres)
    models = PostgresReadModels(postgres)
    for projection in ALL:
        models.create(projection)
    models.close()
    given = {
        "customers": customers,
        "each": EVENTS_EACH,
        "branches": BRANCHES,
        "managers": MANAGERS,
        "queues": QUEUES,
    }
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("SELECT setseed(0.7)")
        for statement in (_RISK, _TIMELINE, _ITEMS, _FLOW, _SATISFACTION, *_PEOPLE, *outcome_rows.STATEMENTS):
            conn.execute(statement.encode(), given)
        for dimension in ("", *TOTALLED):
            conn.execute(_totals(dimension).encode())
        conn.execute("VACUUM ANALYZE")
        # Half of what changes between two times that the table is cleared up: an index alone does not tell everywhere
        # what is there.
        assert ITEMS.clear_after is not None
        changed = "SELECT item_id FROM kehu.queue_items WHERE open ORDER BY hashtext(item_id) LIMIT %s"
        changes = f"UPDATE kehu.queue_items SET priority = 2 WHERE item_id IN ({changed})"
        conn.execute(changes.encode(), (ITEMS.clear_after // 2,))
        conn.execute("CHECKPOINT")
