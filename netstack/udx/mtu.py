"""The search for the largest packet that a path carries (RFC 8899, as far as libudx implements it).

Sizes are of whole IP packets, headers included.  `BASE` is assumed to pass; once something was delivered, a full packet
of new data is padded to one step above the known size.  Its acknowledgement raises the size; three lost probes in a row
suspend the search.  A lost probe costs nothing but itself: its payload is repeated without padding, and its loss does
not count as congestion.
"""

from __future__ import annotations

BASE = 1_200
LARGEST = 1_500  # the most that any implementation takes
STEP = 32
MAX_FAILURES = 3
RAISE_AFTER = 600.0  # seconds until a suspended search continues (RFC 8899, PMTU_RAISE_TIMER)


class MtuSearch:
    """`size` is the largest IP packet known to pass."""

    __slots__ = ("_again_at", "_ceiling", "_confirmed", "_failures", "_flying", "size")

    def __init__(self, ceiling: int = LARGEST) -> None:
        self._ceiling = ceiling
        self.reset()

    def reset(self) -> None:
        """Begins anew: another path, or one that has begun to drop large packets."""
        self.size = min(BASE, self._ceiling)
        self._confirmed = False
        self._flying = 0
        self._failures = 0
        self._again_at = 0.0

    def base_works(self) -> None:
        """Something was delivered: packets of `BASE` pass."""
        self._confirmed = True

    def wanted(self, now: float) -> int:
        """The size of the next probe, 0 while none is due."""
        if not self._confirmed or self._flying or self.size >= self._ceiling or now < self._again_at:
            return 0
        return min(self.size + STEP, self._ceiling)

    def sent(self, size: int) -> None:
        """A probe of this size was sent."""
        self._flying = size

    def delivered(self) -> None:
        """The probe was acknowledged."""
        self.size = max(self.size, self._flying)
        self._flying = self._failures = 0

    def lost(self, now: float) -> None:
        """The probe was lost."""
        self._flying = 0
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._failures = 0
            self._again_at = now + RAISE_AFTER
