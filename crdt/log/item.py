"""Items: how old or missed entries travel, with their own message key and without their epoch key.

Who receives one seals it again, obtains the very block, and can check opening and leaf hash against the signed head
and serve the block to others.  `docs/protocol.md`, "Items and packs".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crdt.log.entry import open_entry, read_block, seal_entry


@dataclass(frozen=True, slots=True)
class Item:
    """core (32), seq, epoch tag (8), message key (32), encoded plaintext; grant: e | count | slots of a grant entry."""

    core: bytes
    seq: int
    tag: bytes
    key: bytes = field(repr=False)
    plaintext: bytes = field(repr=False)
    grant: bytes = field(default=b"", repr=False)


def reseal(item: Item, space: bytes) -> bytes:
    """The block that this item is; whether it stands in the feed only its leaf hash can tell.  Raises ValueError."""
    return seal_entry(item.key, item.tag, item.core, space, item.seq, item.plaintext, item.grant)


def item_of(block: bytes, key: bytes, core: bytes, space: bytes) -> Item:
    """The item of a block whose message key is known.  Raises DecodeError."""
    header = read_block(block)
    plaintext = open_entry(key, core, space, block, header)
    return Item(core, header.seq, header.tag, key, plaintext, header.grant)
