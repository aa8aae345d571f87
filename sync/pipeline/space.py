"""One space: its shelf of feeds, its control graph, its keys, and the way from sealed blocks to facts and back.

Everything here happens inside the profile's open batch; the rows of the timeline follow once a commit, in `finish`.
`absorb` is the way in (open, guard, facts), `append` the way out; both end in `_opened`, so that what we publish is
read by the same rules as anybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crdt.docs.facts import Fact, FactKind, facts_of, facts_of_deletion
from crdt.docs.guard import Admit, examine
from crdt.docs.kinds import DocKind
from crdt.docs.personal import OwnFact, Personal, PersonalView, decode_own_fact, own_facts_of
from crdt.docs.timeline import Rights
from crdt.log.entry import (
    GRANT_TAG,
    BlockHeader,
    Kind,
    Plaintext,
    decode_plaintext,
    encode_plaintext,
    message_key,
    open_entry,
    read_block,
    seal_entry,
)
from crdt.log.head import Head, HeadRef, leading, plan_merges, sign_head
from crdt.log.manifest import core_key
from crdt.log.merkle import MAX_LENGTH, Leaf, Node, Tree, leaf_of
from crdt.log.stamp import next_stamp, stamp_may_lead
from crdt.space.control import ControlBody, ControlEntry, Epoch, Revoke, SpaceKind, decode_control, encode_control
from crdt.space.epoch import EpochKey, dormant, droppable, newcomers, proves_z, usable
from crdt.space.grant import Opened, open_grant
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End, FeedLineage
from crdt.space.membership import EpochInfo, SpaceState
from crdt.space.record import (
    MAX_FRONTIER,
    MAX_OPENED,
    MAX_RANGES,
    Range,
    Report,
    decode_record,
    encode_record,
    open_record,
    seal_record,
)
from crdt.space.rendezvous import capability
from identity.codec import Reader, Writer
from identity.errors import DecodeError
from identity.keys import Random, SigningKey
from sync.pipeline import timeline
from sync.pipeline.account import Account
from sync.pipeline.directory import Directory
from sync.pipeline.feed import EntryState, Feed, StoredEntry, encode_cleared, encode_entry, encode_withheld
from sync.pipeline.keyring import Keyring
from sync.pipeline.shelf import Shelf
from sync.pipeline.timeline import RowChange
from sync.replicate.messages import Block
from sync.replicate.wants import Claims
from sync.store.port import Batch, Store, Table, prefix_end

KEEP_Z = 3  # rendezvous secrets remembered beside the current one
MAX_CORES = 4096
CHUNK = 512

Shape = tuple[dict[bytes, End], frozenset[bytes], dict[bytes, tuple[End, ...]]]  # ends, admins, witnessed


@dataclass(slots=True)
class Home:
    """What all spaces of a profile share.  `batch` is replaced at every commit."""

    store: Store
    rng: Random
    account: Account
    directory: Directory
    batch: Batch = field(default_factory=Batch)
    last_number: int = 0

    def number(self) -> int:
        """The next local number of a feed.  Numbers of feeds that were loaded are passed over."""
        self.last_number += 1
        return self.last_number


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to write.  body: made for its seq, since a document names its place; grant and key: of an epoch."""

    kind: Kind
    body: Callable[[int], bytes]
    grant: Callable[[int], bytes] | None = None
    secret: bytes | None = field(default=None, repr=False)


class FeedBranch:
    """The one branch of a feed that the shelf holds (`crdt.space.lineage.Branch`)."""

    def __init__(self, shelf: Shelf, feed: Feed) -> None:
        self._shelf, self._feed = shelf, feed

    def root_at(self, length: int) -> bytes | None:
        return self._shelf.root_at(self._feed, length)


