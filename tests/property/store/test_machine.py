"""Both backends against a plain dict: any calls in any order read the same; crashes keep what was promised."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sync.store.memory import MemoryStore
from sync.store.port import Batch, Extent, Store, Table
from sync.store.sqlite import SqliteStore
from tests.unit.store.disk import Disk

KEY = bytes(range(32))
TABLES = [Table.META, Table.ENTRY, Table.ROW]
Plain = dict[tuple[Table, bytes], bytes]
Change = tuple[Any, ...]  # an action of Batch and its arguments

names = st.binary(max_size=3) | st.sampled_from([b"a", b"b", b"ab", b"\xff", b"\xff\xff"])
values = st.binary(max_size=20) | st.integers(0, 12_000).map(bytes)
tables = st.sampled_from(TABLES)
puts = st.tuples(st.just("put"), tables, names, values)
deletes = st.tuples(st.just("delete"), tables, names)
ranges = st.tuples(st.just("delete_range"), tables, names, names)
batches = st.lists(puts | puts | deletes | ranges, max_size=6)


def apply(plain: Plain, changes: list[Change]) -> Plain:
    after = dict(plain)
    for change in changes:
        match change:
            case ("put", table, key, value):
                after[table, key] = value
            case ("delete", table, key):
                after.pop((table, key), None)
            case (_, table, start, end):
                for place in [place for place in after if place[0] == table and start <= place[1] < end]:
                    del after[place]
    return after


def batch_of(changes: list[Change]) -> Batch:
    batch = Batch()
    for action, *rest in changes:
        getattr(batch, action)(*rest)
    return batch


def contents(store: Store) -> Plain:
    return {(table, key): value for table in TABLES for key, value in store.scan(table)}


class Backends(RuleBasedStateMachine):
    """`states`: the contents after the last durable batch and after each later one."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[Plain] = [{}]
        self.random = random.Random(0)
        self.store: Store

    def open_first(self) -> Store:
        raise NotImplementedError

    def open_after_crash(self) -> Store:
        raise NotImplementedError

    def open_after_close(self) -> Store:
        raise NotImplementedError

    @property
    def plain(self) -> Plain:
        return self.states[-1]

    @initialize(seed=st.integers(0, 1 << 32))
    def start(self, seed: int) -> None:
        self.random.seed(seed)
        self.store = self.open_first()

    @rule(changes=batches, durable=st.booleans())
    def write(self, changes: list[Change], durable: bool) -> None:
        self.store.write(batch_of(changes), durable=durable)
        after = apply(self.plain, changes)
        self.states = [after] if durable else [*self.states, after]

    @rule()
    def scrub(self) -> None:
        self.store.scrub()
        self.states = [self.plain]

    @rule()
    def release(self) -> None:
        self.store.release()

    @rule(table=tables, keys=st.lists(names, max_size=5))
    def read(self, table: Table, keys: list[bytes]) -> None:
        expected = [self.plain.get((table, key)) for key in keys]
        assert self.store.get_many(table, keys) == expected
        assert [self.store.get(table, key) for key in keys] == expected

    @rule(table=tables, start=names, end=names | st.none(), reverse=st.booleans(), limit=st.none() | st.integers(0, 4))
    def scan(self, table: Table, start: bytes, end: bytes | None, reverse: bool, limit: int | None) -> None:
        rows = sorted(
            (key, value)
            for (where, key), value in self.plain.items()
            if where == table and start <= key and (end is None or key < end)
        )
        assert self.store.extent(table, start, end) == Extent(len(rows), sum(len(value) for _, value in rows))
        expected = (rows[::-1] if reverse else rows)[:limit]
        assert self.store.scan(table, start, end, reverse=reverse, limit=limit) == expected

    @rule()
    def close(self) -> None:
        self.store.close()
        self.states = [self.plain]
        self.store = self.open_after_close()

    @rule()
    def crash(self) -> None:
        self.store = self.open_after_crash()
        left = contents(self.store)
        assert left in self.states, "not the durable state and a first part of what followed"
        self.states = [left]

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def same_contents(self) -> None:
        assert contents(self.store) == self.plain

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


class MemoryBackend(Backends):
    store: MemoryStore

    def open_first(self) -> Store:
        return MemoryStore()

    def open_after_crash(self) -> Store:
        return self.store.crash(self.random.randbytes)

    def open_after_close(self) -> Store:
        return self.store.reopen()


class SqliteBackend(Backends):
    """A crash is a power cut: the disk keeps any subset of the sectors that were not synced."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "store"
        self.disk = Disk()
        self.dead: list[tuple[Store, Disk]] = []

    def open_first(self) -> Store:
        return SqliteStore(self.path, KEY, vfs=self.disk.name)

    def open_after_crash(self) -> Store:
        self.dead.append((self.store, self.disk))  # still open, on the disk of another world
        self.disk = self.disk.power_cut(self.random.randbytes)
        return self.open_first()

    open_after_close = open_first

    def teardown(self) -> None:
        super().teardown()
        for store, _ in self.dead:
            store.close()
        self.folder.cleanup()


def test_memory_store_equals_a_dict_through_any_calls_and_crashes() -> None:
    run_state_machine_as_test(MemoryBackend, settings=settings(max_examples=60, stateful_step_count=30))


def test_sqlite_store_equals_a_dict_through_any_calls_and_crashes() -> None:
    run_state_machine_as_test(SqliteBackend, settings=settings(max_examples=60, stateful_step_count=30))
