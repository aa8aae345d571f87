"""Proofs that a length of a feed, on whatever branch, lies under a signed head.

A proof shows the roots at one length, the nodes from there to the length that was asked for, and those on to the head.
On the way every whole subtree gives one more length of the branch and its tree hash: who compares branches gets some
twenty lengths for the price of one (`crdt.space.lineage.Prefixes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from crdt.log.head import Head
from crdt.log.manifest import core_key
from crdt.log.merkle import Node, join, roots_at, span_of, tail_indexes, tree_hash
from sync.replicate.messages import Ends, Proof


def make_proof(head: Head, length: int, at: int, nodes: Sequence[Node]) -> Proof:
    """The proof of a length at or below a head, out of `nodes` of `proof_indexes`."""
    first, second = len(roots_at(at)), len(tail_indexes(at, length))
    leaves = [(node.size, node.hash) for node in nodes]
    return Proof(
        head, at, tuple(leaves[:first]), tuple(leaves[first : first + second]), tuple(leaves[first + second :])
    )


def proof_indexes(head: Head, length: int, at: int) -> list[int]:
    """The nodes that a proof shows: roots at `at`, from there to `length`, from there to the head."""
    return roots_at(at) + tail_indexes(at, length) + tail_indexes(length, head.length)


def ends_of(core: bytes, length: int, root: bytes | None, proof: Proof, *, known: Head | None = None) -> Ends | None:
    """The ends that a proof shows, ascending up to the head's; None if it does not show (length, root).

    root: None, where it is what the proof is asked for; known: a head whose signature was checked before.
    """
    head, at = proof.head, proof.at
    if core_key(head.writer) != core or not at <= length <= head.length:
        return None
    found = shown(length, proof)
    if (root is not None and (length, root) not in found) or found[-1:] != ((head.length, head.root),):
        return None
    return found if head == known or head.verify() else None


def shown(length: int, proof: Proof) -> Ends:
    """The ends that a proof leads through, unchecked; none where its nodes are not as many as they must be."""
    at, end = proof.at, proof.head.length
    places = [roots_at(at), tail_indexes(at, length), tail_indexes(length, end)]
    parts = [proof.roots, proof.middle, proof.tail]
    if [len(part) for part in parts] != [len(place) for place in places]:
        return ()
    found: list[tuple[int, bytes]] = []
    stack: tuple[Node, ...] = ()
    reached = 0
    for place, part in zip(places, parts, strict=True):
        for index, (size, hash_) in zip(place, part, strict=True):
            stack = join(stack, [Node(index, size, hash_)])
            reached += span_of(index)
            found.append((reached, tree_hash(stack)))
    return tuple(found)
