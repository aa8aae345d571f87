"""The body of a deletion entry: a message, and every block to clear with it.

`docs/protocol.md`, "Deletion entry".  It hides at once, whenever either side of it arrives; when bytes are cleared is
the engine's decision (own ones at once, another author's seven days later if it still counts).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from identity.codec import MAX_UINT, Reader, Writer
from identity.errors import DecodeError
from identity.keys import SUITE, VERSION

MAX_BLOCKS = 1024
PREFIX = bytes((VERSION, SUITE))


class Block(NamedTuple):
    """One block: the core key of its feed, its seq, its Merkle leaf hash."""

    core: bytes
    seq: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Deletion:
    """`message` is to go, and `blocks` hold it: the message, its edits, its copies published again."""

    message: bytes
    blocks: tuple[Block, ...]


def encode_deletion(deletion: Deletion) -> bytes:
    """version | suite | message id (32) | uint n | n x (core (32) | uint seq | leaf (32)), no block twice, rising."""
    blocks = sorted(set(deletion.blocks))
    if len(deletion.message) != 32 or len(blocks) > MAX_BLOCKS:
        raise ValueError("not a deletion that anybody would read")
    writer = Writer().raw(PREFIX).raw(deletion.message)
    writer.array(blocks, lambda out, block: out.raw(block.core).uint(block.seq).raw(block.leaf))
    return writer.finish()


def decode_deletion(body: bytes) -> Deletion:
    """Raises DecodeError."""
    reader = Reader(body)
    if reader.fixed(2) != PREFIX:
        raise DecodeError("a deletion of an unknown version")
    message = reader.fixed(32)
    blocks = reader.array(lambda r: Block(r.fixed(32), r.uint(MAX_UINT), r.fixed(32)), MAX_BLOCKS)
    reader.end()
    if any(first >= second for first, second in pairwise(blocks)):
        raise DecodeError("blocks of a deletion do not rise")
    return Deletion(message, tuple(blocks))
