"""Who is one with whom: the merges that hold, resolved when it is asked.

Each absorbed customer names one survivor, and chains lead on: A into B, B into C makes all three C. A merge that would
close a circle does not count: of the merges in the circle that is the one decided last, by its position in the log.
What holds follows from the merges that were not undone alone; so undoing one restores what would be without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Merge(NamedTuple):
    """A merge that was not undone: `alias` was merged into `into` at this position of the log."""

    alias: str
    into: str
    position: int


@dataclass(frozen=True, slots=True)
class Group:
    """Ids that are one customer: all of them, the survivor first. A customer who is not merged is alone."""

    survivor: str
    members: tuple[str, ...]

    @property
    def merged(self) -> bool:
        """Whether there is more than one."""
        return len(self.members) > 1


def survivors(merges: Iterable[Merge]) -> Mapping[str, str]:
    """The survivor of every id that one of the merges names. Each alias occurs once."""
    parent: dict[str, str] = {}

    def find(one: str) -> str:
        while (up := parent.setdefault(one, one)) != one:
            parent[one] = one = parent[up]
        return one

    for merge in sorted(merges, key=lambda one: one.position):
        survivor = find(merge.into)
        if survivor != find(merge.alias):  # or it would close a circle
            parent[merge.alias] = survivor
    return {one: find(one) for one in list(parent)}


def group_of(customer: str, merges: Iterable[Merge]) -> Group:
    """All that are one with a customer, given at least the merges that they are joined by."""
    found = survivors(merges)
    survivor = found.get(customer, customer)
    others = sorted(one for one, its in found.items() if its == survivor and one != survivor)
    return Group(survivor, (survivor, *others))
