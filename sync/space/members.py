"""Who is in a space: its control graph, the fold of what is complete, and whose a feed is.

The rows of CONTROL hold every entry that was opened, complete or not, so that starting folds what recovering folds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from crdt.log.manifest import core_key
from crdt.log.merkle import MAX_LENGTH
from crdt.space.control import ControlBody, ControlEntry, Revoke, SpaceKind, Witness, decode_control, encode_control
from crdt.space.graph import ControlGraph
from crdt.space.lineage import End, FeedLineage
from crdt.space.membership import Member, SpaceState
from crdt.space.operations import Parent
from crdt.space.snapshot import Admitted, Snapshot, Tip, decode_snapshot, encode_snapshot
from identity.codec import Reader, Writer
from sync.account.context import Context
from sync.replicate.messages import Point, Question
from sync.space.delta import ChangeLog
from sync.space.feed import Feed
from sync.space.feed_store import FeedStore
from sync.space.offshoots import Offshoot
from sync.store.port import Table, prefix_end

MIN_SNAPSHOT = 64  # control entries; fewer are folded as fast as a snapshot is read
SNAPSHOT_MS = 60_000  # between two snapshots of a space
MISSING_MS = 60_000  # that missing control entries named by one feed are waited for
MAX_CORES = 4096  # feeds on somebody's word, and feeds whose author is not known yet

Shape = tuple[dict[bytes, End], frozenset[bytes], dict[bytes, tuple[End, ...]]]  # ends, admins, witnessed


class Parting(NamedTuple):
    """The kept branch of a feed goes another way than its end.

    same: a length at which both are known to be equal; differ: the smallest at which they are known not to be;
    witnessed: up to where witnesses cover the kept branch.
    """

    end: End
    same: int
    differ: int
    witnessed: int


class FeedBranch:
    """The one branch of a feed that the feed store holds (`crdt.space.lineage.Branch`)."""

    def __init__(self, feed_store: FeedStore, feed: Feed) -> None:
        self._feed_store, self._feed = feed_store, feed

    def root_at(self, length: int) -> bytes | None:
        return self._feed_store.root_at(self._feed, length)


class Members:
    """The membership of one space as far as its control entries are here."""

    def __init__(self, context: Context, feed_store: FeedStore, changes: ChangeLog, *, personal: bool) -> None:
        self.personal = personal
        self._graph: ControlGraph | None = None  # read from the store when somebody needs more than the state
        self._tips: tuple[Tip, ...] = ()  # of the snapshot, until then
        self._kept_at = 0  # Unix ms when the last snapshot was put
        self._snapshot_due = False  # the one in the store is of another state
        self._stamps: dict[bytes, int] = {}  # core -> the lowest stamp of an entry that brings the feed in
        self.arrived: dict[bytes, int] = {}  # core -> Unix ms when its admission came
        self.vouched: set[bytes] = set()  # cores that a proved member sent items of
        self.awaited: dict[bytes, bytes] = {}  # core -> the device whose feed will follow it, and brings its end
        self._named_missing: dict[bytes, int] = {}  # core -> Unix ms when entries of it first waited for missing ones
        self._waits = True
        self.left_out: set[bytes] = set()  # of these, cores whose devices an epoch of mine left out since
        self.version = 0  # how often membership changed
        self._context, self._feed_store, self._changes = context, feed_store, changes
        self._state: SpaceState | None = None
        self._unlearned: dict[bytes, ControlEntry] = {}  # whose statements the directory lacks
        self._said: dict[bytes | None, dict[bytes, None]] = {}  # identity (None: any member) -> statements it has
        self._authors: dict[bytes, tuple[bytes, bytes]] = {}  # core -> (member id, what its message ids hang on)
        self._first_after_me: dict[bytes, int] = {}
        self._partings: dict[bytes, Parting | None] = {}
        self._last_partings: dict[bytes, Parting | None] = {}
        if not self._read_snapshot():
            self._snapshot_due = len(self.graph) > 0
            self.learn_devices()
        feed_store.control_tips = self.tips
        self._seen_by: tuple[int, dict[bytes, list[tuple[bytes, int]]]] = -1, {}  # as of which version
        self._outside = not self._writes()
        # What the rows in the store were folded by: the next change of membership is compared with it.
        self._shape = self._shape_now()
        self.writing = self._writing_now()  # cores of open writers, as of the last fold
        for core in feed_store.feeds:
            self.author(core)

    def _branches(self, core: bytes) -> Sequence[FeedBranch]:
        feed = self._feed_store.feeds.get(core)
        return (FeedBranch(self._feed_store, feed),) if feed is not None and feed.length else ()

    # -- the graph, and what stands for it at the start --------------------------------------------------------

    @property
    def graph(self) -> ControlGraph:
        """All control entries; loading them costs as much as taking them in did."""
        if self._graph is None:
            space = self._feed_store.space
            self._graph = ControlGraph(space, FeedLineage(self._branches, self._feed_store.branches.prefixes))
            for _, value in self._context.store.scan(Table.CONTROL, space, prefix_end(space)):
                entry, arrived = decode_stored_control(value)
                self._graph.add(entry)
                self._note_arrival(entry, arrived)
            self._graph.recheck()
        return self._graph

    def _read_snapshot(self) -> bool:
        """The state as of the last snapshot, if it is over the very entries that are in the store."""
        store, space = self._context.store, self._feed_store.space
        value = store.get(Table.FOLD, space)
        snapshot = decode_snapshot(value, lambda *ends: bool(self.graph.agree(*ends))) if value is not None else None
        if value is not None and snapshot is None:
            self._changes.control_came()  # another version folded this: what it could not show, this one may
        if snapshot is None or store.extent(Table.CONTROL, space, prefix_end(space)) != (
            snapshot.entries,
            snapshot.octets,
        ):
            return False
        self._state, self._tips = snapshot.state, snapshot.tips
        self.arrived = {one.core: one.arrived for one in snapshot.admitted}
        self._stamps = {one.core: one.stamp for one in snapshot.admitted}
        for identity, statements in snapshot.said:
            self._learn(identity, statements)
        return True

    def keep_snapshot(self, now_ms: int) -> None:
        """Puts the state beside the entries, so that the next start need not fold them: at most once a minute, and only
        where nothing waits and this saves more than it costs."""
        graph, store, space = self._graph, self._context.store, self._feed_store.space
        if not self._snapshot_due or graph is None or len(graph) < MIN_SNAPSHOT or graph.waits():
            return
        if 0 <= now_ms - self._kept_at < SNAPSHOT_MS:
            return
        entries, octets = store.extent(Table.CONTROL, space, prefix_end(space))
        if entries != len(graph):
            return  # some are in the open batch
        tips = tuple(Tip(p, entry.root) for p in graph.tips() if (entry := graph.entry(p.hash)) is not None)
        admitted = tuple(Admitted(c, at, self._stamps[c]) for c, at in self.arrived.items() if c in self.state.writers)
        said = tuple((identity, tuple(statements)) for identity, statements in self._said.items())
        self._context.batch.put(
            Table.FOLD, space, encode_snapshot(Snapshot(entries, octets, tips, admitted, said, self.state))
        )
        self._kept_at, self._snapshot_due = now_ms, False

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
    def missing_cores(self) -> Collection[bytes]:
        """Feeds in which control entries stand that others wait for."""
        return self._graph.missing_cores() if self._graph is not None else ()

    @property
    def expects_control(self) -> bool:
        """Whether control entries are missing that are still waited for (`wait_for_missing`)."""
        return bool(self.missing_cores) and self._waits

    def wait_for_missing(self, now_ms: int) -> int | None:
        """Until when (Unix ms) missing control entries are waited for, None: not any more.  They are for a minute from
        when a feed first named one, and for no other of that feed: made-up parents hold nothing up for good."""
        self._waits = False
        if not self.missing_cores:
            return None
        since = {core: min(self._named_missing.get(core, now_ms), now_ms) for core in self.graph.waiting_feeds()}
        self._named_missing.update(since)
        end = max((at + MISSING_MS for at in since.values()), default=now_ms)
        self._waits = end > now_ms
        return end if self._waits else None

    @property
    def admitted(self) -> int:
        """The stamp of the entry that lets this device in; beyond every stamp before that entry is here."""
        mine = self._feed_store.mine
        return self._stamps.get(mine.core, 1 << 64) if mine is not None else 1 << 64

    def tips(self) -> dict[Point, bool]:
        """Control entries that no other names; True: on the branch that is kept of their feed."""
        found: dict[Point, bool] = {}
        tips = self._tips
        if self._graph is not None:
            graph = self._graph
            tips = tuple(Tip(p, entry.root) for p in graph.tips() if (entry := graph.entry(p.hash)) is not None)
        for (core, seq, hash_), root in ((tip.parent, tip.root) for tip in tips):
            feed = self._feed_store.feeds.get(core)
            found[core, seq, hash_] = feed is not None and self._feed_store.root_at(feed, seq + 1) == root
        return found

    def missing(self) -> tuple[Parent, ...]:
        """Parents of control entries that are nowhere, as many as are asked for at a time."""
        return self._graph.sought() if self._graph is not None else ()

    def questions(self) -> list[Question]:
        """Proofs that control entries in waiting wait for."""
        found: list[Question] = []
        for core, end, at in self._graph.questions() if self._graph is not None else ():
            feed = self._feed_store.feeds.get(core)
            held = feed.length if feed is not None else 0
            found.append((core, end.length, end.root, at or min(held, end.length)))
        return found

    def feed_of(self, core: bytes) -> bytes:
        """The core key of the feed that a fact is of: offshoots have names of their own."""
        offshoot = self._feed_store.offshoots.by_name.get(core)
        return core if offshoot is None else offshoot.core

    def parting(self, core: bytes) -> Parting | None:
        """How the branch that is kept of a closed feed lies to its end; None where it agrees with it."""
        if core not in self._partings:
            end = self.state.ends.get(core)
            self._partings[core] = self._find_parting(core, end) if end is not None else None
        return self._partings[core]

    def _find_parting(self, core: bytes, end: End) -> Parting | None:
        feed, prefixes = self._feed_store.feeds.get(core), self._feed_store.branches.prefixes
        if feed is None or (feed.writer not in self._feed_store.proofs and not prefixes.knows(core)):
            return None
        lengths = {**prefixes.shorter(core, end), end.length: end.root}
        same = 0
        for length in sorted(lengths):
            if not 0 < length <= feed.length:
                continue
            if self._feed_store.root_at(feed, length) != lengths[length]:
                witnessed = self.state.witnessed.get(core, ())
                mine = (w.length for w in witnessed if self._feed_store.root_at(feed, w.length) == w.root)
                return Parting(end, same, length, max(mine, default=0))
            same = length
        return None

    def parted(self) -> set[bytes]:
        """Closed feeds of whose parting something else is known than at the last call."""
        now = {core: self.parting(core) for core in self.state.ends}
        before, self._last_partings = self._last_partings, now
        return {core for core, parting in now.items() if before.get(core) != parting}

    def forget_partings(self) -> None:
        """More is known of branches."""
        self._partings.clear()

    def shows(self, core: bytes, seq: int) -> bool:
        """Whether an entry that is here is seen, on whichever branch it stands."""
        offshoot = self._feed_store.offshoots.by_name.get(core)
        if offshoot is not None:
            return self._decided(offshoot)
        parting = self.parting(core)
        if parting is None or seq + 1 < parting.differ:
            return self.state.shows(core, seq)
        return seq < parting.witnessed

    def acts(self, core: bytes, seq: int) -> bool:
        """Whether an entry that is here counts with its author's rank, on whichever branch it stands."""
        offshoot = self._feed_store.offshoots.by_name.get(core)
        if offshoot is not None:
            return self._decided(offshoot)
        parting = self.parting(core)
        return (parting is None or seq + 1 < parting.differ) and self.state.within(core, seq)

    def witness(self, core: bytes, seq: int) -> bytes | None:
        """On whose word an entry shows that lies beyond the end of its feed: the core key of a writer that says that it
        had opened it before.  None: it lies within, or a device of mine says so, this one or another."""
        feed = self._feed_store.feeds.get(core)
        if (
            core in self._feed_store.offshoots.by_name
            or self.acts(core, seq)
            or (feed is not None and seq < feed.heard)
        ):
            return None
        found = self._witnesses().get(core, ())
        mine = self.state.writers.get(self._feed_store.mine.core) if self._feed_store.mine is not None else None
        by = sorted(w for w, length in found if seq < length and w in self.state.writers)
        me = mine.member if mine is not None else None
        return None if any(self.state.writers[w].member == me for w in by) else next(iter(by), None)

    def _witnesses(self) -> dict[bytes, list[tuple[bytes, int]]]:
        """core -> (core of the witness, length) of all that counting witnesses say of the feed."""
        if self._seen_by[0] != self.version:
            found: dict[bytes, list[tuple[bytes, int]]] = {}
            for entry in self.graph.entries() if self.state.witnessed else ():
                for place, op in enumerate(entry.ops):
                    if isinstance(op, Witness) and (entry.id, place) in self.state.counted:
                        found.setdefault(op.feed.core, []).append((entry.core, op.feed.length))
            self._seen_by = self.version, found
        return self._seen_by[1]

    def _decided(self, offshoot: Offshoot) -> bool:
        return offshoot.core in self.state.writers and self.state.ends.get(offshoot.core) == offshoot.end

    def names(self, block: bytes) -> bool:
        """Whether a block (by its hash) is known as a control entry, itself or as the parent of one."""
        if self._graph is None and any(tip.parent.hash == block for tip in self._tips):
            return True
        return self.graph.names(block)

    def within(self, core: bytes, seq: int) -> bool:
        """Own documents count within what closes admit; before the graph is complete nothing is known to be out."""
        return self.feed_of(core) not in self.state.ends or self.acts(core, seq)

    def is_direct(self, one: bytes, other: bytes) -> bool:
        """Whether this is the chat of exactly these two identities, as far as its control entries are here."""
        state = self.state
        return state.kind is SpaceKind.DIRECT and {m.identity for m in state.members.values()} <= {one, other}

    def devices(self) -> set[bytes]:
        """Ids of all rostered devices, as their admissions name them."""
        return {place.device for place in self.state.roster}

    def rostered(self) -> list[tuple[bytes, bytes]]:
        """(core key, device id) of each place in the roster.  The id is the word of whoever admitted: two feeds may
        name one device."""
        return [(core_key(place.writer), place.device) for place in self.state.roster]

    def author(self, core: bytes) -> tuple[bytes, bytes] | None:
        """(member id, what its message ids hang on) of whose feed this is, None while that is not known."""
        found = self._authors.get(core)
        if found is None:
            member = self.state.member(core)
            key = self._author_key(member) if member is not None else None
            if member is not None and key is not None:
                found = self._authors[core] = (member.id, key)
        return found

    def _author_key(self, member: Member) -> bytes | None:
        """What `crdt.docs.ids.message_id` takes for a member: in a direct chat the identities of both, once the other
        is known; else the core key of the feed that its `add` names."""
        if self.state.kind is not SpaceKind.DIRECT:
            return member.core
        others = {one.identity for one in self.state.members.values()} - {member.identity}
        return member.identity + min(others) if others else None

    def first_after_me(self, core: bytes) -> int:
        """The place of the first control entry of a feed that has the admission of me, by whichever device, in its
        past; beyond any, if there is none."""
        found = self._first_after_me.get(core)
        if found is None:
            found = self._first_after_me[core] = self._find_first_after_me(core)
        return found

    def _find_first_after_me(self, core: bytes) -> int:
        mine = self._feed_store.mine
        me = self.state.writers.get(mine.core) if mine is not None else None
        after = [
            entry.seq
            for entry in self.graph.entries()
            if me is not None
            and entry.core == core
            and (entry.id == me.member or self.graph.precedes(me.member, entry.id))
        ]
        return min(after, default=MAX_LENGTH)

    # -- whose feeds are kept ---------------------------------------------------------------------------------

    def admits(self, writer: bytes) -> bool:
        """Whether a feed is kept: admitted, named by a control entry that waits for it, or vouched by a member."""
        if writer in self._feed_store.by_writer:
            return True
        core = core_key(writer)
        return core in self.state.writers or core in self.vouched or core in self.missing_cores

    def vouch(self, cores: Iterable[bytes]) -> None:
        """A proved member speaks of these feeds."""
        for core in sorted(set(cores) - self.vouched)[: MAX_CORES - len(self.vouched)]:
            self.vouched.add(core)
            self._changes.row_changed()

    # -- what comes -------------------------------------------------------------------------------------------

    def add(self, entry: ControlEntry, now_ms: int) -> None:
        """A control entry was opened; the fold follows in `refold`."""
        graph = self.graph  # as the store has it, before this entry
        self._context.batch.put(Table.CONTROL, self._feed_store.space + entry.id, encode_stored_control(entry, now_ms))
        self._changes.control_came()
        self._note_arrival(entry, now_ms)
        graph.add(entry)
        self._state = None

    def _note_arrival(self, entry: ControlEntry, now_ms: int) -> None:
        for op in entry.ops:
            core = getattr(op, "core", None)
            if isinstance(core, bytes):
                self.arrived.setdefault(core, now_ms)
                self._stamps[core] = min(self._stamps.get(core, entry.stamp), entry.stamp)
        if any(getattr(op, "statements", ()) for op in entry.ops):
            self._unlearned[entry.id] = entry

    def recheck(self) -> None:
        """Entries whose parents stand in feeds that grew may be complete now."""
        if self._graph is not None and self._graph.recheck():
            self._state = None

    def learn_devices(self) -> None:
        """Device statements of operations that count, each for the identity that it may speak of."""
        state = self.state
        for entry in list(self._unlearned.values()):
            for place, op in enumerate(entry.ops):
                statements = getattr(op, "statements", ())
                if not statements or (entry.id, place) not in state.counted:
                    continue
                member = state.member(entry.core)
                identity = getattr(op, "identity", None) or (member.identity if member is not None else None)
                if isinstance(op, Revoke) or identity is not None:
                    self._learn(None if isinstance(op, Revoke) else identity, statements)
                self._unlearned.pop(entry.id, None)

    def _learn(self, identity: bytes | None, statements: Sequence[bytes]) -> None:
        """identity: of whom they may speak; None: of any member."""
        only = {identity} if identity is not None else {m.identity for m in self.state.members.values()}
        self._context.directory.learn(statements, only, self._feed_store.space)
        self._said.setdefault(identity, {}).update(dict.fromkeys(statements))

    def refold(self) -> dict[bytes, tuple[bytes, bytes]]:
        """Membership changed.  Returns the authors as they were before."""
        self._changes.control = False
        self._snapshot_due = True
        self._changes.membership_changed()
        self.version += 1
        old, self._authors = self._authors, {}
        self._first_after_me.clear()
        self._partings.clear()
        self.learn_devices()
        self.writing = self._writing_now()
        if self._outside and self._writes():
            self._outside = False
            self._let_go()
        return old

    def moved(self, old: dict[bytes, tuple[bytes, bytes]]) -> set[bytes]:
        """Feeds whose entries show otherwise than before: another author, another end, another rank over them."""
        shape = self._shape_now()
        last, self._shape = self._shape, shape
        found = {core for core, author in old.items() if self.author(core) != author}
        if last != shape:
            found |= {c for c in shape[0].keys() | last[0].keys() if shape[0].get(c) != last[0].get(c)}
            found |= {c for c in shape[2].keys() | last[2].keys() if shape[2].get(c) != last[2].get(c)}
            if shape[1] != last[1]:
                found |= set(self.state.writers)
        return found

    def ends_moved(self) -> bool:
        """Whether feeds end otherwise than before."""
        shape = self._shape_now()
        last, self._shape = self._shape, shape
        return last[0] != shape[0]

    def _shape_now(self) -> Shape:
        state = self.state
        return dict(state.ends), state.admins, dict(state.witnessed)

    def _writing_now(self) -> frozenset[bytes]:
        return frozenset(writer.core for writer in self.state.writers.values() if writer.open)

    def _writes(self) -> bool:
        mine = self._feed_store.mine
        return mine is not None and mine.core in self.state.writers

    def _let_go(self) -> None:
        """Now it is known who writes here: what was taken on the word of whoever gave the history, and is nobody's,
        goes.  What is missing after all comes sealed and is asked for again."""
        kept = {*self.state.writers, *self.missing_cores}
        if not self.vouched <= kept:
            self.vouched &= kept
            self._changes.row_changed()
        for core in self._feed_store.item_seqs.keys() - kept:
            self._feed_store.drop_items(self._context.batch, core)


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
