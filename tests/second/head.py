"""Feeds: section 7 of docs/protocol.md. Merkle trees, core keys, signed heads and head references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nacl.signing import SigningKey

from tests.second.codec import Reader, Refused, require, u64, uint
from tests.second.digest import plain
from tests.second.signature import valid_point, verified_raw

BLOCKS = 1 << 40


def namespace(number: int) -> bytes:
    """namespace(i) = H(H("hypercore") ‖ byte i)."""
    return plain(plain(b"hypercore") + bytes([number]))


def core_key(writer: bytes) -> bytes:
    """The core key of a writer's feed: H(namespace(3) ‖ manifest)."""
    manifest = bytes.fromhex("010000010100") + namespace(4) + writer
    return plain(namespace(3) + manifest)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree: its index, the bytes below it, its hash."""

    index: int
    size: int
    hash: bytes


def leaf_hash(block: bytes) -> bytes:
    """The block hash: H(00 ‖ u64 size ‖ block)."""
    return plain(b"\0" + u64(len(block)) + block)


def parent(left: Node, right: Node) -> Node:
    """The node halfway between two: H(01 ‖ u64 sum of sizes ‖ left ‖ right)."""
    size = left.size + right.size
    return Node((left.index + right.index) // 2, size, plain(b"\1" + u64(size) + left.hash + right.hash))


def tree_hash(roots: Sequence[Node]) -> bytes:
    """H(02 ‖ for each root: hash ‖ u64 index ‖ u64 size)."""
    return plain(b"\2" + b"".join(root.hash + u64(root.index) + u64(root.size) for root in roots))


def tree_hashes(leaves: Sequence[tuple[bytes, int]]) -> Iterator[bytes]:
    """The tree hash at each length from 1, of (leaf hash, block size) in order."""
    roots: list[tuple[int, Node]] = []
    for place, (leaf, size) in enumerate(leaves):
        roots.append((0, Node(2 * place, size, leaf)))
        while len(roots) > 1 and roots[-1][0] == roots[-2][0]:
            (height, right), (_, left) = roots.pop(), roots.pop()
            roots.append((height + 1, parent(left, right)))
        yield tree_hash([node for _, node in roots])


def signable(writer: bytes, length: int, tree: bytes) -> bytes:
    """The 112 bytes that W signs; the fork is always 0."""
    return namespace(0) + core_key(writer) + tree + u64(length) + u64(0)


@dataclass(frozen=True, slots=True)
class Head:
    """A head whose signature was good."""

    writer: bytes
    length: int
    tree: bytes
    signature: bytes

    def encoded(self) -> bytes:
        """Its bytes on the wire."""
        return self.writer + uint(self.length) + self.tree + self.signature


def take_head(reader: Reader) -> Head:
    """Reads a head and verifies it."""
    head = Head(reader.take(32), reader.uint(BLOCKS), reader.take(32), reader.take(64))
    require(head.length > 0, "a head has a length of at least 1")
    require(valid_point(head.writer), "W is a checked point")
    signed = signable(head.writer, head.length, head.tree)
    if not verified_raw(head.writer, signed, head.signature):
        raise Refused("the signature of the head is not good")
    return head


def read_head(data: bytes) -> Head:
    """A head that fills all the bytes."""
    reader = Reader(data)
    head = take_head(reader)
    reader.end()
    return head


def sign_head(seed: bytes, length: int, tree: bytes) -> Head:
    """A head by the seed of W."""
    key = SigningKey(seed)
    writer = key.verify_key.encode()
    return Head(writer, length, tree, key.sign(signable(writer, length, tree)).signature)


@dataclass(frozen=True, slots=True)
class Reference:
    """A head reference: 8 bytes of a core key, a length, 16 bytes of a tree hash."""

    core: bytes
    length: int
    tree: bytes


def take_reference(reader: Reader) -> Reference:
    """Reads a head reference."""
    reference = Reference(reader.take(8), reader.uint(), reader.take(16))
    require(reference.length > 0, "a reference has a length of at least 1")
    return reference


def write_reference(reference: Reference) -> bytes:
    """The bytes of a head reference."""
    return reference.core + uint(reference.length) + reference.tree
