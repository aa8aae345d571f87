"""Membership: what the fold of a control graph means to everybody else (`docs/protocol.md`, "State").

`fold(graph)` gives a `SpaceState`: members with their ranks, writers, where feeds end, epochs that count.  It is a pure
function of the set of control entries.  How it is found is in `fold.py`; who may do what in `rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

from crdt.space.control import (
    Add,
    Close,
    ControlEntry,
    Create,
    Epoch,
    Rostered,
    Set,
    SpaceKind,
    Witness,
)
from crdt.space.fold import Folder, Result
from crdt.space.history import History, Placed, Row
from crdt.space.lineage import End
from crdt.space.rules import Limits, RuleContext
from crdt.space.view import CREATOR, View
from identity.digest import digest
from identity.labels import Label

__all__ = ["ControlEntry", "EpochInfo", "Member", "Removal", "SpaceState", "Writer", "fold", "state_of"]


@dataclass(frozen=True, slots=True)
class Member:
    """id: of the entry that created or added it; core: the feed that entry names (message ids hang on it)."""

    id: bytes
    identity: bytes
    rank: int
    core: bytes
    writer: bytes


@dataclass(frozen=True, slots=True)
class Writer:
    """An admitted feed.  writer: W; admitted: the entry that brought it in; by: core key of the feed that did.

    statements: what the admission shows of the device; prekey: its P, or P and K, at that time; open: no close ends it;
    out: the device is, so it is in no roster.
    """

    core: bytes
    writer: bytes
    member: bytes
    device: bytes
    prekey: bytes
    admitted: bytes
    by: bytes
    stamp: int
    open: bool
    out: bool
    statements: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """An epoch that counts.  id: block hash of its entry; covers: its past holds every close and revocation that
    counts; superseded: by another that counts; rendezvous: check of its Z; classical: who of the roster got its secret
    under X25519 alone, as its author says."""

    id: bytes
    core: bytes
    seq: int
    stamp: int
    roster: tuple[Rostered, ...]
    supersedes: tuple[bytes, ...]
    rendezvous: bytes
    covers: bool
    superseded: bool
    classical: tuple[Rostered, ...] = ()


class Removal(NamedTuple):
    """A close that counts, by somebody of another member.  entry: its id; member: whom it ends."""

    entry: bytes
    member: bytes


@dataclass(frozen=True, slots=True)
class SpaceState:
    """What counts.  Members are named by entry ids, feeds by core keys; an operation by (entry id, place in it).

    out: devices of writers that are; stopped: an operation of a later version has to stop who does not know it; over:
    ids that epochs name as superseded; unaware: members whose add did not know of a removal of their identity.
    """

    space: bytes
    kind: SpaceKind = SpaceKind.GROUP
    title: str = ""
    settings: Mapping[str, bytes] = field(default_factory=dict)
    creator: bytes | None = None
    members: Mapping[bytes, Member] = field(default_factory=dict)
    writers: Mapping[bytes, Writer] = field(default_factory=dict)
    ends: Mapping[bytes, End] = field(default_factory=dict)
    admins: frozenset[bytes] = frozenset()
    out: frozenset[bytes] = frozenset()
    stopped: bool = False
    roster: tuple[Rostered, ...] = ()
    epochs: Mapping[bytes, EpochInfo] = field(default_factory=dict)
    successors: Mapping[bytes, bytes] = field(default_factory=dict)
    witnessed: Mapping[bytes, tuple[End, ...]] = field(default_factory=dict)
    counted: frozenset[tuple[bytes, int]] = frozenset()
    closes: frozenset[tuple[bytes, int]] = frozenset()
    closers: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    removals: tuple[Removal, ...] = ()
    unaware: frozenset[bytes] = frozenset()
    over: frozenset[bytes] = field(default=frozenset(), repr=False)
    agree: Callable[[bytes, End, End], bool] | None = field(default=None, repr=False, compare=False)

    def open(self, core: bytes) -> bool:
        """Whether this feed is a writer's that no close ends."""
        return core in self.writers and core not in self.ends

    def member(self, core: bytes) -> Member | None:
        """Whose feed this is."""
        writer = self.writers.get(core)
        return None if writer is None else self.members.get(writer.member)

    def rank(self, core: bytes) -> int | None:
        """The rank that a feed acts with: 0 creator, 1 admin, 2 member; None: it is no writer."""
        member = self.member(core)
        return None if member is None else member.rank

    def active(self, member: bytes) -> bool:
        """Whether the member still has an open writer."""
        return any(w.member == member and w.open for w in self.writers.values())

    def people(self) -> Mapping[bytes, tuple[Member, ...]]:
        """Identity -> its members with an open writer, the highest rank first: whoever is in is listed once."""
        open_ = {w.member for w in self.writers.values() if w.open}
        found: dict[bytes, tuple[Member, ...]] = {}
        for member in sorted((self.members[m] for m in open_), key=lambda m: (m.rank, m.id)):
            found[member.identity] = (*found.get(member.identity, ()), member)
        return found

    def within(self, core: bytes, seq: int, root: bytes | None = None) -> bool:
        """Whether an entry of an admitted feed lies within its end: it counts with its author's rank.

        root: the tree hash of its branch at seq + 1, needed only where the feed forked.
        """
        if core not in self.writers:
            return False
        end = self.ends.get(core)
        return end is None or self._inside(core, seq, root, end)

    def shows(self, core: bytes, seq: int, root: bytes | None = None) -> bool:
        """Whether an entry is seen: within its end, or witnessed (then as a message only)."""
        if self.within(core, seq, root):
            return True
        return any(self._inside(core, seq, root, end) for end in self.witnessed.get(core, ()))

    def _inside(self, core: bytes, seq: int, root: bytes | None, end: End) -> bool:
        if seq >= end.length:
            return False
        return root is None or self.agree is None or self.agree(core, End(seq + 1, root), end)


