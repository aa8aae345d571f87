"""Keys found at a topic: a bounded table, bounded dials, and everybody's turn comes."""

from __future__ import annotations

from math import inf
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sync.engine.candidates import BURST, FIRST, LATER, LONGEST, MAX_DIALS, MAX_KEYS, MAX_TOPICS, REFILL, Candidates

TOPIC, OTHER = bytes(32), bytes([1]) * 32


def key(number: int) -> bytes:
    return number.to_bytes(32, "little")


def always(topic: bytes) -> bool:
    return True


def table(seed: int = 1) -> Candidates:
    return Candidates(Random(seed).randbytes)


def test_one_key_is_dialled_once_and_later_again() -> None:
    found = table()
    found.found(TOPIC, key(1), (), 0.0)
    found.found(TOPIC, key(1), (("192.0.2.1", 1),), 0.0)
    (entry,) = found.due(0.0, always)
    assert (entry.key, entry.relays) == (key(1), (("192.0.2.1", 1),))
    assert found.due(0.0, always) == [] and found.next_wake() == inf
    found.over(TOPIC, key(1), 1.0, refused=False)
    again = found.next_wake()
    assert 0.7 * FIRST < again - 1.0 < 1.3 * FIRST
    assert found.due(again - 0.1, always) == []
    assert [one.key for one in found.due(again, always)] == [key(1)]


def test_who_proved_to_be_nobody_waits_longest() -> None:
    found = table()
    found.found(TOPIC, key(1), (), 0.0)
    found.due(0.0, always)
    found.over(TOPIC, key(1), 0.0, refused=True)
    again = found.next_wake()
    assert again > 0.7 * LONGEST


def test_where_nobody_is_missing_nobody_is_dialled() -> None:
    found = table()
    found.found(TOPIC, key(1), (), 0.0)
    found.found(OTHER, key(2), (), 0.0)
    assert [entry.key for entry in found.due(0.0, lambda topic: topic == OTHER)] == [key(2)]
    assert found.due(LATER - 1, always) == []
    assert [entry.key for entry in found.due(LATER, always)] == [key(1)]


def test_a_crowd_is_dialled_a_few_at_a_time_and_not_faster_than_the_allowance() -> None:
    found, now, dialled = table(), 0.0, 0
    while now < 600.0:
        for number in range(500):
            found.found(TOPIC, key(int(now) * 1000 + number), (), now)
        due = found.due(now, always)
        assert len(due) <= MAX_DIALS and len(found) <= MAX_KEYS
        dialled += len(due)
        for entry in due:
            found.over(TOPIC, entry.key, now, refused=True)
        now += 0.5
    assert dialled <= BURST + 600.0 / REFILL + 1


def test_one_friend_in_a_full_table_is_reached_whatever_came_first() -> None:
    for seed in range(20):
        found, now, friend = table(seed), 0.0, key(10_000)
        for number in range(MAX_KEYS - 1):
            found.found(TOPIC, key(number), (), now)
        found.found(TOPIC, friend, (), now)
        met = False
        while not met:
            for entry in found.due(now, always):
                met = met or entry.key == friend
                found.over(TOPIC, entry.key, now, refused=True)
            now += REFILL
            assert now < REFILL * (MAX_KEYS + 2)


def test_a_topic_that_was_left_is_forgotten() -> None:
    found = table()
    found.found(TOPIC, key(1), (), 0.0)
    (entry,) = found.due(0.0, always)
    found.leave(TOPIC)
    found.over(TOPIC, entry.key, 1.0, refused=False)
    found.forget(TOPIC, entry.key)
    assert len(found) == 0 and found.next_wake() == inf


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10_000)), max_size=400), st.integers(0, 1 << 32))
def test_it_never_holds_more_than_its_bounds(said: list[tuple[int, int]], seed: int) -> None:
    found = table(seed)
    for topic, number in said:
        found.found(key(topic), key(number), (("192.0.2.1", 1),) * 9, 0.0)
        for entry in found.due(0.0, always):
            found.over(entry.topic, entry.key, 0.0, refused=bool(number % 2))
    assert len(found) <= MAX_TOPICS * MAX_KEYS
