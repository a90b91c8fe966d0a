"""A small bank whose log is sealed, which tests tamper with as a superuser and put right again."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks import load
from consumers.ingest import Ingest
from consumers.sealer import Sealer
from infra import bootstrap, signing
from infra.anchors import FileAnchor
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.seals import Seals
from tests.support.cli import Done, kehu

PARTS = 3
"""How many heads there are."""
TABLES = ("stored_events", "log_head", "inbox", "positions", "tree_heads", "proof_tiles", "anchors")
POSITIONS = """CREATE UNIQUE INDEX IF NOT EXISTS stored_events_notification_id_idx
    ON kehu.stored_events (notification_id)"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A database, the key of its heads, files of heads that were told outside, and the number of its events.

    Its schema `whole` keeps it as it is, `before` as it was before the last head.
    """

    url: str
    folder: Path
    size: int = 0

    @property
    def key(self) -> Path:
        """The private key of the bank."""
        return self.folder / "seal.pem"

    @property
    def public(self) -> Path:
        """The public key."""
        return self.folder / "seal.pub.pem"

    @property
    def heads(self) -> Path:
        """All heads."""
        return self.folder / "heads.jsonl"

    @property
    def newest(self) -> Path:
        """Only the newest head."""
        return self.folder / "newest.jsonl"

    def verify(self, *options: str) -> Done:
        """What `kehu audit verify` says when it is given the newest head and the public key, or other options."""
        given = options or ("--heads", str(self.newest), "--public-key", str(self.public))
        return self.audit("verify", *given, "--json")

    def audit(self, *arguments: str) -> Done:
        """A command of `kehu audit`."""
        return kehu("audit", *arguments, "--postgres", self.url)

    @contextmanager
    def tampered(self, *statements: str, restored: str = "") -> Iterator[None]:
        """The store after a superuser did this to it, or restored a backup; afterwards it is as it was."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")  # switches off what protects the heads
            if restored:
                _restore(conn, restored)
            for statement in statements:
                conn.execute(statement.encode())
            try:
                yield
            finally:
                _restore(conn, "whole")


def sealed_bank(url: str, folder: Path, messages: int = 600) -> Sealed:
    """Make it in an empty database; a head after each third of the messages."""
    migrate(url)
    made = signing.make(folder / "seal.pem")
    (folder / "seal.pub.pem").write_bytes(made.verifier.pem)
    with closing(Seals(url)) as seals, closing(PostgresLog(url)) as log:
        sealer = Sealer(seals, made.sign, [FileAnchor(folder / "heads.jsonl")], bootstrap.now)
        ingest = Ingest(log, bootstrap.decoder(), bootstrap.now)
        for part, batch in enumerate(load.batches(ingest, load.messages(messages), messages // PARTS), 1):
            if part == PARTS:
                _save(url, "before")
            ingest.take(ingest.read(batch))
            assert sealer.run_once() == 1
        size = log.head()
    _save(url, "whole")
    (folder / "newest.jsonl").write_bytes((folder / "heads.jsonl").read_bytes().splitlines(keepends=True)[-1])
    return Sealed(url, folder, size)


def _save(url: str, name: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        for table in TABLES:
            copy, ours = sql.Identifier(name, table), sql.Identifier("kehu", table)
            conn.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(copy, ours))


def _restore(conn: "psycopg.Connection[tuple[object, ...]]", name: str) -> None:
    for table in TABLES:
        copy, ours = sql.Identifier(name, table), sql.Identifier("kehu", table)
        conn.execute(sql.SQL("TRUNCATE {}").format(ours))
        conn.execute(sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}").format(ours, copy))
    conn.execute(POSITIONS.encode())
