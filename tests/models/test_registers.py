"""A model of values that replace one another, under clocks that say anything: what is decided later, counts.

The model knows what the rule is not told: who knew what (`past`).  Exhaustive on small bounds, random on larger ones,
over the production functions.  Two simpler wordings stand beside the rule, with the histories that broke them; and the
one that the rule leaves, which needs a thief and a close, with what ends it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import pytest

from crdt.docs.ids import sort_key
from crdt.docs.over import counting, newest_of_feeds, over, value_id

DEVICES = 3
CLOCKS = (1, 5, 9)  # what a device's clock may say, whatever the time is


@dataclass(frozen=True)
class Says:
    """One value; past: every value that its author knew, its own included."""

    core: bytes
    seq: int
    stamp: int
    over: tuple[bytes, ...]
    past: frozenset[tuple[bytes, int]] = field(compare=False)
    place: int = 0

    @property
    def value(self) -> Says:
        return self

    @property
    def at(self) -> tuple[bytes, int]:
        return self.core, self.seq

    def id(self) -> bytes:
        return value_id(self.core, self.seq, 0, self.stamp, b"".join(self.over))

    def order(self) -> bytes:
        return sort_key(self.stamp, self.core, self.seq) + self.core


Naming = Callable[[set[Says], bytes], tuple[bytes, ...]]
Deciding = Callable[[set[Says]], Says | None]


def by_rule(known: set[Says], mine: bytes) -> tuple[bytes, ...]:
    return over(newest_of_feeds(known), mine)


def decide(values: set[Says]) -> Says | None:
    return counting(newest_of_feeds(values))


class History:
    """Devices that write and hear of one another.  `naming` and `deciding` are the rule, or what is tried instead."""

    def __init__(self, naming: Naming = by_rule, deciding: Deciding = decide, *, follows: bool = False) -> None:
        self.naming, self.deciding, self.follows = naming, deciding, follows
        self.known: list[set[Says]] = [set() for _ in range(DEVICES)]
        self.said: list[Says] = []

    def write(self, device: int, clock: int) -> Says:
        """follows: stamps of my devices follow each other, as those of production do below the ceiling."""
        core, known = bytes([device]) * 32, self.known[device]
        stamp = max([clock, *(one.stamp + 1 for one in known)]) if self.follows else clock
        seq = sum(one.core == core for one in self.said)
        past = frozenset({one.at for one in self.known[device]} | {(core, seq)})
        made = Says(core, seq, stamp, self.naming(known, core), past)
        self.said.append(made)
        self.known[device].add(made)
        return made

    def hear(self, device: int, other: int) -> None:
        self.known[device] |= self.known[other]

    def check(self, *, cuts: bool = False) -> None:
        """What counts was not replaced by anything that counts and whose author knew it.  cuts: for every cut of every
        feed, too: a close may admit any first part of a feed."""
        lengths = [sum(one.core == bytes([d]) * 32 for one in self.said) for d in range(DEVICES)]
        for ends in product(*(range(length + 1) for length in lengths)) if cuts else [lengths]:
            counts = {one for one in self.said if one.seq < ends[one.core[0]]}
            found = self.deciding(counts)
            assert (found is None) == (not counts)
            later = [one for one in counts if found is not None and one != found and found.at in one.past]
            assert later == [], (ends, found, later)
            orders = sorted(counts, key=lambda one: one.order()), sorted(counts, key=lambda one: one.id())
            assert [self.deciding(set(order)) for order in orders] == [found, found]


def moves() -> list[tuple[str, int, int]]:
    writes = [("write", device, clock) for device in range(2) for clock in CLOCKS[::2]]
    return [*writes, ("hear", 0, 1), ("hear", 1, 0)]


def histories(length: int) -> Iterator[tuple[tuple[str, int, int], ...]]:
    return product(moves(), repeat=length)


def play(history: History, steps: tuple[tuple[str, int, int], ...]) -> History:
    for what, one, two in steps:
        if what == "write":
            history.write(one, two)
        else:
            history.hear(one, two)
    return history


def test_later_deed_counts_in_every_short_history_of_two_devices() -> None:
    """Stamps as the clocks say, without following: cause alone."""
    for steps in histories(5):
        play(History(), steps).check()


def test_later_deed_counts_in_every_short_history_however_a_close_cuts_feeds() -> None:
    for steps in histories(4):
        play(History(follows=True), steps).check(cuts=True)


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_later_deed_counts_in_random_histories_of_three_devices(seed: int, follows: bool) -> None:
    rng, history = random.Random(seed), History(follows=follows)
    for _ in range(14):
        device = rng.randrange(DEVICES)
        if rng.random() < 0.5:
            history.write(device, rng.choice(CLOCKS))
        else:
            history.hear(device, rng.randrange(DEVICES))
    history.check(cuts=follows)


def test_devices_that_know_the_same_agree_and_what_one_writes_then_counts_at_once() -> None:
    history = History()
    for device, stamp in ((0, 9), (1, 5), (2, 1)):
        history.write(device, stamp)
    for device, other in ((0, 1), (0, 2), (1, 0), (2, 0)):
        history.hear(device, other)
    assert len({decide(known) for known in history.known}) == 1
    last = history.write(2, 1)
    assert decide(history.known[2]) == last


# -- what was tried first ------------------------------------------------------------------------------------------


def standing(values: set[Says]) -> set[Says]:
    """Values that no other one names, whichever feed they are of."""
    named = {id_ for one in values for id_ in one.over}
    return {one for one in values if one.id() not in named}


def heads_only(known: set[Says], mine: bytes) -> tuple[bytes, ...]:
    """An author names what stands at that moment, and not what was out already."""
    return tuple(sorted(one.id() for one in standing(known)))


def any_that_stands(values: set[Says]) -> Says | None:
    left = standing(values)
    return max(left, key=lambda one: one.order()) if left else None


def test_naming_only_what_stands_lets_a_replaced_value_return_after_a_close() -> None:
    """A (2035) is replaced by B, B by C.  A close cuts B off: A would count again over C, whose author knew both."""
    history = History(heads_only, any_that_stands)
    play(history, (("write", 0, 9), ("hear", 1, 0), ("write", 1, 5), ("hear", 2, 1), ("write", 2, 1)))
    with pytest.raises(AssertionError):
        history.check(cuts=True)
    history = History()
    play(history, (("write", 0, 9), ("hear", 1, 0), ("write", 1, 5), ("hear", 2, 1), ("write", 2, 1)))
    history.check(cuts=True)


def test_cut_between_two_values_of_a_thief_at_the_ceiling_holds_until_the_next_deed() -> None:
    """A stolen phone writes twice at the highest stamps.  The desktop, which cannot stamp higher, replaces the second;
    the close cuts that one off, and the first counts, which nobody named.  What is written next names it."""
    history = History()
    play(history, (("write", 0, 9), ("write", 0, 9), ("hear", 1, 0), ("write", 1, 8)))
    first, second, third = history.said
    assert decide({first, second, third}) == third
    assert decide({first, third}) == first
    history.known[1] = {first, third}
    fourth = history.write(1, 8)
    assert decide({first, third, fourth}) == fourth


def test_the_highest_stamp_alone_keeps_what_a_wrong_clock_wrote() -> None:
    history = History(deciding=lambda values: max(values, key=lambda one: one.order(), default=None))
    play(history, (("write", 0, 9), ("hear", 1, 0), ("write", 1, 1)))
    with pytest.raises(AssertionError):
        history.check()


def test_a_device_that_names_what_does_not_exist_replaces_nothing() -> None:
    """Ids are hashes over what they name: who guesses stamp and place of a later value does not have its id."""
    history = History()
    honest = history.write(0, 5)
    guessed = value_id(honest.core, 1, 0, 6, b"")
    bad = Says(bytes([1]) * 32, 0, 9, (guessed,), frozenset())
    history.known[0] |= {bad}
    history.said.append(bad)
    later = history.write(0, 6)
    assert later.id() != guessed and decide({honest, bad, later}) == later
