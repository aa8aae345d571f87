"""Simultaneous dials over paths of any delay leave one connection, the same at both ends; also against npm's rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

import pytest

from netstack.swarm.core.effects import Abandon, Dial, Drop, Take
from netstack.swarm.core.swarm import SwarmCore

TOPIC = b"t" * 32
ADA, BOB = b"\x01" * 32, b"\x02" * 32


@dataclass
class Line:
    """One connection and what its two ends know of it."""

    dialler: bytes
    open: set[bytes] = field(default_factory=set)
    over: set[bytes] = field(default_factory=set)


class Pair:
    """Two ends, one wire each way that delays and keeps order, and connections that take three messages to open."""

    def __init__(self, seed: int) -> None:
        self.luck = Random(seed)
        self.now = 0.0
        self.lines: list[Line] = []
        self.ends: dict[bytes, Ours | Theirs] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._last = {ADA: 0.0, BOB: 0.0}
        self._turn = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._turn += 1
        heappush(self._queue, (when, self._turn, call))

    def send(self, to: bytes, call: Callable[[], None]) -> None:
        self._last[to] = max(self._last[to], self.now + self.luck.uniform(0.001, 0.08))
        self.at(self._last[to], call)

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, call = heappop(self._queue)
            call()
        self.now = until

    def dial(self, dialler: bytes) -> int:
        number = len(self.lines)
        self.lines.append(Line(dialler))
        called = BOB if dialler == ADA else ADA
        self.send(called, lambda: self._answer(number, dialler, called))
        return number

    def _answer(self, number: int, dialler: bytes, called: bytes) -> None:
        if dialler in self.lines[number].over:
            return
        if self.ends[called].accepts():
            self.send(dialler, lambda: self._open(number, dialler, called))
        else:
            self.at(self.now + 0.5, lambda: self._answer(number, dialler, called))  # it asks again

    def _open(self, number: int, dialler: bytes, called: bytes) -> None:
        if dialler in self.lines[number].over:
            return
        self.send(called, lambda: self._arrived(number, called))
        self._arrived(number, dialler)

    def _arrived(self, number: int, end: bytes) -> None:
        line = self.lines[number]
        if end not in line.over:
            line.open.add(end)
            self.ends[end].opened(number, end == line.dialler)

    def close(self, number: int, end: bytes) -> None:
        line = self.lines[number]
        if end in line.over:
            return
        line.over.add(end)
        other = BOB if end == ADA else ADA
        self.send(other, lambda: self._closed(number, other))

    def _closed(self, number: int, end: bytes) -> None:
        line = self.lines[number]
        if end not in line.over:
            line.over.add(end)
            self.ends[end].closed(number)


class Ours:
    def __init__(self, pair: Pair, key: bytes) -> None:
        self.pair, self.key, self.other = pair, key, BOB if key == ADA else ADA
        self.core = SwarmCore(key, pair.luck.randbytes)
        self.core.dial_for(TOPIC, True)
        self.taken: list[int] = []
        self._dialled = -1

    def found(self) -> None:
        self.core.found(TOPIC, self.other, self.pair.now)
        self._serve()

    def accepts(self) -> bool:
        return self.core.accepts(self.other, self.pair.now)

    def opened(self, number: int, initiator: bool) -> None:
        self.core.opened(self.other, number, initiator, self.pair.now)
        self._serve()

    def closed(self, number: int) -> None:
        if number == self._dialled and self.key not in self.pair.lines[number].open:
            self.core.failed(self.other, self.pair.now)
        else:
            self.core.closed(self.other, number, self.pair.now)
        self._serve()

    @property
    def current(self) -> int | None:
        held = [number for number in self.taken if self.key not in self.pair.lines[number].over]
        return held[-1] if held else None

    def _serve(self) -> None:
        for effect in self.core.take_effects():
            match effect:
                case Dial():
                    self._dialled = self.pair.dial(self.key)
                case Abandon():
                    self.pair.close(self._dialled, self.key)
                case Take(_, conn):
                    self.taken.append(conn)
                case Drop(conn):
                    self.pair.close(conn, self.key)
        at = self.core.next_wake()
        if at < 60.0:
            self.pair.at(at, self._wake)

    def _wake(self) -> None:
        self.core.wake(self.pair.now)
        self._serve()


class Theirs:
    """What npm hyperswarm does about duplicates: the dial counts as a connection, and only the called end decides."""

    def __init__(self, pair: Pair, key: bytes) -> None:
        self.pair, self.key = pair, key
        self.other = BOB if key == ADA else ADA
        self.current: int | None = None

    def found(self) -> None:
        if self.current is None:
            self.current = self.pair.dial(self.key)

    def accepts(self) -> bool:
        return True

    def opened(self, number: int, initiator: bool) -> None:
        if initiator or self.current is None:
            self.current = number
            return
        settled = self.key in self.pair.lines[self.current].open
        if not settled and (self.key > self.other) != initiator:
            self.pair.close(number, self.key)
            return
        self.pair.close(self.current, self.key)
        self.current = number

    def closed(self, number: int) -> None:
        if number == self.current:
            self.current = None
            self.pair.at(self.pair.now + self.pair.luck.uniform(1.0, 1.5), self.found)


@pytest.mark.parametrize("kinds", [(Ours, Ours), (Ours, Theirs), (Theirs, Ours)])
def test_simultaneous_dials_leave_one_connection_at_both_ends(
    kinds: tuple[type[Ours | Theirs], type[Ours | Theirs]],
) -> None:
    redials = taken_away = 0
    for seed in range(400):
        pair = Pair(seed)
        pair.ends = {ADA: kinds[0](pair, ADA), BOB: kinds[1](pair, BOB)}
        for end in pair.ends.values():
            pair.at(pair.luck.choice((0.0, pair.luck.uniform(0.0, 0.3))), end.found)
        pair.run(30.0)
        ada, bob = pair.ends[ADA].current, pair.ends[BOB].current
        assert ada is not None and ada == bob, seed
        assert [number for number, line in enumerate(pair.lines) if not line.over] == [ada], seed
        redials += len(pair.lines) > 2
        taken_away += any(isinstance(end, Ours) and len(end.taken) > 1 for end in pair.ends.values())
    assert redials == 0  # no peer had to dial again
    if kinds == (Ours, Ours):
        assert taken_away == 0  # and no connection was taken away from the application


@pytest.mark.parametrize("kinds", [(Ours, Ours), (Ours, Theirs), (Theirs, Ours)])
def test_restarted_peer_that_dials_again_gets_a_connection_at_once(
    kinds: tuple[type[Ours | Theirs], type[Ours | Theirs]],
) -> None:
    for seed in range(100):
        pair = Pair(seed)
        pair.ends = {ADA: kinds[0](pair, ADA), BOB: kinds[1](pair, BOB)}
        pair.ends[ADA].found()
        pair.run(10.0)
        first = pair.ends[ADA].current
        again = pair.luck.choice((ADA, BOB))
        pair.ends[again] = kinds[0 if again == ADA else 1](pair, again)
        if first is not None:
            pair.lines[first].over.add(again)  # its process is gone without telling
        pair.ends[again].found()
        pair.run(11.0)
        assert pair.ends[ADA].current == pair.ends[BOB].current == len(pair.lines) - 1, seed
