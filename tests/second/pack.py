"""Packs and transcripts: section 9 of docs/protocol.md."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from tests.second.codec import Reader, Refused, array, buffer, require, rising, uint
from tests.second.digest import derive
from tests.second.entry import BLOCK, GRANT, ZERO_TAG, message_key, seal_entry
from tests.second.head import BLOCKS, Head, leaf_hash, take_head, tree_hashes
from tests.second.signature import seal, unseal

UNPACKED = 4 << 20
SEALED_UNIT = 64 << 10
FEEDS = 4096


@dataclass(frozen=True, slots=True)
class Item:
    """One entry without its epoch key; it becomes the very block again."""

    core: bytes
    seq: int
    tag: bytes
    key: bytes
    text: bytes
    grant: bytes

    def block(self, space: bytes) -> bytes:
        """The block that the item stands for."""
        return seal_entry(self.key, self.tag, self.core, space, self.seq, self.text, self.grant)


def read_pack(blob: bytes) -> tuple[Item, ...]:
    """The items of a pack."""
    reader = Reader(blob)
    reader.version()
    cores = reader.array(UNPACKED // 32, lambda: reader.take(32))
    runs = reader.array(UNPACKED, lambda: (reader.uint(), reader.uint(BLOCKS - 1), reader.uint(UNPACKED)))
    require(all(count > 0 for _, _, count in runs), "a run has at least one entry")
    require(all(core < len(cores) for core, _, _ in runs), "a run names a core key of the pack")
    places = [(cores[core], first + step) for core, first, count in runs for step in range(count)]
    tags = [reader.take(8) for _ in places]
    keys = [reader.take(32) for _ in places]
    size = reader.uint(UNPACKED)
    require(size + reader.at <= UNPACKED, "a pack has at most 4 MiB unpacked")
    texts = Reader(unpacked(reader.rest(), size))
    items = []
    for (core, seq), tag, key in zip(places, tags, keys, strict=True):
        grant = texts.buffer(GRANT) if tag == ZERO_TAG else b""
        items.append(Item(core, seq, tag, key, texts.buffer(BLOCK), grant))
    texts.end()
    return tuple(items)


def unpacked(stream: bytes, size: int) -> bytes:
    """One zlib stream of exactly `size` bytes, and nothing behind it."""
    unpacker = zlib.decompressobj()
    try:
        texts = unpacker.decompress(stream, size + 1)
    except zlib.error:
        raise Refused("the texts are one zlib stream") from None
    require(len(texts) == size and unpacker.eof, "the stream holds the size that is said")
    require(not unpacker.unused_data and not unpacker.unconsumed_tail, "nothing follows the stream")
    return texts


def write_pack(items: tuple[Item, ...]) -> bytes:
    """A pack of items; the stream's own compression is not fixed by the page."""
    cores = list(dict.fromkeys(item.core for item in items))
    runs: list[tuple[int, int, int]] = []
    for item in items:
        core = cores.index(item.core)
        if runs and runs[-1][0] == core and runs[-1][1] + runs[-1][2] == item.seq:
            runs[-1] = (core, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((core, item.seq, 1))
    texts = b"".join((buffer(item.grant) if item.tag == ZERO_TAG else b"") + buffer(item.text) for item in items)
    table = array(cores) + array(uint(a) + uint(b) + uint(c) for a, b, c in runs)
    secrets = b"".join(item.tag for item in items) + b"".join(item.key for item in items)
    return b"\0\1" + table + secrets + uint(len(texts)) + zlib.compress(texts)


def seal_pack(key: bytes, blob: bytes) -> bytes:
    """The sealed pack: a multiple of 64 KiB in all."""
    bare = 2 + 32 + 16 + 4 + len(blob)
    size = -(-bare // SEALED_UNIT) * SEALED_UNIT - 2 - 32 - 16
    padded = (len(blob).to_bytes(4, "little") + blob).ljust(size, b"\0")
    opening = derive(key, b"kithkin pack", padded)
    head = b"\0\1" + opening
    return head + seal(key, opening[:24], padded, head)


def open_pack(key: bytes, sealed: bytes) -> bytes:
    """The blob of a sealed pack."""
    reader = Reader(sealed)
    reader.version()
    require(len(sealed) % SEALED_UNIT == 0, "a sealed pack is a multiple of 64 KiB")
    opening = reader.take(32)
    padded = unseal(key, opening[:24], reader.rest(), sealed[:34])
    require(derive(key, b"kithkin pack", padded) == opening, "the opening commits to key and text")
    inner = Reader(padded)
    blob = inner.take(int.from_bytes(inner.take(4), "little"))
    require(not any(inner.rest()), "padding is zeros")
    require(seal_pack(key, blob) == sealed, "one padding for each blob")
    return blob


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of a transcript: its block and message key, or the leaf hash and size of what is not there."""

    size: int
    block: bytes
    key: bytes
    leaf: bytes

    def encoded(self) -> bytes:
        """Its bytes."""
        if self.block:
            return uint(2 * self.size) + self.block + self.key
        return uint(2 * self.size + 1) + self.leaf


@dataclass(frozen=True, slots=True)
class Transcript:
    """Feeds of a space, each with a head that covers its entries."""

    space: bytes
    feeds: tuple[tuple[Head, tuple[Place, ...]], ...]

    def encoded(self) -> bytes:
        """Its bytes."""
        feeds = (head.encoded() + b"".join(place.encoded() for place in places) for head, places in self.feeds)
        return b"\0\1" + self.space + array(feeds)


def take_place(reader: Reader) -> Place:
    """Reads one entry of a transcript."""
    number = reader.uint()
    size = number >> 1
    require(size <= BLOCK, "a block has at most 256 KiB")
    if number & 1:
        return Place(size, b"", b"", reader.take(32))
    block, key = reader.take(size), reader.take(32)
    return Place(size, block, key, leaf_hash(block))


def read_transcript(data: bytes) -> Transcript:
    """Reads a transcript; each head is signed and the entries give its tree hash."""
    reader = Reader(data)
    reader.version()
    space = reader.take(32)

    def feed() -> tuple[Head, tuple[Place, ...]]:
        head = take_head(reader)
        places = tuple(take_place(reader) for _ in range(head.length))
        *_, tree = tree_hashes([(place.leaf, place.size) for place in places])
        require(tree == head.tree, "the entries give the tree hash of the head")
        return head, places

    feeds = reader.array(FEEDS, feed)
    rising((head.writer for head, _ in feeds), "feeds ascend by W")
    reader.end()
    return Transcript(space, feeds)


def fitting_key(epoch: bytes, core: bytes, seq: int, tag: bytes) -> bytes | None:
    """The message key of an epoch for an entry, if the epoch's tag fits (section 8)."""
    key, expected = message_key(epoch, core, seq)
    return key if expected == tag else None
