"""Certificates of erasures: what was done, proven by the sealed log, signed with its key.

Whoever has the public key checks one with `kehu-verify`, without Kehu and without the database.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from time import sleep
from typing import Any

from domain.heads import Head
from infra.errors import KehuError
from infra.postgres.proving import NotAsSealed
from infra.postgres.seals import Seals
from infra.signing import Signer

Row = dict[str, Any]
KIND = "kehu erasure v1"
TRIES, PAUSE = 100, 0.1
"""How often, and after how many seconds, it is looked whether another process has sealed."""


class NotSealedYet(KehuError):
    """The customer is forgotten, and another process that seals the log is not through. Run the same command again for
    the certificate."""


def seal(seals: Seals, signer: Signer, clock: Callable[[], datetime], position: int = 0) -> None:
    """Seal what is new, at least up to a position; another process that seals is waited for. Raises NotSealedYet."""
    seals.cover_reads(clock())
    for _ in range(TRIES):
        while seals.seal(signer.sign, clock()) is not None:
            pass
        if not position or seals.head_over(position) is not None:
            return
        sleep(PAUSE)
    raise NotSealedYet(f"position {position}")


def certificate(erased: Row, forgotten_by: Sequence[str], in_the_clear: int, seals: Seals) -> Row:
    """What was done, for whoever asked and whoever checks: JSON of texts and whole numbers.

    `head_before` is the last sealed head before the event that says it, `head_after` the first one that holds it:
    `path` proves the event in it, and `extension` that nothing before was changed. They are empty where nothing was
    sealed. Raises NotAsSealed.
    """
    position = erased["position"]
    return {
        "certificate": KIND,
        "customer": erased["customer_id"],
        "outcome": "erased",
        "reason": erased["reason"],
        "by": erased["erased_by"],
        "begun_at": erased["begun_at"].isoformat(),
        "ended_at": erased["ended_at"].isoformat(),
        "position": position,
        "destroyed": "the data key of the customer: every encrypted field, message and state of theirs is unreadable",
        "purged": erased["purged"],
        "forgotten_by": list(forgotten_by),
        "left": {
            "events_in_the_clear": in_the_clear,
            "pseudonymous": "ids, codes, amounts and times, of which figures are made",
            "elsewhere": "topics of channels until their retention ends, backups until their master key is destroyed",
        },
        **_proof(seals, position),
    }


def _proof(seals: Seals, position: int) -> Row:
    before, after = seals.head_before(position), seals.head_over(position)
    event, path = (seals.event(position), []) if after is None else seals.prove(position, after)
    if event is None:
        raise NotAsSealed(f"the event at position {position} is gone")
    return {
        "event": event.as_json(),
        "head_before": _json(before),
        "head_after": _json(after),
        "path": _hex(path),
        "extension": [] if after is None or before is None else _hex(seals.extension(before, after)),
    }


def signed(said: Row, signer: Signer) -> Row:
    """The certificate in the name of a key."""
    named = {**said, "key_id": signer.verifier.id}
    return {**named, "signature": signer.signature(signed_bytes(named)).hex()}


def signed_bytes(said: Row) -> bytes:
    """What the signature is over: its kind, a line feed, and the rest as JSON with sorted names and without blanks."""
    rest = {name: value for name, value in said.items() if name != "signature"}
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{KIND}\n{text}".encode()


def _json(head: Head | None) -> Row | None:
    return None if head is None else head.as_json()


def _hex(path: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in path]
