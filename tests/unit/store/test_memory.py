"""The in-memory twin dies where it is told, and leaves what a power cut leaves."""

from __future__ import annotations

import pytest

from sync.store.memory import Call, Crashed, CrashPlan, MemoryStore, When
from sync.store.port import Batch, StoreClosed, Table

META = Table.META


def put(key: bytes, value: bytes = b"v") -> Batch:
    batch = Batch()
    batch.put(META, key, value)
    return batch


def keys(store: MemoryStore) -> list[bytes]:
    return [key for key, _ in store.scan(META)]


def draw(number: int) -> object:
    return lambda size: number.to_bytes(size, "little")


def test_a_crash_keeps_durable_batches_and_a_first_part_of_the_rest() -> None:
    left = []
    for lost in range(4):
        store = MemoryStore()
        store.write(put(b"a"), durable=False)
        store.write(put(b"b"), durable=True)
        for key in (b"c", b"d", b"e"):
            store.write(put(key), durable=False)
        left.append(keys(store.crash(draw(lost))))  # type: ignore[arg-type]

    assert left == [[b"a", b"b", b"c", b"d", b"e"], [b"a", b"b", b"c", b"d"], [b"a", b"b", b"c"], [b"a", b"b"]]


def test_lost_batches_are_undone_exactly() -> None:
    store = MemoryStore()
    store.write(put(b"a", b"first"), durable=True)
    batch = Batch()
    batch.put(META, b"a", b"second")
    batch.put(META, b"b", b"new")
    batch.delete_range(META, b"a", b"c")
    batch.put(META, b"a", b"third")
    store.write(batch, durable=False)

    assert store.scan(META) == [(b"a", b"third")]
    assert store.crash(draw(1)).scan(META) == [(b"a", b"first")]  # type: ignore[arg-type]


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("number", [0, 1, 2])
def test_planned_crash_strikes_once_and_the_store_stays_dead(when: When, number: int) -> None:
    plan = CrashPlan(number, when)
    store = MemoryStore(plan)
    written = []
    with pytest.raises(Crashed):
        for key in (b"a", b"b", b"c"):
            store.write(put(key), durable=True)
            written.append(key)
    with pytest.raises(Crashed):
        store.get(META, b"a")

    assert plan.struck == Call(number, "write", when)
    after = keys(store.crash(draw(0)))  # type: ignore[arg-type]
    assert len(written) == number
    assert after[:number] == written
    assert len(after) == number + (when is When.AFTER)


def test_no_exception_handler_catches_a_crash() -> None:
    store = MemoryStore(CrashPlan(0, When.BEFORE))
    with pytest.raises(Crashed):
        try:
            store.get(META, b"a")
        except Exception:
            pytest.fail("a crash was caught as an error")


def test_crashed_stores_share_nothing() -> None:
    store = MemoryStore()
    store.write(put(b"a"), durable=True)
    after = store.crash(draw(0))  # type: ignore[arg-type]
    after.write(put(b"b"), durable=True)

    assert keys(after) == [b"a", b"b"]
    with pytest.raises(Crashed):
        store.scan(META)


def test_clean_close_keeps_everything() -> None:
    store = MemoryStore()
    store.write(put(b"a"), durable=False)
    store.close()

    assert keys(store.reopen()) == [b"a"]
    with pytest.raises(StoreClosed):
        store.scan(META)
