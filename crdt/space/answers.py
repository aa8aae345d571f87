"""Answers: how much a feed may add to a control graph before somebody answers (`docs/protocol.md` 11, "Arrival").

Whoever holds a key can write control entries without end, and each costs everybody work.  So of a feed that is neither
the creator's nor an admin's a bounded number of operations is taken until one of theirs has them in its past; in a
direct space the other side answers.  The feeds of one person alone are not bounded.
"""

from __future__ import annotations

from crdt.space.control import SpaceKind
from crdt.space.history import History
from crdt.space.membership import SpaceState
from crdt.space.view import ADMIN

MAX_UNANSWERED = 1024  # operations of one feed


class Answers:
    """Which operations were answered, by what is complete."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._seen: dict[object, int] = {}  # who answers -> bits of what that has in its past, as of `_rows`
        self._rows = -1
        self._drawn: dict[bytes, int] = {}  # core key -> operations beyond a bound that its entries drew in

    def has_room(self, mask: int, core: bytes, more: int, state: SpaceState) -> bool:
        """Whether a feed may add operations.  mask: bits of those it has; more: how many come."""
        if mask.bit_count() + more <= MAX_UNANSWERED:
            return True
        rank = state.rank(core)
        if state.kind in (SpaceKind.SELF, SpaceKind.PERSONAL) or (state.kind is SpaceKind.GROUP and rank in (0, ADMIN)):
            return True
        return (mask & ~self._answered(core, state)).bit_count() + more <= MAX_UNANSWERED

    def draws(self, mask: int, core: bytes, drawn: int, state: SpaceState) -> bool:
        """Whether an entry of this feed may bring in operations of another one beyond that one's bound: it names them,
        so whoever takes it needs them.  They count as its own."""
        if not self.has_room(mask, core, self._drawn.get(core, 0) + drawn, state):
            return False
        self._drawn[core] = self._drawn.get(core, 0) + drawn
        return True

    def _answered(self, core: bytes, state: SpaceState) -> int:
        """Bits of what those who answer a feed have in their past."""
        if self._rows != len(self._history.rows):
            self._rows, self._seen = len(self._history.rows), {}
        writer = state.writers.get(core)
        asked: object = state.kind, writer.member if writer is not None and state.kind is SpaceKind.DIRECT else None
        if asked not in self._seen:
            bits = 0
            for other in state.writers.values():
                if state.kind is SpaceKind.DIRECT:
                    answers = writer is not None and other.member != writer.member
                else:
                    answers = state.rank(other.core) in (0, ADMIN)
                for row in self._history.by_core.get(other.core, ()) if answers else ():
                    bits |= row.past
            self._seen[asked] = bits
        return self._seen[asked]
