"""Strand: ends of one feed in order of length, as long as they lie on one branch.

On a feed that never forked every end is a prefix of every longer one, so a new one needs to be compared with its two
neighbours alone.  Where that does not hold there is no strand, and whoever asks compares with all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from crdt.space.lineage import End

Agree = Callable[[End, End], bool | None]


class Strand:
    """The ends of one feed that were put here.  whole: none of them is known to lie on another branch."""

    def __init__(self) -> None:
        self.whole = True
        self.ends: list[End] = []
        self._unchecked: list[End] = []  # not compared with their neighbours yet: blocks may still be on their way

    def holds(self, end: End, agree: Agree) -> bool:
        """Whether the end is known to agree with all of these, by its neighbours."""
        while self.whole and self._unchecked:
            fits = self._fits(self._unchecked[-1], agree)
            if fits is None:
                return False
            self.whole = fits
            self._unchecked.pop()
        return self.whole and self._fits(end, agree) is True

    def put(self, end: End) -> None:
        """One more end."""
        at = bisect_left(self.ends, end)
        if self.ends[at : at + 1] != [end]:
            self.ends.insert(at, end)
            self._unchecked.append(end)

    def is_top(self, end: End) -> bool:
        """Whether none of these is longer."""
        return not self.ends or self.ends[-1].length <= end.length

    def _fits(self, end: End, agree: Agree) -> bool | None:
        """Whether an end agrees with its neighbours here; None: not known yet."""
        at = bisect_left(self.ends, end)
        beside = [other for other in self.ends[max(at - 1, 0) : at + 2] if other != end]
        found = [agree(min(end, other), max(end, other)) for other in beside]
        return False if False in found else None if None in found else True
