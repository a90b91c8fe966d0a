"""Parked messages as operators take them out of their queues."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg

from consumers.decoding import Decode
from domain.administration import ParkedReleased
from domain.errors import Refused
from domain.ports import Conflict
from infra import bootstrap
from infra.errors import KehuError, Unreadable
from infra.postgres import acts
from infra.postgres.kept_messages import message_of
from infra.postgres.parked import get_parked, release_parked


class Released(Refused):
    """It was taken out of its queue by hand; the detail says why and by whom. Replay it when it may apply."""


class NotParked(KehuError):
    """No message waits under this number: it may have been applied, or died. `kehu parked list` shows what waits."""


def release(conn: "psycopg.Connection[Any]", seqs: Sequence[int], by: str, reason: str, now: datetime) -> int:
    """Messages become dead letters with the reason, and what waits behind them goes on; how many it were.

    All of them or none, in the caller's transaction. Raises NotParked.
    """
    waiting = [get_parked(conn, seq) for seq in dict.fromkeys(seqs)]
    decode = bootstrap.decoder(lambda: now)
    found = [_identified(one, decode) for one in waiting if one is not None]
    if missing := sorted({*seqs} - {one["seq"] for one in found}):
        raise NotParked(", ".join(map(str, missing)))
    try:
        release_parked(conn, found, Released().rule, f"released by {by}: {reason}", now)
    except Conflict as error:
        raise NotParked(str(error)) from error
    acts.record(conn, ParkedReleased(by=by, reason=reason, messages=tuple(one["seq"] for one in found)), now)
    return len(found)


def _identified(waiting: dict[str, Any], decode: Decode) -> dict[str, Any]:
    """With source and id of its event, by which its dead letter is found."""
    with suppress(Unreadable):
        meta = decode(message_of(waiting)).fact.meta
        return {**waiting, "source": meta.source, "event_id": meta.event_id}
    return waiting
