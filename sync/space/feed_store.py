"""The feed store of one space: its feeds, blocks and Merkle nodes, read through what is not yet committed.

Appending happens in memory and in the batch at once; the shell commits the batch at the end of its tick.  Until then
`_fresh` answers for the rows of that batch.  This is what replication sees (`sync.replicate.view.FeedView`); it knows
nothing of what stands inside a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from crdt.log.head import Head
from crdt.log.manifest import core_key
from crdt.log.merkle import Leaf, Node, Tree, first_block, join, leaf_hash, roots_at, span_of, tail_indexes, tree_hash
from identity.keys import SigningKey
from sync.replicate.encoding import decode, encode
from sync.replicate.messages import MAX_RANGE, Block, Fetched, Fork, Point, Proof, Question, Stretch, StretchBlocks
from sync.replicate.proof import make_proof, proof_indexes
from sync.space.branches import Branches
from sync.space.feed import (
    STORED_SPAN,
    Feed,
    StoredEntry,
    decode_entry,
    decode_node,
    encode_node,
    entry_key,
    leaf_of_entry,
    load_feeds,
    put_feed,
    worth_a_row,
)
from sync.space.offshoots import Offshoots
from sync.store.port import Batch, Store, Table, prefix_end

MAX_PAIR = 1 << 20
MAX_SMALL = 16_384  # nodes over few blocks that are remembered
SPAN = 256  # rows read at once when blocks are served
_NOTHING: tuple[int, int, Sequence[Leaf]] = (-1, 0, ())
FORK = 15  # the message type that a fork proof is kept as


class FeedStore:
    """Feeds of one space by W and by core key.  `batch` is the profile's open one; touch: called at any change."""

    def __init__(
        self, store: Store, space: bytes, number: Callable[[], int], touch: Callable[[], None] = lambda: None
    ) -> None:
        self.store = store
        self.space = space
        self.feeds: dict[bytes, Feed] = {}  # by core key
        self.by_writer: dict[bytes, Feed] = {}
        self.mine: Feed | None = None  # the one that this device writes
        self.counters: dict[bytes, int] = {}
        self.stored_records: dict[bytes, bytes] = {}
        self.record_seen: dict[bytes, int] = {}  # W -> Unix ms when its newest record was first seen here
        self.proofs: dict[bytes, Fork] = {}
        self.item_seqs: dict[bytes, set[int]] = {}
        self.parked = 0  # bytes of all items kept
        self.branches = Branches(store, space)
        self.offshoots = Offshoots(store, space)
        self.control_tips: Callable[[], Mapping[Point, bool]] = dict  # what the space's members say
        self._number = number
        self._touch = touch
        self._fresh: dict[bytes, bytes] = {}
        self._fresh_nodes: dict[bytes, bytes] = {}
        self._small: dict[bytes, Node] = {}  # nodes over few blocks, made from them: who asks again pays no hashing
        self._touched: dict[bytes, Feed] = {}
        self._arriving: tuple[int, int, Sequence[Leaf]] = _NOTHING
        self._load()

    def _load(self) -> None:
        for feed in load_feeds(self.store, self.space):
            self.feeds[feed.core] = self.by_writer[feed.writer] = feed
            if feed.mine and (self.mine is None or feed.number > self.mine.number):
                self.mine = feed  # the newest: earlier ones are closed
        for key, value in self.store.scan(Table.RECORD, self.space, prefix_end(self.space)):
            writer = key[32:]
            if len(writer) == 32:
                self.counters[writer] = int.from_bytes(value[:8], "little")
                self.record_seen[writer] = int.from_bytes(value[8:16], "little")
                self.stored_records[writer] = value[16:]
            else:
                proof = decode(FORK, value)
                if isinstance(proof, Fork):
                    self.proofs[writer[1:]] = proof
        for key, value in self.store.scan(Table.ITEM, self.space, prefix_end(self.space)):
            self.item_seqs.setdefault(key[32:64], set()).add(int.from_bytes(key[64:], "big"))
            self.parked += len(value)

    def next_number(self) -> int:
        """A local number for a feed or an offshoot, given once."""
        return self._number()

    def number_of(self, core: bytes) -> int:
        """The local number of a feed or an offshoot, by what stands in its facts.  Raises KeyError."""
        offshoot = self.offshoots.by_name.get(core)
        return self.feeds[core].number if offshoot is None else offshoot.number

    @property
    def highest_number(self) -> int:
        """The highest local number in use here, 0 for none."""
        feeds = [feed.number for feed in self.feeds.values()]
        return max([*feeds, *(offshoot.number for offshoot in self.offshoots.held.values())], default=0)

    # -- feeds ------------------------------------------------------------------------------------------------

    def feed(self, writer: bytes, key: SigningKey | None = None) -> Feed:
        """The feed of W, made if it is new.  With its key it is mine."""
        feed = self.by_writer.get(writer)
        if feed is None:
            core = core_key(writer)
            # Local numbers keep store keys short; the space id in front of them would cost 32 bytes a row.
            feed = Feed(self._number(), self.space, writer, core, key=key)
            self.feeds[core] = self.by_writer[writer] = feed
            self.touch(feed)
        elif key is not None and feed.key is None:
            feed.key = key
            self.touch(feed)
        if key is not None:
            self.mine = feed
        return feed

    def give_up_mine(self) -> SigningKey:
        """My feed becomes one that this device only holds: its key leaves the store with the commit, and is returned
        for the one signature by which another feed takes its place."""
        feed = self.mine
        if feed is None or feed.key is None:
            raise LookupError("no feed of mine here")
        key, feed.key, self.mine = feed.key, None, None
        self.touch(feed)
        return key

    def extend(self, batch: Batch, feed: Feed, tree: Tree, nodes: Iterable[Node], head: Head | None) -> None:
        """Moves the feed on to `tree`; its blocks are put by `put_entry`."""
        feed.tree = tree
        if head is not None and (feed.head is None or head.length >= feed.head.length):
            feed.head = head
        for node in nodes:
            if worth_a_row(node):
                key, value = entry_key(feed.number, node.index), encode_node(node)
                self._fresh_nodes[key] = value
                batch.put(Table.NODE, key, value)
        self.touch(feed)

    def touch(self, feed: Feed) -> None:
        """Its row changes with this batch."""
        self._touched[feed.writer] = feed
        self._touch()

    def put_entry(self, batch: Batch, feed: Feed, seq: int, value: bytes) -> None:
        key = entry_key(feed.number, seq)
        self._fresh[key] = value
        batch.put(Table.ENTRY, key, value)
        self._touch()

    def finish(self, batch: Batch) -> None:
        """The rows of the feeds that changed.  Call it last before the commit."""
        for feed in self._touched.values():
            put_feed(batch, feed)
        self._touched.clear()

    def committed(self) -> None:
        self._fresh.clear()
        self._fresh_nodes.clear()
        self.branches.committed()
        self.offshoots.committed()

    @property
    def changed(self) -> bool:
        return bool(self._touched)

    def entry(self, feed: Feed, seq: int) -> StoredEntry | None:
        key = entry_key(feed.number, seq)
        value = self._fresh.get(key) or self.store.get(Table.ENTRY, key)
        return None if value is None else decode_entry(value)

    def entries(self, feed: Feed, start: int, end: int) -> list[StoredEntry]:
        """Entries start..end-1 of the feed, all of them below its length."""
        found = dict(self.store.scan(Table.ENTRY, entry_key(feed.number, start), entry_key(feed.number, end)))
        if self._fresh:
            for seq in range(start, end):
                key = entry_key(feed.number, seq)
                value = self._fresh.get(key)
                if value is not None:
                    found[key] = value
            return [decode_entry(found[key]) for key in sorted(found)]
        return [decode_entry(value) for value in found.values()]

    def root_at(self, feed: Feed, length: int) -> bytes | None:
        """The tree hash at a length the feed has reached, 1 or more."""
        if length > feed.length or length < 1:
            return None
        if length == feed.length:
            return feed.tree.hash()
        return tree_hash(self.nodes_of(feed, roots_at(length)))

    def nodes_of(self, feed: Feed, indexes: Sequence[int]) -> list[Node]:
        roots = {node.index: node for node in feed.tree.roots}
        return [roots.get(index) or self._node(feed, index) for index in indexes]

    def _node(self, feed: Feed, index: int) -> Node:
        span = span_of(index)
        if span >= STORED_SPAN:
            key = entry_key(feed.number, index)
            value = self._fresh_nodes.get(key) or self.store.get(Table.NODE, key)
            if value is None:
                raise LookupError(f"no Merkle node {index} in the store")
            return decode_node(index, value)
        found = self._small.get(entry_key(feed.number, index))
        return self._make_small(feed, first_block(index), span) if found is None else found

    def _make_small(self, feed: Feed, first: int, span: int) -> Node:
        """The node over a few blocks, and all below it: who asks for any of them again pays no hashing."""
        if len(self._small) >= MAX_SMALL:
            self._small.clear()
        row = []
        for seq, leaf in enumerate(self._leaves(feed, first, first + span), first):
            row.append(Node(2 * seq, *leaf))
        if len(row) != span:
            raise LookupError(f"blocks from {first} on are not all in the store")
        while True:
            self._small.update((entry_key(feed.number, node.index), node) for node in row)
            if len(row) == 1:
                return row[0]
            row = [join([left], [right])[0] for left, right in zip(row[::2], row[1::2], strict=True)]

    def _leaves(self, feed: Feed, start: int, end: int) -> list[Leaf]:
        """Leaves of a feed, those of blocks that are being taken in and have no entry yet included."""
        number, at, leaves = self._arriving
        if number != feed.number or end <= at:
            return [leaf_of_entry(entry) for entry in self.entries(feed, start, end)]
        found = [leaf_of_entry(entry) for entry in self.entries(feed, start, at)] if start < at else []
        return [*found, *leaves[max(start - at, 0) : end - at]]

    def begin_arrival(self, feed: Feed, start: int, leaves: Sequence[Leaf]) -> None:
        """Until `end_arrival` the feed's tree holds these blocks already, while their entries are put one after the
        other: a control entry among them may ask for the tree hash at a length that only a later one brings."""
        self._arriving = feed.number, start, leaves

    def end_arrival(self) -> None:
        """Their entries are put."""
        self._arriving = _NOTHING

    # -- what replication asks --------------------------------------------------------------------------------

    def heads(self) -> Mapping[bytes, Head]:
        return {writer: feed.head for writer, feed in self.by_writer.items() if feed.head is not None}

    def tree(self, writer: bytes) -> Tree:
        feed = self.by_writer.get(writer)
        return feed.tree if feed is not None else Tree()

    def nodes(self, writer: bytes, indexes: Sequence[int]) -> list[Node]:
        return self.nodes_of(self.by_writer[writer], indexes)

    def blocks(self, writer: bytes, start: int, end: int, limit: int) -> list[Block]:
        feed = self.by_writer[writer]
        found: list[Block] = []
        size, at = 0, start
        while at < end:
            for entry in self.entries(feed, at, min(end, at + SPAN)):
                one: Block = entry.leaf if entry.leaf is not None else entry.block
                size += 48 if isinstance(one, tuple) else len(one) + 4
                if found and size > limit:
                    return found
                found.append(one)
            at += SPAN
        return found

    def leaves(self, writer: bytes, start: int, end: int) -> list[Block]:
        feed = self.by_writer[writer]
        return [leaf_of_entry(entry) for entry in self.entries(feed, start, end)]

    def durable(self, writer: bytes) -> int:
        """Every commit that appends is durable, and acknowledgements are written after it."""
        feed = self.by_writer.get(writer)
        return feed.length if feed is not None else 0

    def packed(self, writer: bytes) -> int:
        core = core_key(writer)
        seqs = self.item_seqs.get(core)
        if not seqs:
            return 0
        at = self.tree(writer).length
        while at in seqs:
            at += 1
        return at

    def records(self) -> Mapping[bytes, int]:
        return self.counters

    def record(self, writer: bytes) -> bytes:
        return self.stored_records[writer]

    def forks(self) -> Mapping[bytes, Fork]:
        return self.proofs

    def find(self, point: Point) -> Fetched | None:
        core, seq, hash_ = point
        feed = self.feeds.get(core)
        if feed is not None and feed.head is not None and seq < feed.head.length:
            entry = self._entry_of(feed, seq, hash_)
            if entry is not None:
                nodes = self.nodes_of(feed, proof_indexes(feed.head, seq + 1, seq))
                return Fetched(point, entry.block, make_proof(feed.head, seq + 1, seq, nodes))
        beside = self.branches.get(point)
        return beside.fetched if beside is not None else None

    def block_of(self, point: Point) -> bytes | None:
        """The block at (core key, seq) with that hash, on whatever branch."""
        core, seq, hash_ = point
        feed = self.feeds.get(core)
        entry = self._entry_of(feed, seq, hash_) if feed is not None and seq < feed.length else None
        if entry is not None:
            return entry.block
        beside = self.branches.get(point)
        return beside.fetched.block if beside is not None else None

    def _entry_of(self, feed: Feed, seq: int, hash_: bytes) -> StoredEntry | None:
        """The entry at a place, if its block is here and has that hash.  However often somebody asks for what stands
        elsewhere, the block is read and hashed once."""
        if self.nodes_of(feed, [2 * seq])[0].hash != hash_:
            return None
        entry = self.entry(feed, seq)
        return entry if entry is not None and entry.leaf is None else None

    def prove(self, question: Question) -> Proof | None:
        core, length, root, at = question
        feed = self.feeds.get(core)
        head = feed.head if feed is not None else None
        if feed is not None and head is not None and length <= head.length and self.root_at(feed, length) == root:
            return make_proof(head, length, at, self.nodes_of(feed, proof_indexes(head, length, at)))
        return self.branches.prove(question)

    def stretch(self, stretch: Stretch, limit: int) -> StretchBlocks | None:
        core, start, length, root = stretch
        feed = self.feeds.get(core)
        if feed is None or feed.head is None or length > feed.head.length or self.root_at(feed, length) != root:
            return None
        blocks = self.blocks(feed.writer, start, min(length, start + MAX_RANGE), limit)
        stop = start + len(blocks)
        if stop % 2 and stop < length:  # pairs of leaves are not parted
            blocks = blocks[:-1] or self.blocks(feed.writer, start, start + 2, MAX_PAIR)
        tail = self.nodes_of(feed, tail_indexes(start + len(blocks), length))
        return StretchBlocks(stretch, tuple(blocks), tuple((node.size, node.hash) for node in tail))

    def tips(self) -> Mapping[Point, bool]:
        return self.control_tips()

    # -- records, forks, items --------------------------------------------------------------------------------

    def put_record(self, batch: Batch, writer: bytes, counter: int, data: bytes, now_ms: int) -> None:
        self.counters[writer] = counter
        self.stored_records[writer] = data
        self.record_seen[writer] = now_ms
        head = counter.to_bytes(8, "little") + now_ms.to_bytes(8, "little")
        batch.put(Table.RECORD, self.space + writer, head + data)
        self._touch()

    def put_fork(self, batch: Batch, writer: bytes, proof: Fork) -> None:
        self.proofs[writer] = proof
        batch.put(Table.RECORD, self.space + b"f" + writer, encode(proof)[1])
        self._touch()

    def put_item(self, batch: Batch, core: bytes, seq: int, key: bytes, block: bytes) -> None:
        """Keeps an item until its feed is verified up to it."""
        row = self.space + core + seq.to_bytes(8, "big")
        seqs = self.item_seqs.setdefault(core, set())
        if seq in seqs:
            self.parked -= len(self._fresh.get(row) or self.store.get(Table.ITEM, row) or b"")
        seqs.add(seq)
        self.parked += len(key) + len(block)
        self._fresh[row] = key + block
        batch.put(Table.ITEM, row, key + block)
        self._touch()

    def take_item(self, batch: Batch, core: bytes, seq: int, leaf: Leaf) -> tuple[bytes, bytes] | None:
        """(message key, block) of the item that stands at this leaf; whatever is kept there is dropped."""
        seqs = self.item_seqs.get(core)
        if not seqs or seq not in seqs:
            return None
        seqs.discard(seq)
        row = self.space + core + seq.to_bytes(8, "big")
        value = self._fresh.pop(row, None) or self.store.get(Table.ITEM, row)
        batch.delete(Table.ITEM, row)
        self._touch()
        self.parked -= len(value or b"")
        if value is None or leaf_hash(value[32:]) != leaf[1]:
            return None
        return value[:32], value[32:]

    def forget_item(self, batch: Batch, core: bytes, seq: int) -> None:
        """Drops the item of one place, if there is one."""
        if seq in self.item_seqs.get(core, ()):
            self.take_item(batch, core, seq, (0, b""))

    def drop_items(self, batch: Batch, core: bytes) -> None:
        """Forgets the items of a feed."""
        for seq in sorted(self.item_seqs.pop(core, ())):
            row = self.space + core + seq.to_bytes(8, "big")
            value = self._fresh.pop(row, None) or self.store.get(Table.ITEM, row)
            batch.delete(Table.ITEM, row)
            self._touch()
            self.parked -= len(value or b"")