class Graph(Protocol):
    """What `fold` asks of a control graph."""

    def state(self) -> SpaceState: ...


def fold(graph: Graph) -> SpaceState:
    """The state of all complete entries of the graph."""
    return graph.state()


def state_of(
    history: History, folder: Folder, context: RuleContext, scope: int, known: Mapping[bytes, EpochInfo] | None = None
) -> SpaceState:
    """The state of a set of operations closed under pasts (bits of `history`).  known: epochs of another state."""
    result = folder.fold(scope)
    view = result.view
    name = _names(history)
    first = {index: history.placed[index] for index in view.members}
    members = {
        name[index]: Member(name[index], identity, view.rank(index), *_first_feed(first[index]))
        for index, identity in view.members.items()
    }
    ends = {core: end for core in view.admitted if (end := view.end(core)) is not None}
    out = {core for core in view.admitted if view.revokes and context.out(view, core)}
    writers = {
        core: Writer(
            core,
            a.writer,
            name[a.member],
            a.device,
            a.prekey,
            a.placed.row.entry.id,
            a.placed.core,
            a.placed.row.entry.stamp,
            core not in ends,
            core in out,
            getattr(a.placed.op, "statements", ()),
        )
        for core, a in view.admitted.items()
        if a.member is not None
    }
    counted = tuple(placed for placed in history.full if placed.bit & result.counted)
    removals = _removals(counted, name, context)
    settings = _settings(counted)
    title = settings.get("title", b"").decode("utf-8", "replace") if "title" in settings else _title(view, history)
    return SpaceState(
        space=context.space,
        kind=view.kind,
        title=title,
        settings=settings,
        creator=None if view.creator is None else name[view.creator],
        members=members,
        writers=writers,
        ends=ends,
        admins=frozenset(name[index] for index in view.admins),
        out=frozenset(view.admitted[core].device for core in out),
        stopped=folder.stopped(scope, result),
        roster=roster_of(view, out, context.limits),
        epochs=_epochs(counted, view, result, known or {}),
        over=frozenset(id_ for placed in counted if isinstance(placed.op, Epoch) for id_ in placed.op.superseded),
        successors=dict(view.successor),
        witnessed=_witnessed(counted),
        counted=frozenset(placed.name for placed in counted),
        closes=frozenset(placed.name for placed in counted if placed.close),
        closers=_closers(counted),
        removals=removals,
        unaware=_unaware(removals, members, history),
        agree=context.ends.agree,
    )


def roster_of(view: View, outside: Iterable[bytes], limits: Limits) -> tuple[Rostered, ...]:
    """Open writers (core keys) whose devices are not outside, ascending by W.

    Where admissions written apart gave a member more than 6 or a space more than 50, those that came first have the
    places (by order of the graph): a grant has room for no more.
    """
    out = set(outside)
    of: dict[int, list[bytes]] = {}
    live = [core for core in view.admitted if view.open(core) and core not in out]
    for core in sorted(live, key=lambda core: view.admitted[core].placed.order):
        of.setdefault(cast(int, view.member_of(core)), []).append(core)
    ranked = sorted(of, key=lambda m: (view.rank(m) != CREATOR, view.history.placed[m].order))
    seats = [core for m in ranked[: limits.members] for core in of[m][: limits.devices]]
    return tuple(sorted(Rostered(view.admitted[core].writer, view.admitted[core].device) for core in seats))


