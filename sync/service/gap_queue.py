"""A bounded queue of news for one reader: what a slow reader loses is marked where it is missing.

A reader that stays behind must not make the node grow, and must not believe that it was told everything.  So the line
after the last one that fits is a gap; whatever comes before the reader has taken that line is covered by it, because
the reader reads again after it.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class GapQueue(Generic[T]):
    """limit: lines that may wait; gap: the line that stands for those that were lost."""

    def __init__(self, limit: int, gap: T) -> None:
        self._limit = limit
        self._gap = gap
        self._lines: asyncio.Queue[T | None] = asyncio.Queue()
        self._full = False

    @property
    def waiting(self) -> int:
        """Lines that wait for the reader, at most one more than the limit."""
        return self._lines.qsize()

    def put(self, line: T) -> None:
        """Adds a line, or the gap, or nothing where a gap that covers the line still waits."""
        if self._full and self._lines.empty():
            self._full = False
        if self._full:
            return
        if self._lines.qsize() < self._limit:
            self._lines.put_nowait(line)
        else:
            self._full = True
            self._lines.put_nowait(self._gap)

    def end(self) -> None:
        """Nothing follows: after the lines that wait, `get` returns None."""
        self._lines.put_nowait(None)

    async def get(self) -> T | None:
        """The next line, waited for; None at the end."""
        return await self._lines.get()
