"""What checks proofs elsewhere, held against what makes them here, and against whoever bends them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from domain.heads import Head
from domain.merkle import consistency_proof, inclusion_proof, rest, root
from infra import kehu_verify
from infra.certificates import signed
from infra.kehu_verify import DoesNotHoldError, leaf, root_from_path, root_with, roots_from_proof
from infra.signing import Signer
from tests.unit.test_merkle import MANY, by_the_book, nodes_of

NODES = nodes_of(MANY)
AT = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


@given(data=st.data(), size=st.integers(1, 2000))
def test_a_path_leads_to_the_root_and_a_bent_one_does_not(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    path, head = inclusion_proof(index, size, NODES), root(size, NODES)
    assert root_from_path(MANY[index], index, size, path) == head
    assert root_from_path(MANY[index - 1], index, size, path) != head or size == 1
    with pytest.raises(DoesNotHoldError):
        root_from_path(MANY[index], index, size, [*path, head])
    with pytest.raises(DoesNotHoldError):
        root_from_path(MANY[index], size, size, path)


@given(data=st.data(), later=st.integers(1, 2000))
def test_any_two_heads_are_consistent_and_others_are_not(data: st.DataObject, later: int) -> None:
    earlier = data.draw(st.integers(1, later))
    old, new = root(earlier, NODES), root(later, NODES)
    proof = consistency_proof(earlier, later, NODES)
    assert roots_from_proof(earlier, later, old, proof) == (old, new)
    other = by_the_book([MANY[-1], *MANY[1:earlier]])
    assert roots_from_proof(earlier, later, other, proof) != (other, new)
    with pytest.raises(DoesNotHoldError):
        roots_from_proof(earlier, later, old, [*proof, new])
    if proof:
        with pytest.raises(DoesNotHoldError):
            roots_from_proof(earlier, later, old, proof[:-1])


@given(data=st.data(), size=st.integers(1, 2000))
def test_some_events_and_the_rest_make_the_root(data: st.DataObject, size: int) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), max_size=20)))
    leaves, hashes = [(index, MANY[index]) for index in indices], list(rest(indices, size, NODES))
    assert root_with(leaves, size, hashes) == root(size, NODES)
    with pytest.raises(DoesNotHoldError):
        root_with([*leaves, (size, MANY[0])], size, hashes)
    with pytest.raises(DoesNotHoldError):
        root_with(leaves, size, [*hashes, MANY[0]])


def event(position: int, **given: Any) -> dict[str, Any]:
    at = {"position": position, "recorded_at": AT.isoformat(), "version": position, "stream": "s-1"}
    return {**at, "topic": "a.b.v1", "customer_id": "c1", "state": f'{{"n":{position}}}', **given}


@dataclass
class Told:
    """A small sealed log, and what is told of it in files."""

    folder: Path
    signer: Signer
    events: Sequence[dict[str, Any]]

    def head(self, size: int, **given: Any) -> dict[str, Any]:
        head = self.signer.sign(Head(size, root(size, nodes_of(self.leaves())), AT, ""))
        return {**head.as_json(), **given}

    def leaves(self) -> list[bytes]:
        return [leaf(one) for one in self.events]

    def write(self, name: str, document: Any) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    def heads(self, *sizes: int) -> str:
        return self.write("heads.jsonl", "".join(json.dumps(self.head(size)) + "\n" for size in sizes))

    @property
    def key(self) -> str:
        path = self.folder / "key.pub.pem"
        path.write_bytes(self.signer.verifier.pem)
        return str(path)

    def proof(self, position: int, size: int) -> dict[str, Any]:
        path = [one.hex() for one in inclusion_proof(position - 1, size, nodes_of(self.leaves()))]
        head = self.head(size)
        return {"proof": "kehu inclusion v1", "event": self.events[position - 1], "head": head, "path": path}

    def export(self, positions: Sequence[int], of: dict[str, Any]) -> str:
        size = len(self.events)
        hashes = rest([one - 1 for one in positions], size, nodes_of(self.leaves()))
        manifest = {"export": "kehu export v1", "of": of, "events": len(positions), "head": self.head(size)}
        self.write("out/manifest.json", manifest)
        self.write("out/events.ndjson", "".join(json.dumps(self.events[one - 1]) + "\n" for one in positions))
        self.write("out/rest.txt", "".join(one.hex() + "\n" for one in hashes))
        return str(self.folder / "out")


@pytest.fixture
def told(tmp_path: Path) -> Told:
    streams = {3: {"stream": "s-2", "version": 1}, 5: {"stream": "s-2", "version": 2, "customer_id": None}}
    events = [event(n, **streams.get(n, {})) for n in range(1, 8)]
    return Told(tmp_path, Signer(Ed25519PrivateKey.generate()), events)


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and what is told."""
    code = 0
    try:
        kehu_verify.main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    out = capsys.readouterr()
    return code, out.out + out.err