def sort_key(entry: ControlEntry) -> tuple[int, bytes, int]:
    """(stamp, writer, seq): what decides between things written apart."""
    return entry.stamp, digest(Label.WRITER, entry.core)[:10], entry.seq


def _names(history: History) -> dict[int, bytes]:
    return {index: member for member, index in history.members.items()}


def _first_feed(placed: Placed) -> tuple[bytes, bytes]:
    """(core key, W) of the feed that a create or add names."""
    if isinstance(placed.op, Add):
        return placed.op.core, placed.op.writer
    return placed.core, placed.row.entry.writer


def _title(view: View, history: History) -> str:
    op = None if view.creator is None else history.placed[view.creator].op
    return op.title if isinstance(op, Create) else ""


def _settings(counted: tuple[Placed, ...]) -> dict[str, bytes]:
    """Of settings written apart the latest by sort key; one that saw another replaces it whatever the clocks say."""
    by_key: dict[str, list[Placed]] = {}
    for placed in counted:
        if isinstance(placed.op, Set):
            by_key.setdefault(placed.op.key, []).append(placed)
    found = {}
    for key, given in by_key.items():
        seen = 0
        for placed in given:
            seen |= placed.past
        apart = [placed for placed in given if not placed.bit & seen]
        last = max(apart, key=lambda placed: (*sort_key(placed.row.entry), placed.name))
        found[key] = cast(Set, last.op).value
    return found


def _epochs(
    counted: tuple[Placed, ...], view: View, result: Result, known: Mapping[bytes, EpochInfo]
) -> dict[bytes, EpochInfo]:
    needed = result.taken
    for placed in view.revokes:
        needed |= placed.bit
    opened = [placed for placed in counted if isinstance(placed.op, Epoch)]
    over = {epoch for placed in opened for epoch in cast(Epoch, placed.op).superseded}
    found = {}
    for placed in opened:
        id_ = placed.row.entry.id
        info = known.get(id_)
        same = info is not None and (info.covers, info.superseded) == (not needed & ~placed.past, id_ in over)
        found[id_] = info if info is not None and same else epoch_info(placed, needed, over)
    return found


def epoch_info(placed: Placed, needed: int, over: Container[bytes]) -> EpochInfo:
    """An epoch that counts.  needed: bits of every close and revocation that counts; over: superseded ids."""
    op, entry = cast(Epoch, placed.op), placed.row.entry
    return EpochInfo(
        id=entry.id,
        core=entry.core,
        seq=entry.seq,
        stamp=entry.stamp,
        roster=op.roster,
        supersedes=op.superseded,
        rendezvous=op.rendezvous,
        covers=not needed & ~placed.past,
        superseded=entry.id in over,
        classical=tuple(op.roster[place] for place in op.classical),
    )


def _witnessed(counted: tuple[Placed, ...]) -> dict[bytes, tuple[End, ...]]:
    found: dict[bytes, tuple[End, ...]] = {}
    for placed in counted:
        if isinstance(placed.op, Witness):
            feed = placed.op.feed
            found[feed.core] = (*found.get(feed.core, ()), feed.end)
    return found


def _removals(counted: tuple[Placed, ...], name: dict[int, bytes], context: RuleContext) -> tuple[Removal, ...]:
    found = []
    for placed in counted:
        verdict = context.ends.verdicts[placed.index] if placed.close else None
        if verdict is not None and not verdict.own and verdict.target is not None:
            found.append(Removal(placed.row.entry.id, name[verdict.target]))
    return tuple(found)


def _unaware(removals: tuple[Removal, ...], members: Mapping[bytes, Member], history: History) -> frozenset[bytes]:
    removed: dict[bytes, list[Row]] = {}
    for removal in removals:
        if removal.member in members:  # else the add that it ends fell with another close
            removed.setdefault(members[removal.member].identity, []).append(history.rows[removal.entry])
    found = set()
    for member in members.values() if removed else ():
        row = history.placed[history.members[member.id]].row
        if any(r is not row and r.mask & ~row.past for r in removed.get(member.identity, ())):
            found.add(member.id)
    return frozenset(found)


def _closers(counted: tuple[Placed, ...]) -> dict[bytes, tuple[bytes, ...]]:
    """Core key of a closed feed -> authors of the closes that name it."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for placed in counted:
        if isinstance(placed.op, Close):
            for feed in placed.op.feeds:
                found[feed.core] = (*found.get(feed.core, ()), placed.core)
    return found
