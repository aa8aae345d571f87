"""Snapshot: the state of a control graph as bytes, so that a start reads one instead of folding anew.

It says of which rules it is and over which tips.  A cache of what the entries say and nothing else: whoever finds one
of other rules, or that does not read to its end, folds.  Every value of 32 bytes stands once; the rest are its numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeVar

from crdt.space.control import Rostered, SpaceKind
from crdt.space.lineage import End
from crdt.space.membership import EpochInfo, Member, Removal, SpaceState, Writer
from crdt.space.operations import Parent

RULES = 2  # goes up with every change of the rules of the fold or of these bytes

T = TypeVar("T")
Agree = Callable[[bytes, End, End], bool]


@dataclass(frozen=True, slots=True)
class Tip:
    """A control entry that no other names, and the tree hash of its branch there."""

    parent: Parent
    root: bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admission as it reached this device.  core: of the feed; arrived: Unix ms; stamp: its entries' lowest."""

    core: bytes
    arrived: int
    stamp: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a start has to know of a graph in which nothing waits.

    entries, octets: how many control entries stand in the store, and their size; said: identity (None: any member) ->
    statements that counting operations carry.
    """

    entries: int
    octets: int
    tips: tuple[Tip, ...]
    admitted: tuple[Admitted, ...]
    said: tuple[tuple[bytes | None, tuple[bytes, ...]], ...]
    state: SpaceState


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """rules u16 | names | blobs | numbers."""
    out = _Out()
    out.numbers(snapshot.entries, snapshot.octets)
    out.each(
        snapshot.tips,
        lambda t: out.numbers(out.name(t.parent.core), t.parent.seq, out.name(t.parent.hash), out.name(t.root)),
    )
    out.each(snapshot.admitted, lambda a: out.numbers(out.name(a.core), a.arrived, a.stamp))
    for identity, statements in out.counted(snapshot.said):
        out.numbers(out.maybe(identity))
        out.each(statements, lambda b: out.numbers(out.blob(b)))
    _write_state(out, snapshot.state)
    return out.finish()


def decode_snapshot(data: bytes, agree: Agree) -> Snapshot | None:
    """The inverse; None for one of other rules, or a damaged one.  agree: as `SpaceState` asks it, on forked feeds."""
    try:
        given = _In(data)
        if given.rules != RULES:
            return None
        entries, octets = given.some(2)
        tips = tuple(Tip(Parent(n[c], s, n[h]), n[r]) for n in [given.names] for c, s, h, r in given.rows(4))
        admitted = tuple(Admitted(given.names[c], at, stamp) for c, at, stamp in given.rows(3))
        said = tuple(
            (given.maybe(given.one()), tuple(given.blobs[b] for (b,) in given.rows(1))) for _ in range(given.one())
        )
        snapshot = Snapshot(entries, octets, tips, admitted, said, _read_state(given, agree))
        return snapshot if given.done() else None
    except (struct.error, IndexError, ValueError, KeyError, OverflowError):
        return None


def _write_state(out: _Out, s: SpaceState) -> None:
    name, blob, numbers, each = out.name, out.blob, out.numbers, out.each
    numbers(name(s.space), s.kind, blob(s.title.encode()), out.maybe(s.creator), s.stopped)
    each(sorted(s.settings.items()), lambda kv: numbers(blob(kv[0].encode()), blob(kv[1])))
    each(s.members.values(), lambda m: numbers(name(m.id), name(m.identity), m.rank, name(m.core), name(m.writer)))
    for w in out.counted(s.writers.values()):
        numbers(
            name(w.core), name(w.writer), name(w.member), name(w.device), blob(w.prekey), name(w.admitted), name(w.by),
            w.stamp, w.open, w.out,
        )  # fmt: skip
        each(w.statements, lambda b: numbers(blob(b)))
    each(s.ends.items(), lambda e: numbers(name(e[0]), e[1].length, name(e[1].root)))
    each(sorted(s.admins), lambda a: numbers(name(a)))
    each(sorted(s.out), lambda d: numbers(name(d)))
    rosters: dict[tuple[Rostered, ...], int] = {s.roster: 0}
    for epoch in s.epochs.values():
        rosters.setdefault(epoch.roster, len(rosters))
    for roster in out.counted(rosters):
        each(roster, lambda p: numbers(name(p.writer), name(p.device)))
    epochs = tuple(s.epochs.values())
    each(
        epochs,
        lambda e: numbers(
            name(e.id), name(e.core), e.seq, e.stamp, rosters[e.roster], name(e.rendezvous), e.covers, e.superseded,
            len(e.supersedes), len(e.classical),
        ),
    )  # fmt: skip
    each([id_ for e in epochs for id_ in e.supersedes], lambda id_: numbers(name(id_)))
    each([p for e in epochs for p in e.classical], lambda p: numbers(name(p.writer), name(p.device)))
    each(s.successors.items(), lambda x: numbers(name(x[0]), name(x[1])))
    each(
        [(c, e) for c, ends in s.witnessed.items() for e in ends],
        lambda x: numbers(name(x[0]), x[1].length, name(x[1].root)),
    )
    each(s.counted, lambda x: numbers(name(x[0]), x[1]))
    each(s.closes, lambda x: numbers(name(x[0]), x[1]))
    each([(c, by) for c, authors in s.closers.items() for by in authors], lambda x: numbers(name(x[0]), name(x[1])))
    each(s.removals, lambda r: numbers(name(r.entry), name(r.member)))
    each(s.over, lambda id_: numbers(name(id_)))
    each(s.unaware, lambda id_: numbers(name(id_)))


def _read_state(given: _In, agree: Agree) -> SpaceState:
    n, b, rows = given.names, given.blobs, given.rows
    space, kind, title, creator, stopped = given.some(5)
    settings = {b[key].decode(): b[value] for key, value in rows(2)}
    members = {n[i]: Member(n[i], n[identity], rank, n[core], n[w]) for i, identity, rank, core, w in rows(5)}
    writers = {}
    for _ in range(given.one()):
        core, w, member, device, prekey, admitted, by, stamp, open_, out = given.some(10)
        said = tuple(b[place] for (place,) in rows(1))
        writers[n[core]] = Writer(
            n[core], n[w], n[member], n[device], b[prekey], n[admitted], n[by], stamp, bool(open_), bool(out), said
        )
    ends = {n[core]: End(length, n[root]) for core, length, root in rows(3)}
    admins = frozenset(n[a] for (a,) in rows(1))
    gone = frozenset(n[d] for (d,) in rows(1))
    rosters = [tuple(Rostered(n[w], n[d]) for w, d in rows(2)) for _ in range(given.one())]
    told = rows(10)
    superseded = [n[i] for (i,) in rows(1)]
    classical = [Rostered(n[w], n[d]) for w, d in rows(2)]
    supersedes = _parts(superseded, [row[8] for row in told])
    classics = _parts(classical, [row[9] for row in told])
    epochs = {
        n[i]: EpochInfo(n[i], n[core], seq, stamp, rosters[r], older, n[z], bool(covers), bool(over), some)
        for (i, core, seq, stamp, r, z, covers, over, _, _), older, some in zip(told, supersedes, classics, strict=True)
    }
    return SpaceState(
        space=n[space],
        kind=SpaceKind(kind),
        title=b[title].decode(),
        settings=settings,
        creator=given.maybe(creator),
        members=members,
        writers=writers,
        ends=ends,
        admins=admins,
        out=gone,
        stopped=bool(stopped),
        roster=rosters[0],
        epochs=epochs,
        successors={n[new]: n[old] for new, old in rows(2)},
        witnessed=_gathered((n[core], End(length, n[root])) for core, length, root in rows(3)),
        counted=frozenset((n[i], place) for i, place in rows(2)),
        closes=frozenset((n[i], place) for i, place in rows(2)),
        closers=_gathered((n[core], n[by]) for core, by in rows(2)),
        removals=tuple(Removal(n[entry], n[member]) for entry, member in rows(2)),
        over=frozenset(n[i] for (i,) in rows(1)),
        unaware=frozenset(n[i] for (i,) in rows(1)),
        agree=agree,
    )


def _parts(values: Sequence[T], lengths: Sequence[int]) -> list[tuple[T, ...]]:
    return [tuple(values[a:b]) for a, b in pairwise(accumulate(lengths, initial=0))]


def _gathered(pairs: Iterable[tuple[bytes, T]]) -> dict[bytes, tuple[T, ...]]:
    found: dict[bytes, tuple[T, ...]] = {}
    for key, value in pairs:
        found[key] = (*found.get(key, ()), value)
    return found


class _Out:
    """Numbers as they come; names and blobs each once."""

    def __init__(self) -> None:
        self._names: dict[bytes, int] = {}
        self._blobs: dict[bytes, int] = {}
        self._numbers: list[int] = []

    def name(self, value: bytes) -> int:
        if len(value) != 32:
            raise ValueError("a name has 32 bytes")
        return self._names.setdefault(value, len(self._names))

    def maybe(self, value: bytes | None) -> int:
        return 0 if value is None else self.name(value) + 1

    def blob(self, value: bytes) -> int:
        return self._blobs.setdefault(value, len(self._blobs))

    def numbers(self, *values: int) -> None:
        self._numbers.extend(values)

    def counted(self, values: Iterable[T]) -> list[T]:
        given = list(values)
        self._numbers.append(len(given))
        return given

    def each(self, values: Iterable[T], write: Callable[[T], object]) -> None:
        for value in self.counted(values):
            write(value)

    def finish(self) -> bytes:
        blobs = list(self._blobs)
        head = struct.pack("<HIII", RULES, len(self._names), len(blobs), len(self._numbers))
        sizes = struct.pack(f"<{len(blobs)}I", *map(len, blobs))
        return b"".join((head, *self._names, sizes, *blobs, struct.pack(f"<{len(self._numbers)}Q", *self._numbers)))


class _In:
    """The inverse of `_Out`.  Raises struct.error and IndexError for what ends early."""

    def __init__(self, data: bytes) -> None:
        self.rules, names, blobs, numbers = struct.unpack_from("<HIII", data)
        at = struct.calcsize("<HIII")
        if len(data) < at + 32 * names + 4 * blobs + 8 * numbers:
            raise IndexError("ends early")
        self.names = [data[i : i + 32] for i in range(at, at + 32 * names, 32)]
        at += 32 * names
        sizes = struct.unpack_from(f"<{blobs}I", data, at)
        starts = list(accumulate(sizes, initial=at + 4 * blobs))
        self.blobs = [data[a:b] for a, b in pairwise(starts)]
        self._numbers = struct.unpack_from(f"<{numbers}Q", data, starts[-1])
        self._at = 0
        self._whole = starts[-1] + 8 * numbers == len(data)

    def one(self) -> int:
        (value,) = self.some(1)
        return value

    def some(self, count: int) -> tuple[int, ...]:
        found = self._numbers[self._at : self._at + count]
        if len(found) != count:
            raise IndexError("ends early")
        self._at += count
        return found

    def rows(self, width: int) -> list[tuple[int, ...]]:
        """So many rows as the next number says."""
        count = self.one()
        flat = self.some(count * width)
        return list(zip(*[iter(flat)] * width, strict=True))

    def maybe(self, number: int) -> bytes | None:
        return self.names[number - 1] if number else None

    def done(self) -> bool:
        return self._whole and self._at == len(self._numbers)
