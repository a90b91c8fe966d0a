"""Walks the stored log against its tree, its heads and heads that were told outside, all in one snapshot."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domain.audit import Finding, named, walk
from domain.heads import Head
from domain.merkle import Hash, leaf_hash
from infra.postgres import tree
from infra.postgres.log import head as log_head
from infra.postgres.seals import ends, kept_heads
from infra.signing import Verifier

Conn = psycopg.Connection[Any]
Snapshot = Sequence[Conn]
TOLD_EVERY = 10_000
"""Events after which the progress is told."""
WINDOW = 2_000
"""Events behind the first that does not fit among which it is looked for what became of it."""


@contextmanager
def snapshot(postgres: str, number: int) -> Iterator[Snapshot]:
    """So many connections that see the same moment of the store, and can only read."""
    with ExitStack() as open_connections:
        conns = [
            open_connections.enter_context(
                psycopg.connect(postgres, application_name="kehu-audit", options="-c timezone=UTC -c jit=off")
            )
            for _ in range(number)
        ]
        name = None
        for conn in conns:
            conn.isolation_level, conn.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            if name is None:
                (name,) = conn.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
            else:
                conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(name))
        yield conns


@dataclass(frozen=True, slots=True)
class Checked:
    """What a walk went by: from the first to the last head, and how many events and heads there are."""

    events: int
    heads: int
    first: Head | None
    last: Head | None

    @property
    def sealed(self) -> int:
        """How many events the last head has."""
        return self.last.size if self.last else 0


def checked(conn: Conn) -> Checked:
    """What there is to be checked, inside a transaction."""
    (heads,) = conn.execute("SELECT count(*) FROM kehu.tree_heads").fetchone() or (0,)
    return Checked(log_head(conn), int(heads), *ends(conn))


def log_findings(
    conns: Snapshot,
    told: Iterable[Head],
    verifiers: Sequence[Verifier] = (),
    progress: Callable[[int], None] = lambda _events: None,
) -> Iterator[Finding]:
    """What does not fit in the log, over three connections of a snapshot; `told` are heads that were kept outside.

    Those must have been read before the snapshot, or a live log has fewer events than they. `progress` hears how many
    events were walked since.
    """
    rows, leaves, heads = conns
    keys = {verifier.id: verifier for verifier in verifiers}

    unknown: dict[str, list[int]] = {}

    def signed(head: Head) -> bool:
        return not keys or keys[head.key_id].verifies(head)

    def known(head: Head) -> bool:
        if keys and head.key_id not in keys:
            unknown.setdefault(head.key_id, []).append(head.size)
            return False
        return True

    trusted: dict[int, Hash] = {}
    for head in told:
        if not known(head):
            continue
        if not signed(head):
            yield Finding("unsigned", head.size)
        elif trusted.setdefault(head.size, head.root) != head.root:
            yield Finding("forked", head.size)
    unsigned: list[int] = []

    def stored_heads() -> Iterator[Head]:
        for head in kept_heads(heads):
            if known(head) and not signed(head):
                unsigned.append(head.size)
            yield head

    heads_in_order = stored_heads()
    first = True
    for finding in walk(_leaves(rows, progress), tree.kept_leaves(leaves), heads_in_order, trusted, log_head(rows)):
        yield from (Finding("unsigned", size) for size in unsigned)
        unsigned.clear()
        if finding.kind == "changed" and first:
            first = False
            yield _named(heads, finding.at)
        else:
            yield finding
    yield from (Finding("unsigned", size) for size in unsigned)
    for key, sizes in sorted(unknown.items()):
        yield Finding("unknown-key", min(sizes), through=max(sizes), of=f"heads that name key {key}")


def _leaves(conn: Conn, progress: Callable[[int], None]) -> Iterator[tuple[int, Hash]]:
    number = 0
    for number, (position, data) in enumerate(tree.stored(conn), 1):
        yield position, leaf_hash(data)
        if number % TOLD_EVERY == 0:
            progress(TOLD_EVERY)
    progress(number % TOLD_EVERY)


def _named(conn: Conn, at: int) -> Finding:
    stored = dict(tree.stored(conn, at, at + WINDOW))
    kept: Mapping[int, Hash] = dict(zip(range(at, at + WINDOW + 1), tree.kept_leaves(conn, at), strict=False))
    return named(at, stored, kept)
