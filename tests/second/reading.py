"""From signed feeds to the fold: this implementation reads and verifies heads, trees, entries and control bodies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.second.codec import Refused
from tests.second.control import read_body
from tests.second.entry import CONTROL, open_entry, read_entry, read_plaintext
from tests.second.graph import Branches, Placed, placed
from tests.second.head import core_key, leaf_hash, read_head, tree_hashes

SignedBranch = tuple[bytes, Sequence[tuple[bytes, bytes]]]


def read_branches(space: bytes, signed: Iterable[SignedBranch]) -> tuple[list[Placed], Branches]:
    """The control entries of feeds and their branches; `signed`: a head, and blocks with message keys, for each."""
    entries: dict[bytes, Placed] = {}
    branches = Branches()
    for head_bytes, blocks in signed:
        head = read_head(head_bytes)
        core = core_key(head.writer)
        leaves = [(leaf_hash(block), len(block)) for block, _ in blocks]
        trees = list(tree_hashes(leaves))
        if len(trees) != head.length or trees[-1] != head.tree:
            raise Refused("the blocks give the tree hash of the head")
        branches.add(head.writer, trees)
        for seq, ((block, key), (leaf, _), tree) in enumerate(zip(blocks, leaves, trees, strict=True)):
            text = read_plaintext(open_entry(read_entry(block, seq), key, core, space))
            if text.kind == CONTROL:
                entries[leaf] = placed(head.writer, seq, leaf, tree, text.stamp, read_body(text.body))
    return list(entries.values()), branches
