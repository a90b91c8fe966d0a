"""Which models of retention risk there are, and which one is the champion: the one that rows are scored by.

Those of the release are always known. A trained one is added from its document, which never changes then.
"""

from datetime import datetime
from functools import lru_cache

from psycopg import sql

from domain.administration import ModelPromoted
from infra.errors import KehuError
from infra.postgres import acts
from infra.postgres.builds import COLUMNS, of_row
from infra.postgres.querying import Connection, Row, dict_rows
from projections.declare import Projection
from projections.retention_risk import (
    COLD,
    COLD_START,
    RELEASED,
    RETENTION_RISK,
    RISK,
    Model,
    NoModel,
    Scorer,
    from_json,
    to_json,
)


class UnknownModel(KehuError):
    """No such model of retention risk is known. `kehu risk models` lists them; give the file of a new one."""


class UnusableModel(KehuError):
    """This model cannot score. Train it again with `kehu risk train`, or correct the document."""

    exit_code = 2


class OtherModel(KehuError):
    """A model with this name and version is known and says something else. Give the new one another version."""


def models(conn: Connection) -> list[Model]:
    """All that are known, those of the release first."""
    rows = dict_rows(conn, "SELECT document FROM kehu.risk_models ORDER BY added_at, id")
    return [*RELEASED.values(), *(_read(row["document"].encode()) for row in rows)]


def model(conn: Connection, model_id: str) -> Model:
    """The model with this id, or of this name the one with the greatest version. Raises UnknownModel."""
    known = models(conn)
    found = [one for one in known if one.id == model_id] or sorted(
        (one for one in known if one.name == model_id), key=lambda one: one.version
    )
    if not found:
        raise UnknownModel(f"{model_id}; known: {', '.join(one.id for one in known)}")
    return found[-1]


def document(conn: Connection, model_id: str) -> bytes:
    """The document of a model that a build names. Raises UnknownModel."""
    if model_id in RELEASED:
        return to_json(RELEASED[model_id])
    rows = dict_rows(conn, "SELECT document FROM kehu.risk_models WHERE id = %s", (model_id,))
    if not rows:
        raise UnknownModel(model_id)
    return bytes(rows[0]["document"].encode())


def champion(conn: Connection, at: datetime) -> Model:
    """The model that was promoted last by a moment; before any, the scorecard without labels."""
    return champion_scorer(conn, at).model


def champion_scorer(conn: Connection, at: datetime) -> Scorer:
    """What scores by that model. Raises UnusableModel."""
    query = """SELECT p.model, m.document FROM kehu.risk_promotions p LEFT JOIN kehu.risk_models m ON m.id = p.model
        WHERE p.promoted_at <= %s ORDER BY p.id DESC LIMIT 1"""
    rows = dict_rows(conn, query, (at,))
    if not rows or rows[0]["model"] == COLD_START.id:
        return COLD
    said = rows[0]["document"]
    return _scorer(document(conn, rows[0]["model"]) if said is None else said.encode())


@lru_cache(maxsize=8)
def _scorer(said: bytes) -> Scorer:
    return usable(_read(said))


def as_scored(conn: Connection, projection: Projection, at: datetime) -> Projection:
    """The projection with the model that was the champion at a moment, where it takes one."""
    if projection.using is None or (best := champion(conn, at)) is COLD_START:
        return projection
    return projection.using(to_json(best))


def promotions(conn: Connection) -> list[Row]:
    """Who promoted which model when and why, the newest first."""
    return dict_rows(
        conn, "SELECT model, former, promoted_at, promoted_by, reason FROM kehu.risk_promotions ORDER BY id DESC"
    )


def add(conn: Connection, found: Model) -> None:
    """Make a model known, without its scoring anything. Raises UnusableModel and OtherModel."""
    usable(found)
    told = to_json(found).decode()
    with conn.transaction():
        conn.execute(
            "INSERT INTO kehu.risk_models (id, document) VALUES (%s, %s) ON CONFLICT DO NOTHING", (found.id, told)
        )
        if found.id in RELEASED or document(conn, found.id).decode() != told:
            raise OtherModel(found.id)


def usable(found: Model) -> Scorer:
    """What scores by the model. Raises UnusableModel."""
    try:
        return Scorer(found)
    except NoModel as error:
        raise UnusableModel(str(error)) from error


def promote(conn: Connection, found: Model, by: str, reason: str, at: datetime) -> int:
    """Let rows be scored by a model from now on; returns how many are due to be scored anew.

    All in one transaction: each build of this version names the model, its scored rows are due, and its mark is another
    one. So a projector that has read rows under the former model cannot save them any more, in whatever process.
    """
    usable(found)
    due = 0
    with conn.transaction():
        query = f"SELECT {COLUMNS} FROM kehu.projection_builds WHERE (name, version) = (%s, %s) FOR UPDATE"  # noqa: S608
        builds = [of_row(row) for row in dict_rows(conn, query, (RETENTION_RISK.name, RETENTION_RISK.version))]
        live = next((build for build in builds if build.state == "live"), None)
        former = (live.model if live else None) or COLD_START.id
        conn.execute(
            "INSERT INTO kehu.risk_promotions (model, former, promoted_by, reason) VALUES (%s, %s, %s, %s)",
            (found.id, former, by, reason),
        )
        conn.execute(
            "UPDATE kehu.projection_builds SET model = %s,"
            " updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')"
            " WHERE (name, version) = (%s, %s)",
            (found.id, RETENTION_RISK.name, RETENTION_RISK.version),
        )
        for build in builds:
            statement = sql.SQL(
                "UPDATE {} SET next_change_at = least(next_change_at, now()), changed_at = clock_timestamp()"
                " WHERE logit IS NOT NULL AND model <> %s"
            ).format(sql.Identifier(build.schema, RISK.name))
            changed = conn.execute(statement, (found.id,)).rowcount
            due += changed if build.state == "live" else 0
        acts.record(conn, ModelPromoted(by=by, reason=reason, model=found.id, former=former), at)
    return due


def _read(said: bytes) -> Model:
    try:
        return from_json(said)
    except NoModel as error:
        raise UnusableModel(str(error)) from error
