"""Proofs that stored events are those that were sealed; each is checked before it is handed out.

What is proven are the bytes as they are stored now. A proof that does not lead to its head would only be found out by
whoever gets it, and would make an honest bank look like one that lies.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from domain.heads import Head
from domain.merkle import Hash, Nodes, consistency_proof, extends, includes, inclusion_proof
from infra.errors import KehuError
from infra.postgres import tree

EVENT = f"""SELECT notification_id, recorded_at, originator_version, originator_id, topic, customer_id, state,
    {tree.HASH} FROM kehu.stored_events"""  # noqa: S608


class NotAsSealed(KehuError):
    """What is stored is not what was sealed, so nothing is proven. `kehu audit verify` says what was changed; a backup
    from before may have it as it was."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with all that is hashed of it, and its leaf."""

    position: int
    recorded_at: datetime
    version: int
    stream: str
    topic: str
    customer_id: str | None
    state: bytes
    leaf: Hash

    def as_json(self) -> dict[str, Any]:
        """As it is told outside; the state is the JSON that is stored, in a text, since its bytes are what counts."""
        return {
            "position": self.position,
            "recorded_at": self.recorded_at.isoformat(),
            "version": self.version,
            "stream": self.stream,
            "topic": self.topic,
            "customer_id": self.customer_id,
            "state": bytes(self.state).decode(errors="backslashreplace"),
        }


def event(conn: "psycopg.Connection[tuple[Any, ...]]", position: int) -> StoredEvent | None:
    """The event at a position."""
    row = conn.execute(f"{EVENT} WHERE notification_id = %s".encode(), (position,), binary=True).fetchone()
    return StoredEvent(*row) if row else None


def path(of: StoredEvent, head: Head, nodes: Nodes) -> list[Hash]:
    """The proof that an event is in the tree of a head. Raises NotAsSealed, ValueError when it is behind it."""
    index = of.position - 1
    try:
        found = inclusion_proof(index, head.size, nodes)
        if includes(of.leaf, index, head.size, found, head.root):
            return found
        changed = nodes(0, index) != of.leaf
    except LookupError:
        changed = False
    what = f"the event at position {of.position}" if changed else f"the tree around position {of.position}"
    raise NotAsSealed(f"{what} does not lead to the head of {head.size}")


def extension(earlier: Head, later: Head, nodes: Nodes) -> list[Hash]:
    """The proof that the tree of a later head begins with that of an earlier one. Raises NotAsSealed."""
    try:
        found = consistency_proof(earlier.size, later.size, nodes)
    except LookupError:
        found = []
    if not extends(earlier.size, later.size, earlier.root, later.root, found):
        raise NotAsSealed(f"the tree does not lead from the head of {earlier.size} to that of {later.size}")
    return found
