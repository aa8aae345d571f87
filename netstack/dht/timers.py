"""The timers of one node, in one heap.

A timer that was moved or stopped stays in the heap until its old time comes to the top; `due` tells whether it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf


class Timer:
    """Fires once at `due` (seconds); may be set again, also while it fires."""

    __slots__ = ("due",)

    def __init__(self) -> None:
        self.due = inf

    def stop(self) -> None:
        """It does not fire."""
        self.due = inf

    def fire(self, now: float) -> None:
        """What happens when it is due."""
        raise NotImplementedError


class Alarm(Timer):
    """A timer that calls a function."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[float], None]) -> None:
        super().__init__()
        self._action = action

    def fire(self, now: float) -> None:
        """Calls the function."""
        self._action(now)


class Timers:
    """All timers of one node."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def set(self, timer: Timer, at: float) -> None:
        """`timer` fires at `at` (s), and not when it was set to before."""
        timer.due = at
        heappush(self._heap, (at, next(self._order), timer))

    def fire(self, now: float) -> None:
        """Fires what is due, in order of time.  What is set meanwhile waits for the next call."""
        due: list[tuple[float, Timer]] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, timer = heappop(heap)
            if timer.due == at:
                due.append((at, timer))
        for at, timer in due:
            if timer.due == at:
                timer.due = inf
                timer.fire(now)

    def next(self) -> float:
        """When the next timer is due (s), infinity for never."""
        heap = self._heap
        while heap:
            at, _, timer = heap[0]
            if timer.due == at:
                return at
            heappop(heap)
        return inf
