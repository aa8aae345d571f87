"""What every backend of the store promises, the same tests for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sync.store.memory import MemoryStore
from sync.store.port import MAX_KEY, MAX_VALUE, Batch, Extent, Store, StoreClosed, Table, prefix_end
from sync.store.sqlite import SqliteStore

KEY = bytes(range(32))
META, ENTRY = Table.META, Table.ENTRY

Make = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    backend: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db", KEY)
    yield backend
    backend.close()


def written(*rows: tuple[Table, bytes, bytes]) -> Batch:
    batch = Batch()
    for row in rows:
        batch.put(*row)
    return batch


def test_backend_implements_the_store_protocol(store: Store) -> None:
    assert isinstance(store, Store)


def test_reads_what_was_written_and_nothing_else(store: Store) -> None:
    store.write(written((META, b"a", b"1"), (META, b"b", b""), (ENTRY, b"a", b"2")), durable=True)

    assert store.get(META, b"a") == b"1"
    assert store.get(META, b"b") == b""
    assert store.get(META, b"c") is None
    assert store.get(ENTRY, b"a") == b"2"
    assert store.get_many(META, [b"c", b"a", b"a", b"b"]) == [None, b"1", b"1", b""]
    assert store.get_many(META, []) == []


def test_scans_in_byte_order_with_bounds_and_limit(store: Store) -> None:
    keys = [b"", b"\x00", b"a", b"a\x00", b"aa", b"b", b"\xff", b"\xff\xff"]
    store.write(written(*((META, key, b"v" + key) for key in reversed(keys))), durable=False)

    def seen(**how: object) -> list[bytes]:
        return [key for key, _ in store.scan(META, **how)]  # type: ignore[arg-type]

    assert seen() == keys
    assert seen(reverse=True) == keys[::-1]
    assert seen(start=b"a", end=b"b") == [b"a", b"a\x00", b"aa"]
    assert seen(start=b"a", end=b"b", reverse=True, limit=2) == [b"aa", b"a\x00"]
    assert seen(start=b"b") == [b"b", b"\xff", b"\xff\xff"]
    assert seen(limit=2) == [b"", b"\x00"]
    assert seen(limit=0) == []
    assert seen(start=b"b", end=b"a") == []
    assert store.scan(META, b"aa", b"ab") == [(b"aa", b"vaa")]


def test_changes_of_one_table_take_effect_in_order(store: Store) -> None:
    store.write(written((META, b"a", b"old"), (META, b"b", b"old"), (META, b"c", b"old")), durable=True)

    batch = Batch()
    batch.put(META, b"a", b"lost")
    batch.delete_range(META, b"a", b"c")
    batch.put(META, b"b", b"new")
    batch.delete(META, b"c")
    batch.delete(META, b"never there")
    batch.put(META, b"c", b"1")
    batch.put(META, b"c", b"2")
    assert len(batch) == 7
    store.write(batch, durable=True)

    assert store.scan(META) == [(b"b", b"new"), (b"c", b"2")]


def test_extent_counts_rows_and_bytes_of_values(store: Store) -> None:
    store.write(written((META, b"a1", b"123"), (META, b"a2", b"4567"), (META, b"b", b"8")), durable=True)

    assert store.extent(META) == Extent(3, 8)
    assert store.extent(META, b"a", prefix_end(b"a")) == Extent(2, 7)
    assert store.extent(ENTRY) == Extent(0, 0)


def test_large_values_and_keys_come_back_whole(store: Store) -> None:
    entry = bytes(range(256)) * 1_024
    store.write(written((ENTRY, b"k" * MAX_KEY, entry), (ENTRY, b"s", b"s")), durable=True)

    assert store.scan(ENTRY) == [(b"k" * MAX_KEY, entry), (b"s", b"s")]


def test_bounds_hold_before_anything_is_written() -> None:
    with pytest.raises(ValueError):
        Batch().put(META, b"k" * (MAX_KEY + 1), b"")
    with pytest.raises(ValueError):
        Batch().put(META, b"k", bytes(MAX_VALUE + 1))


def test_one_batch_may_be_written_to_several_stores(store: Store) -> None:
    batch = Batch()
    batch.put_many(META, [(b"a", b"1"), (b"b", b"2")])
    batch.delete(META, b"a")
    other = MemoryStore()
    for backend in (store, other):
        backend.write(batch, durable=True)

    assert store.scan(META) == other.scan(META) == [(b"b", b"2")]


def test_empty_batches_scrub_and_release_change_nothing(store: Store) -> None:
    store.write(written((META, b"a", b"1")), durable=False)
    store.write(Batch(), durable=False)
    store.write(Batch(), durable=True)
    store.scrub()
    store.release()

    assert store.scan(META) == [(b"a", b"1")]


def test_closed_store_refuses_every_call(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.get(META, b"a")
    with pytest.raises(StoreClosed):
        store.write(Batch(), durable=True)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"", None), (b"a", b"b"), (b"a\xff", b"b"), (b"\xff", None), (b"\xff\xff", None), (b"a\x00", b"a\x01")],
)
def test_prefix_end_is_the_smallest_key_above_the_prefix(prefix: bytes, end: bytes | None) -> None:
    assert prefix_end(prefix) == end


def test_table_numbers_are_distinct_and_meta_is_1() -> None:
    assert len({int(table) for table in Table}) == len(list(Table))
    assert {table.name: int(table) for table in Table}["META"] == 1
