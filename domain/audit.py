"""Walks the log against its tree and heads, and names what does not fit.

Leaves are computed anew from the stored events. The kept leaves say which event changed; the heads say whether the kept
leaves can be believed, and heads that were told outside whether the heads can.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Literal

from domain.heads import Head
from domain.merkle import Hash, complete_root, joined, leaf_hash, node_hash

TILE = 256
InTheLog = Literal["changed", "moved", "inserted", "removed", "missing", "twice", "lost"]
OfHeads = Literal["unsigned", "unknown-key", "head", "forked", "rewritten"]
Kind = Literal[InTheLog, OfHeads, "inbox-removed", "inbox-changed", "inbox-added", "reads-changed"]

MEANING: Mapping[Kind, str] = {
    "changed": "the event at this position is not the one that was sealed here",
    "moved": "the events at these two positions have changed places",
    "inserted": "what stands here was put between sealed events, and those behind were renumbered",
    "removed": "sealed events are gone from here, and those behind were renumbered",
    "missing": "there is no event here, though positions have no gaps",
    "twice": "there is more than one event at this position",
    "unsigned": "the signature of the head of this size is not of the key",
    "unknown-key": "none of the public keys that were given is the one that is said to have signed",
    "head": "the stored head of this size is not the one that was told outside, or not that of the events",
    "forked": "two heads of this size were told outside: the log was set back and went on in another way",
    "rewritten": "the events up to here do not lead to the head of this size, though their tree fits them",
    "inbox-removed": "the inbox does not know the message that led to this event, and would take it again",
    "inbox-changed": "the entry of the inbox that leads to this event is of another message, or says something else",
    "inbox-added": "an entry of the inbox is of a message that was never read, which would be refused when it comes",
    "reads-changed": "the reads of personal data that this act covers are not those that were recorded",
    "lost": "the log ends here, and more events were sealed, told outside or counted",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not fit, from which position or size on.

    `through` is the last position of several, or the second of two. Of a rewriting and a loss, `after` is the size of
    the last head before that fits. What is at no position is 0, and `of` says where it is.
    """

    kind: Kind
    at: int
    after: int | None = None
    through: int | None = None
    of: str = ""

    def text(self) -> str:
        """For people."""
        since = "" if self.after is None else f"; the last head that fits has {self.after}"
        to = "" if self.through in (None, self.at) else f"{' and' if self.kind == 'moved' else ' to'} {self.through}"
        return f"{self.kind} {f'in {self.of}' if self.of else f'at {self.at}{to}'}: {MEANING[self.kind]}{since}"


@dataclass(slots=True)
class Grown:
    """A tree that grows leaf by leaf and knows its root; what it keeps grows with its height only."""

    size: int = 0
    _peaks: list[Hash] = field(default_factory=list)
    """Roots of the complete subtrees over full tiles, the largest first; one for each bit of their number."""
    _leaves: list[Hash] = field(default_factory=list)

    def add(self, leaf: Hash) -> None:
        """One more leaf."""
        self._leaves.append(leaf)
        self.size += 1
        if len(self._leaves) == TILE:
            top, tiles = complete_root(self._leaves), self.size // TILE
            while not tiles % 2:
                top, tiles = node_hash(self._peaks.pop(), top), tiles // 2
            self._peaks.append(top)
            self._leaves.clear()

    def root(self) -> Hash:
        """The root as it is now."""
        return joined([*self._peaks, *_peaks(self._leaves)])


def _peaks(leaves: Sequence[Hash]) -> Iterator[Hash]:
    start = 0
    while start < len(leaves):
        size = 1 << (len(leaves) - start).bit_length() - 1
        yield complete_root(leaves[start : start + size])
        start += size


def walk(
    stored: Iterable[tuple[int, Hash]],
    kept: Iterable[Hash],
    heads: Iterable[Head],
    trusted: Mapping[int, Hash],
    counted: int = 0,
) -> Iterator[Finding]:
    """What does not fit, in the order of positions; whatever is behind a first event that does not fit is not certain.

    `stored` are positions and leaves computed from the events, in order; `kept` the leaves of the tree, in order;
    `heads` the heads that are stored, smallest first; `trusted` size -> root of those told outside; `counted` how many
    events the log says that it has. Of the sizes where everything fits those count that were told outside, if any.
    """
    due = _due(heads, trusted)
    size, root, told = next(due, _END)
    tree, kept_leaves, good, broken, expected = Grown(), iter(kept), 0, False, 1
    doubtful: list[Finding] = []
    """Stored heads that do not fit: they alone were changed if a later one that was told outside does."""
    for position, same in groupby(stored, key=itemgetter(0)):
        leaves = [leaf for _, leaf in same]
        if position != expected:
            broken = True
            yield from doubtful[:1]
            doubtful.clear()
            if position < expected:
                yield Finding("twice", position)
                continue
            yield Finding("missing", expected, through=position - 1)
            for _ in range(expected, position):
                next(kept_leaves, None)
            expected = position
        expected += 1
        leaf = next(kept_leaves, leaves[0])
        # Of several events at one position any may come first.
        if len(leaves) > 1 or leaf not in leaves:
            yield from doubtful[:1]
            doubtful.clear()
            yield Finding("twice" if len(leaves) > 1 else "changed", position)
            broken = True
        if broken:
            continue
        tree.add(leaf)
        if position == size:
            if told is not None and root is not None and told != root:
                yield Finding("head", size)
            if tree.root() == (told or root):
                good = size if told or not trusted else good
                if told:
                    yield from (Finding("head", one.at) for one in doubtful)
                    doubtful.clear()
            elif told is None:
                doubtful.append(Finding("rewritten", size, good))
            else:
                broken = True
                yield from doubtful[:1]
                doubtful.clear()
                yield Finding("rewritten", size, good)
            size, root, told = next(due, _END)
    yield from doubtful[:1]
    most = max(counted, size, *(beyond for beyond, _, _ in due))
    if expected <= most:
        yield Finding("lost", expected - 1, good)


_Due = tuple[int, Hash | None, Hash | None]
_END: _Due = (0, None, None)


def _due(heads: Iterable[Head], trusted: Mapping[int, Hash]) -> Iterator[_Due]:
    """Each size that there is a head of, with the root that is stored and the one that was told outside."""
    ours = ((head.size, head.root) for head in heads)
    both = merge(ours, ((size, b"") for size in sorted(trusted)), key=itemgetter(0))
    for size, found in groupby(both, itemgetter(0)):
        yield size, next((root for _, root in found if root), None), trusted.get(size)


def named(at: int, stored: Mapping[int, bytes], kept: Mapping[int, Hash]) -> Finding:
    """What was done at the first position that does not fit: changed, moved, inserted or removed.

    `stored` has from this position on what is hashed of some events (the position comes first, in eight bytes), `kept`
    their sealed leaves. An event is known again when it fits another place with no more than its position changed.
    """

    def fits(position: int, place: int) -> bool:
        data = stored.get(position)
        return data is not None and kept.get(place) == leaf_hash(place.to_bytes(8, "big") + data[8:])

    came_from = next((place for place in sorted(kept) if place > at and fits(at, place)), None)
    went_to = next((position for position in sorted(stored) if position > at and fits(position, at)), None)
    if came_from is not None and came_from == went_to:
        return Finding("moved", at, through=went_to)
    if went_to is not None:
        return Finding("inserted", at, through=went_to - 1)
    if came_from is not None:
        return Finding("removed", at, through=came_from - 1)
    return Finding("changed", at)
