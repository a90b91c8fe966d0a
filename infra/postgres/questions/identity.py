"""Who is one with whom, and who might be: merges that hold, strong ids that conflict, and ids that several share."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Sequence

from domain.customer.identity import NUMBER, STRONG, WEAK, Matching, normal_form
from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Row
from projections.customers.aliases import Group, Merge, group_of
from projections.customers.unified import strong_conflicts

# Both ways along the merges, each by its own index; the limit keeps the planner, which expects more of them, at a look
# into the index for each.
_JOINED = """WITH RECURSIVE related (id) AS (
        SELECT %(customer)s::text
        UNION SELECT next.id FROM related r CROSS JOIN LATERAL (
            SELECT a.into_id AS id FROM customer_aliases a WHERE a.customer_id = r.id AND a.active
            UNION ALL SELECT a.customer_id FROM customer_aliases a WHERE a.into_id = r.id AND a.active) next)
    SELECT a.customer_id, a.into_id, a.since, a.reason, a.merged_by, a.source, a.event_id, a.merged_at
    FROM related r CROSS JOIN LATERAL (
        SELECT * FROM customer_aliases a WHERE a.customer_id = r.id AND a.active LIMIT 1) a ORDER BY a.merged_at"""
_IS_STRONG = f"(field = ANY(%(strong)s) OR starts_with(field, '{NUMBER}@'))"

_WORTH = """CASE field WHEN 'email' THEN %(email)s::float8 WHEN 'phone' THEN %(phone)s::float8
    WHEN 'device_ids' THEN %(device)s::float8 ELSE %(worth)s::float8 END"""
_OF_ONE = """AND (matched, field) IN
    (SELECT matched, field FROM customer_personal WHERE customer_id = %(customer)s)"""
_PAIR_OF_ONE = "AND %(customer)s IN (a.customer_id, b.customer_id)"


def merges_around(answer: Answer, customer_id: str) -> tuple[Group, list[Row]]:
    """All that are one with a customer, and the merges that join them, oldest first."""
    rows = answer.rows(_JOINED, {"customer": customer_id})
    return group_of(customer_id, [Merge(r["customer_id"], r["into_id"], r["merged_at"]) for r in rows]), rows


def ever_linked(answer: Answer, customer_id: str) -> list[str]:
    """All that a merge, undone or not, leads to from a customer, this one first."""
    query = """WITH RECURSIVE related (id) AS (
            SELECT %(customer)s::text
            UNION SELECT CASE r.id WHEN a.customer_id THEN a.into_id ELSE a.customer_id END
                FROM related r JOIN customer_aliases a ON r.id IN (a.customer_id, a.into_id))
        SELECT id FROM related"""
    found = [row["id"] for row in answer.rows(query, {"customer": customer_id})]
    return sorted(found, key=lambda one: (one != customer_id, one))


def conflicts(answer: Answer, ids: Sequence[str]) -> list[Row]:
    """The strong ids that differ among these customers, each with its values and whose they are."""
    query = f"""SELECT customer_id, field, value FROM customer_personal
        WHERE customer_id = ANY(%(ids)s) AND {_IS_STRONG}"""
    rows = answer.rows(query, {"ids": list(ids), "strong": list(STRONG)})
    return strong_conflicts((row["customer_id"], row["field"], row["value"]) for row in rows)


def aliases(
    answer: Answer, limit: int = 0, *, into: str | None = None, by: str | None = None, ended: bool = False
) -> Iterator[Row]:
    """So many absorbed customers, or with 0 all of them, by id, each with the survivor that it leads to.

    With `ended` those whose merge was undone, too; they are their own survivors.
    """
    chosen = {"into_id": into, "merged_by": by}
    where = matching(chosen) + ("" if ended else " AND active")
    query = f"SELECT * FROM customer_aliases WHERE {where} ORDER BY customer_id LIMIT %(limit)s"
    names = ("customer_id", "into_id", "active", "since", "merged_by", "reason", "source", "event_id", "merged_at")
    for row in answer.page(query, chosen, limit):
        survivor = merges_around(answer, row["customer_id"])[0].survivor
        ends = {name: row[name] for name in ("ended_at", "ended_by", "ended_reason")}
        yield {**{name: row[name] for name in names}, "survivor": survivor, **ends, "position": row["position"]}


def holders(answer: Answer, value: str, rule: Matching) -> list[str]:
    """Who has this e-mail address, phone, device, customer number or hash of an id, by id."""
    forms = {form for name in (*WEAK, NUMBER) if (form := normal_form(name, value, rule)) is not None}
    query = """SELECT DISTINCT customer_id FROM customer_personal
        WHERE matched = ANY(%(forms)s) ORDER BY customer_id"""
    return [row["customer_id"] for row in answer.rows(query, {"forms": sorted(forms)})]


def duplicates(
    answer: Answer,
    rule: Matching,
    limit: int = 0,
    *,
    smallest_score: float | None = None,
    customer_id: str | None = None,
) -> Iterator[Row]:
    """Pairs who share ids and are not one yet, the surest first; a value that too many share is left out.

    The score is 1 - (1 - a)(1 - b)… over the shared values. `conflicts` names strong ids that differ: those two cannot
    be merged. A value is looked at once, and gives no more pairs than its few holders make.
    """
    of_one = "" if customer_id is None else _OF_ONE
    query = f"""WITH shared AS (
            SELECT field, matched FROM customer_personal WHERE matched IS NOT NULL {of_one}
            GROUP BY matched, field HAVING count(DISTINCT customer_id) BETWEEN 2 AND %(most)s),
        pairs AS (
            SELECT a.customer_id AS one, b.customer_id AS other, array_agg(DISTINCT field ORDER BY field) AS fields,
                1 - exp(sum(ln(1 - {_WORTH}))) AS score
            FROM (SELECT DISTINCT s.field, s.matched, p.customer_id FROM shared s
                    JOIN customer_personal p ON (p.matched, p.field) = (s.matched, s.field)) a
                JOIN (SELECT DISTINCT s.field, s.matched, p.customer_id FROM shared s
                    JOIN customer_personal p ON (p.matched, p.field) = (s.matched, s.field)) b
                USING (field, matched)
            WHERE a.customer_id < b.customer_id {"" if customer_id is None else _PAIR_OF_ONE} GROUP BY 1, 2)
        SELECT one, other, round(score::numeric, 3)::float8 AS score, fields,
            ARRAY(SELECT field FROM customer_personal x JOIN customer_personal y USING (field)
                WHERE x.customer_id = one AND y.customer_id = other AND x.value <> y.value AND {_IS_STRONG}
                ORDER BY field) AS conflicts,
            (SELECT max(merged_at) FROM customer_aliases
                WHERE active AND customer_id = ANY(ARRAY[one, other])) AS merged_at
        FROM pairs WHERE score >= %(smallest)s ORDER BY score DESC, one, other"""
    values = {
        "most": rule.most_sharing,
        "smallest": rule.smallest_score if smallest_score is None else smallest_score,
        "customer": customer_id,
        "strong": list(STRONG),
        "email": rule.email,
        "phone": rule.phone,
        "device": rule.device,
        "worth": rule.strong,
    }
    left = limit
    # Of one customer there are few.
    for row in answer.stream(query, values) if customer_id is None else answer.rows(query, values):
        # Two who are one are joined by merges of which at least one has one of them as its alias.
        if row.pop("merged_at") is not None and row["other"] in merges_around(answer, row["one"])[0].members:
            continue
        yield row
        left -= 1
        if not left:
            return


def left_out(answer: Answer, rule: Matching) -> int:
    """How many values more customers share than a suggestion is made of."""
    query = """SELECT count(*) AS n FROM (SELECT FROM customer_personal WHERE matched IS NOT NULL
        GROUP BY matched, field HAVING count(DISTINCT customer_id) > %(most)s) many"""
    return int(answer.rows(query, {"most": rule.most_sharing})[0]["n"])
