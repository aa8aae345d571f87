"""Feeds of 0 to 1,000 blocks, byte for byte what npm hypercore makes of the same blocks and key."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from crdt.log.head import sign_head
from crdt.log.manifest import core_key, discovery_key
from crdt.log.merkle import Node, Tree, leaf_of, parent_hash
from identity.keys import SigningKey

HERE = Path(__file__).resolve().parent
PACKAGES = HERE.parent / "js"
COUNT = 1000


def test_tree_hash_leaf_parent_key_signature_and_discovery_key_equal_the_npm_package() -> None:
    key = SigningKey.from_seed(bytes(range(32)))
    said = subprocess.run(
        ["node", str(HERE / "oracle.js"), str(PACKAGES), key.seed.hex(), str(COUNT)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.splitlines()
    empty, *lines = [json.loads(line) for line in said]
    core = core_key(key.public)
    tree = Tree()
    assert empty == {"key": core.hex(), "discovery": discovery_key(core).hex(), "root": tree.hash().hex()}
    assert len(lines) == COUNT
    left = Node(0, 0, b"")
    for place, line in enumerate(lines):
        leaf = leaf_of(bytes([place % 251]) * (place * 37 % 1000))
        tree, _ = tree.extend([leaf])
        head = sign_head(key, tree)
        node = Node(2 * place, *leaf)
        parent = parent_hash(left, node).hex() if place % 2 else ""
        left = node
        # 01 00 … 00 00: one signature, by signer 0, without patches
        signature = f"0100{head.signature.hex()}0000"
        made = {"root": head.root.hex(), "signature": signature, "leaf": leaf[1].hex(), "parent": parent}
        assert line == made, f"at block {place}"
