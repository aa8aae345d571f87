"""History: every operation of a space's control graph, with its past as a set of bits (`docs/protocol.md` 11, "Past").

An operation's past is what its entry's parents reach, and the earlier operations of its own entry.  Sets of operations
are Python integers, one bit an operation: the fold compares pasts some ten thousand times for one answer.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from operator import attrgetter

from crdt.space.control import Add, Admin, Admit, Close, ControlEntry, Create, Op, Revoke, Set, Succeed, Unknown
from crdt.space.standing import said_in

# Operations that change who may do what.  The rest is judged once, when these are decided.
STRUCTURAL = (Create, Add, Admit, Succeed, Admin, Revoke)

Order = tuple[int, bytes, int]  # size of the past, entry id, place in the entry: parents first, the same everywhere


class Placed:
    """One operation in its place.

    bit: its own bit; past: bits before it; name: what "in hash order" compares; said: the statements it carries.
    """

    __slots__ = (
        "bit",
        "close",
        "core",
        "create",
        "index",
        "name",
        "op",
        "order",
        "past",
        "rights",
        "row",
        "said",
        "structural",
    )

    def __init__(self, index: int, row: Row, place: int, op: Op, past: int) -> None:
        self.index = index
        self.bit = 1 << index
        self.row = row
        self.op = op
        self.past = past
        self.core = row.entry.core
        self.name = (row.entry.id, place)
        self.order: Order = (past.bit_count(), *self.name)
        self.create = isinstance(op, Create)
        self.close = isinstance(op, Close)
        self.structural = isinstance(op, STRUCTURAL)
        self.said = said_in(op)
        self.rights: dict[tuple[int, int], bool] = {}  # the fold's memory of this operation


class Row:
    """An entry of the graph.  mask: bits of its operations; past: bits before its first one."""

    __slots__ = ("entry", "mask", "parents", "past", "placed")

    def __init__(self, entry: ControlEntry, parents: tuple[Row, ...], past: int) -> None:
        self.entry = entry
        self.parents = parents
        self.past = past
        self.placed: tuple[Placed, ...] = ()
        self.mask = 0

    @property
    def reach(self) -> int:
        """Bits of its operations and of all before them."""
        return self.past | self.mask


def admits(placed: Placed) -> bytes | None:
    """The core key of the feed that an operation brings in."""
    match placed.op:
        case Create() | Succeed():
            return placed.core
        case Add() | Admit():
            return placed.op.core
        case _:
            return None


_BY_ORDER = attrgetter("order")


class History:
    """Rows by entry id and by feed, operations in order.  Rows are only ever added (a preview takes its own back)."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.by_core: dict[bytes, list[Row]] = {}
        self.structural: list[Placed] = []  # structural operations and closes
        self.full: list[Placed] = []
        self.closes: list[Placed] = []
        self.strange: list[Placed] = []  # operations of later versions
        self.placed: dict[int, Placed] = {}
        self.members: dict[bytes, int] = {}  # member id -> index of its create or add
        self.successions: dict[bytes, list[Placed]] = {}  # core key of the old feed -> operations
        self.admissions: dict[bytes, int] = {}  # core key -> operations that would bring the feed in
        self.structure = 0  # bits of structural operations
        self.sets: dict[str, int] = {}  # key -> bits of the operations that set it
        self.all = 0
        self._next = 0

    def member_id(self, entry: ControlEntry, place: int) -> bytes:
        """A member is named by the entry of its create or add; there is at most one in an entry."""
        return entry.id

    def append(self, entry: ControlEntry) -> Row:
        """A new row; every parent has one."""
        parents = tuple(self.rows[p.hash] for p in entry.parents)
        past = 0
        for parent in parents:
            past |= parent.reach
        row = Row(entry, parents, past)
        placed: list[Placed] = []
        for place, op in enumerate(entry.ops):
            # Numbers are never given twice, so that what the fold remembers of a preview meets no later operation.
            one = Placed(self._next, row, place, op, row.reach)
            self._next += 1
            row.mask |= one.bit
            placed.append(one)
            self._enter(one, place)
        row.placed = tuple(placed)
        self.rows[entry.id] = row
        self.by_core.setdefault(entry.core, []).append(row)
        self.all |= row.mask
        return row

    def take_back(self, row: Row) -> None:
        """Removes the row appended last."""
        del self.rows[row.entry.id]
        self.by_core[row.entry.core].remove(row)
        self.all &= ~row.mask
        self.structure &= ~row.mask
        for one in row.placed:
            del self.placed[one.index]
            core = admits(one)
            if core is not None:
                self.admissions[core] -= 1
            if isinstance(one.op, Set):
                self.sets[one.op.key] &= ~one.bit
            for kept in (self.structural, self.full, self.closes, self.strange):
                if one in kept:
                    kept.remove(one)
            if isinstance(one.op, Create | Add):
                del self.members[self.member_id(row.entry, one.name[1])]
            elif isinstance(one.op, Succeed):
                self.successions[one.op.core].remove(one)

    def _enter(self, one: Placed, place: int) -> None:
        self.placed[one.index] = one
        insort(self.full, one, key=_BY_ORDER)
        self.structure |= one.bit if one.structural else 0
        core = admits(one)
        if core is not None:
            self.admissions[core] = self.admissions.get(core, 0) + 1
        if one.structural or one.close:
            insort(self.structural, one, key=_BY_ORDER)
        if one.close:
            insort(self.closes, one, key=_BY_ORDER)
        if isinstance(one.op, Set):
            self.sets[one.op.key] = self.sets.get(one.op.key, 0) | one.bit
        elif isinstance(one.op, Unknown):
            self.strange.append(one)
        if isinstance(one.op, Create | Add):
            self.members[self.member_id(one.row.entry, place)] = one.index
        elif isinstance(one.op, Succeed):
            self.successions.setdefault(one.op.core, []).append(one)

    def each(self, bits: int) -> Iterator[Placed]:
        """The operations of a set, by number."""
        while bits:
            low = bits & -bits
            yield self.placed[low.bit_length() - 1]
            bits ^= low
