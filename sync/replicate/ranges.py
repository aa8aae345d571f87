"""Ranges of a feed: cut for sending, and checked against one signed head when they arrive.

A block may be withheld: then its (size, leaf hash) stands in its place.  A node's hash fixes its own size, but the size
of a single withheld leaf is fixed only by its parent and its neighbour.  So a range never ends between two leaves with
the first one withheld, and one that begins there tells the size of the pair.  `docs/protocol.md`, "Withheld blocks".
"""

from __future__ import annotations

from crdt.log.head import Head
from crdt.log.merkle import Leaf, Node, Tree, extend_range, leaf_hash, tail_indexes
from sync.replicate.effects import Append, Rule
from sync.replicate.messages import MAX_RANGE, Block, Blocks
from sync.replicate.view import FeedView


def make_range(
    view: FeedView, head: Head, start: int, end: int, limit: int, *, leaves: bool = False
) -> tuple[list[Block], list[Leaf]]:
    """(blocks from `start`, tail from there to the head), as much of start..end as fits `limit` bytes."""
    writer, end = head.writer, min(end, start + MAX_RANGE)
    blocks = view.leaves(writer, start, end) if leaves else view.blocks(writer, start, end, limit)
    stop = start + len(blocks)
    # A pair of leaves whose first is withheld is never cut in two: only their sum is certain.
    if stop % 2 and stop < head.length and isinstance(blocks[-1], tuple):
        if len(blocks) > 1:
            blocks.pop()
            stop -= 1
        else:
            blocks += view.blocks(writer, stop, stop + 1, 1)
            stop += 1
    if start % 2 and isinstance(blocks[0], tuple):
        pair = view.nodes(writer, [2 * start - 1])[0]
        blocks[0] = (pair.size, blocks[0][1])
    tail = [(node.size, node.hash) for node in view.nodes(writer, tail_indexes(stop, head.length))]
    return blocks, tail


def check_range(message: Blocks, target: Head, tree: Tree) -> Append | Rule:
    """The effect of a range that continues the stored feed under the target head, or the rule it breaks.

    Blocks that are stored already are left out; at least one must be new.
    """
    skip = tree.length - message.start
    blocks = message.blocks[skip:]
    leaves: list[Leaf] = [block if isinstance(block, tuple) else (len(block), leaf_hash(block)) for block in blocks]
    end = tree.length + len(leaves)
    if end % 2 and end < target.length and isinstance(blocks[-1], tuple):
        return Rule.SPLIT_PAIR
    if skip == 0 and tree.length % 2 and isinstance(blocks[0], tuple):
        rest = leaves[0][0] - tree.roots[-1].size  # it told the size of the pair; ours is certain
        leaves[0] = (max(rest, 0), leaves[0][1])
        blocks = (leaves[0], *blocks[1:])
    places = tail_indexes(end, target.length)
    if len(places) != len(message.tail):
        return Rule.BAD_RANGE
    tail = [Node(place, *leaf) for place, leaf in zip(places, message.tail, strict=True)]
    found = extend_range(tree, leaves, tail, target.length, target.root)
    if found is None:
        return Rule.BAD_RANGE
    head = target if end == target.length else None
    return Append(message.writer, tree.length, blocks, tuple(leaves), found[0], tuple(found[1]), head)
