"""Fork proofs: two heads, signed by one writer, that cannot be one history.

Hashes are compared and never sizes: a node's hash fixes its own size, but how two withheld leaves share the size of
their parent can be misreported by whoever sends them, and no such lie may look like a fork of an honest writer.
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.log.head import Head
from crdt.log.merkle import Leaf, Node, join, roots_at, tail_indexes, tree_hash
from sync.replicate.messages import Branch, Fork
from sync.replicate.view import FeedView, roots_of


def path(view: FeedView, writer: bytes, length: int, end: int) -> tuple[tuple[Leaf, ...], tuple[Leaf, ...]]:
    """(roots at `length`, tail from there to `end`) of a stored feed: what a branch or a fork proof shows."""
    roots = tuple((node.size, node.hash) for node in roots_of(view, writer, length))
    tail = tuple((node.size, node.hash) for node in view.nodes(writer, tail_indexes(length, end)))
    return roots, tail


def leads_to(head: Head, length: int, roots: Sequence[Leaf], tail: Sequence[Leaf]) -> bool:
    """Whether these roots at `length`, with this tail, hash to the tree that the head signs."""
    if length > head.length:
        return False
    at, after = roots_at(length), tail_indexes(length, head.length)
    if len(at) != len(roots) or len(after) != len(tail):
        return False
    first = [Node(index, *leaf) for index, leaf in zip(at, roots, strict=True)]
    rest = [Node(index, *leaf) for index, leaf in zip(after, tail, strict=True)]
    return tree_hash(join(first, rest)) == head.root


def differ(first: Sequence[Leaf], second: Sequence[Leaf]) -> bool:
    """Whether two sets of roots at one length are of different histories."""
    return [leaf[1] for leaf in first] != [leaf[1] for leaf in second]


def proves(fork: Fork) -> bool:
    """Whether a fork proof holds, signatures included."""
    first, second = fork.first, fork.second
    if first.writer != second.writer or not (first.verify() and second.verify()):
        return False
    if fork.length == 0:
        return first.length == second.length and first.root != second.root and not any(_nodes(fork))
    return (
        leads_to(first, fork.length, fork.first_roots, fork.first_tail)
        and leads_to(second, fork.length, fork.second_roots, fork.second_tail)
        and differ(fork.first_roots, fork.second_roots)
    )


def _nodes(fork: Fork) -> tuple[tuple[Leaf, ...], ...]:
    return fork.first_roots, fork.first_tail, fork.second_roots, fork.second_tail


def branch_of(view: FeedView, head: Head, length: int) -> Branch:
    """What shows a peer that the feed under this head, which is held here, goes another way at `length`."""
    return Branch(head, length, *path(view, head.writer, length, head.length))


def prove_from(view: FeedView, theirs: Branch) -> Fork | None:
    """The proof that a verified branch and the feed held here make; None if they agree, or where no head reaches."""
    mine = view.heads().get(theirs.head.writer)
    if mine is None or mine.length < theirs.length:
        return None
    roots, tail = path(view, mine.writer, theirs.length, mine.length)
    if not differ(roots, theirs.roots):
        return None
    return Fork(mine, theirs.head, theirs.length, roots, tail, theirs.roots, theirs.tail)
