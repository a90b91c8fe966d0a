"""Answers as bytes: a page in JSON, and whole results as CSV or NDJSON, written part by part."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from infra.http.problems import Invalid
from infra.plain import csv_cell, json_of
from infra.postgres.questions.answer import Connection, Freshness

Row = Mapping[str, Any]
Form = Literal["json", "csv", "ndjson"]
MEDIA: Mapping[str, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
}
PART = 64 * 1024
"""Bytes of a part of a stream, about: so much a reader that does not read may keep in memory."""
PRIVATE = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
_HEAD = """SELECT n, (SELECT recorded_at FROM kehu.stored_events WHERE notification_id = n) AS recorded_at
    FROM kehu.log_head"""
SHOWN = ("position", "recorded_at", "behind", "lag_seconds")


@dataclass(frozen=True, slots=True)
class Told:
    """An answer before it goes out, and what is recorded of it."""

    body: bytes
    etag: str
    headers: Mapping[str, str]
    position: int | None
    rows: int

    def response(self, request: Request, form: Form = "json") -> Response:
        """The answer, or that it is what the caller has already."""
        headers = {**PRIVATE, "ETag": self.etag, **self.headers}
        known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or "*" in known:
            return Response(None, 304, headers)
        return Response(self.body, 200, headers, MEDIA[form])


def form(request: Request, asked: Form | None) -> Form:
    """The form in which an answer is wanted: by `format`, else by the header Accept, else JSON."""
    if asked is not None:
        return asked
    accepted = request.headers.get("accept", "")
    if "text/csv" in accepted:
        return "csv"
    return "ndjson" if "application/x-ndjson" in accepted else "json"


def chosen(fields: str | None, known: type[BaseModel] | Collection[str]) -> Sequence[str] | None:
    """The fields that are wanted, None for all. Raises Invalid for one that no row has."""
    if fields is None:
        return None
    there = known.model_fields if isinstance(known, type) else known
    names = list(dict.fromkeys(name.strip() for name in fields.split(",")))
    if unknown := [name for name in names if name not in there]:
        told = f"no field {unknown[0][:50]!r}: choose among {', '.join(there)}"
        raise Invalid(errors=[{"at": "query.fields", "detail": told}])
    return names


def page(
    fresh: Sequence[Freshness],
    rows: Sequence[Row],
    fields: Sequence[str] | None,
    cursor: str | None,
    form: Form = "json",
    about: Mapping[str, Any] | None = None,
) -> Told:
    """A page. Its tag is that of the rows alone: how fresh it is changes all the time."""
    shown = [_picked(row, fields) for row in rows]
    if form == "json":
        # What stands in the answer beside its rows is told by the rows' own bytes, not written twice.
        inner = json_of({"rows": shown, "next": cursor, **(about or {})})
        body = b'{"freshness":%b,%b' % (json_of(freshness(fresh)), inner[1:])
    else:
        inner = body = b"".join(parts(shown, None, form))
    etag = f'W/"{blake2b(inner, digest_size=12).hexdigest()}"'
    return Told(body, etag, headers(fresh, cursor), position(fresh), len(rows))


def freshness(fresh: Sequence[Freshness]) -> dict[str, dict[str, Any]]:
    """How fresh an answer is, for each read model."""
    return {one.projection: {name: getattr(one, name) for name in SHOWN} for one in fresh}


def log_freshness(conn: Connection) -> list[Freshness]:
    """How fresh an answer is that is no read model's: it shows what the log's last transaction left."""
    row = conn.execute(_HEAD).fetchone()
    assert row is not None
    return [Freshness("log", row["n"], row["recorded_at"], 0, 0.0)]


def position(fresh: Sequence[Freshness]) -> int | None:
    """The position of the log up to which everything is shown."""
    return min((one.position for one in fresh), default=None)


def headers(fresh: Sequence[Freshness], cursor: str | None = None) -> dict[str, str]:
    """How fresh an answer is, for every form of it, and where the next page begins."""
    if not fresh:
        return {}
    oldest = min(fresh, key=lambda one: one.position)
    told = {"Kehu-Position": str(oldest.position), "Kehu-Lag-Seconds": f"{max(one.lag_seconds for one in fresh):.3f}"}
    if oldest.recorded_at is not None:
        told["Kehu-Recorded-At"] = oldest.recorded_at.isoformat()
    return told | ({"Kehu-Next": cursor} if cursor else {})


def parts(rows: Iterable[Row], fields: Sequence[str] | None, form: Form) -> Iterator[bytes]:
    """Rows as CSV or NDJSON, in parts."""
    return joined(_csv(rows, fields) if form == "csv" else (json_of(_picked(row, fields)) + b"\n" for row in rows))


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """In parts of `PART` bytes or little more."""
    waiting, size = [], 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PART:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _csv(rows: Iterable[Row], fields: Sequence[str] | None) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    for number, row in enumerate(rows):
        picked = _picked(row, fields)
        if not number:
            writer.writerow(list(picked))
        writer.writerow([_harmless(csv_cell(value)) for value in picked.values()])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula is quoted: a channel could send one."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _picked(row: Row, fields: Sequence[str] | None) -> Row:
    return row if fields is None else {name: row[name] for name in fields}
