"""Walks the log against its tree and heads, and names what does not fit.

Leaves are computed anew from the stored events. The kept leaves say which event changed; the heads say whether the kept
leaves can be believed, and heads that were told outside whether the heads can.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from domain.heads import Head
from domain.merkle import Hash, complete_root, root

TILE = 256
Kind = Literal["changed", "missing", "twice", "unsigned", "head", "rewritten", "lost"]

MEANING: Mapping[Kind, str] = {
    "changed": "the event at this position is not the one that was sealed, or not in its place",
    "missing": "there is no event here, though positions have no gaps",
    "twice": "there are two events at this position",
    "unsigned": "the signature of the head of this size is not of the key",
    "head": "the head of this size is not the one that was told outside",
    "rewritten": "events and tree fit each other, and not the head of this size: both were rewritten",
    "lost": "the log ends here, and a head of more events was told outside",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not fit, from which position or size on.

    Of what is missing also the last position, of a rewriting and a loss the size of the last head that fits.
    """

    kind: Kind
    at: int
    after: int | None = None
    through: int | None = None

    def text(self) -> str:
        """For people."""
        since = "" if self.after is None else f"; the last head that fits has {self.after}"
        to = "" if self.through in (None, self.at) else f" to {self.through}"
        return f"{self.kind} at {self.at}{to}: {MEANING[self.kind]}{since}"


@dataclass(slots=True)
class Grown:
    """A tree that grows leaf by leaf and knows its root at every size."""

    size: int = 0
    _tiles: list[Hash] = field(default_factory=list)
    _leaves: list[Hash] = field(default_factory=list)
    _known: dict[tuple[int, int], Hash] = field(default_factory=dict)

    def add(self, leaf: Hash) -> None:
        """One more leaf."""
        self._leaves.append(leaf)
        self.size += 1
        if len(self._leaves) == TILE:
            self._tiles.append(complete_root(self._leaves))
            self._leaves.clear()

    def root(self) -> Hash:
        """The root as it is now."""
        return root(self.size, self._node)

    def _node(self, level: int, index: int) -> Hash:
        if level < 8:
            start = (index << level) - len(self._tiles) * TILE
            return complete_root(self._leaves[start : start + (1 << level)])
        known = self._known.get((level, index))
        if known is None:
            height = level - 8
            if height == 0:
                return self._tiles[index]
            halves = [self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1)]
            known = self._known[level, index] = complete_root(halves)
        return known


def walk(
    stored: Iterable[tuple[int, Hash]], kept: Iterable[Hash], heads: Sequence[Head], trusted: Mapping[int, Hash]
) -> Iterator[Finding]:
    """What does not fit, in the order of positions.

    `stored` are positions and leaves computed from the events, in order; `kept` the leaves of the tree, in order;
    `heads` the heads that are stored, smallest first; `trusted` size -> root of those told outside.
    """
    for head in heads:
        if head.size in trusted and trusted[head.size] != head.root:
            yield Finding("head", head.size)
    wanted = {head.size: head.root for head in heads} | dict(trusted)
    tree, kept_leaves, good, broken = Grown(), iter(kept), 0, False
    sealed = max(wanted, default=0)
    expected = 1

    def grow(leaf: Hash) -> Iterator[Finding]:
        nonlocal good, broken
        tree.add(leaf)
        if tree.size in wanted and not broken:
            if tree.root() == wanted[tree.size]:
                good = tree.size
            else:
                broken = True
                yield Finding("rewritten", tree.size, good)

    for position, leaf in stored:
        if position < expected:
            broken = True
            yield Finding("twice", position)
            continue
        if position > expected:
            yield Finding("missing", expected, through=position - 1)
            broken = True
            for _ in range(expected, position):
                next(kept_leaves, None)
        expected = position + 1
        was = next(kept_leaves, None) if position <= sealed else None
        if was is not None and was != leaf:
            yield Finding("changed", position)
            broken = True
        yield from grow(leaf)
    if expected <= sealed:
        yield Finding("lost", expected - 1, good)
