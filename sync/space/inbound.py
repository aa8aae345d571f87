"""The way in: verified blocks are opened where a key is at hand, read, and kept sealed where none is.

What is sealed holds the feed's `opened` back, and with it what my record promises to others; so every way in which an
entry stops being waited for stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crdt.log.entry import GRANT_TAG, Kind, decode_plaintext, open_entry, read_block
from crdt.log.head import Head, HeadRef, leading
from crdt.log.merkle import Leaf, Node, Tree, leaf_of
from crdt.log.stamp import stamp_may_lead
from crdt.space.control import ControlEntry, SpaceKind, decode_control
from crdt.space.record import MAX_RANGES, Range
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from sync.account.context import Context
from sync.replicate.messages import Block
from sync.space.delta import ChangeLog
from sync.space.facts import SpaceFacts
from sync.space.feed import EntryState, Feed, StoredEntry, encode_cleared, encode_entry, encode_withheld
from sync.space.feed_store import FeedStore
from sync.space.keys import EpochKeys
from sync.space.members import Members

MAX_DENIED = 4096  # spans of denied entries that a restart remembers


class Inbound:
    """Entries of one space on their way from blocks to facts."""

    def __init__(
        self,
        context: Context,
        feed_store: FeedStore,
        members: Members,
        epoch_keys: EpochKeys,
        facts: SpaceFacts,
        changes: ChangeLog,
    ) -> None:
        self.sealed: dict[bytes, set[int]] = {}  # core -> entries that no key opens yet
        self.denied: dict[bytes, set[int]] = {}  # core -> entries that a holder says are not for this device
        self.seen_stamp = 0
        self._context, self._feed_store, self._members, self._epoch_keys = context, feed_store, members, epoch_keys
        self._facts, self._changes = facts, changes
        self._covers: dict[bytes, dict[bytes, int]] = {}  # core -> core8 -> length that its heads reach
        for feed in feed_store.feeds.values():
            if feed.opened < feed.length:
                entries = feed_store.entries(feed, feed.opened, feed.length)
                closed = (EntryState.SEALED, EntryState.WITHHELD)
                waiting = {feed.opened + i for i, e in enumerate(entries) if e.state in closed}
                if waiting:
                    self.sealed[feed.core] = waiting
            self.seen_stamp = max(self.seen_stamp, feed.stamp)

    # -- blocks -----------------------------------------------------------------------------------------------

    def absorb(
        self,
        writer: bytes,
        start: int,
        blocks: Sequence[Block],
        leaves: Sequence[Leaf],
        tree: Tree,
        nodes: Iterable[Node],
        head: Head | None,
        now_ms: int,
    ) -> Feed:
        """Takes verified blocks of a feed in; what no key opens stays sealed and is tried again later."""
        batch, feed_store = self._context.batch, self._feed_store
        feed = feed_store.feed(writer)
        before = feed.tree
        feed_store.extend(batch, feed, tree, nodes, head)
        self._changes.feed_grew(writer)
        self._changes.frontier_moved()
        core, has_items = feed.core, feed.core in feed_store.item_seqs
        for index, block in enumerate(blocks):
            seq, leaf = start + index, leaves[index]
            key: bytes | None = None
            if has_items:
                item = feed_store.take_item(batch, core, seq, leaf)
                if item is not None:
                    key, block = item
            if isinstance(block, tuple):
                # Asked for because an item was here, which may be gone meanwhile; or a peer keeps the block back.
                if self._facts.deletes(core, seq, leaf):
                    feed_store.put_entry(batch, feed, seq, encode_cleared(leaf))
                else:
                    self.sealed.setdefault(core, set()).add(seq)
                    feed_store.put_entry(batch, feed, seq, encode_withheld(leaf))
                continue
            try:
                header = read_block(block, seq)
                if key is None:
                    key = self._epoch_keys.key_for(feed, seq, header, leaf)
                elif header.tag == GRANT_TAG:
                    self._epoch_keys.key_for(feed, seq, header, leaf)
                if key is None:
                    self.sealed.setdefault(core, set()).add(seq)
                    feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SEALED, block))
                    continue
                text = open_entry(key, core, feed_store.space, block, header)
                feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
                self.opened(feed, seq, leaf, text, before, leaves, start, now_ms)
            except DecodeError:
                # Nothing that its writer signed can be had better: it stays as it is and is never shown.
                feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SKIPPED, block))
        self.advance(feed)
        return feed

    def opened(
        self,
        feed: Feed,
        seq: int,
        leaf: Leaf,
        text: bytes,
        before: Tree | None,
        leaves: Sequence[Leaf],
        start: int,
        now_ms: int,
    ) -> None:
        """What an opened entry says.  Raises DecodeError for what no honest writer makes.

        before, leaves, start: the feed's tree before the blocks that came with this one, from which its root follows
        without a look into the store; None where it was opened later.
        """
        entry = decode_plaintext(text)
        stamp, core = entry.stamp, feed.core
        if stamp > feed.stamp:
            feed.stamp = stamp
        if stamp > self.seen_stamp and stamp_may_lead(stamp, now_ms):
            self.seen_stamp = stamp
        if entry.heads:
            self.cover(core, entry.heads)
        self._epoch_keys.keyring.count(core, stamp)
        if entry.kind is Kind.UPDATE:
            self._facts.update(entry, core, seq, now_ms)
        elif entry.kind is Kind.CONTROL:
            root = (
                before.extend(leaves[: seq - start + 1])[0].hash()
                if before is not None
                else self._feed_store.root_at(feed, seq + 1)
            )
            if root is None:
                raise DecodeError("an entry beyond its feed")
            body = decode_control(entry.body)
            control = ControlEntry(leaf[1], feed.writer, seq, root, stamp, body.parents, body.ops)
            self._epoch_keys.doubt(control)
            self._members.add(control, now_ms)
        elif entry.kind is Kind.DELETION and not self._members.personal:
            for at in self._facts.deletion(entry, core, seq, now_ms):
                self._explain(*at)

    def advance(self, feed: Feed) -> None:
        """Moves the feed's `opened` to the first entry that is still waited for."""
        waiting = self.sealed.get(feed.core)
        if waiting is not None and not waiting:
            del self.sealed[feed.core]
            waiting = None
        opened = min(waiting) if waiting else feed.length
        if opened != feed.opened:
            feed.opened = opened
            self._feed_store.touch(feed)

    # -- heads that entries name ------------------------------------------------------------------------------

    def cover(self, core: bytes, refs: Iterable[HeadRef]) -> None:
        """An entry of this feed names these heads."""
        covers = self._covers.setdefault(core, {})
        for ref in refs:
            if ref.length > covers.get(ref.core8, 0):
                covers[ref.core8] = ref.length

    def uncovered(self, core: bytes) -> list[HeadRef]:
        """Heads of other feeds that this feed has not named yet and that no other new head covers."""
        known = self._covers.get(core, {})
        fresh = {
            feed.core: feed.opened
            for feed in self._feed_store.feeds.values()
            if feed.core != core and feed.opened > known.get(feed.core[:8], 0)
        }
        if not fresh:
            return []
        by8 = {other[:8]: other for other in fresh}

        def past(other: bytes, length: int) -> dict[bytes, int]:
            return {by8[c]: n for c, n in self._covers.get(other, {}).items() if c in by8}

        found = []
        for other in leading(fresh, past):
            root = self._feed_store.root_at(self._feed_store.feeds[other], fresh[other])
            if root is not None:
                found.append(HeadRef(other[:8], fresh[other], root[:16]))
        return found

    # -- what was sealed --------------------------------------------------------------------------------------

    def unlock(self, now_ms: int) -> bool:
        """Tries sealed entries again, until nothing more opens.  Whether anything did."""
        any_opened = False
        while self._changes.keys and (self.sealed or self.denied):
            self._changes.keys = False
            for core in sorted(self.sealed.keys() | self.denied.keys()):
                feed = self._feed_store.feeds[core]
                for seq in sorted(self.sealed.get(core, set()) | self.denied.get(core, set())):
                    any_opened |= self._unlock_one(feed, seq, None, now_ms)
                self.advance(feed)
        self._changes.keys = False
        return any_opened

    def unlock_item(self, feed: Feed, seq: int, key: bytes, block: bytes, now_ms: int) -> bool:
        """Opens a sealed entry with the key of an item, if the item is that very block."""
        entry = self._feed_store.entry(feed, seq)
        if entry is None or entry.state is EntryState.CLEARED:
            return False
        # Of a withheld block the hash is proved; how two neighbours share their sizes is not.
        if (entry.leaf[1] != leaf_of(block)[1]) if entry.leaf is not None else (entry.block != block):
            return False
        if entry.state is EntryState.WITHHELD:
            self._feed_store.put_entry(self._context.batch, feed, seq, encode_entry(EntryState.SEALED, block))
        opened = self._unlock_one(feed, seq, key, now_ms)
        self.advance(feed)
        return opened

    def _unlock_one(self, feed: Feed, seq: int, key: bytes | None, now_ms: int) -> bool:
        entry = self._feed_store.entry(feed, seq)
        if entry is not None and entry.state is EntryState.WITHHELD:
            return False
        if entry is None or entry.state not in (EntryState.SEALED, EntryState.DENIED):
            self._forget(feed.core, seq)
            return False
        block, leaf, batch = entry.block, leaf_of(entry.block), self._context.batch
        try:
            header = read_block(block, seq)
            found = (
                self._epoch_keys.key_for(feed, seq, header, leaf) if key is None or header.tag == GRANT_TAG else None
            )
            key = key or found
            if key is None:
                return False
            text = open_entry(key, feed.core, self._feed_store.space, block, header)
            self._feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
            self.opened(feed, seq, leaf, text, None, (), 0, now_ms)
        except DecodeError:
            self._feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SKIPPED, block))
        self._forget(feed.core, seq)
        self._changes.frontier_moved()
        return True

    def _forget(self, core: bytes, seq: int) -> None:
        self.sealed.get(core, set()).discard(seq)
        denied = self.denied.get(core)
        if denied is not None and seq in denied:
            denied.discard(seq)
            self._changes.row_changed()
            if not denied:
                del self.denied[core]

    # -- what is not waited for any more ----------------------------------------------------------------------

    def skip(self, feed: Feed, start: int, end: int) -> None:
        """These are older than what this device asked for: they no longer hold the frontier back, for good."""
        for seq, entry in self._release(feed, start, end):
            self._close(feed, seq, entry, EntryState.SKIPPED)
        self.advance(feed)

    def deny(self, feed: Feed, start: int, end: int, *, own: bool) -> None:
        """A holder says that these are not for this device: they no longer hold the frontier back.

        Only entries that their author wrote before it knew of my admission can be: what it sealed under an epoch that
        it opened afterwards is for all my devices, whoever says otherwise.  And where newcomers get everything, nobody
        but another device of mine (own) can say so.  A key or an item that comes later still opens them.
        """
        state = self._members.state
        if not own and (state.kind is SpaceKind.DIRECT or state.settings.get("history", b"none") == b"all"):
            return
        for seq, entry in self._release(feed, start, min(end, self._members.first_after_me(feed.core))):
            if entry.leaf is None:
                self.denied.setdefault(feed.core, set()).add(seq)
                self._changes.row_changed()
            self._close(feed, seq, entry, EntryState.DENIED)
        self.advance(feed)

    def _explain(self, core: bytes, seq: int) -> None:
        """A deletion came for a block that was withheld: that is why."""
        feed, waiting = self._feed_store.feeds.get(core), self.sealed.get(core, set())
        entry = self._feed_store.entry(feed, seq) if feed is not None and seq in waiting else None
        if feed is None or entry is None or entry.leaf is None or not self._facts.deletes(core, seq, entry.leaf):
            return
        waiting.discard(seq)
        self._changes.frontier_moved()
        self._close(feed, seq, entry, EntryState.CLEARED)
        self.advance(feed)

    def _release(self, feed: Feed, start: int, end: int) -> Iterator[tuple[int, StoredEntry]]:
        waiting = self.sealed.get(feed.core, set())
        for seq in [seq for seq in waiting if start <= seq < end]:
            entry = self._feed_store.entry(feed, seq)
            waiting.discard(seq)
            self._changes.frontier_moved()
            if entry is not None:
                yield seq, entry

    def _close(self, feed: Feed, seq: int, entry: StoredEntry, state: EntryState) -> None:
        """Of what was withheld there is nothing that could be opened later."""
        value = encode_entry(state, entry.block) if entry.leaf is None else encode_cleared(entry.leaf)
        self._feed_store.put_entry(self._context.batch, feed, seq, value)

    # -- for my record and my row -----------------------------------------------------------------------------

    def missing(self) -> list[Range]:
        """Spans of entries that nothing opens, at most as many as a record names."""
        return [Range(core[:8], start, end) for core, start, end in spans(self.sealed, MAX_RANGES)]

    def write_denied(self, out: Writer) -> None:
        """Spans of what was denied: a later key still opens them, after a restart too."""
        out.array(spans(self.denied, MAX_DENIED), lambda w, s: w.raw(s[0]).uint(s[1]).uint(s[2]))

    def read_denied(self, data: Reader) -> None:
        for core, start, end in data.array(lambda r: (r.fixed(32), r.uint(), r.uint()), MAX_DENIED):
            feed = self._feed_store.feeds.get(core)
            if feed is not None:
                self.denied.setdefault(core, set()).update(range(start, min(end, feed.length)))


def spans(held: dict[bytes, set[int]], most: int) -> list[tuple[bytes, int, int]]:
    """(core, start, end) of runs of entries, by core and place, at most so many."""
    found: list[tuple[bytes, int, int]] = []
    for core in sorted(held):
        for seq in sorted(held[core]):
            if found and found[-1][0] == core and found[-1][2] == seq:
                found[-1] = (core, found[-1][1], seq + 1)
            elif len(found) < most:
                found.append((core, seq, seq + 1))
            else:
                return found
    return found
