"""A store is read in records while it is written: what they hold together is the store as it was at the end."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.backup import sweep as sweeps
from sync.backup.sweep import LARGEST, Sweep
from sync.store.memory import MemoryStore
from sync.store.port import Batch, Row, Table

TABLES = [Table.META, Table.ENTRY, Table.ROW]


def state_of(store: MemoryStore) -> dict[Table, list[Row]]:
    return {table: rows for table in Table if table is not Table.INDEX and (rows := store.scan(table))}


class Copy:
    """What a backup would hold: records by table and start, a later one in place of an earlier one."""

    def __init__(self, store: MemoryStore) -> None:
        self.sweep = Sweep(store)
        store.listeners.append(self.sweep.written)
        self.records: dict[tuple[Table, bytes], list[Row]] = {}

    def step(self) -> bool:
        record = self.sweep.step()
        if record is not None:
            self.records[record.table, record.start] = record.rows
        return record is not None

    def state(self) -> dict[Table, list[Row]]:
        found: dict[Table, list[Row]] = {}
        for (table, _), rows in sorted(self.records.items()):
            if rows:
                found.setdefault(table, []).extend(rows)
        return found


def filled(rows: int, size: int, seed: int = 1) -> MemoryStore:
    store, batch, draw = MemoryStore(), Batch(), Random(seed)
    for number in range(rows):
        batch.put(Table.ENTRY, number.to_bytes(8, "big"), draw.randbytes(size))
    store.write(batch, durable=True)
    return store


def test_an_untouched_store_is_read_once() -> None:
    store = filled(3000, 2000)
    copy = Copy(store)
    while copy.step():
        pass
    assert copy.state() == state_of(store)
    sizes = [sum(len(k) + len(v) for k, v in rows) for rows in copy.records.values() if rows]
    assert len(sizes) > 10 and max(sizes) <= LARGEST + 2100


Write = tuple[int, str, int, int]


@settings(max_examples=150, deadline=None)
@given(
    first=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), max_size=150),
    writes=st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["put", "delete", "range"]), st.integers(0, 400), st.integers(0, 60)
        ),
        max_size=40,
    ),
    pace=st.integers(1, 4),
)
def test_records_together_are_the_store_at_the_end(
    first: list[tuple[int, int]], writes: Sequence[Write], pace: int
) -> None:
    small, large = sweeps.SMALLEST, sweeps.LARGEST
    sweeps.SMALLEST, sweeps.LARGEST = 200, 500
    try:
        store, batch = MemoryStore(), Batch()
        for table, key in first:
            batch.put(TABLES[table], key.to_bytes(2, "big"), bytes(30))
        store.write(batch, durable=True)
        copy = Copy(store)
        for number, (table, action, key, more) in enumerate(writes):
            for _ in range(pace):
                copy.step()
            batch, name = Batch(), key.to_bytes(2, "big")
            if action == "put":
                batch.put(TABLES[table], name, bytes([number]) * more)
            elif action == "delete":
                batch.delete(TABLES[table], name)
            else:
                batch.delete_range(TABLES[table], name, (key + more).to_bytes(2, "big"))
            store.write(batch, durable=False)
        while copy.step():
            pass
        assert copy.sweep.left == 0
        assert copy.state() == state_of(store)
    finally:
        sweeps.SMALLEST, sweeps.LARGEST = small, large


def test_the_same_rows_make_the_same_records_after_others_came_before_them() -> None:
    store = filled(4000, 1000)
    one = Copy(store)
    while one.step():
        pass
    batch = Batch()
    for number in range(5):
        batch.put(Table.ENTRY, (10).to_bytes(8, "big") + bytes([number]), bytes(900))
    store.listeners.clear()
    store.write(batch, durable=True)
    other = Copy(store)
    while other.step():
        pass
    before = {tuple(rows) for rows in one.records.values()}
    fresh = [rows for rows in other.records.values() if rows and tuple(rows) not in before]
    assert len(fresh) <= 3 < len(before) - 3


def test_a_store_that_is_written_all_the_time_comes_to_an_end() -> None:
    store = filled(3000, 1000)
    copy = Copy(store)
    steps = 0
    while not copy.sweep.restless and copy.step():
        steps += 1
        batch = Batch()
        batch.put(Table.ENTRY, (7).to_bytes(8, "big"), steps.to_bytes(8, "big"))
        store.write(batch, durable=False)
    assert copy.sweep.restless and 0 < copy.sweep.left <= 3


class Endless(MemoryStore):
    """Makes its rows up as they are asked for: a store larger than memory."""

    def __init__(self, rows: int, size: int) -> None:
        super().__init__()
        self.rows, self.size = rows, size

    def scan(
        self,
        table: Table,
        start: bytes = b"",
        end: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[Row]:
        if table is not Table.ENTRY:
            return []
        first = int.from_bytes(start[:8], "big") + (len(start) > 8)
        last = min(first + (limit or self.rows), self.rows)
        return [(n.to_bytes(8, "big"), n.to_bytes(8, "big") * (self.size // 8)) for n in range(first, last)]


def test_memory_does_not_grow_with_the_store() -> None:
    peaks = []
    for rows in (10_000, 40_000):
        sweep = Sweep(Endless(rows, 4096))
        tracemalloc.start()
        read = 0
        while (record := sweep.step()) is not None:
            read += len(record.rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read == rows
    assert peaks[1] < 8 << 20, peaks
    assert peaks[1] < peaks[0] * 1.5