class Space:
    """One space of the profile; loaded from the store, or new and empty."""

    def __init__(self, home: Home, space: bytes, *, personal: bool) -> None:
        self.home = home
        self.id = space
        self.personal = personal
        self.shelf = Shelf(home.store, space, home.number)
        self.graph = ControlGraph(space, FeedLineage(self._branches))
        self.claims = Claims()
        self.keyring = Keyring(home.store, space)
        self.rendezvous: list[bytes] = []  # Z, the newest first
        self.sealed: dict[bytes, set[int]] = {}  # core -> entries that no key opens yet
        self.denied: dict[bytes, set[int]] = {}  # core -> entries that a holder says are not for this device
        self.arrived: dict[bytes, int] = {}  # core -> Unix ms when its admission came
        self.vouched: set[bytes] = set()  # cores that a proved member sent items of
        self.mine: Feed | None = None
        self.keys_dropped = False
        self.registers = Personal(self._within)
        self.seen_stamp = 0
        self.state_changed = False
        self.control_changed = False
        self.keys_changed = False
        self.personal_changed = False
        self.meta_changed = False
        self._versions: dict[bytes, int] = {}  # what facts are about -> how often they changed
        self._memo: dict[str, tuple[int, int, Any]] = {}
        self.news: set[bytes] = set()  # what facts other than messages were about: readings, profiles, offers
        self.moved: set[bytes] = set()  # W of feeds that grew with this commit
        self.forks_changed: set[bytes] = set()  # W whose fork proof is new with this commit
        self.records_changed: set[bytes] = set()  # W whose record is newer with this commit
        self.reach_changed = False  # what my record says of others' feeds is not true any more
        self.reports: dict[bytes, Report] = {}  # core -> the inside of the newest record that opens
        self._report_at: dict[bytes, int] = {}  # core -> the counter of that record
        self._authors: dict[bytes, tuple[bytes, bytes]] = {}  # core -> (member id, core its add names)
        self._covers: dict[bytes, dict[bytes, int]] = {}  # core -> core8 -> length that its heads reach
        self._facts: list[Fact] = []
        self._clears: dict[tuple[bytes, int], list[Fact]] = {}
        self._state: SpaceState | None = None
        self._membership = 0  # how often it changed
        self._shape: Shape = ({}, frozenset(), {})
        self._learned: set[bytes] = set()  # control entries whose statements the directory has
        self._unfolded: set[bytes] = set()  # cores with opened entries whose author was not known then
        self._outside = True  # no feed of mine is a writer yet
        self._load()

    # -- loading ----------------------------------------------------------------------------------------------

    def _load(self) -> None:
        store, end = self.home.store, prefix_end(self.id)
        stored = store.get(Table.SPACE, self.id)
        if stored is not None:
            data = Reader(stored)
            self.rendezvous = data.array(lambda r: r.fixed(32), KEEP_Z + 1)
            self.vouched = set(data.array(lambda r: r.fixed(32), MAX_CORES))
            self._unfolded = set(data.array(lambda r: r.fixed(32), MAX_CORES))
        for feed in self.shelf.feeds.values():
            if feed.mine:
                self.mine = feed
            if feed.opened < feed.length:
                entries = self.shelf.entries(feed, feed.opened, feed.length)
                closed = (EntryState.SEALED, EntryState.WITHHELD)
                waiting = {feed.opened + i for i, e in enumerate(entries) if e.state in closed}
                if waiting:
                    self.sealed[feed.core] = waiting
            self.seen_stamp = max(self.seen_stamp, feed.stamp)
        for _, value in store.scan(Table.CONTROL, self.id, end):
            entry, arrived = decode_stored_control(value)
            self.graph.add(entry)
            for op in entry.ops:
                core = getattr(op, "core", None)
                if isinstance(core, bytes):
                    self.arrived.setdefault(core, arrived)
        self.graph.recheck()
        self._learn_devices()
        self._outside = self.mine is None or self.mine.core not in self.state.writers
        # What the rows in the store were folded by: the next change of membership is compared with it.
        self._shape = self._shape_now()
        for core in self.shelf.feeds:
            self._author(core)
        for writer in self.shelf.stored_records:
            self._open_record(writer)
        if self.personal:
            for key, value in store.scan(Table.PERSONAL):
                self.registers.add(decode_own_fact(key, value))
        else:
            self._clears = timeline.clears_of(store, self.id)

    def _branches(self, core: bytes) -> Sequence[FeedBranch]:
        feed = self.shelf.feeds.get(core)
        return (FeedBranch(self.shelf, feed),) if feed is not None and feed.length else ()

    # -- what is known ----------------------------------------------------------------------------------------

    @property
    def state(self) -> SpaceState:
        """The fold of the control entries that are complete."""
        if self._state is None:
            self._state = self.graph.state()
        return self._state

    @property
    def kind(self) -> SpaceKind:
        return SpaceKind.PERSONAL if self.personal else self.state.kind

    @property
    def keys(self) -> Mapping[bytes, EpochKey]:
        """Epoch keys that are here, by epoch id."""
        return self.keyring.held

    @property
    def z(self) -> bytes | None:
        """The current rendezvous secret."""
        return self.rendezvous[0] if self.rendezvous else None

    @property
    def cap(self) -> bytes | None:
        return capability(self.rendezvous[0]) if self.rendezvous else None

    @property
    def view(self) -> PersonalView:
        return self.registers.view()

    def _within(self, core: bytes, seq: int) -> bool:
        """Own documents count within what closes admit; before the graph is complete nothing is known to be out."""
        state = self.state
        return core not in state.ends or state.within(core, seq)

    @property
    def admitted(self) -> int:
        """The stamp of the entry that lets this device in; beyond every stamp before that entry is here."""
        core = self.mine.core if self.mine is not None else b""
        stamps = [
            entry.stamp for entry in self.graph.entries() if any(getattr(op, "core", None) == core for op in entry.ops)
        ]
        return min(stamps, default=1 << 64)

    def is_direct(self, one: bytes, other: bytes) -> bool:
        """Whether this is the chat of exactly these two identities, as far as its control entries are here."""
        state = self.state
        return state.kind is SpaceKind.DIRECT and {m.identity for m in state.members.values()} <= {one, other}

    def rights(self) -> Rights:
        state = self.state
        group = state.kind is SpaceKind.GROUP

        def member(core: bytes) -> bytes | None:
            writer = state.writers.get(core)
            return writer.member if writer is not None else None

        def may_delete(deleter: bytes, author: bytes) -> bool:
            one, other = state.members.get(deleter), state.members.get(author)
            return group and one is not None and other is not None and one.rank < 2 and one.rank <= other.rank

        def clears(core: bytes, seq: int) -> Sequence[Fact]:
            found = self._clears.get((core, seq))
            if not found:
                return ()
            feed = self.shelf.feeds.get(core)
            entry = self.shelf.entry(feed, seq) if feed is not None else None
            leaf = None if entry is None else entry.leaf or leaf_of(entry.block)
            return [fact for fact in found if leaf is not None and fact.raw == leaf[1]]

        return Rights(member, state.shows, may_delete, clears, state.within)

    def admits(self, writer: bytes) -> bool:
        """Whether a feed is kept: admitted, named by a control entry that waits for it, or vouched by a member."""
        feed = self.shelf.by_writer.get(writer)
        if feed is not None:
            return True
        core = core_key(writer)
        return core in self.state.writers or core in self.vouched or core in self.missing_cores

    @property
    def missing_cores(self) -> Collection[bytes]:
        """Feeds in which control entries stand that others wait for."""
        return self.graph.missing_cores()

    def devices(self) -> dict[bytes, bytes]:
        """Device id -> core key of its open feed, of every rostered device."""
        by_writer = {w.writer: w.core for w in self.state.writers.values()}
        return {place.device: by_writer[place.writer] for place in self.state.roster}

    def key_in_use(self, now_ms: int) -> EpochKey | None:
        """The epoch that my next entry is sealed under, None where one has to be opened first."""
        if self.mine is None:
            return None
        # A new device of a member gets what it missed as items; a new member never would (decision 0070).
        state, late = self.state, newcomers(self.state, self.arrived, now_ms)
        grace = {core for core in late if state.members[state.writers[core].member].core != core}
        # A Z that is not the one its entry names came from a grant that told different devices different ones.
        sound = [e.id for e in self.state.epochs.values() if e.id in self.keys and proves_z(e, self.keys[e.id].z)]
        found = usable(self.state, self.mine.core, known=sound, grace=grace)
        return self.keys[found] if found is not None else None

    def worn(self, now_ms: int) -> bool:
        """Whether the epoch in use has had its seven days or its thousand entries."""
        epoch = self.key_in_use(now_ms)
        return epoch is not None and self.keyring.worn(epoch.id)

    @staticmethod
    def core_of(key: SigningKey) -> bytes:
        return core_key(key.public)

    def newest_key(self) -> EpochKey | None:
        """What device records are sealed under: an epoch that everybody in the roster has, else the newest here."""
        here = [e for e in self.state.epochs.values() if e.id in self.keys]
        live = [e for e in here if not e.superseded] or here
        if live:
            roster = self.state.roster
            return self.keys[max(live, key=lambda e: (e.covers, e.roster == roster, e.stamp, e.id)).id]
        return next(iter(self.keys.values()), None)

    def remember(self, name: str, about: bytes, fold: Callable[[], Any]) -> Any:
        """A fold of the facts about something, until another such fact comes or membership changes."""
        version, held = self._versions.get(about, 0), self._memo.get(name)
        if held is not None and held[0] == version and held[1] == self._membership:
            return held[2]
        value = fold()
        self._memo[name] = version, self._membership, value
        return value

    # -- keys -------------------------------------------------------------------------------------------------

    def learn_key(self, epoch: bytes, opened: Opened) -> None:
        """An epoch key out of a grant.  Whether the epoch counts is the fold's business."""
        if not self.keyring.learn(epoch, opened.secret, opened.z):
            return
        self.keys_changed = True
        for writer, data in self.shelf.stored_records.items():
            if data and self._report_at.get(core_key(writer)) != self.shelf.counters.get(writer):
                self._open_record(writer)

    def set_z(self, z: bytes) -> None:
        """The rendezvous secret in use; the ones before it are kept for a while."""
        if self.rendezvous[:1] == [z]:
            return
        self.rendezvous = [z, *[old for old in self.rendezvous if old != z]][: KEEP_Z + 1]
        self.meta_changed = True

    def vouch(self, cores: Iterable[bytes]) -> None:
        for core in sorted(set(cores) - self.vouched)[: MAX_CORES - len(self.vouched)]:
            self.vouched.add(core)
            self.meta_changed = True

    def _open_grants(self, now_ms: int) -> None:
        """Grants that have a slot for this device and were read before it was known who sealed them."""
        me = self.home.account.device
        for epoch in self.state.epochs.values():
            feed = self.shelf.feeds.get(epoch.core)
            if epoch.superseded or epoch.id in self.keys or feed is None or epoch.seq >= feed.length:
                continue
            entry = self.shelf.entry(feed, epoch.seq)
            if entry is None or not entry.block or not any(place.device == me for place in epoch.roster):
                continue
            opened = self.try_grant(epoch.core, epoch.seq, read_block(entry.block, epoch.seq))
            if opened is not None and proves_z(epoch, opened.z):
                self.learn_key(epoch.id, opened)
        if self.keys_changed:
            self.unlock(now_ms)

    def _settle_z(self) -> None:
        """Z is that of the lowest epoch that counts and holds every close: where several draw a new one after the same
        close, everybody who knows them follows one."""
        live = self.live_epochs()
        if live:
            self.set_z(self.keys[live[0].id].z)

    def live_epochs(self) -> list[EpochInfo]:
        """Epochs not superseded that hold every close, with their key here and the Z that they name; by id."""
        live = [e for e in self.state.epochs.values() if e.covers and not e.superseded and e.id in self.keys]
        return sorted((e for e in live if proves_z(e, self.keys[e.id].z)), key=lambda e: e.id)

    def try_grant(self, core: bytes, seq: int, header: BlockHeader, extra: Iterable[bytes] = ()) -> Opened | None:
        """(E, Z) of a grant entry if it has a slot for this device; extra: further D that may have sealed it."""
        directory = self.home.directory
        writer = self.state.writers.get(core)
        senders: dict[bytes, None] = {}
        known = directory.device(writer.device) if writer is not None else None
        if known is not None:
            senders[known.agreement] = None
        else:
            senders.update(dict.fromkeys(directory.agreements()))
        senders.update(dict.fromkeys(extra))
        keys = self.home.account.keys
        prekeys = [prekey.key for prekey in reversed(keys.prekeys)]
        try:
            return open_grant(header.grant, core, seq, self.id, keys.agreement, prekeys, senders)
        except DecodeError:
            return None

    def _key_for(self, feed: Feed, seq: int, header: BlockHeader, leaf: Leaf) -> bytes | None:
        """The message key of a block by the epochs at hand."""
        core, tag = feed.core, header.tag
        if tag == GRANT_TAG:
            opened = self.try_grant(core, seq, header)
            if opened is None:
                return None
            self.learn_key(leaf[1], opened)
            return message_key(opened.secret, core, seq)[0]
        return self.keyring.find(core, seq, tag)

    def drop_keys(self, now_ms: int) -> None:
        """Forgets epoch keys that nothing can need any more: superseded for 60 days, or known to be so by everybody."""
        current = {e.id[:8] for e in self.state.epochs.values() if not e.superseded}
        behind: list[bytes] = []
        for device, core in self.devices().items():
            report, feed = self.reports.get(core), self.shelf.feeds.get(core)
            if device == self.home.account.device or (report is not None and dormant(report.at, now_ms)):
                continue
            wrote = 0 if report is None else next((h.length for h in report.stored if h.core8 == core[:8]), 0)
            # It may still write under the old epoch, or has written what is not here yet.
            if report is None or not current <= set(report.epochs) or feed is None or feed.opened < wrote:
                behind.append(device)
        for epoch, at in list(self.keyring.superseded.items()):
            if droppable(at, now_ms, unopened=behind, pending=bool(self.sealed)):
                self.keyring.drop(epoch)
                self.keys_dropped = True

    # -- device records ---------------------------------------------------------------------------------------

    def verify_record(self, writer: bytes, counter: int, data: bytes) -> bool:
        """What replication asks before a record is kept."""
        try:
            record = decode_record(data)
        except DecodeError:
            return False
        return record.writer == writer and record.counter == counter and record.verify()

    def hear_record(self, writer: bytes, counter: int, data: bytes, now_ms: int) -> None:
        """A verified record, newer than the one held."""
        self.shelf.put_record(self.home.batch, writer, counter, data, now_ms)
        self.records_changed.add(writer)
        self._open_record(writer)

    def newest_of(self, device: bytes | None) -> tuple[int, Report | None]:
        """(counter, what it says) of the newest record of a device here; -1 without one, None where it stays closed."""
        counter, found = -1, None
        for core, writer in self.state.writers.items():
            at = self.shelf.counters.get(writer.writer, -1)
            if writer.device == device and at > counter:
                counter = at
                found = self.reports.get(core) if self._report_at.get(core) == at else None
        return counter, found

    def _open_record(self, writer: bytes) -> None:
        try:
            record = decode_record(self.shelf.stored_records[writer])
            for epoch in reversed(list(self.keys.values())):
                report = open_record(record, self.id, epoch.secret)
                if report is not None:
                    self.reports[record.core] = report
                    self._report_at[record.core] = record.counter
                    return
        except DecodeError:
            return  # signed by its writer and malformed inside: as good as none

    def make_record(self, now_ms: int, transports: tuple[bytes, bytes], hints: tuple[str, ...]) -> bool:
        """Puts my newest record: what I store and have opened, and where I am reached.  False: I have no say here."""
        feed, epoch = self.mine, self.newest_key()
        if feed is None or feed.key is None or epoch is None or not self.state.open(feed.core):
            return False
        stored, opened = [], []
        # Feeds of writers first, should there be more than a record names: nobody else's delivery hangs on the rest.
        writers = self.state.writers
        named = sorted(self.shelf.feeds, key=lambda core: (core not in writers, core))[:MAX_FRONTIER]
        for core in sorted(named):
            other = self.shelf.feeds[core]
            if other.length:
                stored.append(HeadRef(core[:8], other.length, other.tree.hash()[:16]))
            if other.opened:
                root = self.shelf.root_at(other, other.opened)
                if root is not None:
                    opened.append(HeadRef(core[:8], other.opened, root[:16]))
        report = Report(
            at=now_ms,
            stored=tuple(stored),
            opened=tuple(opened),
            missing=tuple(self._missing()),
            prekey=self.home.account.keys.prekey.public,
            transports=transports,
            hints=hints,
            epochs=tuple(key[:8] for key in list(self.keys)[-MAX_OPENED:]),
        )
        # The clock makes the counter, so that a crash between two records never gives one number to both.
        counter = max(self.shelf.counters.get(feed.writer, 0) + 1, now_ms)
        record = seal_record(feed.key, self.id, epoch.secret, counter, report)
        self.shelf.put_record(self.home.batch, feed.writer, counter, encode_record(record), now_ms)
        self.reports[feed.core] = report
        self._report_at[feed.core] = counter
        self.records_changed.add(feed.writer)
        return True

    def _missing(self) -> list[Range]:
        found: list[Range] = []
        for core in sorted(self.sealed):
            for seq in sorted(self.sealed[core]):
                if found and found[-1].core8 == core[:8] and found[-1].end == seq:
                    found[-1] = Range(core[:8], found[-1].start, seq + 1)
                elif len(found) < MAX_RANGES:
                    found.append(Range(core[:8], seq, seq + 1))
        return found

    # -- the way in -------------------------------------------------------------------------------------------

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
        batch, shelf = self.home.batch, self.shelf
        feed = shelf.feed(writer)
        before = feed.tree
        shelf.extend(batch, feed, tree, nodes, head)
        self.moved.add(writer)
        self.reach_changed = True
        core, has_items = feed.core, feed.core in shelf.item_seqs
        for index, block in enumerate(blocks):
            seq, leaf = start + index, leaves[index]
            key: bytes | None = None
            if has_items:
                item = shelf.take_item(batch, core, seq, leaf)
                if item is not None:
                    key, block = item
            if isinstance(block, tuple):
                # Asked for because an item was here, which may be gone meanwhile; or a peer keeps the block back.
                if self._covered(core, seq, leaf):
                    shelf.put_entry(batch, feed, seq, encode_cleared(leaf))
                else:
                    self.sealed.setdefault(core, set()).add(seq)
                    shelf.put_entry(batch, feed, seq, encode_withheld(leaf))
                continue
            try:
                header = read_block(block, seq)
                if key is None:
                    key = self._key_for(feed, seq, header, leaf)
                elif header.tag == GRANT_TAG:
                    self._key_for(feed, seq, header, leaf)
                if key is None:
                    self.sealed.setdefault(core, set()).add(seq)
                    shelf.put_entry(batch, feed, seq, encode_entry(EntryState.SEALED, block))
                    continue
                text = open_entry(key, core, self.id, block, header)
                shelf.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
                self._opened(feed, seq, leaf, text, before, leaves, start, now_ms)
            except DecodeError:
                # Nothing that its writer signed can be had better: it stays as it is and is never shown.
                shelf.put_entry(batch, feed, seq, encode_entry(EntryState.SKIPPED, block))
        self._advance(feed)
        return feed

    def unlock(self, now_ms: int) -> bool:
        """Tries sealed entries again, until nothing more opens.  Whether anything did."""
        any_opened = False
        while self.keys_changed and (self.sealed or self.denied):
            self.keys_changed = False
            for core in sorted(self.sealed.keys() | self.denied.keys()):
                feed = self.shelf.feeds[core]
                for seq in sorted(self.sealed.get(core, set()) | self.denied.get(core, set())):
                    any_opened |= self._unlock_one(feed, seq, None, now_ms)
                self._advance(feed)
        self.keys_changed = False
        return any_opened

    def unlock_item(self, feed: Feed, seq: int, key: bytes, block: bytes, now_ms: int) -> bool:
        """Opens a sealed entry with the key of an item, if the item is that very block."""
        entry = self.shelf.entry(feed, seq)
        if entry is None or entry.state is EntryState.CLEARED:
            return False
        # Of a withheld block the hash is proved; how two neighbours share their sizes is not.
        if (entry.leaf[1] != leaf_of(block)[1]) if entry.leaf is not None else (entry.block != block):
            return False
        if entry.state is EntryState.WITHHELD:
            self.shelf.put_entry(self.home.batch, feed, seq, encode_entry(EntryState.SEALED, block))
        opened = self._unlock_one(feed, seq, key, now_ms)
        self._advance(feed)
        return opened

    def skip(self, feed: Feed, start: int, end: int) -> None:
        """A holder says that these are not for this device: they no longer hold the frontier back."""
        waiting = self.sealed.get(feed.core, set())
        for seq in [seq for seq in waiting if start <= seq < end]:
            entry = self.shelf.entry(feed, seq)
            waiting.discard(seq)
            self.reach_changed = True
            if entry is not None:
                self._close(feed, seq, entry, EntryState.SKIPPED)
        self._advance(feed)

    def _close(self, feed: Feed, seq: int, entry: StoredEntry, state: EntryState) -> None:
        """It is not waited for any more.  Of what was withheld there is nothing that could be opened later."""
        value = encode_entry(state, entry.block) if entry.leaf is None else encode_cleared(entry.leaf)
        self.shelf.put_entry(self.home.batch, feed, seq, value)

    def _covered(self, core: bytes, seq: int, leaf: Leaf) -> bool:
        """Whether a deletion names this block, so that a peer may have cleared it."""
        return any(fact.raw == leaf[1] for fact in self._clears.get((core, seq), ()))

    def deny(self, feed: Feed, start: int, end: int, *, own: bool) -> None:
        """A holder says that these are not for this device: they no longer hold the frontier back.

        Only entries that their author wrote before it knew of my admission can be: what it sealed under an epoch that
        it opened afterwards is for all my devices, whoever says otherwise.  And where newcomers get everything, nobody
        but another device of mine (own) can say so.  A key or an item that comes later still opens them.
        """
        if not own and (self.state.kind is SpaceKind.DIRECT or self.state.settings.get("history", b"none") == b"all"):
            return
        waiting = self.sealed.get(feed.core, set())
        limit = self._first_for_me(feed.core)
        for seq in [seq for seq in waiting if start <= seq < min(end, limit)]:
            entry = self.shelf.entry(feed, seq)
            waiting.discard(seq)
            self.reach_changed = True
            if entry is not None:
                if entry.leaf is None:
                    self.denied.setdefault(feed.core, set()).add(seq)
                self._close(feed, seq, entry, EntryState.DENIED)
        self._advance(feed)

    def _first_for_me(self, core: bytes) -> int:
        """The place of the first control entry of a feed that has the admission of me, by whichever device, in its
        past; beyond any, if there is none."""
        me = self.state.writers.get(self.mine.core) if self.mine is not None else None
        after = [
            entry.seq
            for entry in self.graph.entries()
            if me is not None
            and entry.core == core
            and (entry.id == me.member or self.graph.precedes(me.member, entry.id))
        ]
        return min(after, default=MAX_LENGTH)

    def _unlock_one(self, feed: Feed, seq: int, key: bytes | None, now_ms: int) -> bool:
        entry = self.shelf.entry(feed, seq)
        waiting = self.sealed.get(feed.core, set())
        denied = self.denied.get(feed.core, set())
        if entry is not None and entry.state is EntryState.WITHHELD:
            return False
        if entry is None or entry.state not in (EntryState.SEALED, EntryState.DENIED):
            waiting.discard(seq)
            denied.discard(seq)
            return False
        block, leaf = entry.block, leaf_of(entry.block)
        try:
            header = read_block(block, seq)
            found = self._key_for(feed, seq, header, leaf) if key is None or header.tag == GRANT_TAG else None
            key = key or found
            if key is None:
                return False
            text = open_entry(key, feed.core, self.id, block, header)
            self.shelf.put_entry(self.home.batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
            self._opened(feed, seq, leaf, text, None, (), 0, now_ms)
        except DecodeError:
            self.shelf.put_entry(self.home.batch, feed, seq, encode_entry(EntryState.SKIPPED, block))
        waiting.discard(seq)
        denied.discard(seq)
        self.reach_changed = True
        return True

    def _advance(self, feed: Feed) -> None:
        waiting = self.sealed.get(feed.core)
        if waiting is not None and not waiting:
            del self.sealed[feed.core]
            waiting = None
        opened = min(waiting) if waiting else feed.length
        if opened != feed.opened:
            feed.opened = opened
            self.shelf.touch(feed)

    def _opened(
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
        """What an opened entry says.  Raises DecodeError for what no honest writer makes."""
        entry = decode_plaintext(text)
        stamp, core = entry.stamp, feed.core
        if stamp > feed.stamp:
            feed.stamp = stamp
        if stamp > self.seen_stamp and stamp_may_lead(stamp, now_ms):
            self.seen_stamp = stamp
        if entry.heads:
            covers = self._covers.setdefault(core, {})
            for ref in entry.heads:
                if ref.length > covers.get(ref.core8, 0):
                    covers[ref.core8] = ref.length
        self.keyring.count(core, stamp)
        if entry.kind is Kind.UPDATE:
            self._update(entry, core, seq, now_ms)
        elif entry.kind is Kind.CONTROL:
            if before is not None:
                root = before.extend(leaves[: seq - start + 1])[0].hash()
            else:
                found = self.shelf.root_at(feed, seq + 1)
                if found is None:
                    raise DecodeError("an entry beyond its feed")
                root = found
            body = decode_control(entry.body)
            self._control(ControlEntry(leaf[1], feed.writer, seq, root, stamp, body.parents, body.ops), now_ms)
        elif entry.kind is Kind.DELETION and not self.personal:
            facts = facts_of_deletion(entry.body, core, seq, stamp, now_ms)
            for fact in facts:
                if fact.about[:1] == b"\x02":
                    at = (fact.about[1:33], int.from_bytes(fact.about[33:41], "big"))
                    self._clears.setdefault(at, []).append(fact)
                    self._cover(*at)
            self._facts += facts

    def _cover(self, core: bytes, seq: int) -> None:
        """A deletion came for a block that was withheld: that is why."""
        feed, waiting = self.shelf.feeds.get(core), self.sealed.get(core, set())
        entry = self.shelf.entry(feed, seq) if feed is not None and seq in waiting else None
        if feed is None or entry is None or entry.leaf is None or not self._covered(core, seq, entry.leaf):
            return
        waiting.discard(seq)
        self.reach_changed = True
        self._close(feed, seq, entry, EntryState.CLEARED)
        self._advance(feed)

    def _update(self, entry: Plaintext, core: bytes, seq: int, now_ms: int) -> None:
        expected = DocKind.PERSONAL if self.personal else DocKind.CHAT
        verdict = examine(entry.body, core, seq, expected)
        if not isinstance(verdict, Admit):
            return
        if self.personal:
            for own in own_facts_of(verdict, core, seq, entry.stamp):
                self._own(own)
            return
        author = self._authors.get(core) or self._author(core)
        if author is not None:
            self._facts += facts_of(verdict, author[1], core, seq, entry.stamp, now_ms)
        elif core not in self._unfolded and len(self._unfolded) < MAX_CORES:
            self._unfolded.add(core)
            self.meta_changed = True

    def _own(self, fact: OwnFact) -> None:
        self.home.batch.put(Table.PERSONAL, fact.key(), fact.encode())
        if self.registers.add(fact):
            self.personal_changed = True

    def _author(self, core: bytes) -> tuple[bytes, bytes] | None:
        member = self.state.member(core)
        if member is None:
            return None
        found = self._authors[core] = (member.id, member.core)
        return found

    def _control(self, entry: ControlEntry, now_ms: int) -> None:
        self.home.batch.put(Table.CONTROL, self.id + entry.id, encode_stored_control(entry, now_ms))
        self.control_changed = True
        for op in entry.ops:
            core = getattr(op, "core", None)
            if isinstance(core, bytes):
                self.arrived.setdefault(core, now_ms)
            key = self.keys.get(entry.id)
            if isinstance(op, Epoch) and key is not None and not proves_z(op, key.z):
                self.keyring.drop(entry.id)  # different Z for different devices: as good as no grant
        self.graph.add(entry)
        self._state = None

    def _learn_devices(self) -> None:
        """Device statements of operations that count, each for the identity that it may speak of."""
        state, directory = self.state, self.home.directory
        for entry in self.graph.entries():
            if entry.id in self._learned:
                continue
            for place, op in enumerate(entry.ops):
                statements = getattr(op, "statements", ())
                if not statements or (entry.id, place) not in state.counted:
                    continue
                member = state.member(entry.core)
                identity = getattr(op, "identity", None) or (member.identity if member is not None else None)
                if isinstance(op, Revoke):
                    directory.learn(statements, {m.identity for m in state.members.values()}, self.id)
                elif identity is not None:
                    directory.learn(statements, {identity}, self.id)
                self._learned.add(entry.id)

    def messages_at(self, feed: Feed, seq: int) -> list[bytes]:
        """Ids of the messages that the entry at this place of a feed publishes."""
        return [fact.about[1:] for fact in self._facts_at(feed, seq) if fact.kind is FactKind.COPY]

    def _named(self, clears: Iterable[Fact]) -> Iterable[bytes]:
        """Messages that speak, edits and reactions included, in the blocks that deletions name: a deletion may name a
        block of another message, and that message's row must not depend on which of the two came first."""
        for core, seq in dict.fromkeys((fact.about[1:33], int.from_bytes(fact.about[33:41], "big")) for fact in clears):
            feed = self.shelf.feeds.get(core)
            if feed is not None and seq < feed.length:
                yield from (fact.message for fact in self._facts_at(feed, seq) if fact.message is not None)

    def _facts_at(self, feed: Feed, seq: int) -> list[Fact]:
        """What the entry at this place of a feed says, where it is here and opened."""
        entry = self.shelf.entry(feed, seq)
        author = self._authors.get(feed.core) or self._author(feed.core)
        if entry is None or entry.state is not EntryState.OPENED or author is None:
            return []
        text = decode_plaintext(open_entry(entry.key, feed.core, self.id, entry.block))
        verdict = examine(text.body, feed.core, seq, DocKind.CHAT) if text.kind is Kind.UPDATE else None
        if not isinstance(verdict, Admit):
            return []
        return facts_of(verdict, author[1], feed.core, seq, text.stamp, 0)

    # -- the way out ------------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft], now_ms: int) -> list[tuple[int, Leaf]]:
        """Seals and signs entries of my feed into the batch, in order; one signature covers all.

        Returns (seq, leaf) of each.  The caller has made sure that there is a key to seal under.
        """
        feed = self.mine
        if feed is None or feed.key is None:
            raise ValueError("no feed of mine in this space")
        batch, shelf, core = self.home.batch, self.shelf, feed.core
        current = self.key_in_use(now_ms)
        merges, heads = plan_merges(self._heads(core))
        plans = [(Draft(Kind.MERGE, lambda seq: b""), refs) for refs in merges]
        plans += [(draft, heads if index == 0 else ()) for index, draft in enumerate(drafts)]
        before, start, stamp = feed.tree, feed.length, feed.stamp
        leaves: list[Leaf] = []
        texts: list[bytes] = []
        for draft, refs in plans:
            seq = start + len(leaves)
            stamp = next_stamp(stamp, self.seen_stamp, now_ms)
            text = encode_plaintext(Plaintext(draft.kind, stamp, refs, draft.body(seq)))
            secret = draft.secret or (current.secret if current is not None else None)
            if secret is None:
                raise ValueError("no epoch to write under")
            key, tag = message_key(secret, core, seq)
            grant = draft.grant(seq) if draft.grant is not None else b""
            block = seal_entry(key, GRANT_TAG if grant else tag, core, self.id, seq, text, grant)
            shelf.put_entry(batch, feed, seq, encode_entry(EntryState.OPENED, block, key))
            leaves.append(leaf_of(block))
            texts.append(text)
        tree, nodes = before.extend(leaves)
        shelf.extend(batch, feed, tree, nodes, sign_head(feed.key, tree))
        self.moved.add(feed.writer)
        if current is not None:
            self.keyring.use(core, current, start, start + len(texts))
        for index, text in enumerate(texts):
            self._opened(feed, start + index, leaves[index], text, before, leaves, start, now_ms)
        for ref in self._named_by(plans):
            covers = self._covers.setdefault(core, {})
            covers[ref.core8] = max(ref.length, covers.get(ref.core8, 0))
        self._advance(feed)
        return [(start + len(merges) + i, leaves[len(merges) + i]) for i in range(len(drafts))]

    @staticmethod
    def _named_by(plans: Iterable[tuple[Draft, tuple[HeadRef, ...]]]) -> Iterable[HeadRef]:
        return (ref for _, refs in plans for ref in refs)

    def _heads(self, core: bytes) -> list[HeadRef]:
        """Heads of other feeds that my feed has not named yet and that no other new head covers."""
        known = self._covers.get(core, {})
        fresh = {
            feed.core: feed.opened
            for feed in self.shelf.feeds.values()
            if feed.core != core and feed.opened > known.get(feed.core[:8], 0)
        }
        if not fresh:
            return []
        by8 = {other[:8]: other for other in fresh}

        def past(other: bytes, length: int) -> dict[bytes, int]:
            return {by8[c]: n for c, n in self._covers.get(other, {}).items() if c in by8}

        found = []
        for other in leading(fresh, past):
            root = self.shelf.root_at(self.shelf.feeds[other], fresh[other])
            if root is not None:
                found.append(HeadRef(other[:8], fresh[other], root[:16]))
        return found

    # -- once a commit ----------------------------------------------------------------------------------------

    def finish(self, now_ms: int) -> list[RowChange]:
        """Settles what follows from everything absorbed: keys, membership, rows, and the rows of feeds."""
        batch, store = self.home.batch, self.home.store
        if self.control_changed and self.graph.recheck():
            self._state = None
        if self.keys_changed:
            self.unlock(now_ms)
        again: dict[bytes, None] = {}
        if self.control_changed:
            again = self._after_control(now_ms)
        changes: list[RowChange] = []
        if self._facts or again:
            facts, self._facts = self._facts, []
            for about in {fact.about for fact in facts if len(fact.about) == 1}:
                self.news.add(about)
                self._versions[about] = self._versions.get(about, 0) + 1
            again.update(dict.fromkeys(self._named(fact for fact in facts if fact.kind is FactKind.CLEAR)))
            changes = timeline.absorb(store, batch, self.id, facts, self.rights(), again)
        self.keyring.finish(batch)
        if self.meta_changed:
            out = Writer()
            for values in (self.rendezvous, sorted(self.vouched), sorted(self._unfolded)):
                out.array(values, Writer.raw)
            batch.put(Table.SPACE, self.id, out.finish())
            self.meta_changed = False
        self.shelf.finish(batch)
        return changes

    def _after_control(self, now_ms: int) -> dict[bytes, None]:
        """Membership changed: Z, authorship of feeds and what shows follow.  Returns the messages to fold again."""
        self.control_changed = False
        self.state_changed = True
        self._membership += 1
        old, self._authors = self._authors, {}
        state = self.state
        self._learn_devices()
        if self._outside and self.mine is not None and self.mine.core in state.writers:
            self._outside = False
            self._let_go()
        self._open_grants(now_ms)
        self._settle_z()
        self.keyring.note_superseded([e.id for e in state.epochs.values() if e.superseded], now_ms)
        shape = self._shape_now()
        last, self._shape = self._shape, shape
        if self.personal:
            if last[0] != shape[0]:
                self.registers = Personal(self._within)
                for key, value in self.home.store.scan(Table.PERSONAL):
                    self.registers.add(decode_own_fact(key, value))
                self.personal_changed = True
            return {}
        for core in [core for core in sorted(self._unfolded) if self._author(core) is not None]:
            self._unfolded.discard(core)
            self.meta_changed = True
            self._read_again(core, now_ms)
        moved = {core for core, author in old.items() if self._author(core) != author}
        if last != shape:
            moved |= {c for c in shape[0].keys() | last[0].keys() if shape[0].get(c) != last[0].get(c)}
            moved |= {c for c in shape[2].keys() | last[2].keys() if shape[2].get(c) != last[2].get(c)}
            if shape[1] != last[1]:
                moved |= set(state.writers)
        found: dict[bytes, None] = {}
        for core in sorted(moved):
            found.update(dict.fromkeys(timeline.messages_of_feed(self.home.store, self.id, core)))
        if moved:
            clears = (fact for named in self._clears.values() for fact in named if fact.core in moved)
            found.update(dict.fromkeys(self._named(clears)))
        return found

    def _shape_now(self) -> Shape:
        state = self.state
        return dict(state.ends), state.admins, dict(state.witnessed)

    def _let_go(self) -> None:
        """Now it is known who writes here: what was taken on the word of whoever gave the history, and is nobody's,
        goes.  What is missing after all comes sealed and is asked for again."""
        kept = {*self.state.writers, *self.missing_cores}
        if not self.vouched <= kept:
            self.vouched &= kept
            self.meta_changed = True
        for core in self.shelf.item_seqs.keys() - kept:
            self.shelf.drop_items(self.home.batch, core)

    def _read_again(self, core: bytes, now_ms: int) -> None:
        """Facts of a feed whose entries were opened before anybody was known to be their author."""
        feed = self.shelf.feeds.get(core)
        if feed is None:
            return
        for start in range(0, feed.length, CHUNK):
            for index, entry in enumerate(self.shelf.entries(feed, start, min(start + CHUNK, feed.length))):
                if entry.state is not EntryState.OPENED:
                    continue
                text = decode_plaintext(open_entry(entry.key, core, self.id, entry.block))
                if text.kind is Kind.UPDATE:
                    self._update(text, core, start + index, now_ms)


def new_writer(rng: Random) -> SigningKey:
    """A feed's key: new in every space, on every device and after every restore."""
    return SigningKey.generate(rng)


def encode_stored_control(entry: ControlEntry, arrived: int) -> bytes:
    """id | W | seq | root | stamp | arrived | body."""
    out = Writer().raw(entry.id).raw(entry.writer).uint(entry.seq).raw(entry.root).fixed_uint(entry.stamp, 8)
    return out.fixed_uint(arrived, 8).raw(encode_control(ControlBody(entry.parents, entry.ops))).finish()


def decode_stored_control(value: bytes) -> tuple[ControlEntry, int]:
    data = Reader(value)
    id_, writer, seq, root = data.fixed(32), data.fixed(32), data.uint(), data.fixed(32)
    stamp, arrived = data.fixed_uint(8), data.fixed_uint(8)
    body = decode_control(data.rest())
    return ControlEntry(id_, writer, seq, root, stamp, body.parents, body.ops), arrived
