"""Exploration: every history of a few deeds after a common past, with every order of knowledge, folded as delivered.

A history is a set of entries closed under what their authors knew.  From the common past the walk delivers one more
entry at a time, in every order that keeps what was known before what followed; on the way back it takes them away
again, so that the common past is folded once.  The state of a set is checked once and has to be the same in every order
of delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from typing import NamedTuple

from crdt.space.control import ControlEntry, Succeed
from crdt.space.epoch import epoch_op
from crdt.space.graph import ControlGraph
from crdt.space.membership import SpaceState
from identity.statement import Statement
from tests.property.exploration.deeds import Bounds, Deed, Knows
from tests.property.exploration.past import Past
from tests.unit.space.circle import Entry, Seat

Ids = frozenset[bytes]


@dataclass(frozen=True)
class Done:
    """A deed as it was written.  before: ids of the deeds that its author knew; told: statements known with them."""

    deed: Deed
    seat: Seat
    entry: ControlEntry
    before: Ids
    told: tuple[Statement, ...]

    def __str__(self) -> str:
        return self.deed.name


class Found(NamedTuple):
    """A history that breaks what has to hold."""

    history: tuple[Done, ...]
    what: str

    def __str__(self) -> str:
        number = {done.entry.id: place for place, done in enumerate(self.history, 1)}
        told = []
        for place, done in enumerate(self.history, 1):
            knows = " and ".join(str(number[i]) for i in sorted(done.before, key=number.__getitem__))
            told.append(f"{place} {done}" + (f", knowing {knows}" if knows else ""))
        return f"{'; '.join(told)}: {self.what}"


Check = Callable[[Past, tuple[Done, ...], SpaceState], list[str]]


@dataclass
class Count:
    """histories: sets of deeds with an order of knowledge; deliveries: orders in which they were folded."""

    histories: int = 0
    deliveries: int = 0


class Walk(ControlGraph):
    """A control graph that can take its last entry back."""

    def deliver(self, entry: ControlEntry) -> Callable[[], None]:
        """Adds an entry; gives what takes it away again."""
        touched = {entry.core} | {feed.core for op in entry.ops for feed in getattr(op, "feeds", ())}
        kept = {
            (strands, core): (list(strand.ends), list(strand._unchecked), strand.whole)
            for strands in ("_stands", "_named")
            for core in touched
            if (strand := getattr(self, strands).get(core)) is not None
        }
        mask, tips, state, epochs = self._masks.get(entry.core, 0), set(self._tips), self._state, self._epochs
        void, forked = self._folder.void, dict(self._forked)
        assert self.add(entry) == [entry]

        def back() -> None:
            self._history.take_back(self._history.rows[entry.id])
            self._masks[entry.core], self._tips, self._state, self._epochs = mask, tips, state, epochs
            assert self._folder.void == void, "nobody here leaves out what it wrote on the same branch"
            self._forked = forked
            for strands in ("_stands", "_named"):
                for core in touched:
                    if (strands, core) not in kept:
                        getattr(self, strands).pop(core, None)
                    else:
                        strand = getattr(self, strands)[core]
                        strand.ends, strand._unchecked, strand.whole = kept[strands, core]

        return back


@dataclass
class Exploration:
    """bounds: the common past and the deeds; depth: how many of them; salt: hashes are mirrored if it is odd, so that
    whatever a hash decides is decided the other way; forks: a device that writes as if it knew nothing of its own."""

    bounds: Bounds
    check: Check
    depth: int = 3
    salt: int = 0
    forks: str = ""
    count: Count = field(default_factory=Count)

    def __post_init__(self) -> None:
        self._past = self.bounds.past
        self._graph = Walk(self._past.space, self._past, verify=self._past._verify, judge=self._past._judge)
        for id_ in self._past.base:
            control = self._past.entries[id_].control
            assert control is not None and self._graph.add(control)
        self._graph.state()
        self._next: dict[Ids, tuple[Done, ...]] = {}
        self._seen: dict[Ids, int] = {}

    def found(self) -> Iterator[Found]:
        """What breaks, as it is found: the shortest histories first."""
        for depth in range(self.depth + 1):
            yield from self._visit((), depth)

    def _visit(self, history: tuple[Done, ...], depth: int) -> Iterator[Found]:
        here = frozenset(done.entry.id for done in history)
        if len(history) == depth:
            yield from self._look(history, here)
            return
        if here not in self._next:
            self._next[here] = tuple(self._written(history, here))
        for done in self._following(history):
            back = self._graph.deliver(done.entry)
            yield from self._visit((*history, done), depth)
            back()

    def _look(self, history: tuple[Done, ...], here: Ids) -> Iterator[Found]:
        self.count.deliveries += 1
        state = self._graph.state()
        mark = hash(signature(state))
        if here not in self._seen:
            self.count.histories += 1
            self._seen[here] = mark
            for what in self.check(self._past, history, state):
                yield Found(history, what)
        elif self._seen[here] != mark:
            yield Found(history, "the state depends on the order of delivery")

    def _following(self, history: tuple[Done, ...]) -> Iterator[Done]:
        """What may be delivered next: whatever was written knowing some of what is here."""
        names = {done.deed.name for done in history}
        for size in range(len(history) + 1):
            for chosen in combinations(history, size):
                before = frozenset(done.entry.id for done in chosen)
                if any(not done.before <= before for done in chosen):
                    continue
                own = {done.entry.core for done in history if done.entry.id not in before}
                for done in self._next[before]:
                    # Whoever writes knows what it wrote itself.
                    if done.deed.name not in names and (done.entry.core not in own or done.deed.author == self.forks):
                        yield done

    def _written(self, history: tuple[Done, ...], here: Ids) -> Iterator[Done]:
        """Every deed by somebody who knows all that is here."""
        known = {statement.id: statement for done in history for statement in done.told}
        names = {done.deed.name for done in history}
        for deed in self.bounds.deeds:
            if deed.name not in names:
                told = tuple({**known, **{s.id: s for s in deed.tells}}.values())
                done = self._write(deed, here, history, told)
                if done is not None:
                    yield done

    def _write(self, deed: Deed, here: Ids, history: tuple[Done, ...], told: tuple[Statement, ...]) -> Done | None:
        seat, graph, state = self._past[deed.author], self._graph, self._graph.state()
        ours = [done.entry for done in history if done.entry.core == seat.core]
        last = ours[-1].end if ours else seat.tip.end if seat.tip is not None else None
        seq = last.length if last is not None else 0
        wish = deed.make(Knows(self._past, graph, seat, told))
        if wish is None:
            return None
        if not (deed.late or state.open(seat.core) or any(isinstance(op, Succeed) for op in wish.ops)):
            return None  # whoever is no writer, as far as it knows, writes nothing but a succession
        ops = wish.ops
        if wish.epoch:
            ops = (*ops, epoch_op(graph.preview(seat.writer, ops, seq=seq), bytes(32)))
        name = b"|".join([deed.name.encode(), *sorted(here)])
        id_ = blake2b(name, digest_size=32).digest()
        if self.salt % 2:
            id_ = bytes(255 - byte for byte in id_)
        stamp = (self._past.order + len(history)) << 16
        entry = ControlEntry(id_, seat.writer, seq, id_, stamp, graph.tips(seat.core), ops)
        before = last.root if last is not None else None
        self._past.entries[id_] = Entry(id_, seat.core, seq, before, entry)
        return Done(deed, seat, entry, here, told)


def signature(state: SpaceState) -> tuple[object, ...]:
    """All that a state says, to be compared."""
    return (
        state.counted,
        state.closes,
        state.creator,
        state.admins,
        state.out,
        state.roster,
        state.unaware,
        state.over,
        state.removals,
        frozenset(state.members.items()),
        frozenset(state.writers.items()),
        frozenset(state.ends.items()),
        frozenset(state.epochs.items()),
        frozenset(state.successors.items()),
        frozenset(state.settings.items()),
        frozenset((core, frozenset(by)) for core, by in state.closers.items()),
    )
