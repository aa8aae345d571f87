"""Credit: how many bytes of blocks, records and pieces may be under way, and when more may follow.

The receiver gives credit back when its store has taken what came, so a slow disk slows the sender down and nothing
piles up in between.  A sender may overdraw by one message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from sync.replicate.messages import Credit

WINDOW = 2 * 1024 * 1024  # bytes under way on one channel
_BATCH = WINDOW // 8  # credit given back at once


class Inflow:
    """The receiving end: what the peer may still send, and what is owed to it."""

    __slots__ = ("_owed", "_room", "_unstored")

    def __init__(self) -> None:
        self._room = WINDOW
        self._owed = 0
        self._unstored: dict[bytes, deque[tuple[int, int]]] = {}

    def take(self, size: int) -> bool:
        """Notes a message of `size` bytes.  False: the peer sends more than it was allowed."""
        if self._room <= 0:
            return False
        self._room -= size
        return True

    def give_back(self, size: int) -> None:
        self._owed += size

    def hold(self, writer: bytes, end: int, size: int) -> None:
        """The bytes of a range come back when the feed is stored up to `end`."""
        self._unstored.setdefault(writer, deque()).append((end, size))

    def stored(self, lengths: Mapping[bytes, int]) -> None:
        for writer, length in lengths.items():
            waiting = self._unstored.get(writer)
            while waiting and waiting[0][0] <= length:
                self._owed += waiting.popleft()[1]

    def credit(self) -> Credit | None:
        """The message that gives back what is owed, once it is worth one."""
        if self._owed < _BATCH:
            return None
        due, self._owed = self._owed, 0
        self._room += due
        return Credit(due)
