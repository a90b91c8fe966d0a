#!/usr/bin/env python3
"""Checks proofs and exports of Kehu without Kehu: one file that needs Python 3.11 and `cryptography`, and no database.

It is written apart from what makes the proofs, so that a mistake there is not repeated here. What is trusted: a public
key of the bank (--key), heads that were told earlier and kept (--heads), or best both. Hashes are SHA-256 in the shape
of RFC 9162 (and 6962); docs/reference/proofs.md has each document, docs/explanation/proofs.md what a proof shows.

  kehu-verify proof proof.json --key seal.pub.pem --heads heads.jsonl
  kehu-verify consistency consistency.json --key seal.pub.pem --heads heads.jsonl
  kehu-verify export folder --key seal.pub.pem --heads heads.jsonl
  kehu-verify heads heads.jsonl --key seal.pub.pem
  kehu-verify erasure certificate.jsonl --key seal.pub.pem --heads heads.jsonl

Exit code 0: it holds; 1: it does not hold; 2: it cannot be read.
"""

import argparse
import json
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LINES = "kehu tree head v1"
ERASURE = "kehu erasure v1"
EMPTY = sha256(b"").digest()


class DoesNotHoldError(Exception):
    """What was told is not true."""


class UnreadableError(Exception):
    """What was given is not what it should be."""


# What is hashed


def leaf(event: Any) -> bytes:
    """The leaf of an event. Raises UnreadableError."""
    numbers = struct.pack(
        ">qqq",
        whole(event, "position"),
        (moment(event, "recorded_at") - EPOCH) // timedelta(microseconds=1),
        whole(event, "version"),
    )
    customer = b"\xff" if event.get("customer_id", "") is None else text(event, "customer_id")
    said = b"%b\0%b\0%b\0%b" % (text(event, "stream"), text(event, "topic"), customer, text(event, "state"))
    return sha256(b"\0" + numbers + said).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Two subtrees under one hash."""
    return sha256(b"\1" + left + right).digest()


def signed_bytes(head: Any) -> bytes:
    """What the signature of a head is over."""
    size, root, at = str(whole(head, "size")), hexes(head, "root").hex(), moment(head, "sealed_at").isoformat()
    return "\n".join((LINES, size, root, at, text(head, "key_id").decode())).encode()


# The tree of RFC 9162


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def root_from_path(found: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a leaf and its path lead to (section 2.1.3.1 read backwards). Raises DoesNotHoldError."""
    if not 0 <= index < size:
        raise DoesNotHoldError(f"there is no event {index + 1} in a tree of {size}")
    turns = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        turns.append(index < middle)
        start, end = (start, middle) if index < middle else (middle, end)
    if len(turns) != len(path):
        raise DoesNotHoldError(f"the path has {len(path)} hashes and not {len(turns)}")
    for is_left, other in zip(reversed(turns), path, strict=True):
        found = node(found, other) if is_left else node(other, found)
    return found


