"""How large packets may be on this path: the search of RFC 8899, as far as libudx does it.

Sizes are of whole IP packets, headers included.  `BASE` is believed; once something was delivered, a full packet of
new data is padded to a size one step above what is known.  Its acknowledgement raises the size, three lost ones in a
row end the search for a while.  Nothing is ever lost by a probe but itself: its payload comes again without padding,
and its loss says nothing about congestion.
"""

from __future__ import annotations

BASE = 1_200
LARGEST = 1_500  # no peer of the family takes more
STEP = 32
MAX_FAILURES = 3
RAISE_AFTER = 600.0  # seconds until a search that failed is tried again (RFC 8899, PMTU_RAISE_TIMER)


class MtuSearch:
    """`size` is what packets may have."""

    __slots__ = ("_again_at", "_ceiling", "_confirmed", "_failures", "_flying", "size")

    def __init__(self, ceiling: int = LARGEST) -> None:
        self._ceiling = ceiling
        self.reset()

    def reset(self) -> None:
        """Another path, or one that has begun to swallow what it used to carry."""
        self.size = min(BASE, self._ceiling)
        self._confirmed = False
        self._flying = 0
        self._failures = 0
        self._again_at = 0.0

    def base_works(self) -> None:
        """Something was delivered."""
        self._confirmed = True

    def wanted(self, now: float) -> int:
        """The size to try next, 0 while there is nothing to try."""
        if not self._confirmed or self._flying or self.size >= self._ceiling or now < self._again_at:
            return 0
        return min(self.size + STEP, self._ceiling)

    def sent(self, size: int) -> None:
        self._flying = size

    def delivered(self) -> None:
        self.size = max(self.size, self._flying)
        self._flying = self._failures = 0

    def lost(self, now: float) -> None:
        self._flying = 0
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._failures = 0
            self._again_at = now + RAISE_AFTER
