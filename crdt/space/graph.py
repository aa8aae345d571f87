"""The control graph of one space: what arrived, what waits, and the fold over what is complete.

An entry waits until its parents are here, until every end it names is proved to lie on a signed branch, and until it is
known which ends and entries of its own feed lie on its branch (`docs/protocol.md`, "Arrival").  Nothing
here verifies feeds: who adds an entry has found its block under a signed head.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import NamedTuple

from crdt.space.answers import MAX_UNANSWERED, Answers
from crdt.space.consent import verify_op
from crdt.space.control import MAX_PARENTS, Close, ControlEntry, Op, Parent
from crdt.space.ends import FeedEnds
from crdt.space.fold import Folder
from crdt.space.history import History, Row
from crdt.space.lineage import START, End, Lineage
from crdt.space.membership import EpochInfo, SpaceState, state_of
from crdt.space.renewal import renewed
from crdt.space.rules import Limits, RuleContext
from crdt.space.standing import Judge, judge
from crdt.space.strand import Strand

MAX_WAITING = 1000  # entries of one feed
MAX_WAITING_ALL = 8192
MAX_ABSENT = 16_384  # parents that are not complete, named by waiting entries of one feed; honest ones name few
MAX_ABSENT_ALL = 131_072
MAX_SOUGHT = 1024  # parents that one feed names and that are asked for at a time
MAX_FORKED = 64  # entries beside another branch of their feed that are taken though nobody named them
PREVIEW = b"\xff" * 32
LATEST = 2**64 - 1  # stamp of a preview: nothing was written later


class EntryStatus(Enum):
    """Whether an entry takes part in the fold, waits for others, or is not here."""

    COMPLETE = "complete"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Unproved:
    """A length and tree hash of a feed that an entry in waiting names: ask peers for the proof."""

    core: bytes
    end: End


class Question(NamedTuple):
    """What peers are asked to prove: that an end of a feed is signed, and what the feed was at a shorter length."""

    core: bytes
    end: End
    at: int  # 0: whatever the asker holds


Verify = Callable[[bytes, ControlEntry, Op], bool]


class ControlGraph:
    """Control entries of one space.

    lineage: which ends of a feed lie on one branch; verify, judge: signatures inside operations and device statements
    (tests replace them); limits: how many members and devices get keys.
    """

    def __init__(
        self,
        space: bytes,
        lineage: Lineage,
        *,
        limits: Limits | None = None,
        verify: Verify = verify_op,
        judge: Judge = judge,
        history: History | None = None,
    ) -> None:
        self.space = space
        self._lineage = lineage
        self._verify = verify
        self._history = history or History()
        self._context = RuleContext(space, FeedEnds(self._history, self._agree), limits or Limits(), judge)
        self._folder = Folder(self._history, self._context)
        self._agreed: dict[tuple[bytes, End, End], bool] = {}
        self._waiting: dict[bytes, ControlEntry] = {}
        self._waiting_of: dict[bytes, int] = {}
        self._absent: dict[bytes, int] = {}  # entry in waiting -> parents that were not complete when it came
        self._absent_of: dict[bytes, int] = {}  # the sum for each feed
        self._absent_all = 0
        self._nowhere: dict[bytes, set[Parent]] = {}  # by hash: parents that are neither complete nor waiting
        self._nowhere_in: dict[bytes, int] = {}  # core key -> how many of them stand there
        self._sought: tuple[Parent, ...] | None = None  # those to be fetched first, while that is known
        self._children: dict[bytes, set[bytes]] = {}  # parent not complete -> entries in waiting that name it
        self._named: dict[bytes, Strand] = {}  # core key -> ends that complete closes give it
        self._stands: dict[bytes, Strand] = {}  # core key -> ends of its complete entries
        self._masks: dict[bytes, int] = {}  # core key -> bits of their operations
        self._answers = Answers(self._history)
        self._crowded: set[bytes] = set()  # entries in waiting for which their feed has no room before it is answered
        self._forked: dict[bytes, int] = {}
        self._tips: set[bytes] = set()
        self._state: SpaceState | None = None
        self._epochs: Mapping[bytes, EpochInfo] = {}  # of the last state

    # -- arrival ----------------------------------------------------------------------------------------------

    def add(self, entry: ControlEntry) -> list[ControlEntry]:
        """Entries that became complete, parents first; empty if it waits, is known, or has no room to wait."""
        if entry.id in self._history.rows or entry.id in self._waiting:
            return []
        if self._waiting_of.get(entry.core, 0) >= MAX_WAITING or len(self._waiting) >= MAX_WAITING_ALL:
            return []
        parents = [p for p in entry.parents if p.hash not in self._history.rows]
        of_feed = self._absent_of.get(entry.core, 0) + len(parents)
        if of_feed > MAX_ABSENT or self._absent_all + len(parents) > MAX_ABSENT_ALL:
            return []
        self._sought = None
        self._waiting[entry.id] = entry
        self._waiting_of[entry.core] = self._waiting_of.get(entry.core, 0) + 1
        self._absent[entry.id], self._absent_of[entry.core] = len(parents), of_feed
        self._absent_all += len(parents)
        self._arrived(entry.id)
        absent = [p.hash for p in parents]
        for parent in parents:
            self._children.setdefault(parent.hash, set()).add(entry.id)
            if parent.hash not in self._waiting:
                self._lacks(parent)
        # A forked entry that waited for somebody to name it may go on now.
        named = [hash_ for hash_ in absent if hash_ in self._waiting]
        return self._release([*named, entry.id])

    def _lacks(self, parent: Parent) -> None:
        places = self._nowhere.setdefault(parent.hash, set())
        if parent not in places:
            places.add(parent)
            self._nowhere_in[parent.core] = self._nowhere_in.get(parent.core, 0) + 1

    def _arrived(self, entry: bytes) -> None:
        for parent in self._nowhere.pop(entry, ()):
            self._nowhere_in[parent.core] -= 1
            if not self._nowhere_in[parent.core]:
                del self._nowhere_in[parent.core]

    def recheck(self) -> list[ControlEntry]:
        """As `add`, after new proofs: entries that waited for them."""
        return self._release(list(self._waiting))

    def _release(self, todo: list[bytes]) -> list[ControlEntry]:
        done: list[ControlEntry] = []
        while todo:
            entry = self._waiting.get(todo.pop(0))
            if entry is None or any(p.hash not in self._history.rows for p in entry.parents):
                continue
            honest = all(self._history.rows[p.hash].entry.parent == p for p in entry.parents)
            if honest and not self._ready(entry):
                continue
            del self._waiting[entry.id]
            self._sought = None
            self._crowded.discard(entry.id)
            self._waiting_of[entry.core] -= 1
            absent = self._absent.pop(entry.id)
            self._absent_of[entry.core] -= absent
            self._absent_all -= absent
            if not honest:  # names a block where it does not stand: nobody can ever complete it
                continue
            self._take(entry)
            done.append(entry)
            todo.extend(sorted(self._children.pop(entry.id, ())))
            if self._crowded and not todo:
                todo.extend(self._answered_now())
        return done

    def _ready(self, entry: ControlEntry) -> bool:
        """Whether everything the fold may ask about this entry's lineage is known."""
        for op in entry.ops:
            if isinstance(op, Close) and not all(self._placeable(f.core, f.end) for f in op.feeds):
                return False
        if not self._comparable(self._named, entry.core, entry.end):
            return False
        agreed = [self._known(entry.core, row.entry.end, entry.end) for row in self._beside(entry)]
        if None in agreed:
            return False
        if False in agreed and self._forked.get(entry.core, 0) >= MAX_FORKED and not self._wanted(entry):
            return False
        if self._has_room(entry.core, len(entry.ops)) or self._drawn_in(entry):
            self._crowded.discard(entry.id)
            return True
        self._crowded.add(entry.id)
        return False

    def _has_room(self, core: bytes, more: int) -> bool:
        mask = self._masks.get(core, 0)
        return mask.bit_count() + more <= MAX_UNANSWERED or self._answers.has_room(mask, core, more, self.state())

    def _drawn_in(self, entry: ControlEntry) -> bool:
        """Whether an entry of another feed needs this one, and may need that much."""
        children = (self._waiting.get(child) for child in sorted(self._children.get(entry.id, ())))
        cores = {child.core for child in children if child is not None and child.core != entry.core}
        more, state = len(entry.ops), self.state()
        return any(self._answers.draws(self._masks.get(core, 0), core, more, state) for core in sorted(cores))

    def _answered_now(self) -> list[bytes]:
        """Entries that waited for an answer, in feeds that have room again."""
        feeds = {self._waiting[id_].core for id_ in self._crowded}
        room = {core for core in feeds if self._has_room(core, 1)}
        found = [entry for id_ in self._crowded if (entry := self._waiting[id_]).core in room]
        return [entry.id for entry in sorted(found, key=lambda entry: (entry.core, entry.seq))]

    def _beside(self, entry: ControlEntry) -> list[Row]:
        """Entries of its feed that its parents do not reach, if not all of them are known to lie on its branch: none,
        for who writes honestly and in one place."""
        past, mask = 0, self._masks.get(entry.core, 0)
        for parent in entry.parents:
            past |= self._history.rows[parent.hash].reach
        if not mask & ~past or self._stands[entry.core].holds(entry.end, self._agreement(entry.core)):
            return []
        return [row for row in self._history.by_core[entry.core] if row.mask & ~past]

    def _placeable(self, core: bytes, end: End) -> bool:
        if not self._lineage.proved(core, end):
            return False
        return self._comparable(self._stands, core, end) and self._comparable(self._named, core, end)

    def _comparable(self, strands: dict[bytes, Strand], core: bytes, end: End) -> bool:
        """Whether it is known how an end lies to all of these of its feed."""
        strand, known = strands.get(core), self._agreement(core)
        if strand is None or strand.holds(end, known):
            return True
        return all(known(min(other, end), max(other, end)) is not None for other in strand.ends)

    def _agreement(self, core: bytes) -> Callable[[End, End], bool | None]:
        return partial(self._known, core)

    def _wanted(self, entry: ControlEntry) -> bool:
        """Whether an entry of another feed names it: then everybody who takes that one needs it."""
        return any(
            child in self._waiting and self._waiting[child].core != entry.core
            for child in self._children.get(entry.id, ())
        )

    def _take(self, entry: ControlEntry) -> None:
        if any(not self._agree(entry.core, row.entry.end, entry.end) for row in self._beside(entry)):
            self._forked[entry.core] = self._forked.get(entry.core, 0) + 1
        row = self._history.append(entry)
        skipped = self._skipping(row)
        self._stands.setdefault(entry.core, Strand()).put(entry.end)
        self._masks[entry.core] = self._masks.get(entry.core, 0) | row.mask
        void = sum(p.bit for p in row.placed if not self._verify(self.space, entry, p.op))
        void |= skipped
        self._folder.void |= void
        if void & ~row.mask:
            self._folder.reset()
            self._state = None
        else:
            self._folder.judge_closes(row)
            self._renew(row)
        for op in entry.ops:
            if isinstance(op, Close):
                for feed in op.feeds:
                    self._named.setdefault(feed.core, Strand()).put(feed.end)
        self._tips.difference_update(p.hash for p in entry.parents)
        self._tips.add(entry.id)

    def _renew(self, row: Row) -> None:
        """The state follows from what it was, where that is simple; else it is found when somebody asks."""
        before, state = self._folder.known(self._history.all & ~row.mask), self._state
        self._state = None
        after = self._folder.grow(row, before) if before is not None else None
        if before is not None and after is not None and state is not None:
            self._state = renewed(self._history, state, row, before, after)

    def _skipping(self, row: Row) -> int:
        """Bits of entries that leave out an earlier control entry of their own branch: they never count.

        Whoever writes honestly has its own entries in its past; to leave one out is to act from before it.
        """
        core, end = row.entry.core, row.entry.end
        strand, skipped = self._stands.get(core), self._masks.get(core, 0) & ~row.past
        if strand is None or (not skipped and strand.is_top(end)):
            return 0
        if skipped and strand.is_top(end) and strand.holds(end, self._agreement(core)):
            return row.mask
        bits = 0
        for other in self._history.by_core[core]:
            early, late = (other, row) if other.entry.seq < row.entry.seq else (row, other)
            if not early.mask & ~late.past or early.entry.seq == late.entry.seq:
                continue
            if self._agree(row.entry.core, early.entry.end, late.entry.end):
                bits |= late.mask
        return bits

    # -- what is here -----------------------------------------------------------------------------------------

    def waits(self) -> bool:
        """Whether any entry is here that is not complete."""
        return bool(self._waiting)

    def status(self, entry: bytes) -> EntryStatus:
        """Where an entry stands, by its block hash."""
        if entry in self._history.rows:
            return EntryStatus.COMPLETE
        return EntryStatus.WAITING if entry in self._waiting else EntryStatus.UNKNOWN

    def names(self, block: bytes) -> bool:
        """Whether this block hash is that of a control entry: one that is here, or a parent that one here names."""
        return block in self._history.rows or block in self._waiting or block in self._nowhere

    def entry(self, id_: bytes) -> ControlEntry | None:
        """A complete entry."""
        row = self._history.rows.get(id_)
        return None if row is None else row.entry

    def entries(self) -> list[ControlEntry]:
        """Complete entries, parents first."""
        return [row.entry for row in self._history.rows.values()]

    def __len__(self) -> int:
        return len(self._history.rows)

    def tips(self, core: bytes | None = None) -> tuple[Parent, ...]:
        """Complete entries that no other names: the parents of the next one, ascending, at most 1,024.

        core: the feed that is going to write; its own last entries come first if there are too many.
        """
        rows = [self._history.rows[tip].entry for tip in self._tips]
        if len(rows) > MAX_PARENTS:
            rows = sorted(rows, key=lambda e: (e.core != core, e.id))[:MAX_PARENTS]
        return tuple(sorted(entry.parent for entry in rows))

    def missing(self) -> tuple[Parent, ...]:
        """Parents that are nowhere, on whatever branch they may be."""
        return tuple(sorted(parent for places in self._nowhere.values() for parent in places))

    def sought(self) -> tuple[Parent, ...]:
        """Those of them to be fetched first: at most MAX_SOUGHT for each feed that names them, the longest missing,
        so that parents which one author made up keep nobody else's from being asked for."""
        if self._sought is None:
            found, taken = list[Parent](), dict[bytes, int]()
            for hash_, places in self._nowhere.items():
                children = (self._waiting.get(child) for child in self._children.get(hash_, ()))
                namers = {child.core for child in children if child is not None}
                if any(taken.get(namer, 0) < MAX_SOUGHT for namer in namers):
                    found += places
                    taken.update((namer, taken.get(namer, 0) + len(places)) for namer in namers)
            self._sought = tuple(sorted(found))
        return self._sought

    def waiting_feeds(self) -> list[bytes]:
        """Core keys of the feeds of which entries wait."""
        return [core for core, count in self._waiting_of.items() if count]

    def missing_cores(self) -> Collection[bytes]:
        """Feeds in which they stand; a view that follows what arrives."""
        return self._nowhere_in.keys()

    def unproved(self) -> tuple[Unproved, ...]:
        """Ends named by entries in waiting that no proof stands behind yet."""
        found = {
            (feed.core, feed.end)
            for entry in self._waiting.values()
            for op in entry.ops
            if isinstance(op, Close)
            for feed in op.feeds
            if not self._placeable(feed.core, feed.end)
        }
        return tuple(Unproved(*key) for key in sorted(found))

    def questions(self, most: int = 256) -> list[Question]:
        """What proofs would let entries in waiting go on whose parents are complete, at most so many."""
        found: dict[Question, None] = {}
        for entry in self._waiting.values():
            if any(p.hash not in self._history.rows for p in entry.parents):
                continue
            for core, end, others in self._compared(entry):
                if not self._lineage.proved(core, end):
                    found[Question(core, end, 0)] = None
                for other in others:
                    if self._known(core, other, end) is None:
                        short, long = sorted((other, end))
                        found[Question(core, long, short.length)] = None
            if len(found) >= most:
                break
        return list(found)[:most]

    def _compared(self, entry: ControlEntry) -> Iterator[tuple[bytes, End, list[End]]]:
        """(core key, end, ends it must be placed against) of all that the fold may ask about an entry."""
        beside = [row.entry.end for row in self._beside(entry)]
        yield entry.core, entry.end, [*self._ends_named(entry.core), *beside]
        for op in entry.ops:
            if isinstance(op, Close):
                for feed in op.feeds:
                    rows = self._history.by_core.get(feed.core, ())
                    others = [*(row.entry.end for row in rows), *self._ends_named(feed.core)]
                    yield feed.core, feed.end, others

    def _ends_named(self, core: bytes) -> list[End]:
        """Ends that complete closes give a feed."""
        strand = self._named.get(core)
        return strand.ends if strand is not None else []

    def forks(self) -> tuple[bytes, ...]:
        """Feeds with control entries on more than one branch."""
        return tuple(sorted(core for core, count in self._forked.items() if count))

    def precedes(self, a: bytes, b: bytes) -> bool:
        """Whether complete entry `a` lies in the past of complete entry `b`."""
        mask = self._history.rows[a].mask
        return mask & self._history.rows[b].past == mask

    # -- the fold ---------------------------------------------------------------------------------------------

    def state(self) -> SpaceState:
        """The state of all complete entries."""
        if self._state is None:
            known = self._epochs
            self._state = state_of(self._history, self._folder, self._context, self._history.all, known)
        self._epochs = self._state.epochs
        return self._state

    def preview(
        self, writer: bytes, ops: Iterable[Op], *, seq: int, parents: tuple[Parent, ...] | None = None
    ) -> SpaceState:
        """The state as it will be once `writer` (W) has written these operations at `seq`.

        What depends on the entry's own id or stamp (a member's name, ties) may come out differently.
        """
        named = self.tips() if parents is None else parents
        entry = ControlEntry(PREVIEW, writer, seq, PREVIEW, LATEST, named, tuple(ops))
        before = self._folder.fold(self._history.all)
        row = self._history.append(entry)
        try:
            self._folder.judge_closes(row)
            self._folder.grow(row, before)
            return state_of(self._history, self._folder, self._context, self._history.all, self._epochs)
        finally:
            self._history.take_back(row)

    def can(self, core: bytes, op: Op, *, seq: int | None = None) -> bool:
        """Whether the writer of feed `core` may do this now (signatures apart)."""
        writer = self.state().writers.get(core)
        if writer is None:
            return False
        entry = ControlEntry(PREVIEW, writer.writer, seq or 0, PREVIEW, 0, self.tips(), (op,))
        row = self._history.append(entry)
        try:
            return self._folder.may(row.placed[0], self._history.all & ~row.mask)
        finally:
            self._history.take_back(row)

    def reach(self, core: bytes) -> End:
        """The end of the furthest complete entry of this feed."""
        return max((row.entry.end for row in self._history.by_core.get(core, ())), default=START)

    def beyond(self, core: bytes, end: End) -> bool:
        """Whether a complete entry of this feed lies outside an end."""
        return any(not self._folder.within(row, end) for row in self._history.by_core.get(core, ()))

    def agree(self, core: bytes, a: End, b: End) -> bool | None:
        """Whether two ends of a feed lie on one branch; None: not known."""
        return self._known(core, a, b)

    # -- lineage, remembered ----------------------------------------------------------------------------------

    def _known(self, core: bytes, a: End, b: End) -> bool | None:
        key = (core, a, b) if a <= b else (core, b, a)
        known = self._agreed.get(key)
        if known is None:
            known = self._lineage.agree(core, key[1], key[2])
            if known is not None:
                self._agreed[key] = known
        return known

    def _agree(self, core: bytes, a: End, b: End) -> bool:
        """Whether two ends agree; everything complete was known to when it was taken."""
        return bool(self._known(core, a, b))
