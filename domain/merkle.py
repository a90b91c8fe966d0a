"""A Merkle tree over the log in the shape of RFC 9162 (and 6962): roots, and proofs that `kehu-verify` verifies.

Leaf i is the event at position i + 1. The tree of the first n events is a head; a proof of inclusion shows that an
event is in the tree of a head, a proof of consistency that a later tree holds an earlier one unchanged. Proofs are
lists of SHA-256 hashes, as many as the tree is high. Nothing here reads anything: hashes of complete subtrees come from
`Nodes`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

Hash = bytes
Nodes = Callable[[int, int], Hash]
"""(level, index) -> the hash of the complete subtree over the leaves [index * 2**level, (index + 1) * 2**level)."""

EMPTY: Hash = sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> Hash:
    """RFC 9162 section 2.1.1: a leaf is hashed with 00 before it, so that no leaf can pass for a node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: Hash, right: Hash) -> Hash:
    """RFC 9162 section 2.1.1: two subtrees are hashed with 01 before them."""
    return sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[Hash]) -> Hash:
    """The root over a power of two of hashes of one level."""
    row = list(hashes)
    while len(row) > 1:
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


def joined(peaks: Sequence[Hash]) -> Hash:
    """The root over complete subtrees that lie side by side, each smaller than the one before; none: the empty tree."""
    if not peaks:
        return EMPTY
    found = peaks[-1]
    for peak in reversed(peaks[:-1]):
        found = node_hash(peak, found)
    return found


def root(size: int, nodes: Nodes) -> Hash:
    """The root of the tree over the first `size` leaves."""
    return _root(0, size, nodes) if size else EMPTY


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[Hash]:
    """RFC 9162 section 2.1.3.1: the path from leaf `index` to the root over `size` leaves, from the leaf up.

    Raises ValueError for a leaf that is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return list(_path(index, 0, size, nodes))


def consistency_proof(earlier: int, later: int, nodes: Nodes) -> list[Hash]:
    """RFC 9162 section 2.1.4.1: that the tree of `later` leaves begins with the tree of `earlier`.

    Empty when both are the same or the earlier is empty. Raises ValueError when the earlier is the larger.
    """
    if not 0 <= earlier <= later:
        raise ValueError(f"a tree of {earlier} is no beginning of one of {later}")
    if earlier in (0, later):
        return []
    return list(_subproof(earlier, 0, later, nodes, whole=True))


def includes(leaf: Hash, index: int, size: int, path: Sequence[Hash], head: Hash) -> bool:
    """RFC 9162 section 2.1.3.2: whether the path leads from the leaf to the root of the head."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if node % 2 or node == last:
            found = node_hash(step, found)
            while not node % 2 and node:
                node, last = node // 2, last // 2
        else:
            found = node_hash(found, step)
        node, last = node // 2, last // 2
    return last == 0 and found == head


def extends(earlier: int, later: int, earlier_root: Hash, later_root: Hash, proof: Sequence[Hash]) -> bool:
    """RFC 9162 section 2.1.4.2: whether the later tree begins with the earlier one."""
    if earlier == later:
        return not proof and earlier_root == later_root
    if earlier == 0:
        return not proof and earlier_root == EMPTY
    if not 0 < earlier < later:
        return False
    steps = list(proof)
    if earlier & (earlier - 1) == 0:
        steps.insert(0, earlier_root)
    if not steps:
        return False
    node, last = earlier - 1, later - 1
    while node % 2:
        node, last = node // 2, last // 2
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node % 2 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not node % 2 and node:
                node, last = node // 2, last // 2
        else:
            new = node_hash(new, step)
        node, last = node // 2, last // 2
    return last == 0 and old == earlier_root and new == later_root


def rest(indices: Iterable[int], size: int, nodes: Nodes) -> Iterator[Hash]:
    """A proof for many leaves at once: the hashes of all largest subtrees that hold none of them, from left to right.

    With the leaves at the indices, which ascend, they make the root over `size` leaves: see `kehu-verify export`.
    """
    ahead = _Ahead((index, b"") for index in indices)
    yield from _rest(0, size, ahead, nodes)


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _root(start: int, end: int, nodes: Nodes) -> Hash:
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(size)
    return node_hash(_root(start, middle, nodes), _root(middle, end, nodes))


def _path(index: int, start: int, end: int, nodes: Nodes) -> Iterator[Hash]:
    if end - start == 1:
        return
    middle = start + _split(end - start)
    if index < middle:
        yield from _path(index, start, middle, nodes)
        yield _root(middle, end, nodes)
    else:
        yield from _path(index, middle, end, nodes)
        yield _root(start, middle, nodes)


def _subproof(earlier: int, start: int, end: int, nodes: Nodes, *, whole: bool) -> Iterator[Hash]:
    """`whole`: the earlier tree is all that came before `end` so far, and its root is known to who verifies."""
    if earlier == end - start:
        if not whole:
            yield _root(start, end, nodes)
        return
    middle = _split(end - start)
    if earlier <= middle:
        yield from _subproof(earlier, start, start + middle, nodes, whole=whole)
        yield _root(start + middle, end, nodes)
    else:
        yield from _subproof(earlier - middle, start + middle, end, nodes, whole=False)
        yield _root(start, start + middle, nodes)


class _Ahead:
    """Leaves in order of their indices, with the next one in sight."""

    def __init__(self, leaves: Iterable[tuple[int, Hash]]) -> None:
        self._leaves = iter(leaves)
        self.index: int | None = None
        self._leaf: Hash = b""
        self.take()

    def take(self) -> Hash:
        taken, before = self._leaf, self.index
        self.index, self._leaf = next(self._leaves, (None, b""))
        if before is not None and self.index is not None and self.index <= before:
            raise ValueError("indices do not ascend")
        return taken


def _rest(start: int, end: int, ahead: _Ahead, nodes: Nodes) -> Iterator[Hash]:
    if ahead.index is None or ahead.index >= end:
        if end > start:
            yield _root(start, end, nodes)
    elif end - start == 1:
        ahead.take()
    else:
        middle = start + _split(end - start)
        yield from _rest(start, middle, ahead, nodes)
        yield from _rest(middle, end, ahead, nodes)
