"""The way in: verified blocks are opened where a key is at hand, read, and kept sealed where none is.

What is sealed holds the feed's `opened` back, and with it what my record promises to others; so every way in which an
entry stops being waited for stands here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from crdt.log.entry import GRANT_TAG, Kind, decode_plaintext, open_entry, read_block
from crdt.log.head import Head, HeadRef, leading
from crdt.log.merkle import Leaf, Node, Tree, leaf_hash, leaf_of, roots_at
from crdt.log.stamp import stamp_may_lead
from crdt.space.control import ControlEntry, SpaceKind, decode_control
from crdt.space.lineage import End
from crdt.space.record import MAX_RANGES, Range
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from sync.account.context import Context
from sync.replicate.messages import Block, Fetched, StretchBlocks
from sync.replicate.proof import shown
from sync.space.delta import ChangeLog
from sync.space.facts import Place, SpaceFacts
from sync.space.feed import EntryState, Feed, StoredEntry, encode_entry, encode_leaf, encode_unread, leaf_of_entry
from sync.space.feed_store import FeedStore
from sync.space.keys import EpochKeys
from sync.space.members import Members
from sync.space.offshoots import Offshoot
from sync.space.places import Places

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
        self.sealed: dict[bytes, Places] = {}  # core -> entries that no key opens yet, withheld ones among them
        self.withheld: dict[bytes, dict[int, bytes]] = {}  # core -> seq -> leaf hash of what was kept back from us
        self.denied: dict[bytes, Places] = {}  # core -> entries that a holder says are not for this device
        self.seen_stamp = 0
        self._context, self._feed_store, self._members, self._epoch_keys = context, feed_store, members, epoch_keys
        self._facts, self._changes = facts, changes
        self._covers: dict[bytes, dict[bytes, int]] = {}  # core -> core8 -> length that its heads reach
        self._named: set[Place] = set()  # blocks that deletions came for, and withheld ones that deletions name
        self._unsettled: set[Place] = set()  # of these, withheld ones whose author or deleter is nobody yet
        for feed in feed_store.feeds.values():
            if feed.opened < feed.length:
                entries = feed_store.entries(feed, feed.opened, feed.length)
                for seq, entry in enumerate(entries, feed.opened):
                    if entry.state is EntryState.WITHHELD and entry.leaf is not None:
                        self._wait_for(feed.core, seq, entry.leaf)
                    elif entry.state is EntryState.SEALED:
                        self._seal(feed.core, seq)
            self.seen_stamp = max(self.seen_stamp, feed.stamp)
        held = ((core, seq) for core, seqs in self.withheld.items() for seq in seqs)
        self._unsettled.update(at for at in held if facts.named_by_deletions(*at))

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
        feed_store.begin_arrival(feed, start, leaves)
        try:
            for index, block in enumerate(blocks):
                seq, leaf = start + index, leaves[index]
                key: bytes | None = None
                if has_items:
                    item = feed_store.take_item(batch, core, seq, leaf)
                    if item is not None:
                        key, block = item
                if isinstance(block, tuple):
                    # Asked for because an item was here, which may be gone meanwhile; or a peer keeps the block back.
                    # Whether a deletion that counts says why follows at the commit, when membership is folded.
                    self._wait_for(core, seq, leaf)
                    feed_store.put_entry(batch, feed, seq, encode_leaf(EntryState.WITHHELD, leaf))
                    if self._facts.named_by_deletions(core, seq):
                        self._named.add((core, seq))
                    continue
                try:
                    header = read_block(block, seq)
                except DecodeError:
                    self._keep_unread(feed, seq, block, b"", now_ms)
                    continue
                try:
                    if key is None:
                        key = self._epoch_keys.key_for(feed.core, seq, header, leaf, block)
                    elif header.tag == GRANT_TAG:
                        self._epoch_keys.key_for(feed.core, seq, header, leaf, block)
                    if key is None:
                        self._seal(core, seq)
                        feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SEALED, block))
                        continue
                    text = open_entry(key, core, feed_store.space, block, header)
                except DecodeError:
                    # Nothing that its writer signed can be had better: it stays as it is and is never shown.
                    feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SKIPPED, block))
                    continue
                try:
                    self.opened(feed, seq, leaf, text, before, leaves, start, now_ms)
                    feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
                except DecodeError:
                    self._keep_unread(feed, seq, block, key, now_ms)
        finally:
            feed_store.end_arrival()
        self.advance(feed)
        return feed

    def _keep_unread(self, feed: Feed, seq: int, block: bytes, key: bytes, now_ms: int) -> None:
        """No version known here makes such an entry; a later one may read it."""
        self._feed_store.put_entry(self._context.batch, feed, seq, encode_unread(block, key))
        self._facts.keep_unread(feed.core, seq, now_ms)

    def read_again(self, now_ms: int) -> None:
        """Tries what an earlier version could not read: this one may know more."""
        batch, feed_store = self._context.batch, self._feed_store
        for core, seq, arrived in self._facts.unread():
            offshoot = feed_store.offshoots.by_name.get(core)
            if offshoot is not None:
                self._read_offshoot_again(offshoot, seq, arrived)
                continue
            feed = feed_store.feeds.get(core)
            entry = feed_store.entry(feed, seq) if feed is not None and seq < feed.length else None
            if feed is None or entry is None or entry.state not in (EntryState.UNREAD, EntryState.OPENED):
                continue
            try:
                if not entry.key:
                    read_block(entry.block, seq)
                    feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SEALED, entry.block))
                    self._seal(core, seq)
                    self._changes.keys_came()
                    self.advance(feed)
                    continue
                text = open_entry(entry.key, core, feed_store.space, entry.block)
                if entry.state is EntryState.OPENED:  # some of its values
                    self._facts.update(decode_plaintext(text), core, seq, arrived)
                    continue
                self.opened(feed, seq, leaf_of(entry.block), text, None, (), 0, arrived)
                feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, entry.block, entry.key))
            except DecodeError:
                self._facts.keep_unread(core, seq, arrived)

    def leading_stamps(self, now_ms: int) -> tuple[int, int]:
        """The highest stamps that my clock follows: of others, and of my other devices, these however far ahead."""
        mine, state, personal = self._feed_store.mine, self._members.state, self._members.personal
        me = state.writers[mine.core].member if mine is not None and mine.core in state.writers else None
        others = self.seen_stamp if stamp_may_lead(self.seen_stamp, now_ms) else 0
        own = 0
        for feed in self._feed_store.feeds.values():
            writer = state.writers.get(feed.core)
            if writer is not None and writer.open and (personal or writer.member == me):
                own = max(own, feed.stamp)
            elif feed.stamp > others and stamp_may_lead(feed.stamp, now_ms):
                others = feed.stamp
        return others, own

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
            self._epoch_keys.read(control)
            self._members.add(control, now_ms)
        elif entry.kind is Kind.DELETION:
            self._named.update(self._facts.deletion(entry, core, seq, now_ms))

    def advance(self, feed: Feed) -> None:
        """Moves the feed's `opened` to the first entry that is still waited for."""
        waiting = self.sealed.get(feed.core)
        opened = waiting.first if waiting else feed.length
        if opened != feed.opened:
            feed.opened = opened
            self._feed_store.touch(feed)
        self.hear(feed)

    def hear(self, feed: Feed) -> None:
        """Notes how far a feed is opened while its writer is an open one, by what was folded last: what of it is opened
        after its end was learnt is on somebody else's word."""
        if feed.heard < feed.opened and feed.core in self._members.writing:
            feed.heard = feed.opened
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
        while self._changes.keys and (self.sealed or self.denied or self._feed_store.branches.sealed):
            self._changes.keys = False
            for core in sorted(self.sealed.keys() | self.denied.keys()):
                feed = self._feed_store.feeds[core]
                withheld = self.withheld.get(core, {})
                here = {seq for seq in self.sealed.get(core, ()) if seq not in withheld}
                for seq in sorted(here.union(self.denied.get(core, ()))):
                    any_opened |= self._unlock_one(feed, seq, None, now_ms)
                self.advance(feed)
            for point in list(self._feed_store.branches.sealed):
                beside = self._feed_store.branches.get(point)
                if beside is not None:
                    self.take_beside(beside.fetched, now_ms)
        self._changes.keys = False
        self._unlock_offshoots(now_ms)
        return any_opened

    def unlock_item(self, feed: Feed, seq: int, key: bytes, block: bytes, now_ms: int) -> bool:
        """Opens a sealed entry with the key of an item, if the item is that very block.  Whether anything opened."""
        entry = self._feed_store.entry(feed, seq)
        if entry is None:
            return False
        if entry.leaf is not None:
            return self.restore(feed, seq, block, now_ms, key=key)
        if entry.block != block:
            return False
        opened = self._unlock_one(feed, seq, key, now_ms)
        self.advance(feed)
        return opened

    def restore(
        self, feed: Feed, seq: int, block: bytes, now_ms: int, *, key: bytes | None = None, control: bool = False
    ) -> bool:
        """Takes the block of an entry of which only the leaf is here.  Whether it was taken: not if it is another one,
        nor if a deletion that counts covers it.  Control entries are never erased.

        key: the message key, where an item brought it; control: a control entry is named by this leaf.
        """
        entry = self._feed_store.entry(feed, seq)
        # Of a withheld block the hash is proved; how two neighbours share their sizes is not.
        if entry is None or entry.leaf is None or entry.leaf[1] != leaf_hash(block):
            return False
        if entry.state is EntryState.FORGOTTEN and not control:
            return False
        if (
            not control
            and self._facts.erased(feed.core, seq, entry.leaf)
            and not self._is_control(feed, seq, key, block)
        ):
            return False
        self._forget(feed.core, seq)
        self._seal(feed.core, seq)
        self._feed_store.put_entry(self._context.batch, feed, seq, encode_entry(EntryState.SEALED, block))
        self._changes.frontier_moved()
        self._unlock_one(feed, seq, key, now_ms)
        self.advance(feed)
        return True

    def take_beside(self, fetched: Fetched, now_ms: int, key: bytes | None = None) -> None:
        """Takes a proved block that is not on the branch that is kept of its feed: a control entry, which counts
        wherever it stands; anything else is of no use.  What no key opens yet waits."""
        (core, seq, hash_), block, proof = fetched.point, fetched.block, fetched.proof
        branches, batch = self._feed_store.branches, self._context.batch
        if block is None or proof is None or not (branches.get(fetched.point) or branches.room(core)):
            return
        leaf = len(block), hash_
        try:
            header = read_block(block, seq)
            found = self._epoch_keys.key_for(core, seq, header, leaf, block, beside=True)
            key = key or found
            if key is None:
                branches.put(batch, fetched)
                self._changes.touch()
                return
            entry = decode_plaintext(open_entry(key, core, self._feed_store.space, block, header))
            if entry.kind is not Kind.CONTROL:
                raise DecodeError("no control entry")
            body = decode_control(entry.body)
        except DecodeError:
            branches.drop(batch, fetched.point)
            self._changes.touch()
            return
        branches.put(batch, fetched, key)
        root = dict(shown(seq + 1, proof))[seq + 1]
        control = ControlEntry(hash_, proof.head.writer, seq, root, entry.stamp, body.parents, body.ops)
        self._epoch_keys.read(control)
        self._members.add(control, now_ms)

    def begin_offshoots(self) -> None:
        """Opens an offshoot for each feed that a close ends on another branch than the one that is kept."""
        offshoots, feed_store = self._feed_store.offshoots, self._feed_store
        for core, end in self._members.state.ends.items():
            parting = self._members.parting(core)
            if parting is None or (core, end) in offshoots.held:
                continue
            feed = feed_store.feeds[core]
            start = parting.same - parting.same % 2  # pairs of leaves come whole
            roots = tuple(feed_store.nodes_of(feed, roots_at(start)))
            offshoots.begin(self._context.batch, feed_store.next_number, core, feed.writer, end, Tree(start, roots))
            self._changes.frontier_moved()

    def take_stretch(self, answer: StretchBlocks, now_ms: int) -> bool:
        """Takes blocks of an offshoot.  False: they do not belong under its end."""
        core, _, length, root = answer.stretch
        offshoot = self._feed_store.offshoots.held.get((core, End(length, root)))
        if offshoot is None:
            return True
        batch, feed, tree = self._context.batch, self._feed_store.feeds.get(core), offshoot.tree
        taken = self._feed_store.offshoots.take(batch, offshoot, answer)
        if not taken:
            return taken is not None
        known: list[End] = []  # the last length that both branches have, and the first that they have not
        for seq, block, leaf in taken:
            tree = tree.extend([leaf])[0]
            kept = self._feed_store.entry(feed, seq) if feed is not None and seq < feed.length else None
            if kept is not None and leaf_of_entry(kept)[1] == leaf[1]:
                known = [End(tree.length, tree.hash())]
                self._feed_store.offshoots.put(batch, offshoot, seq, encode_leaf(EntryState.PASSED, leaf))
                continue
            if len(known) < 2:
                known.append(End(tree.length, tree.hash()))
            if not isinstance(block, tuple):
                self._read_offshoot(offshoot, seq, block, leaf, tree, now_ms)
        self._feed_store.branches.prefixes.learn(core, known, [offshoot.end])
        self._members.forget_partings()
        self._changes.control_came()
        return True

    def _read_offshoot(
        self, offshoot: Offshoot, seq: int, block: bytes, leaf: Leaf, tree: Tree | None, now_ms: int
    ) -> None:
        """What an entry of an offshoot says, if a key opens it.  tree: the branch with it as its last; without that
        control entries are left to come by their hash, with their proof."""
        offshoots, batch, core = self._feed_store.offshoots, self._context.batch, offshoot.core
        try:
            header = read_block(block, seq)
            key = self._epoch_keys.key_for(core, seq, header, leaf, block, beside=True)
            if key is None:
                return
            entry = decode_plaintext(open_entry(key, core, self._feed_store.space, block, header))
            offshoots.put(batch, offshoot, seq, encode_entry(EntryState.OPENED, block, key))
            if entry.kind is Kind.UPDATE:
                self._facts.update(entry, core, seq, now_ms, offshoot.name)
            elif entry.kind is Kind.DELETION and not self._members.personal:
                self._named.update(self._facts.deletion(entry, offshoot.name, seq, now_ms))
            elif entry.kind is Kind.CONTROL and tree is not None:
                body = decode_control(entry.body)
                control = ControlEntry(leaf[1], offshoot.writer, seq, tree.hash(), entry.stamp, body.parents, body.ops)
                self._epoch_keys.read(control)
                self._members.add(control, now_ms)
        except DecodeError:
            offshoots.put(batch, offshoot, seq, encode_entry(EntryState.SKIPPED, block))

    def _read_offshoot_again(self, offshoot: Offshoot, seq: int, arrived: int) -> None:
        entry = self._feed_store.offshoots.entry(offshoot, seq)
        if entry is not None and entry.state is EntryState.OPENED:
            text = open_entry(entry.key, offshoot.core, self._feed_store.space, entry.block)
            self._facts.update(decode_plaintext(text), offshoot.core, seq, arrived, offshoot.name)

    def restore_offshoot(self, core: bytes, seq: int, block: bytes, now_ms: int) -> bool:
        """Takes the block of an offshoot's entry of which only the leaf came.  Whether there is one."""
        leaf = leaf_of(block)
        of_feed = [offshoot for offshoot in self._feed_store.offshoots.held.values() if offshoot.core == core]
        offshoot = next((offshoot for offshoot in of_feed if offshoot.withheld.get(seq) == leaf[1]), None)
        if offshoot is None:
            return False
        self._feed_store.offshoots.put(self._context.batch, offshoot, seq, encode_entry(EntryState.SEALED, block))
        self._read_offshoot(offshoot, seq, block, leaf, None, now_ms)
        return True

    def _unlock_offshoots(self, now_ms: int) -> None:
        for offshoot in self._feed_store.offshoots.held.values():
            for seq in sorted(offshoot.sealed):
                entry = self._feed_store.offshoots.entry(offshoot, seq)
                if entry is not None:
                    self._read_offshoot(offshoot, seq, entry.block, leaf_of(entry.block), None, now_ms)

    def unlock_beside(self, core: bytes, seq: int, key: bytes, block: bytes, now_ms: int) -> None:
        """Opens a block beside the kept branch with the key of an item, if it waits for one."""
        beside = self._feed_store.branches.get((core, seq, leaf_hash(block)))
        if beside is not None and not beside.key:
            self.take_beside(beside.fetched, now_ms, key)

    def _is_control(self, feed: Feed, seq: int, key: bytes | None, block: bytes) -> bool:
        """Whether a block that is not stored holds a control entry, as far as it can be opened here."""
        if self._members.names(leaf_hash(block)):
            return True
        try:
            header = read_block(block, seq)
            key = key or self._epoch_keys.key_for(feed.core, seq, header, leaf_of(block), block)
            if key is None:
                return False
            return (
                decode_plaintext(open_entry(key, feed.core, self._feed_store.space, block, header)).kind is Kind.CONTROL
            )
        except DecodeError:
            return False

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
                self._epoch_keys.key_for(feed.core, seq, header, leaf, block)
                if key is None or header.tag == GRANT_TAG
                else None
            )
            key = key or found
            if key is None:
                return False
            text = open_entry(key, feed.core, self._feed_store.space, block, header)
            try:
                self.opened(feed, seq, leaf, text, None, (), 0, now_ms)
                self._feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
            except DecodeError:
                self._keep_unread(feed, seq, block, key, now_ms)
        except DecodeError:
            self._feed_store.put_entry(batch, feed, seq, encode_entry(EntryState.SKIPPED, block))
        self._forget(feed.core, seq)
        self._changes.frontier_moved()
        return True

    def _seal(self, core: bytes, seq: int) -> None:
        self.sealed.setdefault(core, Places()).add(seq)

    def _wait_for(self, core: bytes, seq: int, leaf: Leaf) -> None:
        self._seal(core, seq)
        self.withheld.setdefault(core, {})[seq] = leaf[1]

    def _forget(self, core: bytes, seq: int) -> None:
        sealed = self.sealed.get(core)
        if sealed is not None and sealed.discard(seq) and not sealed:
            del self.sealed[core]
        withheld = self.withheld.get(core)
        if withheld is not None and withheld.pop(seq, None) is not None and not withheld:
            del self.withheld[core]
        denied = self.denied.get(core)
        if denied is not None and denied.discard(seq):
            self._changes.row_changed()
            if not denied:
                del self.denied[core]

    # -- what is not waited for any more ----------------------------------------------------------------------

    def skip(self, feed: Feed, start: int, end: int) -> None:
        """These are older than what this device asked for: they no longer hold the frontier back, for good."""
        for seq, entry in self._release(feed, start, end):
            self._close(feed, seq, entry, EntryState.SKIPPED)
        self.advance(feed)

    def deny(self, feed: Feed, ranges: Iterable[tuple[int, int]], *, own: bool) -> None:
        """A holder says that these (start, end) are not for this device: they no longer hold the frontier back.

        Only entries that their author wrote before it knew of my admission can be: what it sealed under an epoch that
        it opened afterwards is for all my devices, whoever says otherwise.  And where newcomers get everything, nobody
        but another device of mine (own) can say so.  A key or an item that comes later still opens them.
        """
        state = self._members.state
        if not own and (state.kind is SpaceKind.DIRECT or state.settings.get("history", b"none") == b"all"):
            return
        if feed.core not in self.sealed:
            return
        first = self._members.first_after_me(feed.core)
        for start, end in ranges:
            for seq, entry in self._release(feed, start, min(end, first)):
                if entry.leaf is None:
                    self.denied.setdefault(feed.core, Places()).add(seq)
                    self._changes.row_changed()
                self._close(feed, seq, entry, EntryState.DENIED)
        self.advance(feed)

    def let_go(self, feed: Feed, seq: int) -> None:
        """A block that no key opened was erased: nothing waits for it any more."""
        self._forget(feed.core, seq)
        self.advance(feed)

    def is_named(self, block: bytes) -> bool:
        """Whether a block, by its hash, is known as a control entry or as the parent of one."""
        return self._members.names(block)

    def explain(self, moved: Collection[bytes] | None = None) -> None:
        """Settles which blocks that are not here were erased, and which are missing: once a commit, when membership is
        folded.  moved: where it is folded anew, feeds that show otherwise than before; what deletions in them or about
        them say is read again.

        A deletion without the right explains nothing; and one that counted may fall with its author's removal.
        """
        places, self._named = self._named, set()
        if moved is not None:
            places |= self._unsettled
            if moved:
                places |= self._facts.places_cleared(set(moved))
        for core, seq in sorted(places):
            feed = self._feed_store.feeds.get(core)
            entry = self._feed_store.entry(feed, seq) if feed is not None and seq < feed.length else None
            self._unsettled.discard((core, seq))
            if feed is None or entry is None or entry.leaf is None:
                continue
            if entry.state in (EntryState.PASSED, EntryState.FORGOTTEN):
                continue
            if not self._facts.settled(core, seq):
                self._unsettled.add((core, seq))
            erased = self._facts.erased(core, seq, entry.leaf) and not self._members.names(entry.leaf[1])
            if erased == (entry.state is EntryState.CLEARED):
                continue
            if erased:
                self._forget(core, seq)
            else:
                self._wait_for(core, seq, entry.leaf)
            state = EntryState.CLEARED if erased else EntryState.WITHHELD
            self._feed_store.put_entry(self._context.batch, feed, seq, encode_leaf(state, entry.leaf))
            self._facts.explained((core, seq))
            self._changes.frontier_moved()
            self.advance(feed)

    def _release(self, feed: Feed, start: int, end: int) -> Iterator[tuple[int, StoredEntry]]:
        waiting = self.sealed.get(feed.core)
        for seq in waiting.between(start, end) if waiting is not None else ():
            entry = self._feed_store.entry(feed, seq)
            self._forget(feed.core, seq)
            self._changes.frontier_moved()
            if entry is not None:
                yield seq, entry

    def _close(self, feed: Feed, seq: int, entry: StoredEntry, state: EntryState) -> None:
        value = encode_entry(state, entry.block) if entry.leaf is None else encode_leaf(EntryState.PASSED, entry.leaf)
        self._feed_store.put_entry(self._context.batch, feed, seq, value)

    # -- for my record and my row -----------------------------------------------------------------------------

    def unreadable(self) -> dict[bytes, AbstractSet[int]]:
        """core -> entries whose block is here and that no key opens."""
        found: dict[bytes, AbstractSet[int]] = {
            core: set(seqs) - self.withheld.get(core, {}).keys() for core, seqs in self.sealed.items()
        }
        for core, seq, _ in self._feed_store.branches.sealed:
            if core in self._feed_store.feeds:
                found[core] = found.get(core, set()) | {seq}
        return {core: seqs for core, seqs in found.items() if seqs}

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
                held = self.denied.setdefault(core, Places())
                for seq in range(start, min(end, feed.length)):
                    held.add(seq)


def spans(held: Mapping[bytes, Iterable[int]], most: int) -> list[tuple[bytes, int, int]]:
    """(core, start, end) of runs of entries, by core and place, at most so many; places ascend."""
    found: list[tuple[bytes, int, int]] = []
    for core in sorted(held):
        for seq in held[core]:
            if found and found[-1][0] == core and found[-1][2] == seq:
                found[-1] = (core, found[-1][1], seq + 1)
            elif len(found) < most:
                found.append((core, seq, seq + 1))
            else:
                return found
    return found
