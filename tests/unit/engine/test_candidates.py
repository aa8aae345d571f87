"""Keys found at a topic: a bounded table, bounded dials, and everybody's turn comes."""

from __future__ import annotations

from math import inf
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sync.engine.candidates import BURST, FIRST, LATER, LONGEST, MAX_DIALS, MAX_KEYS, MAX_TOPICS, REFILL, Candidates
from sync.engine.inputs import FoundKey

TOPIC, OTHER = bytes(32), bytes([1]) * 32


def key(number: int) -> bytes:
    return number.to_bytes(32, "little")


def always(topic: bytes) -> bool:
    return True


def table(seed: int = 1) -> Candidates:
    return Candidates(Random(seed).randbytes)


def test_candidate_is_dialled_once_and_retried_later() -> None:
    found = table()
    found.found(FoundKey(TOPIC, key(1), ()), 0.0)
    found.found(FoundKey(TOPIC, key(1), (("192.0.2.1", 1),)), 0.0)
    (entry,) = found.due(0.0, always)
    assert (entry.key, entry.relays) == (key(1), (("192.0.2.1", 1),))
    assert found.due(0.0, always) == [] and found.next_wake() == inf
    found.over(TOPIC, key(1), 1.0, refused=False)
    again = found.next_wake()
    assert 0.7 * FIRST < again - 1.0 < 1.3 * FIRST
    assert found.due(again - 0.1, always) == []
    assert [one.key for one in found.due(again, always)] == [key(1)]


def test_refused_candidate_waits_longest() -> None:
    found = table()
    found.found(FoundKey(TOPIC, key(1), ()), 0.0)
    found.due(0.0, always)
    found.over(TOPIC, key(1), 0.0, refused=True)
    again = found.next_wake()
    assert again > 0.7 * LONGEST


def test_no_candidate_is_dialled_when_nobody_is_missing() -> None:
    found = table()
    found.found(FoundKey(TOPIC, key(1), ()), 0.0)
    found.found(FoundKey(OTHER, key(2), ()), 0.0)
    assert [entry.key for entry in found.due(0.0, lambda topic: topic == OTHER)] == [key(2)]
    assert found.due(LATER - 1, always) == []
    assert [entry.key for entry in found.due(LATER, always)] == [key(1)]


def test_many_candidates_are_dialled_within_the_rate_limit() -> None:
    found, now, dialled = table(), 0.0, 0
    while now < 600.0:
        for number in range(500):
            found.found(FoundKey(TOPIC, key(int(now) * 1000 + number), ()), now)
        due = found.due(now, always)
        assert len(due) <= MAX_DIALS and len(found) <= MAX_KEYS
        dialled += len(due)
        for entry in due:
            found.over(TOPIC, entry.key, now, refused=True)
        now += 0.5
    assert dialled <= BURST + 600.0 / REFILL + 1


def test_friend_in_a_full_table_is_reached_in_any_order() -> None:
    for seed in range(20):
        found, now, friend = table(seed), 0.0, key(10_000)
        for number in range(MAX_KEYS - 1):
            found.found(FoundKey(TOPIC, key(number), ()), now)
        found.found(FoundKey(TOPIC, friend, ()), now)
        met = False
        while not met:
            for entry in found.due(now, always):
                met = met or entry.key == friend
                found.over(TOPIC, entry.key, now, refused=True)
            now += REFILL
            assert now < REFILL * (MAX_KEYS + 2)


def test_candidates_of_a_left_topic_are_forgotten() -> None:
    found = table()
    found.found(FoundKey(TOPIC, key(1), ()), 0.0)
    (entry,) = found.due(0.0, always)
    found.leave(TOPIC)
    found.over(TOPIC, entry.key, 1.0, refused=False)
    found.forget(TOPIC, entry.key)
    assert len(found) == 0 and found.next_wake() == inf


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10_000)), max_size=400), st.integers(0, 1 << 32))
def test_candidate_table_never_exceeds_its_bounds(said: list[tuple[int, int]], seed: int) -> None:
    found = table(seed)
    for topic, number in said:
        found.found(FoundKey(key(topic), key(number), (("192.0.2.1", 1),) * 9), 0.0)
        for entry in found.due(0.0, always):
            found.over(entry.topic, entry.key, 0.0, refused=bool(number % 2))
    assert len(found) <= MAX_TOPICS * MAX_KEYS
