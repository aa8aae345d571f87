"""Signed heads of feeds, and references to them inside entries.

A head says: the feed of this writer has this many blocks under this tree hash.  One verified head covers every block
below it, so history costs hashing and not a signature a message.  `docs/protocol.md`, "Feed" and "Entry".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crdt.log.manifest import TREE, core_key
from crdt.log.merkle import MAX_LENGTH, Tree
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import SigningKey, check_point, verify_raw

MAX_HEADS = 16  # references in one entry


@dataclass(frozen=True, slots=True)
class Head:
    """writer: the Ed25519 key W; length in blocks, at least 1; root: the tree hash (32); signature (64)."""

    writer: bytes
    length: int
    root: bytes
    signature: bytes

    @property
    def core(self) -> bytes:
        """The core key of the feed."""
        return core_key(self.writer)

    def verify(self) -> bool:
        """Whether W signed this length and tree hash.  False for a key that is no point of the group."""
        message = head_signable(self.core, self.length, self.root)
        return valid_writer(self.writer) and verify_raw(self.writer, message, self.signature)

    def ref(self) -> HeadRef:
        """How an entry names this head."""
        return HeadRef(self.core[:8], self.length, self.root[:16])


@dataclass(frozen=True, slots=True)
class HeadRef:
    """core8: first 8 bytes of the core key; length; root16: first 16 bytes of the tree hash at that length."""

    core8: bytes
    length: int
    root16: bytes


@lru_cache(maxsize=4096)
def valid_writer(writer: bytes) -> bool:
    """Whether W is an Ed25519 key that may sign at all (the check costs as much as a signature)."""
    try:
        check_point(writer)
    except DecodeError:
        return False
    return True


def head_signable(core: bytes, length: int, root: bytes) -> bytes:
    """Hypercore's 112 bytes: namespace | core key | tree hash | u64 length | u64 fork, which is always 0."""
    return TREE + core + root + length.to_bytes(8, "little") + bytes(8)


def sign_head(key: SigningKey, tree: Tree) -> Head:
    """The head of a feed of at least one block.  Deterministic, as Ed25519 is."""
    if tree.length < 1:
        raise ValueError("an empty feed has no head")
    root = tree.hash()
    return Head(key.public, tree.length, root, key.sign_raw(head_signable(core_key(key.public), tree.length, root)))


def write_head(out: Writer, head: Head) -> Writer:
    """writer (32) | length (uint) | tree hash (32) | signature (64)."""
    return out.raw(head.writer).uint(head.length).raw(head.root).raw(head.signature)


def read_head(data: Reader) -> Head:
    """Reads what `write_head` writes; nothing is verified yet.  Raises DecodeError."""
    writer = data.fixed(32)
    return Head(writer, read_length(data), data.fixed(32), data.fixed(64))


def read_length(data: Reader) -> int:
    """The length of a feed that has blocks: 1 to MAX_LENGTH."""
    length = data.uint(MAX_LENGTH)
    if length == 0:
        raise DecodeError("an empty feed has no head")
    return length


def leading(tips: Mapping[bytes, int], past: Callable[[bytes, int], Mapping[bytes, int]]) -> list[bytes]:
    """The core keys of those tips that lie in no other tip's past: what an entry has to name.

    tips: core key -> length.  past(core, length): core key -> length of everything below that block, itself included
    or not.  An entry names these and everything else follows from them.
    """
    covered: set[bytes] = set()
    for core, length in tips.items():
        for other, reach in past(core, length).items():
            if other != core and reach >= tips.get(other, reach + 1):
                covered.add(other)
    return sorted(core for core in tips if core not in covered)


def plan_merges(heads: Sequence[HeadRef]) -> tuple[list[tuple[HeadRef, ...]], tuple[HeadRef, ...]]:
    """(heads of each merge entry to append first, heads of the entry itself), never more than 16 an entry.

    A merge entry is empty.  Each is the own previous entry of the next one, so what it named is implied from then on.
    """
    rest = list(heads)
    merges: list[tuple[HeadRef, ...]] = []
    while len(rest) > MAX_HEADS:
        merges.append(tuple(rest[:MAX_HEADS]))
        del rest[:MAX_HEADS]
    return merges, tuple(rest)
