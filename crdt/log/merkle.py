"""The flat in-order Merkle tree of a feed, byte-equal with Hypercore's.

Block i is node 2i, parents stand at odd indexes, and a length has one root for each set bit.  Decides what a feed's
tree hash is and whether a range of leaves belongs under a known one.  `docs/protocol.md`, "Feed".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

MAX_LENGTH = 2**40  # entries a feed; keeps every node index far below 2**53

# Copying a prepared hash object is a third cheaper than making one for each node.
_EMPTY = blake2b(digest_size=32)
_LEAF = Struct("<BQ").pack
_PARENT = Struct("<BQ32s32s").pack
_ROOT = Struct("<32sQQ").pack


class Node(NamedTuple):
    """One node: flat-tree index, bytes of all blocks below it, hash (32)."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    size: int
    hash: bytes


Leaf = tuple[int, bytes]  # (bytes of the block, leaf hash)


def leaf_hash(block: bytes) -> bytes:
    """H(00 | u64 size | block): what control entries name a block by."""
    state = _EMPTY.copy()
    state.update(_LEAF(0, len(block)) + block)
    return state.digest()


def leaf_of(block: bytes) -> Leaf:
    """(size, leaf hash) of a block."""
    return len(block), leaf_hash(block)


def parent_hash(left: Node, right: Node) -> bytes:
    """H(01 | u64 sum of sizes | left | right)."""
    state = _EMPTY.copy()
    state.update(_PARENT(1, left.size + right.size, left.hash, right.hash))
    return state.digest()


def tree_hash(roots: Sequence[Node]) -> bytes:
    """H(02 | for each root: hash | u64 index | u64 size): what a head signs."""
    state = _EMPTY.copy()
    state.update(b"\x02" + b"".join([_ROOT(hash_, index, size) for index, size, hash_ in roots]))
    return state.digest()


@dataclass(frozen=True, slots=True)
class Tree:
    """The roots of a feed of `length` blocks: all that appending and verifying need."""

    length: int = 0
    roots: tuple[Node, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return sum(root.size for root in self.roots)

    def hash(self) -> bytes:
        """The tree hash: what a head of this length signs."""
        return tree_hash(self.roots)

    def extend(self, leaves: Iterable[Leaf]) -> tuple[Tree, list[Node]]:
        """The tree with these leaves appended, and the interior nodes that came into being, in order."""
        length = self.length
        roots = list(self.roots)
        made: list[Node] = []
        copy, pack, node_of = _EMPTY.copy, _PARENT, tuple.__new__
        pop, push, add = roots.pop, roots.append, made.append
        for size, hash_ in leaves:
            index, span, carry = 2 * length, 1, length
            while carry & 1:  # every trailing one bit is a full left sibling
                left = pop()
                size += left[1]
                state = copy()
                state.update(pack(1, size, left[2], hash_))
                hash_ = state.digest()
                index -= span
                span *= 2
                carry >>= 1
                add(node_of(Node, (index, size, hash_)))
            push(node_of(Node, (index, size, hash_)))
            length += 1
        return Tree(length, tuple(roots)), made


def roots_at(length: int) -> list[int]:
    """Node indexes of the roots at a length, left to right."""
    return tail_indexes(0, length)


def tail_indexes(end: int, length: int) -> list[int]:
    """The fewest nodes that, with the roots at `end`, give the roots at `length`: aligned subtrees over the gap."""
    found: list[int] = []
    while end < length:
        span = end & -end or 1 << (length.bit_length() - 1)
        while end + span > length:
            span >>= 1
        found.append(2 * end + span - 1)
        end += span
    return found


def span_of(index: int) -> int:
    """How many blocks stand below a node."""
    return (index + 1) & -(index + 1)


def first_block(index: int) -> int:
    """The first block below a node."""
    return (index + 1 - span_of(index)) // 2


def join(roots: Sequence[Node], tail: Iterable[Node]) -> tuple[Node, ...]:
    """Roots with whole subtrees appended: two neighbours of one span become their parent."""
    stack = list(roots)
    for node in tail:
        while stack and span_of(stack[-1].index) == span_of(node.index) and _is_left(stack[-1].index):
            left = stack.pop()
            node = Node((left.index + node.index) // 2, left.size + node.size, parent_hash(left, node))
        stack.append(node)
    return tuple(stack)


def _is_left(index: int) -> bool:
    return not (index + 1) // span_of(index) & 2


def extend_range(
    tree: Tree, leaves: Sequence[Leaf], tail: Sequence[Node], length: int, root: bytes
) -> tuple[Tree, list[Node]] | None:
    """What `tree.extend(leaves)` gives iff with `tail` it hashes to `root` at `length`; else None.

    `leaves` are blocks tree.length onwards, `tail` exactly the nodes of `tail_indexes(end, length)`.  The hash of a
    node fixes its own size but not how two sibling leaves share it: callers hold the block of a leaf or do not rely on
    its size (`docs/protocol.md`, "Withheld blocks").
    """
    end = tree.length + len(leaves)
    if end > length or [node.index for node in tail] != tail_indexes(end, length):
        return None
    extended, made = tree.extend(leaves)
    if tree_hash(join(extended.roots, tail)) != root:
        return None
    return extended, made


def verify_range(tree: Tree, leaves: Sequence[Leaf], tail: Sequence[Node], length: int, root: bytes) -> Tree | None:
    """The tree extended by `leaves` iff with `tail` it hashes to `root` at `length` (see `extend_range`)."""
    extended = extend_range(tree, leaves, tail, length, root)
    return extended[0] if extended is not None else None
