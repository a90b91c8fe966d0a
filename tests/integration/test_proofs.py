"""Whatever a superuser does to the store is found, given one head that was told outside."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import psycopg
import pytest

from consumers.sealer import Sealer
from domain.heads import Head
from domain.merkle import leaf_hash
from infra import anchors, bootstrap, signing
from infra.anchors import FileAnchor
from infra.embedded.postgres import EmbeddedPostgres
from infra.errors import KehuError
from infra.kehu_verify import leaf
from infra.postgres import tree
from infra.postgres.seals import Seals
from infra.postgres.tree import HolesInTheLog, TreeDamaged
from tests.support.sealed import PARTS, Sealed, sealed_bank

P, Q = 200, 333
"""Positions of events that somebody does not like."""
AT = f"WHERE notification_id = {P}"
# The index would refuse that two rows have a position at times; whoever tampers takes it away for so long.
LOOSE = "DROP INDEX kehu.stored_events_notification_id_idx"
MORE = (
    """INSERT INTO kehu.stored_events SELECT 'again-' || originator_id, originator_version, topic, state,
        notification_id + (SELECT n FROM kehu.log_head), recorded_at, customer_id FROM kehu.stored_events""",
    "UPDATE kehu.log_head SET n = n * 2",
)
TIGHT = "CREATE UNIQUE INDEX stored_events_notification_id_idx ON kehu.stored_events (notification_id)"


@pytest.fixture(scope="module")
def bank(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The bank, which each test leaves as it was."""
    folder = tmp_path_factory.mktemp("sealed")  # of another name each time: this may be made twice in a process
    return sealed_bank(postgres_server.create_database(folder.name), folder)


def test_a_log_that_nobody_touched_is_the_one_that_was_sealed(bank: Sealed) -> None:
    done = bank.verify()
    assert (done.code, done.rows) == (0, []), done.err
    done = bank.verify("--heads", str(bank.heads), "--public-key", str(bank.public))
    assert (done.code, done.rows) == (0, []), done.err
    assert bank.size > P + Q


def test_what_was_checked_is_told_and_what_nobody_outside_has_seen(bank: Sealed) -> None:
    heads, older = anchors.read(bank.heads), bank.folder / "older.jsonl"
    FileAnchor(older).tell(heads[:-1])
    witnessed = heads[-2].size
    given = ("--heads", str(older), "--public-key", str(bank.public), "--no-inbox")
    told = json.loads(bank.verify(*given).out)
    (key,) = {head.key_id for head in heads}
    assert datetime.fromisoformat(told.pop("checked_at")) <= bootstrap.now()
    assert told == {
        "events": bank.size,
        "sealed": bank.size,
        "heads": PARTS,
        "first_head": heads[0].as_json(),
        "last_head": heads[-1].as_json(),
        "told_outside": [{"where": str(older), "heads": PARTS - 1, "up_to": witnessed}],
        "witnessed": witnessed,
        "signatures_checked": True,
        "public_keys": [key],
        "inbox_checked": False,
        "findings": [],
    }
    done = bank.audit("verify", *given, "--csv")
    assert (done.code, done.out) == (0, "")
    for said in (done.err, bank.audit("verify", *given).out):
        assert f"Events behind {witnessed} ({bank.size - witnessed} of {bank.size}) are in no head" in said
        assert f"checked with key {key}" in said
    assert "no witness" not in bank.audit("verify", "--heads", str(bank.newest)).out


def test_of_a_log_that_nobody_sealed_nothing_is_said_to_be_proven(bank: Sealed) -> None:
    with bank.tampered("TRUNCATE kehu.tree_heads, kehu.proof_tiles"):
        done = bank.audit("verify", "--no-inbox")
    assert (done.code, done.out) == (4, "")
    assert "Nothing of this log is sealed, so nothing is proven" in done.err
    assert "kehu audit seal" in done.err


