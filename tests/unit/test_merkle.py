"""The tree against published vectors, a plain reading of the RFC, and every way to bend a proof."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.merkle import (
    EMPTY,
    Hash,
    Nodes,
    complete_root,
    consistency_proof,
    extends,
    includes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    rest,
    root,
)
from infra.kehu_verify import DoesNotHoldError, root_with

# The vectors of Certificate Transparency, which RFC 6962 and 9162 come from:
# https://github.com/google/certificate-transparency, merkletree tests.
LEAVES = [bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243")] + [
    bytes.fromhex("5051525354555657"),
    bytes.fromhex("606162636465666768696a6b6c6d6e6f"),
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENT = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def nodes_of(leaves: Sequence[Hash]) -> Nodes:
    """Complete subtrees, computed from hashed leaves."""

    @cache
    def node(level: int, index: int) -> Hash:
        below = leaves[index << level : (index + 1) << level]
        assert len(below) == 1 << level, "an incomplete subtree was asked for"
        return complete_root(below)

    return node


def by_the_book(leaves: Sequence[Hash]) -> Hash:
    """MTH of RFC 9162, word for word, over hashed leaves."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    k = max(1 << i for i in range(20) if 1 << i < len(leaves))
    return node_hash(by_the_book(leaves[:k]), by_the_book(leaves[k:]))


HASHED = [leaf_hash(one) for one in LEAVES]
MANY = [leaf_hash(str(n).encode()) for n in range(2000)]


def hexes(path: Sequence[Hash]) -> list[str]:
    return [one.hex() for one in path]


def test_the_published_roots() -> None:
    assert EMPTY.hex() == sha256().hexdigest()
    assert [root(n + 1, nodes_of(HASHED)).hex() for n in range(8)] == ROOTS


@pytest.mark.parametrize(("asked", "path"), PATHS.items())
def test_the_published_inclusion_proofs(asked: tuple[int, int], path: list[str]) -> None:
    assert hexes(inclusion_proof(*asked, nodes_of(HASHED))) == path


@pytest.mark.parametrize(("asked", "proof"), CONSISTENT.items())
def test_the_published_consistency_proofs(asked: tuple[int, int], proof: list[str]) -> None:
    assert hexes(consistency_proof(*asked, nodes_of(HASHED))) == proof


@given(size=st.integers(0, 2000))
def test_a_root_is_what_the_rfc_says(size: int) -> None:
    assert root(size, nodes_of(MANY)) == by_the_book(MANY[:size])


@given(data=st.data(), size=st.integers(1, 2000))
def test_an_inclusion_proof_verifies_and_no_other_leaf_head_or_place_does(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    head, path = by_the_book(MANY[:size]), inclusion_proof(index, size, nodes_of(MANY))
    assert includes(MANY[index], index, size, path, head)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index)) if size > 1 else None
    if other is not None:
        assert not includes(MANY[other], index, size, path, head)
        assert not includes(MANY[index], other, size, path, head)
    assert not includes(MANY[index], index, size, path, leaf_hash(b"another"))
    assert not includes(MANY[index], index, size, [*path, EMPTY], head)
    assert not includes(MANY[index], size, size, path, head)
    if path:
        assert not includes(MANY[index], index, size, path[:-1], head)
        broken = data.draw(st.integers(0, len(path) - 1))
        bent = [*path[:broken], leaf_hash(path[broken]), *path[broken + 1 :]]
        assert not includes(MANY[index], index, size, bent, head)


@given(data=st.data(), later=st.integers(1, 2000))
def test_a_consistency_proof_verifies_and_no_other_beginning_does(data: st.DataObject, later: int) -> None:
    earlier = data.draw(st.integers(1, later))
    old, new = by_the_book(MANY[:earlier]), by_the_book(MANY[:later])
    proof = consistency_proof(earlier, later, nodes_of(MANY))
    assert extends(earlier, later, old, new, proof)
    changed = [leaf_hash(b"changed"), *MANY[1:earlier]]
    assert not extends(earlier, later, by_the_book(changed), new, proof)
    assert not extends(earlier, later, old, by_the_book(changed), proof)
    assert not extends(earlier, later, old, new, [*proof, EMPTY])
    if proof:
        assert not extends(earlier, later, old, new, proof[1:])
        broken = data.draw(st.integers(0, len(proof) - 1))
        bent = [*proof[:broken], leaf_hash(proof[broken]), *proof[broken + 1 :]]
        assert not extends(earlier, later, old, new, bent)


def led_to(leaves: Sequence[tuple[int, Hash]], size: int, hashes: Sequence[Hash]) -> Hash | None:
    """The root, or None when they make none."""
    try:
        return root_with(leaves, size, hashes)
    except DoesNotHoldError:
        return None


@given(data=st.data(), size=st.integers(1, 2000))
def test_some_leaves_and_the_rest_make_the_root_and_no_other_leaves_do(data: st.DataObject, size: int) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), max_size=50)))
    leaves = [(index, MANY[index]) for index in indices]
    hashes = list(rest(indices, size, nodes_of(MANY)))
    assert len(hashes) <= max(1, len(indices)) * size.bit_length()
    head = by_the_book(MANY[:size])
    assert root_with(leaves, size, hashes) == head
    if leaves:
        bent = data.draw(st.integers(0, len(leaves) - 1))
        others = [*leaves[:bent], (leaves[bent][0], leaf_hash(b"changed")), *leaves[bent + 1 :]]
        assert root_with(others, size, hashes) != head
        for wrong in (leaves[:-1], [*leaves, (size, MANY[0])], leaves[::-1] if len(leaves) > 1 else leaves * 2):
            assert led_to(wrong, size, hashes) != head
    with pytest.raises(DoesNotHoldError, match="too many hashes"):
        root_with(leaves, size, [*hashes, EMPTY])


def test_an_empty_tree_is_the_beginning_of_any_and_none_begins_with_a_larger_one() -> None:
    new = by_the_book(MANY[:7])
    assert consistency_proof(0, 7, nodes_of(MANY)) == []
    assert extends(0, 7, EMPTY, new, [])
    assert not extends(0, 7, leaf_hash(b""), new, [])
    assert not extends(8, 7, new, new, [])
    with pytest.raises(ValueError, match="no beginning"):
        consistency_proof(8, 7, nodes_of(MANY))
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(7, 7, nodes_of(MANY))