def roots_from_proof(earlier: int, later: int, earlier_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that a proof of consistency leads to (section 2.1.4.1 read backwards). Raises DoesNotHoldError."""
    hashes = iter(proof)

    def both(begun: int, size: int, whole_tree: bool) -> tuple[bytes, bytes]:
        """The hashes of the first `begun` leaves and of all `size` leaves of a subtree."""
        if begun == size:
            one = earlier_root if whole_tree else next(hashes, None)
            if one is None:
                raise DoesNotHoldError("the proof is too short")
            return one, one
        middle = split(size)
        if begun <= middle:
            old, new = both(begun, middle, whole_tree)
            right = next(hashes, None)
        else:
            old, new = both(begun - middle, size - middle, False)
            left = next(hashes, None)
            if left is None:
                raise DoesNotHoldError("the proof is too short")
            return node(left, old), node(left, new)
        if right is None:
            raise DoesNotHoldError("the proof is too short")
        return old, node(new, right)

    if not 0 < earlier <= later:
        raise DoesNotHoldError(f"a tree of {earlier} is no beginning of one of {later}")
    found = both(earlier, later, True)
    if next(hashes, None) is not None:
        raise DoesNotHoldError("the proof is too long")
    return found


def root_with(leaves: Iterable[tuple[int, bytes]], size: int, rest: Iterable[bytes]) -> bytes:
    """The root of a tree of `size` from some leaves and the hashes of all subtrees between. Raises DoesNotHoldError."""
    ahead, others = iter(leaves), iter(rest)
    following = next(ahead, None)

    def of(start: int, end: int) -> bytes:
        nonlocal following
        if following is None or following[0] >= end:
            found = next(others, None)
            if found is None:
                raise DoesNotHoldError("there are too few hashes beside the events")
            return found
        if end - start == 1:
            index, found = following
            following = next(ahead, None)
            if following is not None and following[0] <= index:
                raise DoesNotHoldError("the events are not in the order of their positions")
            return found
        middle = start + split(end - start)
        left = of(start, middle)
        return node(left, of(middle, end))

    found = of(0, size) if size else EMPTY
    if following is not None:
        raise DoesNotHoldError("there are events that the head does not have")
    if next(others, None) is not None:
        raise DoesNotHoldError("there are too many hashes beside the events")
    return found


# What is trusted


class Trust:
    """Public keys and heads of whoever checks."""

    def __init__(self, keys: Sequence[Path], heads: Path | None) -> None:
        self.keys = dict(map(key_of, keys))
        self.heads: dict[int, bytes] = {}
        self.where = heads
        for head in read_heads(heads) if heads else ():
            size, root = whole(head, "size"), hexes(head, "root")
            if self.heads.setdefault(size, root) != root:
                raise DoesNotHoldError(f"{heads} has two heads of {size} events: the log was set back")
            self.signed(head)

    def key(self, key_id: Any, of: str) -> Ed25519PublicKey:
        """The public key that is to have signed something. Raises DoesNotHoldError when it is not given."""
        key = self.keys.get(key_id)
        if key is None:
            raise DoesNotHoldError(f"the {of} is signed by key {key_id}, which is not given")
        return key

    def signed(self, head: Any) -> None:
        """Raises DoesNotHoldError when keys are given and none of them signed the head."""
        if not self.keys:
            return
        key = self.key(text(head, "key_id").decode(), f"head of {head['size']}")
        try:
            key.verify(hexes(head, "signature"), signed_bytes(head))
        except InvalidSignature:
            raise DoesNotHoldError(f"the signature of the head of {head['size']} is wrong") from None

    def signed_certificate(self, said: Any) -> str:
        """By whom a certificate is signed. Raises DoesNotHoldError."""
        key = self.key(said.get("key_id"), "certificate")
        rest = {name: value for name, value in said.items() if name != "signature"}
        words = json.dumps(rest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        try:
            key.verify(hexes(said, "signature"), f"{ERASURE}\n{words}".encode())
        except InvalidSignature:
            raise DoesNotHoldError("the signature of the certificate is wrong") from None
        return f"certificate of {said['ended_at']}: signed by {said['key_id']}"

    def check(self, head: Any) -> str:
        """What makes the head believable. Raises DoesNotHoldError."""
        size, root = whole(head, "size"), hexes(head, "root")
        self.signed(head)
        if self.where:
            if size not in self.heads:
                raise DoesNotHoldError(f"{self.where} has no head of {size} events: ask for a proof in one that it has")
            if self.heads[size] != root:
                raise DoesNotHoldError(f"the head of {size} events is not the one in {self.where}")
        by = [f"signed by {head['key_id']}"] * bool(self.keys) + ["among the heads that were kept"] * bool(self.where)
        return f"head of {size} events sealed at {head['sealed_at']}: {' and '.join(by)}"


def key_of(path: Path) -> tuple[str, Ed25519PublicKey]:
    """Id and public key of a PEM file. Raises UnreadableError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UnreadableError(f"{path}: no Ed25519 key")
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16], key


# The checks


def check_proof(path: Path, trust: Trust) -> Iterator[str]:
    """An event is in the tree of a head."""
    said = document(path, "kehu inclusion v1")
    event, head = said["event"], said["head"]
    position, size = whole(event, "position"), whole(head, "size")
    yield trust.check(head)
    if root_from_path(leaf(event), position - 1, size, hashes(said["path"])) != hexes(head, "root"):
        raise DoesNotHoldError(f"the event at position {position} is not the one in the head")
    yield f"event {position}, {event['topic']} in {event['stream']}: as it was sealed"


def check_consistency(path: Path, trust: Trust) -> Iterator[str]:
    """The tree of one head begins with the tree of another: nothing before was changed. One of them may be trusted."""
    said = document(path, "kehu consistency v1")
    earlier, later = said["earlier"], said["later"]
    believed = []
    for head in (earlier, later):
        trust.signed(head)
        if whole(head, "size") in trust.heads:
            believed.append(trust.check(head))
    if trust.where and not believed:
        raise DoesNotHoldError(f"{trust.where} has neither of the two heads")
    yield from believed
    old, new = hexes(earlier, "root"), hexes(later, "root")
    sizes = whole(earlier, "size"), whole(later, "size")
    if roots_from_proof(*sizes, old, hashes(said["path"])) != (old, new):
        raise DoesNotHoldError(f"the tree of {sizes[1]} events does not begin with the tree of {sizes[0]}")
    yield f"the tree of {sizes[1]} events begins with the tree of {sizes[0]} events, unchanged"


