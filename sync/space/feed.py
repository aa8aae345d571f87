"""Feeds of one space as they lie in the store: head, blocks, the Merkle nodes that proofs need.

A feed's row holds its roots, so that appending and verifying read nothing else.  Of the interior nodes only those over
eight blocks and more are stored; smaller ones are hashed again from the blocks below them, which costs less than a row.
`docs/protocol.md`, "Store".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from crdt.log.head import Head
from crdt.log.manifest import core_key
from crdt.log.merkle import MAX_LENGTH, Leaf, Node, Tree, leaf_of, roots_at, span_of
from identity.codec import Reader, Writer
from identity.keys import SigningKey
from sync.store.port import Batch, Store, Table, prefix_end

STORED_SPAN = 8  # blocks under the smallest interior node that is stored


class EntryState(IntEnum):
    """What is known of a stored block."""

    SEALED = 0  # no key yet
    OPENED = 1  # message key kept beside it
    CLEARED = 2  # erased, as a deletion that counts says: size and leaf hash stay, so that proofs stay valid
    SKIPPED = 3  # not what its writer may have sealed, or older than what this device asked for: for good
    DENIED = 4  # answered "not for you"; a key or an item may still open it
    WITHHELD = 5  # came as size and leaf hash, and no deletion that counts says why: asked for by its hash
    PASSED = 6  # came as size and leaf hash, and is older than what this device asked for
    UNREAD = 7  # of a form that this version does not know: kept, with its message key if it opened, for a later one
    FORGOTTEN = 8  # erased here alone, since I deleted it for me: others have it, and it is never asked for again


LEAF_ONLY = (EntryState.CLEARED, EntryState.WITHHELD, EntryState.PASSED, EntryState.FORGOTTEN)


@dataclass(slots=True)
class Feed:
    """One feed.  number: its short local name in store keys; opened: every entry below is opened, cleared or skipped;
    heard: how far it was opened while its writer was known as an open one, so before anything ended it here; stamp: the
    highest stamp opened; key: the writer's pair if the feed is mine."""

    number: int
    space: bytes
    writer: bytes
    core: bytes
    tree: Tree = field(default_factory=Tree)
    head: Head | None = None
    opened: int = 0
    heard: int = 0
    stamp: int = 0
    key: SigningKey | None = None

    @property
    def length(self) -> int:
        return self.tree.length

    @property
    def mine(self) -> bool:
        return self.key is not None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """state; key: message key, empty unless it opened; block: empty where only its leaf (size, hash) is here."""

    state: EntryState
    key: bytes
    block: bytes
    leaf: Leaf | None = None


def entry_key(number: int, seq: int) -> bytes:
    """Key of an entry or a node: the feed's local number (4 bytes) and the index (8), big-endian, so that they sort."""
    return number.to_bytes(4, "big") + seq.to_bytes(8, "big")


def encode_entry(state: EntryState, block: bytes, key: bytes = b"") -> bytes:
    """Row of an entry whose block is here; key: its message key where it was opened."""
    return bytes((state,)) + key + block


def encode_unread(block: bytes, key: bytes = b"") -> bytes:
    """Row of an entry that this version cannot read; key: its message key where it opened."""
    return bytes((EntryState.UNREAD,)) + (key or bytes(32)) + block


def encode_leaf(state: EntryState, leaf: Leaf) -> bytes:
    """Row of an entry whose block is not here, erased or kept back: its leaf alone, which proofs need."""
    return bytes((state,)) + leaf[0].to_bytes(4, "little") + leaf[1]


def decode_entry(value: bytes) -> StoredEntry:
    """The row of an entry as it was stored."""
    state = EntryState(value[0])
    if state is EntryState.OPENED:
        return StoredEntry(state, value[1:33], value[33:])
    if state is EntryState.UNREAD:
        key = value[1:33]
        return StoredEntry(state, b"" if key == bytes(32) else key, value[33:])
    if state in LEAF_ONLY:
        return StoredEntry(state, b"", b"", (int.from_bytes(value[1:5], "little"), value[5:37]))
    return StoredEntry(state, b"", value[1:])


def leaf_of_entry(entry: StoredEntry) -> Leaf:
    """The Merkle leaf of a stored entry."""
    return entry.leaf if entry.leaf is not None else leaf_of(entry.block)


def feed_key(space: bytes, writer: bytes) -> bytes:
    return space + writer


def put_feed(batch: Batch, feed: Feed) -> None:
    """number | length | roots: size, hash each | head: signature, length, tree hash, if any | opened | heard | stamp
    | seed, if mine.  The tree may reach beyond the newest signed head: inside a long range it does."""
    out = Writer().uint(feed.number).uint(feed.length)
    for node in feed.tree.roots:
        out.uint(node.size).raw(node.hash)
    out.buffer(feed.head.signature if feed.head else b"")
    if feed.head:
        out.uint(feed.head.length).raw(feed.head.root)
    out.uint(feed.opened).uint(feed.heard).fixed_uint(feed.stamp, 8).buffer(feed.key.seed if feed.key else b"")
    batch.put(Table.FEED, feed_key(feed.space, feed.writer), out.finish())


def load_feeds(store: Store, space: bytes) -> list[Feed]:
    """Every feed of the space, in order of its writer key."""
    feeds = []
    for key, value in store.scan(Table.FEED, space, prefix_end(space)):
        data = Reader(value)
        writer, number, length = key[32:], data.uint(), data.uint(MAX_LENGTH)
        roots = tuple(Node(index, data.uint(), data.fixed(32)) for index in roots_at(length))
        signature = data.buffer(64)
        head = Head(writer, data.uint(MAX_LENGTH), data.fixed(32), signature) if signature else None
        opened, heard, stamp, seed = data.uint(), data.uint(), data.fixed_uint(8), data.buffer(32)
        feeds.append(
            Feed(
                number=number,
                space=space,
                writer=writer,
                core=core_key(writer),
                tree=Tree(length, roots),
                head=head,
                opened=opened,
                heard=heard,
                stamp=stamp,
                key=SigningKey.from_seed(seed) if seed else None,
            )
        )
    return feeds


def encode_node(node: Node) -> bytes:
    """Row of a Merkle node."""
    return node.size.to_bytes(8, "little") + node.hash


def decode_node(index: int, value: bytes) -> Node:
    """A Merkle node as it was stored."""
    return Node(index, int.from_bytes(value[:8], "little"), value[8:])


def worth_a_row(node: Node) -> bool:
    """Whether a Merkle node is stored: small ones are made again from their blocks."""
    return span_of(node.index) >= STORED_SPAN
