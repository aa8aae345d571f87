"""History for devices that were not there: which entries a peer may have as items, and packs of them.

A device of mine gets everything; so does anybody for the time in which an epoch's roster held its member; to other
newcomers the chat's setting decides.  Control entries go to every admitted device.  `docs/protocol.md`, "History".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crdt.log.entry import GRANT_TAG, open_entry, read_block
from crdt.log.item import Item
from crdt.log.pack import encode_pack, item_cost, seal_pack
from crdt.space.control import SpaceKind
from sync.engine.peer import Serving
from sync.replicate.messages import Span
from sync.space.feed import EntryState, Feed, StoredEntry
from sync.space.space import Space

PACK_BYTES = 1 << 20  # unpacked, of one pack: bounds what is held in memory for each peer
CHUNK = 256


def begin(space: Space, spans: Iterable[Span] | None) -> Serving:
    """What a peer's request comes to.  spans None: everything that it may have; none at all: control entries alone."""
    control = [(entry.core, entry.seq) for entry in space.graph.entries()]
    if spans is not None and not (spans := tuple(spans)):
        return Serving([], [], control)
    if spans is None:
        left = [(feed.core, 0, feed.length) for feed in space.feed_store.feeds.values() if feed.length]
        return Serving(left, [], control)
    left = []
    for writer, start, end in spans:
        feed = space.feed_store.by_writer.get(writer)
        if feed is not None and start < feed.length:
            left.append((feed.core, start, min(end, feed.length)))
    asked = [(core, seq) for core, seq in control if any(c == core and s <= seq < e for c, s, e in left)]
    return Serving(left, [], asked)


def next_pack(space: Space, serving: Serving, device: bytes, own: bool, key: bytes) -> bytes | None:
    """The next sealed pack under `key`, None where nothing is left."""
    items: list[Item] = []
    size = 0
    for item in _items(space, serving, device, own):
        items.append(item)
        size += item_cost(item)
        if size >= PACK_BYTES:
            break
    return seal_pack(encode_pack(items), key) if items else None


def _items(space: Space, serving: Serving, device: bytes, own: bool) -> Iterator[Item]:
    """Items in the order of sending; what was given is taken off `serving`."""
    while serving.control:
        core, seq = serving.control.pop(0)
        feed = space.feed_store.feeds.get(core)
        entry = space.feed_store.entry(feed, seq) if feed is not None else None
        if feed is not None and entry is not None and entry.state is EntryState.OPENED:
            yield item_of_entry(space, feed, seq, entry)
    gate = None if own else Gate.of(space, device)
    control = {(entry.core, entry.seq) for entry in space.graph.entries()}
    while serving.left:
        core, start, end = serving.left[0]
        feed = space.feed_store.feeds[core]
        stop = min(end, start + CHUNK)
        for index, entry in enumerate(space.feed_store.entries(feed, start, stop)):
            seq = start + index
            # Moved on before it is given: the caller may stop after any item.
            serving.left[0] = (core, seq + 1, end)
            if own and entry.state is EntryState.DENIED:
                _deny(serving, feed.writer, seq)  # what is not for one of my devices is for none
            if (core, seq) in control or entry.state is not EntryState.OPENED:
                continue
            grant = gate is not None and read_block(entry.block).tag == GRANT_TAG
            may = gate is None or grant or gate.passes(space.epoch_keys.keyring.epoch_of(feed.core, seq))
            if not may:
                if may is False:
                    _deny(serving, feed.writer, seq)
                continue
            yield item_of_entry(space, feed, seq, entry)
        if stop >= end:
            serving.left.pop(0)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a device of somebody else may have: entries under the epochs whose roster held its member.

    open: those epochs; known: all that count here.  About an entry under any other this device has no say: its state
    may be behind, and a "not for you" is final for whoever hears it.
    """

    open: frozenset[bytes]
    known: frozenset[bytes]

    @staticmethod
    def of(space: Space, device: bytes) -> Gate | None:
        """None: it may have everything."""
        state = space.state
        if state.settings.get("history", b"none") == b"all" or state.kind is SpaceKind.DIRECT:
            return None
        identities = {state.members[w.member].identity for w in state.writers.values() if w.device == device}
        cores = {w.writer for w in state.writers.values() if state.members[w.member].identity in identities}
        held = {epoch.id for epoch in state.epochs.values() if any(place.writer in cores for place in epoch.roster)}
        return Gate(frozenset(held), frozenset(state.epochs))

    def passes(self, epoch: bytes | None) -> bool | None:
        """Whether an entry under that epoch is for it, None where that cannot be told here."""
        if epoch is None or epoch not in self.known:
            return None
        return epoch in self.open


def _deny(serving: Serving, writer: bytes, seq: int) -> None:
    denied = serving.denied
    if denied and denied[-1][0] == writer and denied[-1][2] == seq:
        denied[-1] = (writer, denied[-1][1], seq + 1)
    else:
        denied.append((writer, seq, seq + 1))


def item_of_entry(space: Space, feed: Feed, seq: int, entry: StoredEntry) -> Item:
    header = read_block(entry.block)
    text = open_entry(entry.key, feed.core, space.id, entry.block, header)
    return Item(feed.core, seq, header.tag, entry.key, text, header.grant)
