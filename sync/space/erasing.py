"""Erasing: the bytes of what was deleted go from this device, and with them the keys that open them.

A deletion hides at once (`crdt.docs.timeline`); this is when and how bytes follow.  What its author deleted goes at
once, what an admin deleted of somebody else seven days later if the deletion still counts, what had a lifetime when
that is over.  Control entries and deletions are never erased; of a block that no key here opens, nobody who erased it
can say more, so it goes unless a control entry names it.  The leaf stays, so that proofs stay valid.
`docs/protocol.md`, "Erasing".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush, nsmallest
from math import inf

from crdt.docs.guard import Admit, examine
from crdt.docs.kinds import DocKind
from crdt.docs.personal import own_facts_of
from crdt.docs.timeline import counts_deletion
from crdt.log.entry import Kind, decode_plaintext, open_entry
from crdt.log.merkle import leaf_of
from crdt.space.erasures import Erased
from sync.account.context import Context
from sync.space.delta import ChangeLog
from sync.space.facts import Place, SpaceFacts, expiry
from sync.space.feed import EntryState, StoredEntry, encode_leaf
from sync.space.feed_store import FeedStore
from sync.space.inbound import Inbound
from sync.store.port import Table, prefix_end

DAY_MS = 86_400_000
GRACE_MS = 7 * DAY_MS  # until another author's bytes go
AT_ONCE = 512  # blocks erased in one commit
MAX_TOLD = 128  # feeds whose deletions a record tells of: an extension has 4 KiB
MAX_LEFT = 6  # deletions of one feed that it names as not carried out; those after them count as not carried out
SCRUB = b"scrub"  # META: bytes were erased that files may still hold, until the shell has scrubbed them
UNNAMED = (1 << 64) - 1  # erased here for its lifetime; a deletion of mine is to name it


class Erasing:
    """What of one space is to be erased, and when.

    Kept in ERASE rows: space | core | seq (u64 BE) -> due (Unix ms, u64), and space | epoch id -> nothing.
    epoch_of: the epoch that an entry (core, seq) stands under, None where that is not known.
    """

    def __init__(
        self,
        context: Context,
        feed_store: FeedStore,
        facts: SpaceFacts,
        epoch_of: Callable[[bytes, int], bytes | None],
        inbound: Inbound,
        changes: ChangeLog,
    ) -> None:
        self.unnamed: set[Place] = set()
        self.stained: set[bytes] = set()  # epochs under which erased entries stood
        self._due: dict[Place, int] = {}
        self._queue: list[tuple[int, Place]] = []  # a heap over `_due`; what is not in there any more is passed over
        self._look: dict[Place, int] = {}  # to be judged at the next commit -> end of its lifetime, 0 for none
        self._context, self._feed_store, self._facts = context, feed_store, facts
        self._changes, self._epoch_of, self._inbound = changes, epoch_of, inbound
        self._left: dict[bytes, dict[int, set[Place]]] | None = None  # see `_unfinished`; None: to be worked out
        for key, value in context.store.scan(Table.ERASE, feed_store.space, prefix_end(feed_store.space)):
            if not value:
                self.stained.add(key[32:])
                continue
            place, due = (key[32:64], int.from_bytes(key[64:], "big")), int.from_bytes(value, "little")
            if due == UNNAMED:
                self.unnamed.add(place)
            else:
                self._due[place] = due
        self._queue = [(due, place) for place, due in self._due.items()]
        heapify(self._queue)

    # -- what is to go ------------------------------------------------------------------------------------------

    def consider(self, places: Iterable[Place]) -> None:
        """Whose these blocks are, or who may delete them, has changed: whether and when they go is judged anew."""
        for place in places:
            self._look.setdefault(place, 0)

    def _take(self) -> None:
        """What the facts of this commit bring: deletions, and updates that have a lifetime or are deleted already."""
        offshoots = self._feed_store.offshoots.held.values()
        for place in self._facts.take_named():
            self._look.setdefault(place, 0)
            for offshoot in offshoots:
                if offshoot.core == place[0]:
                    self._look.setdefault((offshoot.name, place[1]), 0)
            if self._left is not None:
                self._note_left(self._left, place)
        for place in self._facts.take_explained():
            if self._left is not None:
                self._forget_left(place)
                self._note_left(self._left, place)
        for core, seq, expires in self._facts.take_doomed():
            self._look[core, seq] = expires

    def next_due(self) -> float:
        """Unix ms from when something is to be erased; infinity if nothing waits."""
        while self._queue and self._due.get(self._queue[0][1]) != self._queue[0][0]:
            heappop(self._queue)
        return self._queue[0][0] if self._queue else inf

    def run(self, now_ms: int) -> None:
        """Judges what came, and erases what is due, into the open batch."""
        if self._facts.erases:
            self._take()
        for place, expires in self._look.items():
            self._judge(place, expires, now_ms)
        self._look.clear()
        for _ in range(AT_ONCE if self._queue else 0):
            if self.next_due() > now_ms:
                break
            self._erase(heappop(self._queue)[1], now_ms)

    def run_own(self) -> None:
        """Erases what deletions name of my own documents: values that are spent, as the device that wrote the deletion
        saw it.  It counts at once, for every device, so that all of them fold the same."""
        named, batch = self._facts.take_named(), self._context.batch
        for core, seq in named:
            feed = self._feed_store.feeds.get(core)
            entry = self._feed_store.entry(feed, seq) if feed is not None and seq < feed.length else None
            if feed is None or entry is None or entry.state is not EntryState.OPENED:
                continue
            leaf = leaf_of(entry.block)
            text = decode_plaintext(open_entry(entry.key, core, self._feed_store.space, entry.block))
            if text.kind is not Kind.UPDATE or not self._facts.erased(core, seq, leaf):
                continue
            verdict = examine(text.body, core, seq, DocKind.PERSONAL)
            for fact in own_facts_of(verdict, core, seq, text.stamp) if isinstance(verdict, Admit) else ():
                batch.delete(Table.PERSONAL, self._feed_store.space + fact.key())
            self._feed_store.put_entry(batch, feed, seq, encode_leaf(EntryState.CLEARED, leaf))
            self._feed_store.forget_item(batch, core, seq)
            self.stain(core, seq)
            batch.put(Table.META, SCRUB, b"")
        if named:
            self._left = None
            self._facts.reload_registers()
            self._changes.frontier_moved()

    def _judge(self, place: Place, expires: int, now_ms: int) -> None:
        entry, held = self._entry(place), self._due.get(place)
        if entry is None or not self._may_go(entry):
            return  # once it is opened, it is looked at again
        due = self._deleted_at(place, leaf_of(entry.block)[1])
        if not expires and held is not None and due is None:
            expires = expiry(self._facts.said_at(*place))
        if expires:
            due = expires if due is None else min(due, expires)
        if due is None:
            self._drop(place)
        elif due != held:
            self._due[place] = due
            heappush(self._queue, (due, place))
            self._put(place, due)

    def _entry(self, place: Place) -> StoredEntry | None:
        """What stands at a place of a feed or, by its name, of an offshoot."""
        offshoot, feed = self._feed_store.offshoots.by_name.get(place[0]), self._feed_store.feeds.get(place[0])
        if offshoot is not None:
            return self._feed_store.offshoots.entry(offshoot, place[1])
        return self._feed_store.entry(feed, place[1]) if feed is not None and place[1] < feed.length else None

    def _may_go(self, entry: StoredEntry) -> bool:
        """Whether a stored block may be erased, as far as its state tells."""
        if entry.state in (EntryState.SEALED, EntryState.DENIED):
            return not self._inbound.is_named(leaf_of(entry.block)[1])
        return entry.state is EntryState.OPENED

    def _deleted_at(self, place: Place, leaf: bytes) -> int | None:
        """Unix ms from when a deletion that counts takes this block; None while none does."""
        policy = self._facts.policy()
        author = policy.member(place[0])
        if author is None:
            return None
        found: int | None = None
        offshoot = self._feed_store.offshoots.by_name.get(place[0])
        for fact in self._facts.deletions_of(place if offshoot is None else (offshoot.core, place[1])):
            if fact.raw != leaf or not counts_deletion(fact, author, policy):
                continue
            at = 0 if policy.member(fact.core) == author else fact.arrived + GRACE_MS
            found = at if found is None else min(found, at)
        return found

    # -- how it goes --------------------------------------------------------------------------------------------

    def _erase(self, place: Place, now_ms: int) -> None:
        name, seq = place
        offshoot, feed = self._feed_store.offshoots.by_name.get(name), self._feed_store.feeds.get(name)
        core, mine, entry = name if offshoot is None else offshoot.core, self._feed_store.mine, self._entry(place)
        if entry is None or not self._may_go(entry):
            self._drop(place)
            if entry is not None and entry.state is EntryState.FORGOTTEN and feed is not None and feed is mine:
                self.unnamed.add(place)  # devices that come late have to learn that its lifetime is over
                self._put(place, UNNAMED)
            return
        leaf, batch, space = leaf_of(entry.block), self._context.batch, self._feed_store.space
        if entry.state is EntryState.OPENED:
            text = decode_plaintext(open_entry(entry.key, core, space, entry.block))
            if text.kind is not Kind.UPDATE:
                self._drop(place)
                return
        deleted = self._deleted_at(place, leaf[1])
        facts = self._facts.said_at(name, seq)
        expires = expiry(facts)
        over = 0 < expires <= now_ms
        if (deleted is None or deleted > now_ms) and not over:
            self._judge(place, expires, now_ms)  # it does not count any more
            return
        if deleted and not over and self._facts.stopped:
            # A rule that this version lacks may say who deletes what others wrote; what is erased does not come back.
            self._due[place] = now_ms + DAY_MS
            heappush(self._queue, (self._due[place], place))
            return
        for fact in facts:
            self._facts.forget(fact, batch)
        if offshoot is not None:
            self._feed_store.offshoots.put(batch, offshoot, seq, encode_leaf(EntryState.CLEARED, leaf))
        elif feed is not None:
            self._feed_store.put_entry(batch, feed, seq, encode_leaf(EntryState.CLEARED, leaf))
            self._feed_store.forget_item(batch, core, seq)
            if entry.state is not EntryState.OPENED:
                self._inbound.let_go(feed, seq)
        self.stain(core, seq)
        self._forget_left(place)
        batch.put(Table.META, SCRUB, b"")
        if deleted is None and feed is not None and feed is mine:
            del self._due[place]
            self.unnamed.add(place)
            self._put(place, UNNAMED)
        else:
            self._drop(place)
        self._changes.frontier_moved()

    def stain(self, core: bytes, seq: int) -> None:
        """The key of its epoch would open the bytes where somebody kept them: it goes as soon as nothing needs it."""
        epoch = self._epoch_of(core, seq)
        if epoch is not None and epoch not in self.stained:
            self.stained.add(epoch)
            self._context.batch.put(Table.ERASE, self._feed_store.space + epoch, b"")

    def _put(self, place: Place, due: int) -> None:
        key = self._feed_store.space + place[0] + place[1].to_bytes(8, "big")
        self._context.batch.put(Table.ERASE, key, due.to_bytes(8, "little"))

    def _drop(self, place: Place) -> None:
        """Nothing is to be done about it any more."""
        if self._due.pop(place, None) is not None or place in self.unnamed:
            self.unnamed.discard(place)
            key = self._feed_store.space + place[0] + place[1].to_bytes(8, "big")
            self._context.batch.delete(Table.ERASE, key)

    def named(self, places: Iterable[Place]) -> None:
        """A deletion of mine names these."""
        for place in places:
            self._drop(place)

    # -- what others are told -----------------------------------------------------------------------------------

    def carried_out(self) -> tuple[Erased, ...]:
        """Which deletion entries are carried out here, feed by feed, for my device record."""
        unfinished, found = self._unfinished(), []
        for core in sorted(unfinished)[:MAX_TOLD]:
            feed = self._feed_store.feeds.get(core)
            if feed is None or not feed.opened:
                continue
            left = nsmallest(MAX_LEFT + 1, unfinished[core])
            upto = min([feed.opened, *left[MAX_LEFT:]])
            found.append(Erased(core[:8], upto, tuple(seq for seq in left[:MAX_LEFT] if seq < upto)))
        return tuple(found)

    def has_carried_out(self, core: bytes, seq: int) -> bool:
        """Whether this device has done what the deletion entry at that place asks for."""
        return seq not in self._unfinished().get(core, {})

    def _unfinished(self) -> dict[bytes, dict[int, set[Place]]]:
        """Core key of each feed with deletion entries -> deletion (seq) -> blocks it names that are here."""
        if self._left is None:
            self._left = {}
            for place, _ in self._facts.deletions():
                self._note_left(self._left, place)
        return self._left

    def _note_left(self, left: dict[bytes, dict[int, set[Place]]], place: Place) -> None:
        feed = self._feed_store.feeds.get(place[0])
        entry = self._feed_store.entry(feed, place[1]) if feed is not None and place[1] < feed.length else None
        gone = entry is not None and entry.state in (EntryState.CLEARED, EntryState.FORGOTTEN)
        for fact in self._facts.deletions_of(place):
            of_feed = left.setdefault(fact.core, {})
            if not gone:
                of_feed.setdefault(fact.seq, set()).add(place)

    def _forget_left(self, place: Place) -> None:
        """The bytes of a block are gone: a deletion that named no other is carried out."""
        for fact in self._facts.deletions_of(place) if self._left is not None else ():
            of_feed = (self._left or {}).get(fact.core, {})
            places = of_feed.get(fact.seq)
            if places is not None:
                places.discard(place)
                if not places:
                    del of_feed[fact.seq]
