"""Where a page ended: cursors that describe themselves. They name a place in an order, not a number of rows, so that
what comes and goes before it moves nothing.

A cursor is not signed: it holds what the caller was shown, its values are parameters of the same question, and the rows
that a token may see are found anew.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson

from infra.http.problems import Invalid

Place = Sequence[Any]


def written(question: str, filters: Mapping[str, object], now: datetime, place: Place) -> str:
    """A cursor for what comes behind a place, in the answer to a question with these filters, asked at that time."""
    told = [_digest(question, filters), now, *place]
    return urlsafe_b64encode(orjson.dumps(told)).decode().rstrip("=")


def read(cursor: str, question: str, filters: Mapping[str, object], kinds: Sequence[Any]) -> tuple[datetime, Place]:
    """The time and the place in a cursor, with values of these kinds. Raises Invalid for one of another question."""
    try:
        digest, now, *place = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        values = [_value(one, kind) for one, kind in zip(place, kinds, strict=True)]
        at = datetime.fromisoformat(now)
        if digest != _digest(question, filters) or at.tzinfo is None:
            raise ValueError("another question")
    except (ValueError, TypeError, OverflowError):
        told = "it belongs to another question, or is none: take it from `next`, with the same filters"
        raise Invalid(errors=[{"at": "query.cursor", "detail": told}]) from None
    return at, values


def _value(given: Any, kind: Any) -> Any:
    if given is None and isinstance(None, kind):
        return None
    if kind in (datetime, datetime | None):
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        return moment
    if not isinstance(given, kind) or (isinstance(given, int) and abs(given) >= 1 << 63) or "\0" in str(given):
        raise ValueError("a value of another kind")
    return given


def _digest(question: str, filters: Mapping[str, object]) -> str:
    said = orjson.dumps([question, sorted(filters.items())], default=str)
    return blake2b(said, digest_size=6).hexdigest()