EDITS = {
    "what it says": f"UPDATE kehu.stored_events SET state = state || ' ' {AT}",
    "when it was recorded": f"UPDATE kehu.stored_events SET recorded_at = recorded_at + interval '1 us' {AT}",
    "what it is": f"UPDATE kehu.stored_events SET topic = topic || '0' {AT}",
    "whose it is": f"UPDATE kehu.stored_events SET customer_id = 'somebody' {AT}",
    "whose it is not": f"UPDATE kehu.stored_events SET customer_id = NULL {AT}",
    "its stream": f"UPDATE kehu.stored_events SET originator_id = 'other-' || originator_id {AT}",
    "its version": f"UPDATE kehu.stored_events SET originator_version = originator_version + 1000 {AT}",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_event_that_was_edited_is_named(bank: Sealed, edit: str) -> None:
    with bank.tampered(edit):
        done = bank.verify()
    assert done.code == 1
    assert (done.rows[0]["kind"], done.rows[0]["at"]) == ("changed", P)


MOVES: dict[str, tuple[list[str], tuple[str, int, int | None]]] = {
    "deleted": ([f"DELETE FROM kehu.stored_events {AT}"], ("missing", P, P)),
    "several deleted": (
        [f"DELETE FROM kehu.stored_events WHERE notification_id BETWEEN {P} AND {Q}"],
        ("missing", P, Q),
    ),
    "deleted, the rest renumbered": (
        [
            LOOSE,
            f"DELETE FROM kehu.stored_events {AT}",
            f"UPDATE kehu.stored_events SET notification_id = notification_id - 1 WHERE notification_id > {P}",
            "UPDATE kehu.log_head SET n = n - 1",
            TIGHT,
        ],
        ("removed", P, P),
    ),
    "swapped": (
        [
            LOOSE,
            f"UPDATE kehu.stored_events SET notification_id = {P + Q} - notification_id"
            f" WHERE notification_id IN ({P}, {Q})",
            TIGHT,
        ],
        ("moved", P, Q),
    ),
    "inserted, the rest renumbered": (
        [
            LOOSE,
            f"UPDATE kehu.stored_events SET notification_id = notification_id + 1 WHERE notification_id >= {P}",
            "UPDATE kehu.log_head SET n = n + 1",
            f"""INSERT INTO kehu.stored_events SELECT 'new-1', 1, topic, state, {P}, recorded_at, customer_id
                FROM kehu.stored_events WHERE notification_id = {P - 1}""",
            TIGHT,
        ],
        ("inserted", P, P),
    ),
    "inserted beside another": (
        [
            LOOSE,
            f"""INSERT INTO kehu.stored_events SELECT 'new-1', 1, topic, state, {P}, recorded_at, customer_id
                FROM kehu.stored_events {AT}""",
        ],
        ("twice", P, None),
    ),
    "renumbered": ([f"UPDATE kehu.stored_events SET notification_id = 1000000 {AT}"], ("missing", P, P)),
    "truncated": (["TRUNCATE kehu.stored_events"], ("lost", 0, None)),
    "cut, with its counter": (
        [f"DELETE FROM kehu.stored_events WHERE notification_id >= {P}", f"UPDATE kehu.log_head SET n = {P - 1}"],
        ("lost", P - 1, None),
    ),
    "cut, with counter, tree and heads": (
        [
            f"DELETE FROM kehu.stored_events WHERE notification_id >= {P}",
            f"UPDATE kehu.log_head SET n = {P - 1}",
            "TRUNCATE kehu.tree_heads, kehu.proof_tiles",
        ],
        ("lost", P - 1, None),
    ),
}


@pytest.mark.parametrize(("statements", "what"), MOVES.values(), ids=MOVES)
def test_rows_that_were_removed_inserted_or_moved_are_named(
    bank: Sealed, statements: list[str], what: tuple[str, int, int | None]
) -> None:
    with bank.tampered(*statements):
        done = bank.verify()
    assert done.code == 1
    first = done.rows[0]
    assert (first["kind"], first["at"] or 0, first["through"]) == what


def seal_again(of: Sealed, signer: signing.Signer) -> None:
    """A tree and heads made anew, as if nothing had been sealed before."""
    with psycopg.connect(of.url) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("TRUNCATE kehu.tree_heads, kehu.proof_tiles")
    with closing(Seals(of.url)) as seals:
        Sealer(seals, signer.sign, [], bootstrap.now).run_once()


def test_a_key_that_signed_nothing_is_not_taken_for_a_log_that_was_changed(bank: Sealed) -> None:
    other = signing.make(bank.folder / "unused.pem").verifier
    done = bank.verify("--heads", str(bank.heads), "--public-key", str(bank.folder / "unused.pem"), "--no-inbox")
    assert (done.code, [row["kind"] for row in done.rows]) == (1, ["unknown-key"])
    assert "Give the public key that signed" in done.err
    assert "not the one that was sealed" not in done.err
    for one in (other, of_the_bank(bank).verifier):
        assert one.id in done.err
    unasked = bank.audit("verify", "--heads", str(bank.heads), "--no-inbox")
    assert (unasked.code, "Signatures were not checked" in unasked.out) == (0, True)


def of_the_bank(bank: Sealed) -> signing.Signer:
    return signing.signer(bank.key)


def of_somebody(bank: Sealed) -> signing.Signer:
    return signing.make(bank.folder / "other.pem")


@pytest.mark.parametrize("whose", [of_the_bank, of_somebody])
def test_events_tree_and_heads_rewritten_together_are_found_even_with_the_key_of_the_bank(
    bank: Sealed, whose: Callable[[Sealed], signing.Signer]
) -> None:
    with bank.tampered(EDITS["what it says"]):
        seal_again(bank, whose(bank))
        done = bank.verify()
        assert bank.verify("--no-inbox").code == 0  # without a head from outside it looks well
    assert done.code == 1
    assert {row["kind"] for row in done.rows} >= {"head", "rewritten"}
    assert ("unknown-key" in {row["kind"] for row in done.rows}) == (whose is of_somebody)
    assert "not the one that was sealed" in done.err


def test_an_old_backup_is_found_and_when_it_went_on_in_another_way_too(bank: Sealed) -> None:
    heads = bank.folder / "went-on.jsonl"
    heads.write_bytes(bank.heads.read_bytes())
    with bank.tampered(restored="before"):
        done = bank.verify()
        assert (done.code, done.rows[0]["kind"]) == (1, "lost")
    with bank.tampered(*MORE, restored="before"), closing(Seals(bank.url)) as seals:
        Sealer(seals, of_the_bank(bank).sign, [FileAnchor(heads)], bootstrap.now).run_once()
        done = bank.verify("--heads", str(heads), "--no-inbox")
    assert done.code == 1
    assert (done.rows[0]["kind"], done.rows[0]["at"]) == ("rewritten", bank.size)
    assert done.rows[0]["after"] == anchors.read(bank.heads)[PARTS - 2].size


HEADS = {
    "root": ("UPDATE kehu.tree_heads SET root = sha256(root)", {"unsigned", "head"}),
    "signature": ("UPDATE kehu.tree_heads SET signature = sha512(signature)", {"unsigned"}),
    "time": ("UPDATE kehu.tree_heads SET sealed_at = sealed_at - interval '1 day'", {"unsigned"}),
    "size": ("UPDATE kehu.tree_heads SET size = size - 1", {"unsigned", "head"}),
}


@pytest.mark.parametrize(("statement", "kinds"), HEADS.values(), ids=HEADS)
def test_heads_that_were_changed_alone_are_found(bank: Sealed, statement: str, kinds: set[str]) -> None:
    with bank.tampered(statement):
        done = bank.verify()
    assert done.code == 1
    assert {row["kind"] for row in done.rows} >= kinds


def test_heads_and_tree_that_are_gone_hide_nothing(bank: Sealed) -> None:
    gone = "TRUNCATE kehu.tree_heads, kehu.proof_tiles"
    with bank.tampered(gone):
        assert bank.verify().rows == []  # the log is as it was: that is what the head outside says
    with bank.tampered(gone, EDITS["what it says"]):
        done = bank.verify()
    assert (done.rows[0]["kind"], done.rows[0]["at"]) == ("rewritten", bank.size)


INBOX = {
    "removed": (f"DELETE FROM kehu.inbox i USING kehu.stored_events e {AT} AND i.stream = e.originator_id"
                " AND i.version <= e.originator_version", {"inbox-removed"}),
    "another key": ("UPDATE kehu.inbox SET key = sha256(key)", {"inbox-changed"}),
    "another content": ("UPDATE kehu.inbox SET content = sha256(content)", {"inbox-changed"}),
    "another stream": ("UPDATE kehu.inbox SET stream = 'x' || stream", {"inbox-removed", "inbox-added"}),
    "another version": ("UPDATE kehu.inbox SET version = version + 1000", {"inbox-removed", "inbox-added"}),
    "no version": ("UPDATE kehu.inbox SET version = NULL", {"inbox-removed"}),
    "with a version": (
        "INSERT INTO kehu.inbox (key, content, stream, version, place, kafka_offset)"
        " VALUES ('\\x01', '', 's', 1, 1, 0)",
        {"inbox-added"},
    ),
    "added for what is to come": (
        "INSERT INTO kehu.inbox (key, content, stream, place, kafka_offset) VALUES ('\\x01', '', 's', 1, 1000000)",
        {"inbox-added"},
    ),
    "added for what was read": (
        "INSERT INTO kehu.inbox (key, content, stream, place, kafka_offset)"
        " SELECT '\\x01', '', 's', place, kafka_offset FROM kehu.inbox LIMIT 1",
        {"inbox-added"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "kinds"), INBOX.values(), ids=INBOX)
def test_an_inbox_that_was_changed_is_found(bank: Sealed, statement: str, kinds: set[str]) -> None:
    with bank.tampered(statement):
        done = bank.verify("--limit", "100000")
    assert done.code == 1
    assert {row["kind"] for row in done.rows} == kinds


def test_nobody_changes_a_head_while_its_table_is_guarded(bank: Sealed) -> None:
    with psycopg.connect(bank.url, autocommit=True) as conn:
        for what in (
            "UPDATE kehu.tree_heads SET size = 1",
            "DELETE FROM kehu.tree_heads",
            "TRUNCATE kehu.tree_heads",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"):
                conn.execute(what.encode())


def test_nothing_is_sealed_on_a_tree_or_a_log_that_was_changed(bank: Sealed) -> None:
    damaged: list[tuple[type[KehuError], str]] = [
        (TreeDamaged, "UPDATE kehu.proof_tiles SET hashes = sha256(hashes) || substr(hashes, 33)"),
        (TreeDamaged, "TRUNCATE kehu.proof_tiles"),
        (HolesInTheLog, f"DELETE FROM kehu.stored_events WHERE notification_id = {bank.size + 7}"),
    ]
    for error, statement in damaged:
        with bank.tampered(*MORE, statement), closing(Seals(bank.url)) as seals:
            sealer = Sealer(seals, of_the_bank(bank).sign, [], bootstrap.now)
            with pytest.raises(error):
                sealer.run_once()
            last = seals.last()
            assert last is not None
            assert last.size == bank.size


def test_sealing_goes_on_over_an_event_that_was_edited_and_does_not_hide_it(bank: Sealed) -> None:
    with bank.tampered(EDITS["what it says"], *MORE), closing(Seals(bank.url)) as seals:
        assert Sealer(seals, of_the_bank(bank).sign, [], bootstrap.now).run_once() == 1
        for options in (("--heads", str(bank.newest), "--no-inbox"), ("--no-inbox",)):
            done = bank.verify(*options)
            assert (done.code, done.rows[0]["kind"], done.rows[0]["at"]) == (1, "changed", P)


def test_what_is_hashed_in_the_database_is_what_others_hash(bank: Sealed) -> None:
    with closing(Seals(bank.url)) as seals, psycopg.connect(bank.url) as conn:
        hashed = {position: leaf_hash(data) for position, data in tree.stored(conn)}
        assert len(hashed) == bank.size
        assert list(hashed.values()) == list(tree.kept_leaves(conn))
        for position in (1, P, bank.size):
            event = seals.event(position)
            assert event is not None
            assert leaf(event.as_json()) == hashed[position]


def test_two_that_seal_at_once_make_each_head_once(bank: Sealed) -> None:
    fresh = "TRUNCATE kehu.tree_heads, kehu.proof_tiles"
    with bank.tampered(fresh), closing(Seals(bank.url)) as one, closing(Seals(bank.url)) as other:
        inner: list[object] = []

        def meanwhile(head: Head) -> Head:
            inner.append(other.seal(of_the_bank(bank).sign, bootstrap.now()))
            return of_the_bank(bank).sign(head)

        assert one.seal(meanwhile, bootstrap.now()) is not None
        assert inner == [None]
        assert other.seal(of_the_bank(bank).sign, bootstrap.now()) is None
        assert [head.size for head in other.heads()] == [bank.size]