def check_export(folder: Path, trust: Trust) -> Iterator[str]:
    """All events of an export are in the tree of its head, and are what its manifest says."""
    manifest = document(folder / "manifest.json", "kehu export v1")
    head, of = manifest["head"], manifest["of"]
    yield trust.check(head)
    told: dict[str, Any] = {"events": 0, "gap": None}
    found = root_with(_leaves(folder / "events.ndjson", of, told), whole(head, "size"), _rest(folder / "rest.txt"))
    if found != hexes(head, "root"):
        raise DoesNotHoldError("the events are not those in the head, or the hashes beside them are wrong")
    if told["events"] != whole(manifest, "events"):
        raise DoesNotHoldError(f"there are {told['events']} events, and the manifest says {manifest['events']}")
    yield f"{told['events']} events: as they were sealed"
    if of.get("stream") is not None and of.get("customer") is None and of.get("first") is None:
        if told["gap"]:
            raise DoesNotHoldError(f"the stream has no version {told['gap']}: events were left out")
        yield f"stream {of['stream']}: versions 1 to {told['events']} without a gap"
    elif of.get("stream") is None and of.get("customer") is None:
        first, last = of.get("first", 1), of.get("last", head["size"])
        if told["events"] != last - first + 1:
            raise DoesNotHoldError(f"positions {first} to {last} are not all there: events were left out")
        yield f"positions {first} to {last}: complete"
    else:
        yield "that no event was left out cannot be seen from the export alone"


def check_heads(path: Path, trust: Trust) -> Iterator[str]:
    """Heads that were kept are signed, and there are no two of one size."""
    number, last = 0, 0
    seen: dict[int, bytes] = {}
    for head in read_heads(path):
        trust.signed(head)
        size, root = whole(head, "size"), hexes(head, "root")
        if seen.setdefault(size, root) != root:
            raise DoesNotHoldError(f"there are two heads of {size} events: the log was set back")
        if size < last and len(seen) > number:
            raise DoesNotHoldError(f"a head of {size} events came after one of {last}: the log was set back")
        number, last = len(seen), max(size, last)
    if not number:
        raise UnreadableError(f"{path}: there is no head")
    yield f"{number} heads, up to {last} events{': signed' if trust.keys else ''}"


def check_erasure(path: Path, trust: Trust) -> Iterator[str]:
    """That customers were forgotten: the event that says so is in the log, and nothing before it was changed."""
    number = 0
    for said in _told(path):
        if said.get("certificate") != ERASURE:
            raise UnreadableError(f"{path}: this is not {ERASURE!r}")
        yield from _erasure(said, trust)
        number += 1
    if not number:
        raise UnreadableError(f"{path}: there is no certificate")


def _erasure(said: Any, trust: Trust) -> Iterator[str]:
    if trust.keys:
        yield trust.signed_certificate(said)
    else:
        yield "of what was purged nothing is shown without --key: only the event is proven"
    event, before, after = said["event"], said["head_before"], said["head_after"]
    customer, position = text(said, "customer").decode(), whole(said, "position")
    told = parsed(text(event, "state"), Path("the event"))["data"]
    names = (event["topic"], event["stream"], event["customer_id"], event["position"], told["reason"], told["by"])
    if names != ("customer.erased.v1", f"customer-{customer}", customer, position, said["reason"], said["by"]):
        raise DoesNotHoldError(f"the event at position {position} does not say what the certificate says")
    if after is None:
        raise DoesNotHoldError("what the certificate says was not sealed when it was made: ask for another one")
    heads = [one for one in (before, after) if one is not None]
    for one in heads:
        trust.signed(one)
    believed = [trust.check(one) for one in heads if whole(one, "size") in trust.heads]
    if trust.where and not believed:
        raise DoesNotHoldError(f"{trust.where} has none of the heads of the certificate")
    yield from believed
    size = whole(after, "size")
    if root_from_path(leaf(event), position - 1, size, hashes(said["path"])) != hexes(after, "root"):
        raise DoesNotHoldError(f"the event at position {position} is not the one in the head")
    yield f"customer {customer}: forgotten at position {position}, as it was sealed"
    if before is None:
        yield "nothing had been sealed before: whether anything was changed then cannot be seen"
        return
    old, earlier = hexes(before, "root"), whole(before, "size")
    if earlier >= position:
        raise DoesNotHoldError("the head from before has the event already")
    if roots_from_proof(earlier, size, old, hashes(said["extension"])) != (old, hexes(after, "root")):
        raise DoesNotHoldError(f"the tree of {size} events does not begin with the tree of {earlier}")
    yield f"the {earlier} events that were sealed before are unchanged"


