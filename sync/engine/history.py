"""History for devices that were not there: which entries a peer may have as items, and packs of them.

A device of mine gets everything; so does anybody for the time in which an epoch's roster held its member, and whoever
comes along from the group that this one goes on from; to other newcomers the chat's setting decides.  Control entries
go to every admitted device.  `docs/protocol.md`, "History".
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from crdt.log.entry import GRANT_TAG, open_entry, read_block
from crdt.log.item import Item
from crdt.log.merkle import leaf_hash
from crdt.log.pack import encode_pack, item_cost, seal_pack
from crdt.space.control import Epoch, SpaceKind
from crdt.space.demotion import epochs_missed
from sync.engine.peer import Serving
from sync.replicate.messages import Span
from sync.space.feed import EntryState, StoredEntry
from sync.space.space import Space

PACK_BYTES = 1 << 20  # unpacked, of one pack: bounds what is held in memory for each peer
CHUNK = 256
SLICE_ENTRIES = 2048  # looked at in one go, whether they may be given or not
SLICE_BYTES = 4 << 20  # of their blocks


class Pause(Enum):
    """A slice of the work is done: go on after a pause."""

    PAUSE = "pause"


def begin(space: Space, spans: Iterable[Span] | None) -> Serving:
    """What a peer's request comes to.  spans None: everything that it may have; none at all: control entries alone;
    else disjoint and rising, as they are read."""
    given: dict[tuple[bytes, int], set[bytes]] = {}
    for entry in space.graph.entries():
        given.setdefault((entry.core, entry.seq), set()).add(entry.id)
    control = [(entry.core, entry.seq, entry.id) for entry in space.graph.entries()]
    if spans is not None and not (spans := tuple(spans)):
        return Serving(deque(), [], deque(control), given)
    if spans is None:
        left = [(feed.core, 0, feed.length) for feed in space.feed_store.feeds.values() if feed.length]
        return Serving(deque(left), [], deque(control), given)
    left = []
    starts: dict[bytes, list[tuple[int, int]]] = {}
    for writer, start, end in spans:
        feed = space.feed_store.by_writer.get(writer)
        if feed is not None and start < feed.length:
            left.append((feed.core, start, min(end, feed.length)))
            starts.setdefault(feed.core, []).append((start, end))
    asked = [one for one in control if _inside(starts.get(one[0], ()), one[1])]
    return Serving(deque(left), [], deque(asked), given, named=True)


def _inside(ranges: Sequence[tuple[int, int]], seq: int) -> bool:
    """Whether a place lies in one of the ranges, which are disjoint and rise."""
    at = bisect_right(ranges, seq, key=lambda one: one[0]) - 1
    return at >= 0 and seq < ranges[at][1]


def next_pack(
    space: Space, serving: Serving, device: bytes, own: bool, key: bytes, whole: bool = False
) -> bytes | Pause | None:
    """The next sealed pack under `key`, None where nothing is left, or a pause after a slice of the work: what one
    request costs at once has a bound, however much of what it names may not be given.

    own: for a device of mine; whole: for one that may have everything, as those may.
    """
    work = Work()
    for item in _items(space, serving, device, own, own or whole, work):
        serving.items.append(item)
        serving.octets += item_cost(item)
        if serving.octets >= PACK_BYTES:
            break
    serving.looked += work.entries
    if serving.octets < PACK_BYTES and work.over:
        return Pause.PAUSE
    items, serving.items, serving.octets = serving.items, [], 0
    return seal_pack(encode_pack(items), key) if items else None


@dataclass(slots=True)
class Work:
    """What one slice has looked at."""

    entries: int = 0
    octets: int = 0

    @property
    def over(self) -> bool:
        """Whether it is time for a pause."""
        return self.entries >= SLICE_ENTRIES or self.octets >= SLICE_BYTES

    def add(self, entry: StoredEntry | None) -> None:
        self.entries += 1
        self.octets += len(entry.block) if entry is not None else 0


def _items(space: Space, serving: Serving, device: bytes, own: bool, whole: bool, work: Work) -> Iterator[Item]:
    """Items in the order of sending, until the slice is over; what was looked at is taken off `serving`."""
    while serving.control and not work.over:
        core, seq, id_ = serving.control.popleft()
        feed = space.feed_store.feeds.get(core)
        entry = space.feed_store.entry(feed, seq) if feed is not None and seq < feed.length else None
        work.add(entry)
        if entry is not None and entry.state is EntryState.OPENED and leaf_hash(entry.block) == id_:
            yield item_of_block(space, core, seq, entry.key, entry.block)
            continue
        # Where a feed forked another entry stands in its place.  Only who waits for that place can use this one.
        beside = space.feed_store.branches.get((core, seq, id_)) if serving.named else None
        if beside is not None and beside.key and beside.fetched.block is not None:
            yield item_of_block(space, core, seq, beside.key, beside.fetched.block)
    gate = None if whole else Gate.of(space, device)
    while serving.left and not work.over:
        core, start, end = serving.left[0]
        feed = space.feed_store.feeds[core]
        stop = min(end, start + CHUNK)
        for index, entry in enumerate(space.feed_store.entries(feed, start, stop)):
            seq = start + index
            work.add(entry)
            # Moved on before it is given: the caller may stop after any item.
            serving.left[0] = (core, seq + 1, end)
            if own and entry.state in (EntryState.DENIED, EntryState.FORGOTTEN):
                _deny(serving, feed.writer, seq)  # what is not for one of my devices, or deleted for me, is for none
            if entry.state is not EntryState.OPENED:
                continue
            control = serving.given.get((core, seq))
            if control is not None and leaf_hash(entry.block) in control:
                continue
            grant = gate is not None and read_block(entry.block).tag == GRANT_TAG
            may = gate is None or grant or gate.passes(space.epoch_keys.keyring.epoch_of(feed.core, seq))
            if not may:
                if may is False:
                    _deny(serving, feed.writer, seq)
                continue
            yield item_of_block(space, core, seq, entry.key, entry.block)
        if stop >= end:
            serving.left.popleft()


def denied(serving: Serving, most: int) -> tuple[Span, ...]:
    """What is not for the peer, disjoint and rising."""
    return tuple(sorted(serving.denied)[:most])


@dataclass(frozen=True, slots=True)
class Gate:
    """What a device of somebody else may have: entries under the epochs whose roster held its member.

    open: those epochs; known: all that count here; held: whether the roster of one that does not count names the
    member.  An epoch falls with the admission of whoever opened it, and what others sealed under it before they knew is
    for its roster all the same.  Of such an entry no device says "not for you": its state may be behind, and that word
    is final for whoever hears it.
    """

    open: frozenset[bytes]
    known: frozenset[bytes]
    held: Callable[[bytes], bool]

    @staticmethod
    def of(space: Space, device: bytes) -> Gate | None:
        """None: it may have everything."""
        state = space.state
        if state.settings.get("history", b"none") == b"all" or state.kind is SpaceKind.DIRECT:
            return None
        identities = {state.members[w.member].identity for w in state.writers.values() if w.device == device}
        cores = {w.writer for w in state.writers.values() if state.members[w.member].identity in identities}
        held = {epoch.id for epoch in state.epochs.values() if any(place.writer in cores for place in epoch.roster)}
        for identity in identities:
            held |= epochs_missed(space.graph, identity)

        def fallen(epoch: bytes) -> bool:
            entry = space.graph.entry(epoch)
            rosters = (op.roster for op in entry.ops if isinstance(op, Epoch)) if entry is not None else ()
            return any(place.writer in cores for roster in rosters for place in roster)

        return Gate(frozenset(held), frozenset(state.epochs), fallen)

    def passes(self, epoch: bytes | None) -> bool | None:
        """Whether an entry under that epoch is for it, None where that cannot be told here."""
        if epoch is None:
            return None
        if epoch not in self.known:
            return True if self.held(epoch) else None
        return epoch in self.open


def _deny(serving: Serving, writer: bytes, seq: int) -> None:
    denied = serving.denied
    if denied and denied[-1][0] == writer and denied[-1][2] == seq:
        denied[-1] = (writer, denied[-1][1], seq + 1)
    else:
        denied.append((writer, seq, seq + 1))


def item_of_block(space: Space, core: bytes, seq: int, key: bytes, block: bytes) -> Item:
    header = read_block(block)
    return Item(core, seq, header.tag, key, open_entry(key, core, space.id, block, header), header.grant)
