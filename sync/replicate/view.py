"""What replication sees of the feeds held here: a port that the store's side implements.

All calls are answered at once, from memory or by short reads.  An `Append` counts here from the moment its effect was
performed, before it is on disk: the next call into any replicator of the space may build on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from crdt.log.head import Head
from crdt.log.merkle import Node, Tree, roots_at
from identity.digest import digest
from identity.labels import Label
from sync.replicate.messages import Block, Fetched, Fork, Point, Proof, Question, Stretch, StretchBlocks


class FeedView(Protocol):
    """The feeds, records and fork proofs of one space.  Feeds are named by their writer key W (32 bytes)."""

    def heads(self) -> Mapping[bytes, Head]:
        """W -> the newest signed head within what is stored.  What a head covers can be served."""

    def tree(self, writer: bytes) -> Tree:
        """Length and roots of all that is stored, which may reach beyond the head; `Tree()` for none."""

    def nodes(self, writer: bytes, indexes: Sequence[int]) -> list[Node]:
        """Nodes of the stored tree, leaves (even indexes) included."""

    def blocks(self, writer: bytes, start: int, end: int, limit: int) -> list[Block]:
        """Blocks from `start`, at least one, at most `limit` bytes unless the first alone is longer.

        A block that is not kept stands as (size, leaf hash).
        """

    def leaves(self, writer: bytes, start: int, end: int) -> list[Block]:
        """(size, leaf hash) of every block of the range."""

    def durable(self, writer: bytes) -> int:
        """The length that would survive a power cut."""

    def packed(self, writer: bytes) -> int:
        """Up to which length the blocks are known from items, so that hashes suffice; 0 for none."""

    def records(self) -> Mapping[bytes, int]:
        """W -> counter of the newest device record held."""

    def record(self, writer: bytes) -> bytes:
        """The signed bytes of that record."""

    def forks(self) -> Mapping[bytes, Fork]:
        """W -> the fork proof held, of feeds that have one."""

    def find(self, point: Point) -> Fetched | None:
        """The block at (core key, seq) with that leaf hash, on whatever branch, and its proof; None if it is not held
        under a signed head."""

    def prove(self, question: Question) -> Proof | None:
        """The proof of an end, at the length asked for or another one; None if it is not held."""

    def stretch(self, stretch: Stretch, limit: int) -> StretchBlocks | None:
        """Blocks of a branch from the start on, at most `limit` bytes unless the first two alone are longer, never half
        a pair of leaves; None if that end is not held."""

    def tips(self) -> Mapping[Point, bool]:
        """Control entries that no other names, empty for who has no key; True: on the branch that is kept here."""


def roots_of(view: FeedView, writer: bytes, length: int) -> Sequence[Node]:
    """The roots of a stored feed at any length it has reached."""
    tree = view.tree(writer)
    return tree.roots if tree.length == length else view.nodes(writer, roots_at(length))


def anchor_of(roots: Iterable[Node]) -> bytes:
    """What a want says about its feed at its start: a hash over the root hashes, sizes left out.

    The size of a withheld block is not always known for certain (`docs/protocol.md`, "Withheld blocks").
    """
    return digest(Label.ANCHOR, b"".join([root.hash for root in roots]))


def frontier_digest(heads: Mapping[bytes, Head], records: Mapping[bytes, int], forks: Iterable[bytes]) -> bytes:
    """Equal where heads (writer, length, tree hash), record counters and known forks are equal."""
    parts = [b"%d feeds" % len(heads)]
    for writer in sorted(heads):
        parts += (writer, heads[writer].length.to_bytes(8, "little"), heads[writer].root)
    parts.append(b"%d records" % len(records))
    for writer in sorted(records):
        parts += (writer, records[writer].to_bytes(8, "little"))
    return digest(Label.DIGEST, *parts, b"forks", *sorted(forks))