def _leaves(path: Path, of: Any, told: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
    for line in _lines(path):
        event = parsed(line, path)
        hashed = leaf(event)
        position = event["position"]
        told["events"] += 1
        for name, column in (("stream", "stream"), ("customer", "customer_id")):
            if of.get(name) is not None and event[column] != of[name]:
                raise DoesNotHoldError(f"the event at position {position} is not of {name} {of[name]}")
        if not of.get("first", 1) <= position <= of.get("last", position):
            raise DoesNotHoldError(f"the event at position {position} is outside of what the manifest says")
        if event["version"] != told["events"] and told["gap"] is None:
            told["gap"] = told["events"]
        yield position - 1, hashed


def _rest(path: Path) -> Iterator[bytes]:
    for line in _lines(path):
        yield hash_of(line.decode(errors="replace"))


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except OSError as error:
        raise UnreadableError(str(error)) from error


# What is read


def read_heads(path: Path) -> list[Any]:
    """The heads of a file, one a line; a line that was cut off and told again is left out. Raises UnreadableError."""
    return list(_told(path))


def _told(path: Path) -> Iterator[Any]:
    lines = list(_lines(path))
    for one, after in zip(lines, [*lines[1:], b""], strict=False):
        if one and not _begun(one, after):
            yield parsed(one, path)


def _begun(line: bytes, after: bytes) -> bool:
    return len(line) < len(after) and after.startswith(line)


def document(path: Path, kind: str) -> Any:
    """A JSON document of a kind. Raises UnreadableError."""
    try:
        said = parsed(path.read_bytes(), path)
    except OSError as error:
        raise UnreadableError(str(error)) from error
    if kind not in (said.get("proof"), said.get("export")):
        raise UnreadableError(f"{path}: this is not {kind!r}")
    return said


def parsed(raw: bytes, path: Path) -> Any:
    """A JSON object in which no name comes twice. Raises UnreadableError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name comes twice")
        return dict(pairs)

    try:
        said = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path}: {error}") from error
    if not isinstance(said, dict):
        raise UnreadableError(f"{path}: no object")
    return said


def whole(of: Any, name: str) -> int:
    """A whole number that fits eight bytes and is not negative."""
    value = of[name]
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise UnreadableError(f"{name} is no whole number: {value!r}")
    return value


def text(of: Any, name: str) -> bytes:
    """A text as UTF-8. None of what is hashed holds a NUL, which ends it there."""
    value = of[name]
    if not isinstance(value, str) or "\0" in value:
        raise UnreadableError(f"{name} is no text: {value!r}")
    return value.encode()


def hexes(of: Any, name: str) -> bytes:
    """Bytes in hexadecimal."""
    try:
        return bytes.fromhex(of[name])
    except (TypeError, ValueError):
        raise UnreadableError(f"{name} is not hexadecimal") from None


def hashes(of: Any) -> list[bytes]:
    """A list of hashes."""
    if not isinstance(of, list):
        raise UnreadableError("there is no list of hashes")
    return list(map(hash_of, of))


def hash_of(said: Any) -> bytes:
    """A SHA-256 in hexadecimal."""
    found = hexes({"hash": said}, "hash")
    if len(found) != len(EMPTY):
        raise UnreadableError(f"a hash has {len(EMPTY)} bytes")
    return found


def moment(of: Any, name: str) -> datetime:
    """A time with its zone."""
    try:
        value = datetime.fromisoformat(of[name])
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise UnreadableError(f"{name} is no time") from None


CHECKS = {
    "proof": check_proof,
    "consistency": check_consistency,
    "export": check_export,
    "heads": check_heads,
    "erasure": check_erasure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Check one thing; one line for each part that holds, and the exit code."""
    parser = argparse.ArgumentParser("kehu-verify", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=CHECKS)
    parser.add_argument("path", type=Path, help="a JSON file, a folder, or a file of heads")
    parser.add_argument(
        "--key", type=Path, action="append", default=[], help="a public key in PEM; several if it changed"
    )
    parser.add_argument("--heads", type=Path, help="heads that were told earlier and kept, one as JSON a line")
    given = parser.parse_args(arguments)
    if not given.key and not given.heads:
        parser.error("give --key, --heads or both: a proof shows nothing to whoever trusts nothing")
    try:
        for line in CHECKS[given.what](given.path, Trust(given.key, given.heads)):
            sys.stdout.write(f"ok: {line}\n")
    except DoesNotHoldError as error:
        sys.stdout.write(f"WRONG: {error}\n")
        sys.exit(1)
    except (UnreadableError, KeyError, TypeError, AttributeError, UnicodeError, OverflowError) as error:
        sys.stderr.write(f"kehu-verify: {type(error).__name__}: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
