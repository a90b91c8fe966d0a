"""What a build folded, compared with the log: the first event that is missing, doubled or different."""

from dataclasses import dataclass
from typing import Any

import psycopg

from domain import registry
from domain.values import Position
from infra.postgres.builds import Build
from projections.completeness import RANGE, explain
from projections.declare import Projection

Conn = psycopg.Connection[dict[str, Any]]

# The same as `projections.completeness.proofs_of`.
_DIGEST = """('x' || encode(substr(sha256(convert_to(
    notification_id || '/' || originator_version || '/' || originator_id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint"""

_FIRST = f"""WITH b AS (SELECT greatest(coalesce(counted_from, position), %(after)s) AS after, position
        FROM kehu.projection_builds WHERE name = %(name)s AND version = %(version)s AND build = %(build)s),
    stored AS (SELECT (notification_id - 1) / {RANGE} * {RANGE} AS start, count(*) AS n, bit_xor({_DIGEST}) AS together
        FROM kehu.stored_events, b
        WHERE notification_id > b.after AND notification_id <= b.position AND topic = ANY(%(topics)s) GROUP BY 1),
    folded AS (SELECT range_start AS start, events AS n, digest AS together FROM kehu.projection_folds, b
        WHERE name = %(name)s AND version = %(version)s AND build = %(build)s AND range_start > b.after - {RANGE})
    SELECT start, greatest(start, b.after) AS after, b.position, coalesce(folded.n, 0) AS n,
        coalesce(folded.together, 0) AS together
    FROM stored FULL JOIN folded USING (start), b
    WHERE (stored.n, stored.together) IS DISTINCT FROM (folded.n, folded.together) ORDER BY start LIMIT 1"""  # noqa: S608

_RANGE = f"""SELECT notification_id AS position, {_DIGEST} AS digest FROM kehu.stored_events
    WHERE notification_id > %(after)s AND notification_id <= least(%(start)s + {RANGE}, %(position)s)
    AND topic = ANY(%(topics)s) ORDER BY 1"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Hole:
    """The first place where a build does not hold what the log holds: missing, doubled or different."""

    kind: str
    first: Position
    last: Position
    """Equal to `first` when the event is known, or else the end of the range in which it is."""

    def __str__(self) -> str:
        where = f"position {self.first}" if self.first == self.last else f"positions {self.first} to {self.last}"
        return f"{where}: {self.kind}"


def first_hole(conn: Conn, projection: Projection, build: Build, after: int = 0) -> Hole | None:
    """Compare what was folded after a position with the log, in about a second per million events."""
    topics = registry.topics(projection.handles)
    asked = {
        "name": build.name,
        "version": build.version,
        "build": build.build,
        "topics": topics,
        "after": after // RANGE * RANGE,
    }
    row = conn.execute(_FIRST, asked).fetchone()
    if row is None:
        return None
    found = conn.execute(_RANGE, {**row, "topics": topics}).fetchall()
    stored = [(one["position"], one["digest"]) for one in found]
    kind, position = explain(stored, row["n"], row["together"])
    if position is None:
        return Hole(kind, Position(row["after"] + 1), Position(min(row["start"] + RANGE, row["position"])))
    return Hole(kind, Position(position), Position(position))
