"""Work that many events ask for and that is done once: what is asked for while it runs is done once more afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Coalesced:
    """`ask()` as often as wanted; `work` runs at most once at a time, and at least once after the last `ask`.

    pause: seconds between the end of one run and the next.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], pause: float = 0.0) -> None:
        self._work = work
        self._pause = pause
        self._asked = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Has the work done soon; returns at once."""
        self._asked = True
        if not self._closed and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            await self._work()
            if self._pause:
                await asyncio.sleep(self._pause)

    async def settled(self) -> None:
        """Returns once nothing is asked for any more."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    def close(self) -> None:
        """Ends what runs; nothing runs afterwards."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
