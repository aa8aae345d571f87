"""Forgetting: what I deleted for me alone goes from this device, by itself or with its whole chat.

Text, edits and reactions go at once, and what comes later about a message that I deleted never enters the store in the
clear.  The sealed block goes with its key as soon as every other person's device that is about has it: nothing is
withheld that this device alone holds.  Its leaf stays, so that proofs stay valid; whoever lacks the block asks others.
A block goes as a whole: not while it says anything else.  `docs/protocol.md`, "Forgetting".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crdt.docs.facts import FactKind
from crdt.docs.ids import writer_id
from crdt.docs.personal import Veil
from crdt.docs.rows import writer_and_seq
from crdt.log.merkle import MAX_LENGTH, leaf_of
from crdt.space.epoch import dormant
from sync.account.context import Context
from sync.space import timeline
from sync.space.delta import ChangeLog
from sync.space.erasing import SCRUB
from sync.space.facts import ERASABLE, Place, SpaceFacts
from sync.space.feed import EntryState, encode_leaf
from sync.space.feed_store import FeedStore
from sync.space.members import Members
from sync.space.records import Records
from sync.store.port import Store, Table, prefix_end

AT_ONCE = 512  # messages forgotten, and blocks let go, in one commit
_SWEPT, _DONE, _KEPT, _ALSO = b"\0", b"\1", b"\2", b"\3"


def hides(store: Store, veil: Veil | None, space: bytes, message: bytes, core: bytes, seq: int) -> bool:
    """Whether I deleted a message (an entry that publishes it: core, seq) for me alone: by itself, with its chat, or in
    another chat with the same person, where it has the same id."""
    if veil is None:
        return False
    if veil.hides(space, message, core, seq):
        return True
    return _stands_hidden(store, veil, message, (twin for twin in veil.upto if twin != space))


def _stands_hidden(store: Store, veil: Veil, message: bytes, spaces: Iterable[bytes]) -> bool:
    """Whether a row of the message stands in one of these spaces below what I deleted there."""
    for space in spaces:
        key = store.get(Table.MESSAGE, space + message)
        if key:
            writer, seq = writer_and_seq(key)
            if seq <= veil.upto[space].get(writer, -1):
                return True
    return False


class Forgetting:
    """What of one space is to be forgotten, and what is left of it.

    FORGET rows: space | 0 | core -> the seq (u64 BE) up to which its rows are forgotten | 1 | message: forgotten
    | 2 | core | seq (u64 BE): a block that is kept for others | 3 | message: to be forgotten, as a twin says.
    """

    def __init__(
        self,
        context: Context,
        feed_store: FeedStore,
        members: Members,
        facts: SpaceFacts,
        records: Records,
        stain: Callable[[bytes, int], None],
        changes: ChangeLog,
    ) -> None:
        self.gone: list[bytes] = []  # messages that were forgotten since somebody took them
        self._context, self._feed_store, self._members, self._facts = context, feed_store, members, facts
        self._records, self._stain, self._changes = records, stain, changes
        self._swept: dict[bytes, int] = {}
        self._done: set[bytes] = set()
        self._also: dict[bytes, None] = {}
        self._kept: dict[bytes, set[int]] = {}  # core -> entries whose blocks others may lack
        self._now: set[bytes] = set()  # messages of which this commit forgets
        self._looked: dict[Place, None] = {}  # entries that spoke of them
        self._veil: Veil | None = None
        self._todo: dict[bytes, None] = {}
        self._more = False
        space = feed_store.space
        for key, value in context.store.scan(Table.FORGET, space, prefix_end(space)):
            kind, rest = key[32:33], key[33:]
            if kind == _SWEPT:
                self._swept[rest] = int.from_bytes(value, "big")
            elif kind == _DONE:
                self._done.add(rest)
            elif kind == _KEPT:
                self._kept.setdefault(rest[:32], set()).add(int.from_bytes(rest[32:], "big"))
            else:
                self._also[rest] = None

    @property
    def kept(self) -> int:
        """How many blocks of what was deleted for me are kept for devices that lack them."""
        return sum(map(len, self._kept.values()))

    @property
    def more(self) -> bool:
        """Whether another commit has to go on."""
        return self._more

    def also(self, messages: Iterable[bytes]) -> None:
        """A twin of this space forgot these: their copies here go with the next commit."""
        for message in messages:
            if message not in self._also and self._context.store.get(Table.MESSAGE, self._feed_store.space + message):
                self._also[message] = None
                self._put(_ALSO + message)

    def run(self, now_ms: int) -> None:
        """Forgets what is due into the open batch, before facts are folded into rows."""
        self._more = False
        veil = self._context.veil(self._feed_store.space)
        if veil is not self._veil:
            self._veil = veil
            self._todo = {} if veil is None else {m: None for m in sorted(veil.messages) if m not in self._done}
        if veil is not None:
            self._refuse_arriving(veil)
            self._sweep(veil)
        for message in list(self._also)[:AT_ONCE]:
            del self._also[message]
            self._context.batch.delete(Table.FORGET, self._feed_store.space + _ALSO + message)
            self._forget(message)
        self._more = self._more or bool(self._todo or self._also)
        if self._looked or self._kept:
            self._let_go(veil, now_ms)
        self._now.clear()

    # -- texts ------------------------------------------------------------------------------------------------

    def _refuse_arriving(self, veil: Veil) -> None:
        """What came in this commit about messages that I deleted loses its content before anything is stored."""
        store, space = self._context.store, self._feed_store.space
        fresh: dict[bytes, bool] = {}
        for fact in self._facts.facts:
            if fact.kind in ERASABLE and fact.message is not None and fact.value is not None:
                published = fact.kind is FactKind.COPY and hides(store, veil, space, fact.message, fact.core, fact.seq)
                fresh[fact.message] = fresh.get(fact.message, False) or published or fact.message in veil.messages
        stood = [space] if space in veil.upto else []
        for message, hidden in fresh.items():
            if hidden or _stands_hidden(store, veil, message, stood):
                self._forget(message)

    def _sweep(self, veil: Veil) -> None:
        """Another few of the messages that stand here already."""
        left = AT_ONCE
        while self._todo and left:
            message = next(iter(self._todo))
            del self._todo[message]
            self._done.add(message)
            self._put(_DONE + message)
            self._forget(message)
            left -= 1
        upto, offshoots = veil.upto.get(self._feed_store.space, {}), self._feed_store.offshoots.held.values()
        feeds = {feed.core: feed.number for feed in self._feed_store.feeds.values()}
        feeds.update((offshoot.name, offshoot.number) for offshoot in offshoots)
        for core, number in feeds.items() if upto else ():
            end, done = upto.get(writer_id(core), -1), self._swept.get(core, -1)
            if done >= end:
                continue
            rows = timeline.rows_of_feed(self._context.store, number, done + 1, limit=left) if left else []
            for row in rows:
                if row.seq <= end:
                    self._forget(row.message)
            whole = len(rows) < left or rows[-1].seq > end
            # Of an entry with several messages the rest may be cut off: it is looked at again.
            self._swept[core] = end if whole else max(rows[-1].seq - 1, done) if rows else done
            left -= len(rows)
            self._more = self._more or not whole
            if self._swept[core] > done:
                self._put(_SWEPT + core, self._swept[core].to_bytes(8, "big"))

    def _forget(self, message: bytes) -> None:
        """All that is known of a message's text, edits and reactions loses its content."""
        about = {f.key(): f for f in timeline.facts_about(self._context.store, self._feed_store.space, message)}
        about.update((fact.key(), fact) for fact in self._facts.facts if fact.message == message)
        said = [fact for fact in about.values() if fact.kind in ERASABLE]
        self._now.add(message)
        self._looked.update(dict.fromkeys((fact.core, fact.seq) for fact in said))
        if live := [fact for fact in said if fact.value is not None]:
            self._facts.blank(live)
            self._context.batch.put(Table.META, SCRUB, b"")
            self.gone.append(message)

    # -- blocks -----------------------------------------------------------------------------------------------

    def _let_go(self, veil: Veil | None, now_ms: int) -> None:
        """Lets go of blocks that nobody needs from here any more; of the others it remembers that they are to go."""
        looked, self._looked = self._looked, {}
        for core, seq in looked:
            if self._says_nothing_else(veil, core, seq) and seq not in self._kept.setdefault(core, set()):
                self._kept[core].add(seq)
                self._put(_KEPT + core + seq.to_bytes(8, "big"))
        left = AT_ONCE
        for core in list(self._kept):
            held = self._held_by_others(core, now_ms)
            free = (seq for seq in self._kept[core] if seq < held or not self._members.within(core, seq))
            for seq in sorted(free)[: max(left, 0)]:
                self._erase(core, seq)
                self._kept[core].discard(seq)
                self._context.batch.delete(Table.FORGET, self._feed_store.space + _KEPT + core + seq.to_bytes(8, "big"))
                left -= 1
            self._more = self._more or left <= 0
            if not self._kept[core]:
                del self._kept[core]

    def _says_nothing_else(self, veil: Veil | None, core: bytes, seq: int) -> bool:
        """Whether an entry that is here speaks of nothing but messages that I deleted."""
        store, space = self._context.store, self._feed_store.space
        stood = [space] if veil is not None and space in veil.upto else []
        said = self._facts.said_at(core, seq)
        for fact in said:
            message = fact.message
            if message is None or fact.kind not in ERASABLE:
                return False
            if message not in self._now and not (
                hides(store, veil, space, message, core, seq)
                or (veil is not None and _stands_hidden(store, veil, message, stood))
            ):
                return False
        return bool(said)

    def _held_by_others(self, core: bytes, now_ms: int) -> int:
        """How far every other person's device that is about holds these very bytes of a feed, as its record says; of
        those that were away for long one is enough.  All of it where there is nobody else."""
        feed_store, state, directory = self._feed_store, self._members.state, self._context.directory
        me, feed = self._context.account.identity, feed_store.feeds.get(core)
        if feed is None:
            return MAX_LENGTH  # of an offshoot: everybody fetches it from whoever wrote what lies beside it
        about: list[int] = []
        away: list[int] = []
        for other, device in self._members.rostered():
            if state.members[state.writers[other].member].identity == me or directory.is_out(device):
                continue
            report = self._records.reports.get(other)
            head = next((h for h in report.stored if h.core8 == core[:8]), None) if report is not None else None
            root = feed_store.root_at(feed, head.length) if head is not None else None
            held = head.length if head is not None and root is not None and root[:16] == head.root16 else 0
            if other == core:
                held = feed.length  # whoever wrote it has it, before its record says so
            at = report.at if report is not None else self._members.arrived.get(other, now_ms)
            (away if dormant(at, now_ms) else about).append(held)
        if about:
            return min(about)
        return max(away) if away else feed.length

    def _erase(self, core: bytes, seq: int) -> None:
        batch, feed_store = self._context.batch, self._feed_store
        offshoot = feed_store.offshoots.by_name.get(core)
        if offshoot is not None:
            entry = feed_store.offshoots.entry(offshoot, seq)
            if entry is not None and entry.state is EntryState.OPENED:
                value = encode_leaf(EntryState.FORGOTTEN, leaf_of(entry.block))
                feed_store.offshoots.put(batch, offshoot, seq, value)
                batch.put(Table.META, SCRUB, b"")
            return
        feed = feed_store.feeds[core]
        entry = feed_store.entry(feed, seq)
        if entry is not None and entry.state is EntryState.OPENED:
            feed_store.put_entry(batch, feed, seq, encode_leaf(EntryState.FORGOTTEN, leaf_of(entry.block)))
            feed_store.forget_item(batch, core, seq)
            self._stain(core, seq)
            batch.put(Table.META, SCRUB, b"")

    def _put(self, key: bytes, value: bytes = b"") -> None:
        self._context.batch.put(Table.FORGET, self._feed_store.space + key, value)
