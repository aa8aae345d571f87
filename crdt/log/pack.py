"""Packs: blobs of items, compressed, padded and sealed under a key of their own: history in bulk.

What does not compress (core keys, tags, message keys) stands in tables at the head, texts behind it in one zlib
stream whose unpacked size is known and bounded before a byte of it is unpacked.  `docs/protocol.md`, "Items and packs".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence

from crdt.log import cipher
from crdt.log.entry import GRANT_TAG, MAX_BLOCK, MAX_GRANT
from crdt.log.item import Item
from crdt.log.merkle import MAX_LENGTH
from identity.codec import Reader, Writer
from identity.digest import derive
from identity.errors import DecodeError
from identity.keys import SUITE, VERSION
from identity.labels import Label

MAX_UNPACKED = 4 * 1024 * 1024  # tables and texts together
PAGE = 64 * 1024  # sealed packs are a multiple of it
MAX_SEALED = MAX_UNPACKED + PAGE
ITEM_COST = 72  # bytes of one item besides plaintext and grant, at most (its own core key excepted)
_CORE = 32
_START = bytes((VERSION, SUITE))
_FRONT = len(_START) + 32  # sealed: version, suite, opening
_LEVEL = 6


def item_cost(item: Item) -> int:
    """What an item adds to the unpacked size, at most: the sum stays below MAX_UNPACKED in a pack."""
    return ITEM_COST + _CORE + len(item.plaintext) + len(item.grant)


def group_items(items: Iterable[Item], limit: int = MAX_UNPACKED - 1024) -> Iterator[list[Item]]:
    """The items in their order, in lists that each fit one pack of `limit` unpacked bytes."""
    group: list[Item] = []
    room = limit
    for item in items:
        cost = item_cost(item)
        if group and cost > room:
            yield group
            group, room = [], limit
        group.append(item)
        room -= cost
    if group:
        yield group


def encode_pack(items: Sequence[Item]) -> bytes:
    """The blob.  Raises ValueError above 4 MiB unpacked (see `group_items`).

    version | suite | core keys | runs: (core index, first seq, count) | tags (8 each) | message keys (32 each)
    | size of texts | zlib of the texts: for each item grant (buffer) if its tag is zero, then plaintext (buffer).
    """
    cores: dict[bytes, int] = {}
    runs: list[list[int]] = []
    texts = Writer()
    for item in items:
        index = cores.setdefault(item.core, len(cores))
        if runs and runs[-1][0] == index and runs[-1][1] + runs[-1][2] == item.seq:
            runs[-1][2] += 1
        else:
            runs.append([index, item.seq, 1])
        if item.tag == GRANT_TAG:
            texts.buffer(item.grant)
        texts.buffer(item.plaintext)
    out = Writer().raw(_START).array(list(cores), Writer.raw)
    out.array(runs, lambda w, run: w.uint(run[0]).uint(run[1]).uint(run[2]))
    out.raw(b"".join([item.tag for item in items])).raw(b"".join([item.key for item in items]))
    out.uint(len(texts))
    if len(out) + len(texts) > MAX_UNPACKED:
        raise ValueError("more than a pack holds")
    return out.raw(zlib.compress(texts.finish(), _LEVEL)).finish()


def decode_pack(blob: bytes) -> list[Item]:
    """The items, in their order.  Raises DecodeError; allocates at most 4 MiB of texts whatever the blob says."""
    if len(blob) > MAX_UNPACKED + PAGE:
        raise DecodeError("more than a pack holds")
    reader = Reader(blob)
    if reader.fixed(2) != _START:
        raise DecodeError("a pack of another version or suite")
    cores = reader.array(lambda r: r.fixed(_CORE), MAX_UNPACKED // _CORE)
    runs: list[tuple[bytes, int, int]] = []
    total = 0
    for _ in range(reader.uint(MAX_UNPACKED)):
        core = reader.uint(MAX_LENGTH)
        if core >= len(cores):
            raise DecodeError("an item of no feed")
        seq, count = reader.uint(MAX_LENGTH), reader.uint(MAX_UNPACKED)
        if count == 0 or seq + count > MAX_LENGTH:
            raise DecodeError("a run of no entries")
        total += count
        runs.append((cores[core], seq, count))
    tags, keys = reader.fixed(8 * total), reader.fixed(32 * total)
    size = reader.uint(MAX_UNPACKED)
    if reader.at + size > MAX_UNPACKED:
        raise DecodeError("more than a pack holds")
    return _items(runs, tags, keys, _inflate(reader.rest(), size))


def _inflate(stream: bytes, size: int) -> bytes:
    """Exactly `size` bytes out of a whole zlib stream; unpacking stops one byte beyond it."""
    unpacker = zlib.decompressobj()
    try:
        texts = unpacker.decompress(stream, size + 1)
    except zlib.error:
        raise DecodeError("a pack does not unpack") from None
    if len(texts) != size or not unpacker.eof or unpacker.unused_data:
        raise DecodeError("a pack does not unpack to what it says")
    return texts


def _items(runs: list[tuple[bytes, int, int]], tags: bytes, keys: bytes, texts: bytes) -> list[Item]:
    reader = Reader(texts)
    items: list[Item] = []
    place = 0
    for core, first, count in runs:
        for seq in range(first, first + count):
            tag = tags[8 * place : 8 * place + 8]
            grant = b""
            if tag == GRANT_TAG:
                grant = reader.buffer(MAX_GRANT)
                if not grant:
                    raise DecodeError("the zero tag without a grant")
            items.append(Item(core, seq, tag, keys[32 * place : 32 * place + 32], reader.buffer(MAX_BLOCK), grant))
            place += 1
    reader.end()
    return items


def seal_pack(blob: bytes, key: bytes) -> bytes:
    """version | suite | opening (32) | ciphertext, a multiple of 64 KiB in all.  Deterministic, as entries are."""
    inner = _FRONT + 16 + 4 + len(blob)
    padded = len(blob).to_bytes(4, "little") + blob + bytes(-inner % PAGE)
    opening = derive(key, Label.PACK, padded)
    header = _START + opening
    sealed = header + cipher.seal(key, opening[:24], padded, header)
    if len(sealed) > MAX_SEALED:
        raise ValueError("more than a pack holds")
    return sealed


def open_pack(sealed: bytes, key: bytes) -> bytes:
    """The blob.  Raises DecodeError where the key or a byte is wrong."""
    if not PAGE <= len(sealed) <= MAX_SEALED or len(sealed) % PAGE or sealed[:2] != _START:
        raise DecodeError("not a sealed pack")
    opening = sealed[2:_FRONT]
    padded = cipher.open_sealed(key, opening[:24], sealed[_FRONT:], sealed[:_FRONT])
    end = 4 + int.from_bytes(padded[:4], "little")
    if derive(key, Label.PACK, padded) != opening or not len(padded) - PAGE < end <= len(padded):
        raise DecodeError("a pack does not open")
    if padded.count(0, end) != len(padded) - end:
        raise DecodeError("the padding is wrong")
    return padded[4:end]
