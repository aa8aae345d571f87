"""Growth: what a set of operations folds to, out of what it folded to before the last entry came.

Most entries name everything before them and change little.  For those the result follows in a few steps, and it is the
very one that the whole fold finds; for all others there is none here, and the whole fold is asked.
"""

from __future__ import annotations

from typing import Protocol

from crdt.space.control import Add, Admin, Admit, Revoke
from crdt.space.ends import FeedEnds
from crdt.space.history import History, Placed
from crdt.space.view import ADMIN, View

REMOVAL_BY_ADMIN = 2 * ADMIN + 1


class Grown(Protocol):
    """A result of the fold (`crdt.space.fold.Result`)."""

    @property
    def view(self) -> View: ...
    @property
    def counted(self) -> int: ...
    @property
    def taken(self) -> int: ...
    @property
    def structural(self) -> int: ...
    @property
    def plain(self) -> bool: ...
    @property
    def even(self) -> bool: ...


class Growing:
    """One result on its way from before an entry to after it."""

    def __init__(self, history: History, ends: FeedEnds, before: Grown) -> None:
        self._history, self._ends = history, ends
        self.view, self.counted, self.taken = before.view, before.counted, before.taken
        self.structural, self._plain, self.even = before.structural, before.plain, before.even

    def parts(self) -> list[int]:
        """Bits of the closes that count before each step, where those are not all."""
        found: dict[int, int] = {}
        for close in self._history.each(self.taken):
            step = self._ends.verdicts[close.index].step
            found[step] = found.get(step, 0) | close.bit
        steps = sorted(found)
        return [sum(found[earlier] for earlier in steps if earlier < step) for step in steps]

    def takes(self, placed: Placed) -> bool:
        """Takes in an operation that has the right to count; whether what follows is what the whole fold finds."""
        if placed.close:
            return self._takes_close(placed)
        if placed.structural:
            return self._takes_structural(placed)
        # It changes nothing for others.  Its own end must not hang on where in the order its feed was admitted.
        if self._history.admissions.get(placed.core, 0) > 1:
            return False
        if self._lies_within(placed):
            self.counted |= placed.bit
        return True

    def _lies_within(self, placed: Placed) -> bool:
        return not self.taken or self._ends.within(placed.row, self.view.end(placed.core))

    def _takes_structural(self, placed: Placed) -> bool:
        """The last in order is looked at last, so that it bears upon nothing before it but what looks at the end:
        appointments shield from removals by admins, and all that was said decides on closes of replaced feeds."""
        if not isinstance(placed.op, Add | Admit | Admin | Revoke) or not self._plain or not self._last(placed):
            return False
        if isinstance(placed.op, Admin) and self._admins_remove():
            return False
        if self.taken & ~placed.past:
            self.even = False
        if self._lies_within(placed):
            self.view = self.view.branch(self._closes())
            self.view.apply(placed)
            self.counted |= placed.bit
            self.structural |= placed.bit
        return True

    def _takes_close(self, placed: Placed) -> bool:
        """A close that has everything in its past, by an open writer, counts in whatever step; here only if it cuts
        off nothing, so that it changes nothing for others."""
        verdict = self._ends.verdicts[placed.index]
        before = self._history.all & ~placed.row.mask | placed.past & placed.row.mask
        if placed.past != before or not self._plain or not self.even or verdict.step == REMOVAL_BY_ADMIN:
            return False
        closes = self._closes_with(placed, verdict.target)
        view = self.view.branch(closes)
        for core in view.feeds_of(verdict.target) if verdict.target is not None else ():
            if not self._cuts_nothing(core, view):
                return False
        self.view = view
        self.taken |= placed.bit
        self.counted |= placed.bit
        return True

    def _cuts_nothing(self, core: bytes, after: View) -> bool:
        """Whether the same entries of a feed lie within its end as did before."""
        old, new = self.view.end(core), after.end(core)
        return old == new or all(
            self._ends.within(row, old) == self._ends.within(row, new) for row in self._history.by_core.get(core, ())
        )

    def _closes(self) -> list[tuple[int, Placed]]:
        return [(member, close) for member, closes in self.view.closes.items() for close in closes]

    def _closes_with(self, placed: Placed, target: int | None) -> list[tuple[int, Placed]]:
        return [*self._closes(), *([(target, placed)] if target is not None else [])]

    def _admins_remove(self) -> bool:
        return any(self._ends.verdicts[close.index].step == REMOVAL_BY_ADMIN for close in self._history.closes)

    def _last(self, placed: Placed) -> bool:
        """Whether only later operations of the same entry follow in the order."""
        later = len(placed.row.placed) - placed.name[1]
        return self._history.full[-later] is placed
