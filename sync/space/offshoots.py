"""Offshoots: what lies within the end of a close on another branch than the one that is kept of a feed.

Of messages one branch is kept, the first that came.  Where a close that counts ends the feed on another one, everything
up to that end is fetched as well, from the last place on that both have in common, and each part is checked against the
end itself.  `docs/protocol.md`, "Branches".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from crdt.log.merkle import Leaf, Node, Tree, extend_range, leaf_hash, roots_at, tail_indexes
from crdt.space.lineage import End
from identity.codec import Reader, Writer
from sync.replicate.messages import Block, Stretch, StretchBlocks
from sync.space.feed import EntryState, StoredEntry, decode_entry, encode_entry, encode_leaf, leaf_of_entry
from sync.store.port import Batch, Store, Table, prefix_end

MAX_OFFSHOOT = 16_384  # entries of one offshoot
MAX_OFFSHOOTS = 64  # of one space


def offshoot_core(core: bytes, end: End) -> bytes:
    """What stands in place of the core key in facts of an offshoot: its short id is the feed's, the whole is not."""
    return core[:24] + end.root[:8]


@dataclass(slots=True)
class Offshoot:
    """One offshoot.  number: its local one; start: from where on its entries are here; tree: the branch as far as it
    came; sealed: entries that no key opens; withheld: seq -> leaf hash of those whose block is not here."""

    number: int
    core: bytes
    writer: bytes
    end: End
    start: int
    tree: Tree
    sealed: set[int] = field(default_factory=set)
    withheld: dict[int, bytes] = field(default_factory=dict)

    @property
    def name(self) -> bytes:
        """What stands in place of the core key in its facts."""
        return offshoot_core(self.core, self.end)

    @property
    def lacking(self) -> Stretch | None:
        """What is still to be fetched."""
        here = self.tree.length
        return Stretch(self.core, here, self.end.length, self.end.root) if here < self.end.length else None


class Offshoots:
    """Offshoots of one space, by (core key, end)."""

    def __init__(self, store: Store, space: bytes) -> None:
        self.held: dict[tuple[bytes, End], Offshoot] = {}
        self.by_name: dict[bytes, Offshoot] = {}
        self._store, self._space = store, space
        self._fresh: dict[bytes, bytes] = {}
        for key, value in store.scan(Table.OFFSHOOT, space, prefix_end(space)):
            if len(key) == 104:
                self._load(key, value)

    def _load(self, key: bytes, value: bytes) -> None:
        data = Reader(value)
        number, writer, start = data.uint(), data.fixed(32), data.uint()
        roots = tuple(Node(index, data.uint(), data.fixed(32)) for index in roots_at(start))
        core, length, root = key[32:64], int.from_bytes(key[64:72], "big"), key[72:104]
        offshoot = Offshoot(number, core, writer, End(length, root), start, Tree(start, roots))
        leaves: list[Leaf] = []
        for row, stored in self._store.scan(Table.OFFSHOOT, key + b"\0", prefix_end(key)):
            entry, seq = decode_entry(stored), int.from_bytes(row[104:], "big")
            leaves.append(leaf_of_entry(entry))
            self._note(offshoot, seq, entry)
        offshoot.tree = offshoot.tree.extend(leaves)[0]
        self._keep(offshoot)

    def _keep(self, offshoot: Offshoot) -> None:
        self.held[offshoot.core, offshoot.end] = self.by_name[offshoot.name] = offshoot

    def begin(
        self, batch: Batch, number: Callable[[], int], core: bytes, writer: bytes, end: End, tree: Tree
    ) -> Offshoot | None:
        """Opens an offshoot that leaves the kept branch at `tree`; None where there is no room for it.  number: gives
        it a local number, as feeds have one."""
        if len(self.held) >= MAX_OFFSHOOTS or end.length - tree.length > MAX_OFFSHOOT:
            return None
        offshoot = Offshoot(number(), core, writer, end, tree.length, tree)
        out = Writer().uint(offshoot.number).raw(writer).uint(tree.length)
        for node in tree.roots:
            out.uint(node.size).raw(node.hash)
        batch.put(Table.OFFSHOOT, self._row(offshoot), out.finish())
        self._keep(offshoot)
        return offshoot

    def take(self, batch: Batch, offshoot: Offshoot, answer: StretchBlocks) -> list[tuple[int, Block, Leaf]] | None:
        """(seq, block, leaf) of blocks that continue an offshoot; none of those that came already; None: they do not
        belong under its end."""
        start, blocks, before = answer.stretch.start, answer.blocks, offshoot.tree
        if start != before.length or not blocks:
            return []
        leaves = [block if isinstance(block, tuple) else (len(block), leaf_hash(block)) for block in blocks]
        stop = start + len(leaves)
        places = tail_indexes(stop, offshoot.end.length)
        # How two withheld leaves share their size is known from their parent alone: pairs are not parted.
        if (stop % 2 and stop < offshoot.end.length) or len(places) != len(answer.tail):
            return None
        tail = [Node(place, *leaf) for place, leaf in zip(places, answer.tail, strict=True)]
        found = extend_range(before, leaves, tail, offshoot.end.length, offshoot.end.root)
        if found is None:
            return None
        offshoot.tree = found[0]
        for seq, (block, leaf) in enumerate(zip(blocks, leaves, strict=True), start):
            state = EntryState.WITHHELD if isinstance(block, tuple) else EntryState.SEALED
            self.put(
                batch,
                offshoot,
                seq,
                encode_leaf(state, leaf) if isinstance(block, tuple) else encode_entry(state, block),
            )
        return [(start + index, block, leaves[index]) for index, block in enumerate(blocks)]

    def put(self, batch: Batch, offshoot: Offshoot, seq: int, value: bytes) -> None:
        """Keeps an entry, or keeps it anew."""
        row = self._row(offshoot) + seq.to_bytes(8, "big")
        self._fresh[row] = value
        batch.put(Table.OFFSHOOT, row, value)
        self._note(offshoot, seq, decode_entry(value))

    def entry(self, offshoot: Offshoot, seq: int) -> StoredEntry | None:
        """An entry of an offshoot; None where it has not come."""
        row = self._row(offshoot) + seq.to_bytes(8, "big")
        value = self._fresh.get(row) or self._store.get(Table.OFFSHOOT, row)
        return None if value is None else decode_entry(value)

    def lacking(self) -> Iterator[Stretch | tuple[bytes, int, bytes]]:
        """Stretches to be fetched, and single blocks that were kept back."""
        for offshoot in self.held.values():
            stretch = offshoot.lacking
            if stretch is not None:
                yield stretch
            for seq, leaf in offshoot.withheld.items():
                yield offshoot.core, seq, leaf

    def committed(self) -> None:
        """The open batch is durable."""
        self._fresh.clear()

    def _note(self, offshoot: Offshoot, seq: int, entry: StoredEntry) -> None:
        offshoot.sealed.discard(seq)
        offshoot.withheld.pop(seq, None)
        if entry.state is EntryState.SEALED:
            offshoot.sealed.add(seq)
        elif entry.state is EntryState.WITHHELD and entry.leaf is not None:
            offshoot.withheld[seq] = entry.leaf[1]

    def _row(self, offshoot: Offshoot) -> bytes:
        return self._space + offshoot.core + offshoot.end.length.to_bytes(8, "big") + offshoot.end.root


def common(kept: Sequence[End], other: dict[int, bytes]) -> int:
    """The greatest length at which two branches are known to be equal; kept: ends of the one, other: those of the
    other by length."""
    return max((end.length for end in kept if other.get(end.length) == end.root), default=0)
