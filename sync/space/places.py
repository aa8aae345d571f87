"""Places in one feed: sequence numbers in order, found, added and taken out without going through all of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator


class Places:
    """A set of sequence numbers that ascends.  What costs one step for each of many hostile entries stands here."""

    __slots__ = ("_held",)

    def __init__(self, seqs: Iterable[int] = ()) -> None:
        self._held = sorted(set(seqs))

    def __iter__(self) -> Iterator[int]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, seq: object) -> bool:
        return isinstance(seq, int) and self._at(seq) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and self._held == other._held

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Places({self._held})"

    @property
    def first(self) -> int:
        """The lowest of them.  Raises IndexError where there is none."""
        return self._held[0]

    def add(self, seq: int) -> None:
        if not self._held or seq > self._held[-1]:
            self._held.append(seq)
        elif self._at(seq) is None:
            insort(self._held, seq)

    def discard(self, seq: int) -> bool:
        """Whether it was there."""
        at = self._at(seq)
        if at is None:
            return False
        del self._held[at]
        return True

    def between(self, start: int, end: int) -> list[int]:
        """Those from `start` on and below `end`."""
        return self._held[bisect_left(self._held, start) : bisect_left(self._held, end)]

    def _at(self, seq: int) -> int | None:
        at = bisect_left(self._held, seq)
        return at if at < len(self._held) and self._held[at] == seq else None
