"""The Merkle tree of a feed, manifest and head, against the fixed bytes of the Hypercore family."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.log.head import (
    Head,
    HeadRef,
    head_signable,
    leading,
    plan_merges,
    read_head,
    sign_head,
    valid_writer,
    write_head,
)
from crdt.log.manifest import core_key, discovery_key, manifest
from crdt.log.merkle import (
    Leaf,
    Node,
    Tree,
    first_block,
    join,
    leaf_hash,
    leaf_of,
    parent_hash,
    roots_at,
    span_of,
    tail_indexes,
    verify_range,
)
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import SigningKey
from tests.support.shared import shared
from tests.support.vectors import matches

KEY = SigningKey.from_seed(bytes([5]) * 32)


def leaves(count: int, start: int = 0) -> list[Leaf]:
    return [leaf_of(b"block %d" % index) for index in range(start, start + count)]


def grown(count: int) -> tuple[Tree, dict[int, Node]]:
    """A feed of `count` blocks and every node of its tree."""
    tree, made = Tree().extend(leaves(count))
    nodes = {2 * place: Node(2 * place, *leaf) for place, leaf in enumerate(leaves(count))}
    return tree, nodes | {node.index: node for node in made}


def test_hashes_equal_the_recorded_bytes_of_npm_hypercore() -> None:
    fixed = json.loads(shared("wire/vectors.json").read_text("utf-8"))
    hello, world = Node(0, 5, leaf_hash(b"hello")), Node(2, 5, leaf_hash(b"world"))
    both = Tree().extend([leaf_of(b"hello"), leaf_of(b"world")])[0]
    assert [
        KEY.public.hex(),
        manifest(KEY.public).hex(),
        core_key(KEY.public).hex(),
        discovery_key(core_key(KEY.public)).hex(),
        hello.hash.hex(),
        parent_hash(hello, world).hex(),
        both.hash().hex(),
        head_signable(core_key(KEY.public), 2, bytes([1]) * 32).hex(),
    ] == [
        fixed[name]
        for name in (
            "key pair seed 05 public",
            "manifest",
            "core key",
            "discovery key",
            'leaf "hello"',
            "parent hello world",
            "tree hash of one root",
            "tree signable",
        )
    ]


def test_tree_is_equal_whether_grown_at_once_or_block_by_block() -> None:
    at_once, nodes = grown(300)
    tree, made = Tree(), []
    for leaf in leaves(300):
        tree, new = tree.extend([leaf])
        made += new
    assert tree == at_once
    assert {node.index: node for node in made} == {index: node for index, node in nodes.items() if index % 2}
    assert [node.index for node in tree.roots] == roots_at(300) == [255, 543, 583, 595]
    assert tree.size == sum(size for size, _ in leaves(300))


@pytest.mark.parametrize(
    ("end", "length", "indexes"),
    [(0, 0, []), (0, 1, [0]), (0, 8, [7]), (3, 8, [6, 11]), (8, 11, [17, 20]), (5, 6, [10]), (1, 16, [2, 5, 11, 23])],
)
def test_range_proof_tail_is_the_fewest_aligned_subtrees(end: int, length: int, indexes: list[int]) -> None:
    assert tail_indexes(end, length) == indexes


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_any_range_verifies_under_the_root_of_any_longer_feed(first: int, second: int, third: int) -> None:
    start, end, length = sorted((first, second, third))
    whole, nodes = grown(length)
    before, _ = Tree().extend(leaves(start))
    tail = [nodes[index] for index in tail_indexes(end, length)]
    assert sum(span_of(node.index) for node in tail) == length - end
    assert [first_block(node.index) for node in tail[:1]] == [end][: len(tail)]
    after = verify_range(before, leaves(end - start, start), tail, length, whole.hash())
    assert after == Tree().extend(leaves(end))[0]
    assert join(after.roots, tail) == whole.roots


def test_range_altered_anywhere_does_not_verify() -> None:
    whole, nodes = grown(21)
    before, _ = Tree().extend(leaves(6))
    good = leaves(4, 6)
    tail = [nodes[index] for index in tail_indexes(10, 21)]
    swapped = [good[1], good[0], *good[2:]]
    other_leaf = [*good[:3], leaf_of(b"another")]
    grown_leaf = [(good[0][0] + 1, good[0][1]), *good[1:]]
    other_tail = [*tail[:-1], tail[-1]._replace(hash=bytes(32))]
    larger_tail = [*tail[:-1], tail[-1]._replace(size=tail[-1].size + 1)]
    attempts = [
        (good, tail, 21, whole.hash()),
        (swapped, tail, 21, whole.hash()),
        (other_leaf, tail, 21, whole.hash()),
        (grown_leaf, tail, 21, whole.hash()),
        (good[:3], tail, 21, whole.hash()),
        (good, other_tail, 21, whole.hash()),
        (good, larger_tail, 21, whole.hash()),
        (good, tail[:-1], 21, whole.hash()),
        (good, [*tail, tail[-1]], 21, whole.hash()),
        (good, tail[::-1], 21, whole.hash()),
        (good, tail, 20, whole.hash()),
        (good, tail, 9, whole.hash()),
        (good, tail, 21, bytes(32)),
    ]
    assert [verify_range(before, *attempt) is not None for attempt in attempts] == [True] + [False] * 12


def test_head_signature_holds_only_for_its_writer_length_and_tree() -> None:
    tree, _ = grown(7)
    head = sign_head(KEY, tree)
    others = [
        Head(SigningKey.from_seed(bytes(32)).public, head.length, head.root, head.signature),
        Head(head.writer, 8, head.root, head.signature),
        Head(head.writer, head.length, bytes(32), head.signature),
        Head(head.writer, head.length, head.root, bytes(64)),
        Head(bytes(32), head.length, head.root, head.signature),
        Head(b"\x01" + bytes(31), head.length, head.root, head.signature),
    ]
    assert head.verify()
    assert [other.verify() for other in others] == [False] * 6
    assert not valid_writer(b"\x01" + bytes(31))
    with pytest.raises(ValueError, match="no head"):
        sign_head(KEY, Tree())


def test_head_bytes_equal_the_recorded_vectors() -> None:
    made: list[dict[str, str | int]] = []
    for length in (1, 2, 7, 252, 253, 1000):
        tree, _ = grown(length)
        head = sign_head(KEY, tree)
        wire = write_head(Writer(), head).finish()
        made.append({"length": length, "root": head.root.hex(), "head": wire.hex(), "ref": head.ref().root16.hex()})
    for vector in matches("log-head", made):
        reader = Reader(bytes.fromhex(str(vector["head"])))
        head = read_head(reader)
        reader.end()
        assert (head.length, head.root.hex(), head.writer) == (vector["length"], vector["root"], KEY.public)
        assert head.verify()


def test_head_of_an_empty_or_overlong_feed_is_refused() -> None:
    for length in (0, 2**40 + 1):
        with pytest.raises(DecodeError):
            read_head(Reader(Writer().raw(bytes(32)).uint(length).raw(bytes(96)).finish()))


def test_entry_names_only_heads_that_no_other_head_covers() -> None:
    past = {
        (b"a", 3): {b"a": 3, b"b": 2},
        (b"b", 2): {b"b": 2},
        (b"c", 1): {b"a": 2},
        (b"d", 5): {},
    }
    tips = {b"a": 3, b"b": 2, b"c": 1, b"d": 5}
    assert leading(tips, lambda core, length: past[core, length]) == [b"a", b"c", b"d"]
    # b grew by an entry that a has not seen
    past[b"b", 3] = {b"b": 3}
    assert leading({**tips, b"b": 3}, lambda core, length: past[core, length]) == [b"a", b"b", b"c", b"d"]


def test_more_than_sixteen_heads_are_merged_first() -> None:
    heads = [HeadRef(bytes([index]) * 8, 1, bytes(16)) for index in range(50)]
    merges, own = plan_merges(heads)
    assert [len(merge) for merge in merges] == [16, 16, 16]
    assert [head for merge in [*merges, own] for head in merge] == heads
    assert plan_merges(heads[:16]) == ([], tuple(heads[:16]))