def test_a_proof_holds_by_key_by_kept_heads_and_by_both(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    for position in range(1, 8):
        proof, heads = told.write("proof.json", told.proof(position, 7)), told.heads(4, 7)
        for trust in (["--key", told.key], ["--heads", heads], ["--key", told.key, "--heads", heads]):
            code, out = check(capsys, "proof", proof, *trust)
            assert (code, f"event {position}" in out) == (0, True), out
    assert check(capsys, "proof", proof)[0] == 2


BENT: dict[str, dict[str, Any]] = {
    "another position": {"position": 4},
    "another time": {"recorded_at": "2026-03-02T12:00:00+00:00"},
    "another version": {"version": 9},
    "another stream": {"stream": "s-9"},
    "another type": {"topic": "a.c.v1"},
    "another customer": {"customer_id": "c2"},
    "no customer": {"customer_id": None},
    "another state": {"state": '{"n":99}'},
}


@pytest.mark.parametrize("bent", BENT.values(), ids=BENT)
def test_an_event_that_was_bent_has_no_proof(
    told: Told, bent: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    proof = told.proof(2, 7)
    path = told.write("proof.json", {**proof, "event": {**proof["event"], **bent}})
    assert check(capsys, "proof", path, "--key", told.key)[0] == 1


def test_a_head_is_believed_when_it_is_signed_and_kept(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    other = Told(told.folder / "other", Signer(Ed25519PrivateKey.generate()), [event(n) for n in range(10, 17)])
    other.folder.mkdir()
    ours, theirs = told.proof(2, 7), other.proof(1, 7)
    for proof in (
        {**ours, "head": {**ours["head"], "sealed_at": "2026-03-01T00:00:00+00:00"}},
        {**ours, "head": {**ours["head"], "signature": "00" * 64}},
        {**ours, "head": {**ours["head"], "root": theirs["head"]["root"]}},
        {**ours, "head": {**ours["head"], "size": 8}},
        theirs,
    ):
        code, out = check(capsys, "proof", told.write("bent.json", proof), "--key", told.key)
        assert (code, "WRONG" in out) == (1, True), out
    kept = told.write("proof.json", ours)
    assert "ask for a proof" in check(capsys, "proof", kept, "--heads", told.heads(4))[1]
    told.events = [event(n, state="rewritten") for n in range(1, 8)]
    code, out = check(capsys, "proof", kept, "--key", told.key, "--heads", told.heads(7))
    assert (code, "not the one in" in out) == (1, True)


def test_a_later_head_is_led_back_to_a_kept_one(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    path = [one.hex() for one in consistency_proof(4, 7, nodes_of(told.leaves()))]
    proof = {"proof": "kehu consistency v1", "earlier": told.head(4), "later": told.head(7), "path": path}
    file = told.write("consistency.json", proof)
    code, out = check(capsys, "consistency", file, "--key", told.key, "--heads", told.heads(4))
    assert (code, "begins with the tree of 4" in out) == (0, True), out
    assert check(capsys, "consistency", file, "--heads", told.heads(5))[0] == 1
    kept = told.heads(4)
    told.events = [event(n, state="rewritten") for n in range(1, 8)]
    later = {**proof, "later": told.head(7)}
    assert check(capsys, "consistency", told.write("bent.json", later), "--heads", kept)[0] == 1


PARTS: dict[str, tuple[list[int], dict[str, Any], str]] = {
    "all": ([1, 2, 3, 4, 5, 6, 7], {}, "positions 1 to 7: complete"),
    "a period": ([2, 3, 4], {"first": 2, "last": 4}, "positions 2 to 4: complete"),
    "a stream": ([3, 5], {"stream": "s-2"}, "versions 1 to 2 without a gap"),
    "a customer": ([1, 2, 3, 4, 6, 7], {"customer": "c1"}, "cannot be seen"),
    "nothing": ([], {"stream": "s-9"}, "0 events"),
}


@pytest.mark.parametrize(("positions", "of", "says"), PARTS.values(), ids=PARTS)
def test_an_export_holds_as_a_whole(
    told: Told, positions: list[int], of: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = check(capsys, "export", told.export(positions, of), "--key", told.key)
    assert (code, says in out) == (0, True), out


LESS: dict[str, tuple[list[int], dict[str, Any]]] = {
    "an event of the period is left out": ([2, 4], {"first": 2, "last": 4}),
    "an event of the stream is left out": ([5], {"stream": "s-2"}),
    "an event of another stream": ([3, 4, 5], {"stream": "s-2"}),
    "an event of another customer": ([1, 5], {"customer": "c1"}),
    "an event outside of the period": ([2, 3, 4, 5], {"first": 2, "last": 4}),
}


@pytest.mark.parametrize(("positions", "of"), LESS.values(), ids=LESS)
def test_an_export_that_is_not_what_it_says_does_not_hold(
    told: Told, positions: list[int], of: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = check(capsys, "export", told.export(positions, of), "--key", told.key)
    assert (code, "WRONG" in out) == (1, True), out


def test_an_export_that_was_bent_does_not_hold(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    whole = told.export([2, 3, 4], {"first": 2, "last": 4})
    lines = (told.folder / "out" / "events.ndjson").read_text().splitlines()
    for bent in (
        lines[::-1],
        [lines[0], lines[2], lines[1]],
        [lines[0].replace('"c1"', '"c2"'), *lines[1:]],
        lines[:2],
    ):
        told.write("out/events.ndjson", "\n".join(bent) + "\n")
        assert check(capsys, "export", whole, "--key", told.key)[0] == 1


def test_kept_heads_show_a_log_that_was_set_back(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "heads", told.heads(2, 4, 7), "--key", told.key) == (
        0,
        "ok: 3 heads, up to 7 events: signed\n",
    )
    kept = Path(told.heads(4, 7)).read_text()
    told.events = [event(n, state="rewritten") for n in range(1, 8)]
    for again in (told.head(7), told.head(5)):
        code, out = check(capsys, "heads", told.write("kept.jsonl", kept + json.dumps(again) + "\n"), "--key", told.key)
        assert (code, "set back" in out) == (1, True), out


def test_a_line_that_was_cut_off_and_told_again_is_no_head(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = Path(told.heads(4, 7)).read_text().splitlines()
    cut = told.write("cut.jsonl", f"{first}\n{second[:30]}\n{second}\n")
    assert check(capsys, "heads", cut, "--key", told.key)[0] == 0
    assert check(capsys, "heads", told.write("bad.jsonl", f"{second[:30]}\n{first}\n"), "--key", told.key)[0] == 2


@pytest.mark.parametrize(
    "document",
    [
        "no json",
        "[1]",
        "{}",
        '{"proof": "kehu inclusion v1"}',
        '{"proof": "kehu inclusion v1", "proof": "kehu inclusion v1"}',
        {"proof": "kehu inclusion v1", "event": {}, "head": {}, "path": []},
        {"proof": "kehu inclusion v1", "event": event(1, stream="s\0"), "head": 3, "path": "x"},
    ],
)
def test_what_is_no_proof_is_told_in_a_line(told: Told, document: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check(capsys, "proof", told.write("odd.json", document), "--key", told.key)
    assert (code, out.count("\n")) == (2, 1), out


@pytest.mark.parametrize(
    "odd", [{"position": True}, {"position": -1}, {"position": 1.0}, {"stream": "a\0b"}, {"recorded_at": "today"}]
)
def test_an_event_of_another_form_has_no_leaf(odd: dict[str, Any]) -> None:
    with pytest.raises(kehu_verify.UnreadableError):
        leaf({**event(1), **odd})


ERASED = {
    "topic": "customer.erased.v1",
    "stream": "customer-c1",
    "customer_id": "c1",
    "state": '{"meta":{},"data":{"reason":"dr-1","by":"desk"}}',
}


def certificate(told: Told, **given: Any) -> dict[str, Any]:
    """Of an erasure at position 5 of 7, after a head of 4; signed when it says what was given."""
    told.events = [event(n, **(ERASED if n == 5 else {})) for n in range(1, 8)]
    nodes = nodes_of(told.leaves())
    said = {
        "certificate": "kehu erasure v1",
        "customer": "c1",
        "reason": "dr-1",
        "by": "desk",
        "ended_at": "2026-03-02",
        "purged": {"parked": 1},
        "position": 5,
        "event": told.events[4],
        "head_before": told.head(4),
        "head_after": told.head(7),
        "path": [one.hex() for one in inclusion_proof(4, 7, nodes)],
        "extension": [one.hex() for one in consistency_proof(4, 7, nodes)],
        **given,
    }
    return signed(said, told.signer)


def test_a_certificate_of_an_erasure_holds(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    file = told.write("told.jsonl", json.dumps(certificate(told)) + "\n" + json.dumps(certificate(told)))
    for trust in (["--key", told.key], ["--heads", told.heads(4)], ["--key", told.key, "--heads", told.heads(2, 7)]):
        code, out = check(capsys, "erasure", file, *trust)
        assert (code, out.count("customer c1: forgotten at position 5"), out.count("4 events")) == (0, 2, 2), out
    assert check(capsys, "erasure", file, "--heads", told.heads(2))[0] == 1
    first = told.write("first.jsonl", certificate(told, head_before=None, extension=[]))
    assert "nothing had been sealed before" in check(capsys, "erasure", first, "--key", told.key)[1]
    # One that was cut off and told again is one; cut off and not told again it is no certificate.
    line = json.dumps(certificate(told))
    twice = told.write("cut.jsonl", f"{line}\n{line[:99]}\n{line}\n")
    assert check(capsys, "erasure", twice, "--key", told.key)[1].count("customer c1: forgotten") == 2
    for nothing in ("", "{}", '{"certificate": "kehu erasure v2"}', line[:99]):
        assert check(capsys, "erasure", told.write("no.jsonl", nothing), "--key", told.key)[0] == 2


SAID: dict[str, dict[str, Any]] = {
    "another customer": {"customer": "c2"},
    "another reason": {"reason": "dr-2"},
    "another position": {"position": 4},
    "no head": {"head_after": None},
    "a head that has it already": {"head_before": "7", "extension": []},
    "another event": {"event": {**event(4), **ERASED, "version": 99}},
    "another path": {"path": []},
    "another extension": {"extension": []},
}


@pytest.mark.parametrize("bent", SAID.values(), ids=SAID)
def test_a_certificate_that_says_what_the_log_does_not_is_found_although_it_is_signed(
    told: Told, bent: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    certificate(told)
    if bent.get("head_before"):
        bent = {**bent, "head_before": told.head(7)}
    file = told.write("bent.jsonl", certificate(told, **bent))
    code, out = check(capsys, "erasure", file, "--key", told.key)
    assert (code, "WRONG" in out) == (1, True), out


def test_a_certificate_that_was_bent_after_it_was_signed_is_found(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    said = certificate(told)
    for bent in ({"purged": {"parked": 2}}, {"by": "me"}, {"key_id": "00"}, {"signature": "00" * 64}, {"more": 1}):
        assert check(capsys, "erasure", told.write("bent.jsonl", {**said, **bent}), "--key", told.key)[0] == 1
