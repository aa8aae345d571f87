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
    """The receiving end: what the peer may still send, and how much credit is not yet given back."""

    __slots__ = ("_due", "_room", "_unstored")

    def __init__(self) -> None:
        self._room = WINDOW
        self._due = 0
        self._unstored: dict[bytes, deque[tuple[int, int]]] = {}

    def take(self, size: int) -> bool:
        """Notes a message of `size` bytes.  False: the peer sends more than it was allowed."""
        if self._room <= 0:
            return False
        self._room -= size
        return True

    def give_back(self, size: int) -> None:
        """`size` bytes were used or dropped at once."""
        self._due += size

    def hold(self, writer: bytes, end: int, size: int) -> None:
        """The bytes of a range come back when the feed is stored up to `end`."""
        self._unstored.setdefault(writer, deque()).append((end, size))

    def stored(self, lengths: Mapping[bytes, int]) -> None:
        """Feeds are stored up to these lengths: the bytes held for them come back."""
        for writer, length in lengths.items():
            waiting = self._unstored.get(writer)
            while waiting and waiting[0][0] <= length:
                self._due += waiting.popleft()[1]

    def credit(self) -> Credit | None:
        """The message that gives back credit, once it is enough for a message."""
        if self._due < _BATCH:
            return None
        due, self._due = self._due, 0
        self._room += due
        return Credit(due)
