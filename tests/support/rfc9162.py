"""Verification of proofs as RFC 9162 writes it down, beside the recursive one of `kehu-verify`: a second opinion."""

from collections.abc import Sequence

from domain.merkle import EMPTY, Hash, node_hash


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


def is_consistent(earlier: int, later: int, earlier_root: Hash, later_root: Hash, proof: Sequence[Hash]) -> bool:
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
