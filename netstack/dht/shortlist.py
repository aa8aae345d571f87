"""The k nearest answers of a walk, at most four from one public network (/24) while there are others.

An id follows from an address, so one host can choose its place among 65,535 ports.  Without this bound an attacker with
one host could hold all records of a topic.  Answers beyond four give their places to the next nearest.
"""

from __future__ import annotations

from bisect import insort
from math import inf
from operator import itemgetter
from typing import Generic, TypeVar

from netstack.dht.table import OF_A_PLACE, K

A = TypeVar("A")
DISTANCE = itemgetter(0)


class Shortlist(Generic[A]):
    """`closest`: the k best, nearest first.  Holds every answer that was added, so its owner bounds their number."""

    __slots__ = ("_far", "_far_plain", "_held", "closest")

    def __init__(self) -> None:
        self._held: list[tuple[int, bytes, A]] = []
        self._far = self._far_plain = inf
        self.closest: tuple[A, ...] = ()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def complete(self) -> bool:
        """k are held without more than four of one place."""
        return self._far < inf

    def add(self, distance: int, place: bytes, answer: A) -> None:
        """An answer from `distance` away, of the network `place`."""
        if distance >= self._far:
            return
        insort(self._held, (distance, place, answer), key=DISTANCE)
        chosen: list[tuple[int, bytes, A]] = []
        beyond: list[tuple[int, bytes, A]] = []
        places: dict[bytes, int] = {}
        for item in self._held:
            there = places[item[1]] = places.get(item[1], 0) + 1
            (chosen if there <= OF_A_PLACE else beyond).append(item)
            if len(chosen) == K:
                break
        if len(self._held) >= K:
            self._far_plain = self._held[K - 1][0]
        if len(chosen) == K:
            self._far = chosen[-1][0]
        elif beyond:
            chosen = sorted([*chosen, *beyond[: K - len(chosen)]], key=DISTANCE)
        self.closest = tuple([answer for _, _, answer in chosen])

    def wants(self, distance: int) -> bool:
        """Whether an answer from there could be one of the k."""
        return distance < self._far

    def wants_anyway(self, distance: int) -> bool:
        """Whether it could be, if it came from a place that has its four already."""
        return not self.complete and distance < self._far_plain
