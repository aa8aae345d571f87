"""Coroutines without an event loop: they wait for promises and for virtual time, and their owner says what time it is.

A connection attempt is a procedure ("probe, wait a second, probe again, punch"), and reads best as one.  The owner
calls `wake(now)` when `next_wake` has come and `run(now)` after anything that may have kept a promise; between those
calls nothing happens.  Cancelling closes a coroutine where it waits, so its `finally` blocks give back what it held;
they must not wait themselves.  Decision 0110.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Promise(Generic[T]):
    """A value that comes later, once.  Whoever awaits it is continued in the next `run`."""

    __slots__ = ("_callbacks", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T
        self._callbacks: list[Callable[[], None]] = []

    def keep(self, value: T) -> None:
        """The first value stands; later ones are dropped."""
        if self.done:
            return
        self.done = True
        self._value = value
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def then(self, callback: Callable[[], None]) -> None:
        """Calls back once it is kept; at once where it is."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """`callback` is not called any more."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    @property
    def value(self) -> T:
        """The value.  Only once `done`."""
        return self._value

    def __await__(self) -> Generator[Promise[Any], None, T]:
        if not self.done:
            yield self
        return self._value


class Timer:
    """One call in the future; `cancel` may come at any time."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It does not call."""
        self.callback = None


Procedure = Coroutine[Promise[Any], None, None]


class Task:
    """A coroutine under way.  `done` is kept when it has returned or was cancelled."""

    __slots__ = ("_coroutine", "_running", "_tasks", "_waits", "cancelled", "done")

    def __init__(self, tasks: Tasks, coroutine: Procedure) -> None:
        self.done: Promise[None] = Promise()
        self.cancelled = False
        self._tasks = tasks
        self._coroutine = coroutine
        self._waits: Promise[Any] | None = None
        self._running = False

    def cancel(self) -> None:
        """Closes it where it waits.  From inside itself: at its next wait."""
        if self.done.done or self.cancelled:
            return
        self.cancelled = True
        if self._running:
            return
        if self._waits is not None:
            self._waits.forget(self._ready)
        self._end()

    def step(self) -> None:
        """Continues the coroutine to its next wait."""
        if self.done.done:
            return
        self._running = True
        try:
            self._waits = self._coroutine.send(None)
        except StopIteration:
            self._waits = None
            self._running = False
            self._end()
            return
        except BaseException:
            self._running = False
            self._end()
            raise
        self._running = False
        if self.cancelled:
            self._end()
        else:
            self._waits.then(self._ready)

    def _ready(self) -> None:
        self._tasks.soon(self)

    def _end(self) -> None:
        self._coroutine.close()
        self._tasks.drop(self)
        self.done.keep(None)


class Tasks:
    """The coroutines of one core, in the order in which they may go on."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._ready: deque[Task] = deque()
        self._all: set[Task] = set()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def busy(self) -> bool:
        """Whether `run` has something to do."""
        return bool(self._ready)

    def spawn(self, coroutine: Procedure) -> Task:
        """Starts in the next `run`."""
        task = Task(self, coroutine)
        self._all.add(task)
        self._ready.append(task)
        return task

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Calls `callback` in the `wake` that reaches `when` (s)."""
        timer = Timer(callback)
        heappush(self._timers, (when, next(self._order), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        """Waits for so many seconds."""
        promise: Promise[None] = Promise()
        timer = self.at(self.now + seconds, lambda: promise.keep(None))
        try:
            await promise
        finally:
            timer.cancel()

    async def within(self, seconds: float, promise: Promise[T]) -> T | None:
        """What is promised, or None once so many seconds have passed."""
        either: Promise[T | None] = Promise()

        def kept() -> None:
            either.keep(promise.value)

        promise.then(kept)
        timer = self.at(self.now + seconds, lambda: either.keep(None))
        try:
            return await either
        finally:
            timer.cancel()
            promise.forget(kept)

    async def together(self, coroutines: Sequence[Procedure]) -> None:
        """Until all of them have ended.  If the caller is cancelled, so are they."""
        tasks = [self.spawn(coroutine) for coroutine in coroutines]
        try:
            for task in tasks:
                await task.done
        finally:
            for task in tasks:
                task.cancel()

    # for the owner

    def run(self, now: float) -> None:
        """Continues whoever waits for nothing any more."""
        self.now = now
        while self._ready:
            self._ready.popleft().step()

    def wake(self, now: float) -> None:
        """Timers that are due, then `run`."""
        self.now = now
        timers = self._timers
        while timers and timers[0][0] <= now:
            callback = heappop(timers)[2].callback
            if callback is not None:
                callback()
        self.run(now)

    def next_wake(self) -> float:
        """When `wake` is to be called (s), infinity for never."""
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heappop(timers)
        if self._ready:
            return self.now
        return timers[0][0] if timers else inf

    # for tasks

    def soon(self, task: Task) -> None:
        """The task goes on in this or the next `run`."""
        self._ready.append(task)

    def drop(self, task: Task) -> None:
        """The task has ended."""
        self._all.discard(task)
