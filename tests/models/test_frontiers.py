"""A model of read marks and deleted chats as frontiers: nothing is read or gone that its reader did not have.

Feeds of two friends, three devices of one reader; entries come late, clocks say anything, marks are made at any row
that stands in a device's list.  Beside the rule stands the mark that was tried first, a place in the list, and what
broke it.
"""

from __future__ import annotations

import random

import pytest

from crdt.docs.rows import placed_at

HOUR = 3_600_000
NOW = 1_790_000_000_000
Entry = tuple[int, int]  # feed, seq
Frontier = dict[int, int]


def merged(one: Frontier, other: Frontier) -> Frontier:
    return {feed: max(one.get(feed, -1), other.get(feed, -1)) for feed in one | other}


def covers(frontier: Frontier, entry: Entry) -> bool:
    return entry[1] <= frontier.get(entry[0], -1)


class Reader:
    """One device: what it holds of each feed (always a first part), where each entry stands, and how far it has
    read."""

    def __init__(self) -> None:
        self.held: dict[Entry, tuple[int, int]] = {}  # entry -> (place, stamp)
        self.marks: Frontier = {}
        self.seen: set[Entry] = set()  # what stood at or before a row that was marked here

    def take(self, entry: Entry, stamp_ms: int, now_ms: int) -> None:
        if entry not in self.held:
            placed = placed_at(stamp_ms << 16, now_ms, now_ms)
            self.held[entry] = (stamp_ms if placed is None else placed), stamp_ms

    def listed(self) -> list[Entry]:
        return sorted(self.held, key=lambda entry: (self.held[entry], entry))

    def mark(self, at: int) -> None:
        """Of each feed all up to its first entry that stands behind that row."""
        rows = self.listed()
        upto = set(rows[: at + 1])
        for feed in {entry[0] for entry in rows}:
            seq = -1
            while (feed, seq + 1) in upto:
                seq += 1
            self.marks = merged(self.marks, {feed: seq})
        self.seen |= {entry for entry in upto if covers(self.marks, entry)}


def run(seed: int) -> tuple[list[Reader], dict[Entry, int]]:
    rng = random.Random(seed)
    readers, stamps, lengths = [Reader() for _ in range(3)], {}, [0, 0]
    last = [0, 0]
    for step in range(60):
        now = NOW + step * 60_000
        what = rng.random()
        if what < 0.35:
            feed = rng.randrange(2)
            skew = rng.choice((0, 0, -10 * 365 * 24 * HOUR, 10 * 365 * 24 * HOUR, HOUR))
            last[feed] = stamps[feed, lengths[feed]] = max(last[feed] + 1, now + skew)
            lengths[feed] += 1
        elif what < 0.8:
            reader, feed = rng.choice(readers), rng.randrange(2)
            have = sum(entry[0] == feed for entry in reader.held)
            if have < lengths[feed]:
                reader.take((feed, have), stamps[feed, have], now)
        elif reader_rows := rng.choice(readers).held:
            reader = next(reader for reader in readers if reader.held is reader_rows)
            reader.mark(rng.randrange(len(reader_rows)))
    return readers, stamps


@pytest.mark.parametrize("seed", range(300))
def test_what_is_marked_somewhere_is_read_and_nothing_else(seed: int) -> None:
    readers, stamps = run(seed)
    marks: Frontier = {}
    for reader in readers:
        marks = merged(marks, reader.marks)
    seen = set().union(*(reader.seen for reader in readers))
    assert {entry for entry in stamps if covers(marks, entry)} == seen


@pytest.mark.parametrize("seed", range(300))
def test_row_at_the_end_marks_all_that_its_device_holds(seed: int) -> None:
    """Whatever clocks said: who reads to the end has nothing unread."""
    for reader in run(seed)[0]:
        if reader.held:
            reader.mark(len(reader.held) - 1)
            assert all(covers(reader.marks, entry) for entry in reader.held)


def test_mark_that_is_a_place_swallows_what_comes_after_a_row_of_the_future() -> None:
    """The mark that was tried first: everything at or below the stamp of the marked row."""
    future, later = NOW + 10 * 365 * 24 * HOUR, NOW + HOUR
    assert later <= future, "as a place the mark covers what was written an hour later"
    reader = Reader()
    reader.take((0, 0), future, NOW)
    reader.mark(0)
    reader.take((1, 0), later, later)
    assert not covers(reader.marks, (1, 0))
    assert reader.listed() == [(0, 0), (1, 0)], "and it stands behind it"
