"""The store in memory: same promises as on disk, and it can crash before and after every call.

The simulator's disk.  `watch` is called around every call and may raise Crashed; from then on the store is dead, as a
process is, and `crash(rng)` gives the store that the next process would find: all durable batches and some first few of
those written after them.  An undo record is kept for each batch that is not durable yet, so a crash costs only those.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from sync.store.port import Action, Batch, Extent, Row, StoreClosed, Table

Random = Callable[[int], bytes]


class When(Enum):
    BEFORE = "before"
    AFTER = "after"


class Call(NamedTuple):
    """A point at which a crash may strike.  `number` counts the calls of this store from 0."""

    number: int
    name: str
    when: When


class Crashed(BaseException):
    """The process of this store is dead.  A BaseException, so that no handler under test survives its own death."""


Watch = Callable[[Call], None]


class CrashPlan:
    """A `watch` that strikes once: at call `number`, before or after it took effect."""

    __slots__ = ("number", "struck", "when")

    def __init__(self, number: int, when: When) -> None:
        self.number = number
        self.when = when
        self.struck: Call | None = None

    def __call__(self, call: Call) -> None:
        if call.number >= self.number and call.when is self.when and self.struck is None:
            self.struck = call
            raise Crashed(f"{call.when.value} call {call.number}, {call.name}")


class _Sorted:
    """A map with ordered keys: a dict and a sorted list of its keys."""

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: dict[bytes, bytes] = {}

    def set(self, key: bytes, value: bytes | None) -> bytes | None:
        """The value that was there before; None stands for absence on both sides."""
        before = self.values.get(key)
        if value is None:
            if before is not None:
                del self.values[key]
                del self.keys[bisect_left(self.keys, key)]
            return before
        if before is None:
            if not self.keys or key > self.keys[-1]:
                self.keys.append(key)
            else:
                insort(self.keys, key)
        self.values[key] = value
        return before

    def between(self, start: bytes, end: bytes | None) -> slice:
        stop = len(self.keys) if end is None else bisect_left(self.keys, end)
        return slice(bisect_left(self.keys, start), stop)

    def copy(self) -> _Sorted:
        twin = _Sorted()
        twin.keys = list(self.keys)
        twin.values = dict(self.values)
        return twin


Undo = list[tuple[Table, bytes, bytes | None]]


class MemoryStore:
    """`Store` without a disk, for one thread.  `watch(call)` runs around each call; `crash(rng)` is what is left."""

    def __init__(self, watch: Watch | None = None) -> None:
        self.watch = watch
        self.listeners: list[Callable[[Batch], None]] = []
        self._tables = {table: _Sorted() for table in Table}
        self._undo: list[Undo] = []  # one for each batch after the last durable one
        self._calls = 0
        self._dead: Crashed | None = None
        self._closed = False

    def get(self, table: Table, key: bytes) -> bytes | None:
        number = self._begin("get")
        value = self._tables[table].values.get(key)
        self._end(number, "get")
        return value

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        number = self._begin("get_many")
        values = self._tables[table].values
        found = [values.get(key) for key in keys]
        self._end(number, "get_many")
        return found

    def scan(
        self,
        table: Table,
        start: bytes = b"",
        end: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[Row]:
        number = self._begin("scan")
        held = self._tables[table]
        place = held.between(start, end)
        if limit is not None:
            wide = max(limit, 0)
            if reverse:
                place = slice(max(place.start, place.stop - wide), place.stop)
            else:
                place = slice(place.start, min(place.stop, place.start + wide))
        keys = held.keys[place] if place.stop > place.start else []
        if reverse:
            keys.reverse()
        rows = [(key, held.values[key]) for key in keys]
        self._end(number, "scan")
        return rows

    def extent(self, table: Table, start: bytes = b"", end: bytes | None = None) -> Extent:
        number = self._begin("extent")
        held = self._tables[table]
        sizes = [len(held.values[key]) for key in held.keys[held.between(start, end)]]
        self._end(number, "extent")
        return Extent(len(sizes), sum(sizes))

    def write(self, batch: Batch, *, durable: bool) -> None:
        number = self._begin("write")
        undo: Undo = []
        for table, action, rows in batch.changes():
            held = self._tables[table]
            if action is Action.PUT:
                undo += [(table, key, held.set(key, value)) for key, value in rows]
            elif action is Action.DELETE:
                undo += [(table, key, held.set(key, None)) for (key,) in rows]
            else:
                for start, end in rows:
                    keys = held.keys[held.between(start, end)]
                    undo += [(table, key, held.set(key, None)) for key in keys]
        if durable:
            self._undo.clear()
        else:
            self._undo.append(undo)
        for tell in self.listeners:
            tell(batch)
        self._end(number, "write")

    def scrub(self) -> None:
        number = self._begin("scrub")
        self._undo.clear()
        self._end(number, "scrub")

    def release(self) -> None:
        self._end(self._begin("release"), "release")

    def close(self) -> None:
        """A clean end keeps everything: like SQLite, which writes its log back on close."""
        if self._dead is None:
            self._undo.clear()
        self._closed = True

    def reopen(self, watch: Watch | None = None) -> MemoryStore:
        """The store that a process finds after this one closed cleanly."""
        self._undo.clear()
        return self._after(0, watch)

    def crash(self, rng: Random, watch: Watch | None = None) -> MemoryStore:
        """The store after a power cut: durable batches, and of the later ones a first part whose length `rng` picks."""
        lost = int.from_bytes(rng(4), "little") % (len(self._undo) + 1)
        self._dead = self._dead or Crashed("power cut")
        return self._after(lost, watch)

    def _after(self, lost: int, watch: Watch | None) -> MemoryStore:
        twin = MemoryStore(watch)
        twin._tables = {table: held.copy() for table, held in self._tables.items()}
        for undo in reversed(self._undo[len(self._undo) - lost :]):
            for table, key, before in reversed(undo):
                twin._tables[table].set(key, before)
        return twin

    def _begin(self, name: str) -> int:
        if self._dead is not None:
            raise Crashed(*self._dead.args)
        if self._closed:
            raise StoreClosed("the store is closed")
        number = self._calls
        self._calls += 1
        self._strike(Call(number, name, When.BEFORE))
        return number

    def _end(self, number: int, name: str) -> None:
        self._strike(Call(number, name, When.AFTER))

    def _strike(self, call: Call) -> None:
        if self.watch is None:
            return
        try:
            self.watch(call)
        except Crashed as crashed:
            self._dead = crashed
            raise
