"""Heads are sealed once, told outside, and survive a kill at every step; what they prove is checked without Kehu."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from consumers.patience import Servers
from consumers.sealer import Sealer, SealerService
from domain.heads import Head
from infra import anchors, bootstrap, kehu_verify, signing
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.heads import TopicAnchor
from infra.kafka.heads import read as read_topic
from infra.postgres.seals import Seals
from infra.postgres.wake import Listener
from tests.support.cli import kehu
from tests.support.processes import ROOT, until
from tests.support.sealed import Sealed, sealed_bank

UNSEALED = ("TRUNCATE kehu.tree_heads, kehu.proof_tiles, kehu.anchors",)
SEAL = """import sys
from pathlib import Path
from consumers.sealer import Sealer
from infra import anchors, bootstrap, signing
from infra.postgres.seals import Seals
url, key, heads = sys.argv[1:]
Sealer(Seals(url), signing.signer(Path(key)).sign, [anchors.FileAnchor(Path(heads))], bootstrap.now).run_once()
"""
ALONE = """import runpy, sys
sys.path.append(sys.argv[1])
sys.argv[0:2] = [sys.argv[2]]
del sys.argv[1]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"domain", "infra", "psycopg", "msgspec"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def whole(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The bank as it was sealed."""
    folder = tmp_path_factory.mktemp("sealing")  # of another name each time: this may be made twice in a process
    return sealed_bank(postgres_server.create_database(folder.name), folder)


@pytest.fixture
def bank(whole: Sealed) -> Iterator[Sealed]:
    """The bank, which is put back after each test: that something was exported is an event as well."""
    with whole.tampered():
        yield whole


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and `cryptography`, and nothing else of what is installed here."""
    folder = tmp_path_factory.mktemp("outside")
    packages = Path(sys.modules["cryptography"].__path__[0]).parent
    for name in ("cryptography", "cffi", *(one.name for one in packages.glob("_cffi_backend*"))):
        (folder / name).symlink_to(packages / name)
    (folder / "kehu-verify.py").write_bytes(Path(kehu_verify.__file__).read_bytes())
    return folder


def verified(outside: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What the program says in a Python that has no other package and no environment."""
    program = [sys.executable, "-I", "-S", "-c", ALONE, str(outside), str(outside / "kehu-verify.py"), *arguments]
    return subprocess.run(program, cwd=outside, env={}, capture_output=True, text=True, check=False, timeout=60)


def test_proofs_and_exports_are_checked_by_somebody_who_has_only_an_anchored_head(
    bank: Sealed, outside: Path, tmp_path: Path
) -> None:
    trust = ["--key", str(bank.public), "--heads", str(bank.newest)]
    proof, consistency = tmp_path / "proof.json", tmp_path / "consistency.json"
    proof.write_text(bank.audit("prove", "17").out)
    first = anchors.read(bank.heads)[0]
    consistency.write_text(bank.audit("consistency", str(first.size)).out)
    stream = json.loads(proof.read_text())["event"]["stream"]
    assert bank.audit("export", str(tmp_path / "all")).code == 0
    assert bank.audit("export", str(tmp_path / "stream"), "--stream", stream).code == 0
    for what, path in (("proof", proof), ("consistency", consistency), ("export", "all"), ("export", "stream")):
        done = verified(outside, what, str(tmp_path / path), *trust)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WRONG" not in done.stdout
    assert (
        f"{bank.size} events: as they were sealed" in verified(outside, "export", str(tmp_path / "all"), *trust).stdout
    )
    proof.write_text(proof.read_text().replace('"version":', '"version":1'))
    done = verified(outside, "proof", str(proof), *trust)
    assert (done.returncode, "WRONG" in done.stdout) == (1, True)


def test_parts_of_the_log_are_exported_by_positions_customers_and_times(bank: Sealed, tmp_path: Path) -> None:
    with psycopg.connect(bank.url) as conn:
        row = conn.execute(
            "SELECT min(customer_id), (min(recorded_at) AT TIME ZONE 'UTC')::date::text FROM kehu.stored_events"
        ).fetchone()
        assert row is not None
        customer, day = row
        (of_customer,) = conn.execute(
            "SELECT count(*) FROM kehu.stored_events WHERE customer_id = %s", (customer,)
        ).fetchone() or (0,)
    wanted = {
        ("--first", "20", "--last", "29"): 10,
        ("--customer", customer): of_customer,
        ("--since", day): bank.size,
    }
    for number, (options, events) in enumerate(wanted.items()):
        folder = tmp_path / str(number)
        done = bank.audit("export", str(folder), *options)
        assert done.code == 0, done.err
        assert len((folder / "events.ndjson").read_bytes().splitlines()) == events
        kehu_verify.main(["export", str(folder), "--heads", str(bank.newest)])
    assert bank.audit("export", str(tmp_path / "0")).code == 2


def test_an_export_of_nothing_is_refused_and_not_recorded(bank: Sealed, tmp_path: Path) -> None:
    late = ("--first", str(bank.size + 1))
    for chosen in (("--stream", "nope"), ("--since", "2130-01-01"), ("--first", "20", "--last", "10"), late):
        done = bank.audit("export", str(tmp_path / "none"), *chosen)
        assert (done.code, done.out) == (2, "")
        assert "No sealed event is chosen" in done.err
        assert chosen[1] in done.err
    assert not (tmp_path / "none").exists()
    done = bank.audit("export", str(Path(__file__) / "in a file"))
    assert (done.code, "cannot be written" in done.err, __file__ in done.err) == (1, True, True)
    with closing(Seals(bank.url)) as seals:
        assert seals.event(bank.size + 1) is None


TAMPERED = {
    "edited": ("UPDATE kehu.stored_events SET state = state || ' ' WHERE notification_id = 17", "position 17"),
    "gone": ("DELETE FROM kehu.stored_events WHERE notification_id = 17", "position 17"),
    "tree": ("UPDATE kehu.proof_tiles SET hashes = sha256(hashes) || substr(hashes, 33)", "position 1"),
    "no tree": ("TRUNCATE kehu.proof_tiles", "position 1"),
    "head": ("UPDATE kehu.tree_heads SET root = sha256(root)", "position 1"),
}


@pytest.mark.parametrize(("statement", "named"), TAMPERED.values(), ids=TAMPERED)
def test_what_is_not_as_it_was_sealed_is_neither_proven_nor_exported(
    bank: Sealed, tmp_path: Path, statement: str, named: str
) -> None:
    folder, (first, *_) = tmp_path / "all", anchors.read(bank.heads)
    with bank.tampered(statement):
        proven = bank.audit("prove", "17")
        exported = bank.audit("export", str(folder))
        consistent = bank.audit("consistency", str(first.size))
    for done in (proven, exported):
        assert (done.code, done.out) == (1, "")
        assert "not what was sealed" in done.err
        assert named in done.err
    assert not folder.exists()
    # The proof between two heads is of their hashes, whatever became of an event.
    assert consistent.code == (0 if named == "position 17" else 1)


def test_what_is_not_sealed_is_not_proven(bank: Sealed) -> None:
    for asked in (["prove", str(bank.size + 1)], ["prove", "3", "--size", "2"], ["consistency", "2"]):
        done = bank.audit(*asked)
        assert (done.code, done.out) == (1, "")
        assert "kehu audit heads" in done.err


def test_the_events_of_a_stream_are_listed_with_all_that_came_with_them(bank: Sealed) -> None:
    with psycopg.connect(bank.url) as conn:
        row = conn.execute(
            "SELECT originator_id FROM kehu.stored_events WHERE originator_id LIKE 'complaint-%%'"
            " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
        ).fetchone()
        assert row is not None
        (stream,) = row
    rows = bank.audit("stream", stream, "--json").rows
    assert [one["version"] for one in rows] == list(range(1, len(rows) + 1))
    assert rows[0].keys() >= {"position", "actor", "channel", "happened_at", "recorded_at", "causation_id", "data"}
    assert (rows[0]["type"], rows[0]["channel"]) == ("complaint.opened.v1", rows[0]["data"]["channel"])
    opened = bank.audit("stream", stream, "--type", "complaint.opened", "--ndjson")
    assert [json.loads(line) for line in opened.out.splitlines()] == rows[:1]
    happened = rows[-1]["happened_at"][:19]
    later = bank.audit("stream", stream, "--since", happened, "--json").rows
    assert later == [one for one in rows if one["happened_at"][:19] >= happened]
    assert bank.audit("stream", stream, "--known-at", "2001-01-01", "--json").rows == []
    assert bank.audit("stream", "nowhere").code == 1


def test_the_doctor_sees_events_that_nobody_seals_and_heads_that_nobody_was_told(bank: Sealed) -> None:
    def seals() -> tuple[str, str]:
        rows = kehu("doctor", "--postgres", bank.url, "--json").rows
        (row,) = (row for row in rows if row["check"] == "seals")
        return row["verdict"], row["detail"]

    assert seals() == ("ok", f"{bank.size} events")
    with bank.tampered("UPDATE kehu.anchors SET size = 1"):
        assert seals() == ("warning", f"not told to file:{bank.heads}")
    old = "UPDATE kehu.stored_events SET recorded_at = recorded_at - interval '3 h'"
    with bank.tampered(f"DELETE FROM kehu.tree_heads WHERE size = {bank.size}", old):
        assert seals()[0] == "warning"
    with bank.tampered(*UNSEALED):
        assert seals() == ("ok", "nothing is sealed")


@pytest.mark.parametrize("step", ["growing", "sealing", "sealed", "anchored"])
def test_a_kill_at_any_step_leads_to_the_same_end(bank: Sealed, step: str, tmp_path: Path) -> None:
    heads = tmp_path / "heads.jsonl"
    command = [sys.executable, "-c", SEAL, bank.url, str(bank.key), str(heads)]
    with bank.tampered(*UNSEALED):
        killed = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "KEHU_FAIL": f"{step}@1=kill"}, capture_output=True, check=False
        )
        assert killed.returncode == -9, killed.stderr
        with closing(Seals(bank.url)) as seals:
            places = [anchors.FileAnchor(heads)]
            counted: list[int] = []
            waiting = seals.waiting()
            made = Sealer(seals, signing.signer(bank.key).sign, places, bootstrap.now).run_once(counted.append)
            assert sum(counted) == waiting == made * bank.size
            assert made == (step in ("growing", "sealing"))
            assert [head.size for head in seals.heads()] == [bank.size]
            assert {(head.size, head.root) for head in anchors.read(heads)} == {
                (head.size, head.root) for head in seals.heads()
            }
        assert bank.verify("--heads", str(heads), "--heads", str(bank.heads)).rows == []


def test_a_sealer_seals_when_the_log_moved_and_tells_what_a_topic_does_not_have(bank: Sealed, topics: str) -> None:
    async def run() -> None:
        sealer = Sealer(Seals(bank.url), signing.signer(bank.key).sign, [TopicAnchor(topics)], bootstrap.now)
        service = SealerService(sealer, timedelta(milliseconds=10), listener.wait, Servers.of(topics))
        async with service:
            await asyncio.to_thread(until, lambda: told(1))
            with psycopg.connect(bank.url) as conn:
                conn.execute("UPDATE kehu.log_head SET n = n + 1")
                conn.execute(
                    "INSERT INTO kehu.stored_events SELECT originator_id, originator_version + 1000, topic, state, n,"
                    " e.recorded_at, customer_id FROM kehu.stored_events e, kehu.log_head WHERE notification_id = 1"
                )
                conn.execute("NOTIFY kehu_events")
            await asyncio.to_thread(until, lambda: told(2))

    def told(heads: int) -> bool:
        return len(asyncio.run(read_topic(topics))) == heads

    with bank.tampered(*UNSEALED), closing(Listener(bank.url)) as listener:
        asyncio.run(run())
        assert [head.size for head in asyncio.run(read_topic(topics))] == [bank.size, bank.size + 1]
        done = bank.verify("--from-topic", "--kafka", topics, "--no-inbox", "--public-key", str(bank.public))
        assert done.rows == [], done.err


class Tried:
    """An anchor that counts how often it was tried."""

    def __init__(self, path: Path) -> None:
        self._file = anchors.FileAnchor(path)
        self.name = self._file.name
        self.times = 0

    def tell(self, heads: Sequence[Head]) -> None:
        self.times += 1
        self._file.tell(heads)


def test_an_anchor_that_failed_is_tried_again_without_waiting_for_the_log(bank: Sealed, tmp_path: Path) -> None:
    heads = tmp_path / "mounted" / "heads.jsonl"
    anchor = Tried(heads)
    rested: list[bool] = []

    async def run() -> None:
        sealer = Sealer(Seals(bank.url), signing.signer(bank.key).sign, [anchor], bootstrap.now)
        service = SealerService(
            sealer, timedelta(milliseconds=10), lambda _seconds: rested.append(heads.exists()), Servers.of("nowhere")
        )
        async with service:
            await asyncio.to_thread(until, lambda: anchor.times >= 3)
            heads.parent.mkdir()
            await asyncio.to_thread(until, lambda: bool(rested))

    with bank.tampered(*UNSEALED):
        asyncio.run(run())
    assert all(rested)
    assert [head.size for head in anchors.read(heads)] == [bank.size]


def test_a_line_that_a_kill_cut_off_is_told_again(bank: Sealed, tmp_path: Path) -> None:
    first, second, third = anchors.read(bank.heads)
    path = tmp_path / "heads.jsonl"
    anchors.FileAnchor(path).tell([first, second])
    path.write_bytes(path.read_bytes()[:-30])
    assert anchors.read(path) == [first]
    anchors.FileAnchor(path).tell([second, third])
    assert anchors.read(path) == [first, second, third]
    for nothing in ("no head\n", "", "\n", '{"size":'):
        path.write_text(nothing)
        with pytest.raises(anchors.NotHeads, match=r"heads\.jsonl"):
            anchors.read(path)


def test_keys_are_made_once_and_files_that_hold_none_are_refused(bank: Sealed, tmp_path: Path) -> None:
    made = bank.folder / "made.pem"
    assert kehu("audit", "key", "--out", str(made)).code == 0
    assert made.stat().st_mode & 0o777 == 0o600
    assert signing.signer(made).verifier.id == signing.verifier(made.with_suffix(".pub.pem")).id
    assert kehu("audit", "key", "--out", str(made)).code == 2
    nowhere = tmp_path / "no" / "seal.pem"
    lost = kehu("audit", "key", "--out", str(nowhere))
    assert (lost.code, f"{nowhere}: No such file" in lost.err) == (2, True)
    for odd in (tmp_path / "absent.pem", Path(__file__)):
        with pytest.raises(signing.NotAKey):
            signing.signer(odd)
        with pytest.raises(signing.NotAKey):
            signing.verifier(odd)
