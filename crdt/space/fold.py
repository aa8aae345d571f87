"""The fold: which operations of a control graph count (`docs/protocol.md`, "The fold").

Closes are taken by rank of their author, 0 first; in each rank those of own devices before removals.  Any other
operation counts if its author held the right among the counting operations of its past and it lies within the ends.
The result is a pure function of the set of entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

from crdt.space.control import Close, Succeed, Unknown
from crdt.space.ends import FeedEnds
from crdt.space.growth import REMOVAL_BY_ADMIN, Growing
from crdt.space.history import History, Placed, Row, admits
from crdt.space.lineage import End
from crdt.space.rules import RuleContext, may
from crdt.space.view import ADMIN, View

MAX_VIEWS = 20_000  # remembered states of pasts; they share what they have in common
MAX_RESULTS = 64


class Result(NamedTuple):
    """What a set of operations folds to.

    counted: bits of operations that count; taken: closes among them; structural: those that change who may do what;
    plain: no succession hangs on all that is said; even: the structural ones count in every step in which closes were
    tried, so that no close fell or came by an operation that only counts in between.
    """

    view: View
    counted: int
    taken: int
    structural: int
    plain: bool
    even: bool


class _Look:
    """One look at a set of operations.  said: by which successions are judged; None: all are kept, `kept` says so."""

    def __init__(self, scope: int, taken: int, said: frozenset[bytes] | None) -> None:
        self.scope, self.taken, self.said = scope, taken, said
        self.kept = False


class Folder:
    """Folds sets of operations that are closed under pasts; remembers what cannot change."""

    def __init__(self, history: History, context: RuleContext) -> None:
        self._history = history
        self._context = context
        self._ends: FeedEnds = context.ends
        self._views: dict[tuple[int, int], View] = {}
        self._results: dict[int, Result] = {}
        self._kept = False
        self.void = 0  # operations that can never count
        self._late = 0  # closes whose authors were closed, or no writers, as far as they knew
        self.looks = 0  # operations looked at, ever: what the fold has cost

    def judge_closes(self, row: Row) -> None:
        """Judges the closes of a row just appended.  Their pasts never change, so neither does this."""
        for placed in row.placed:
            if placed.close:
                self._judge(placed)

    @property
    def _never(self) -> int:
        """Bits of all operations that can never count."""
        return self.void | self._late

    def reset(self) -> None:
        """Forgets everything: `void` has changed for operations that others build upon."""
        self._views.clear()
        self._results.clear()
        self._ends.forget()
        self._late = 0
        for placed in self._history.full:
            placed.rights.clear()
        for close in self._history.closes:  # in order: what a close's past holds is judged before it
            self._judge(close)

    def fold(self, scope: int) -> Result:
        """`scope`: bits, closed under pasts."""
        scope &= ~self._never
        known = self._results.get(scope)
        if known is not None:
            return known
        steps: dict[int, int] = {}
        for close in self._history.closes:
            if close.bit & scope:
                step = self._ends.verdicts[close.index].step
                steps[step] = steps.get(step, 0) | close.bit
        taken, tried, self._kept = 0, set[int](), False
        for step in sorted(steps):
            structural, accepted = self._accept(scope, taken, steps[step], step)
            tried.add(structural)
            taken |= accepted
        result = self._count(scope, taken, tried)
        self._remember(scope, result)
        return result

    def _remember(self, scope: int, result: Result) -> None:
        if len(self._results) >= MAX_RESULTS:
            del self._results[next(iter(self._results))]
        self._results[scope] = result

    def known(self, scope: int) -> Result | None:
        """As `fold`, if it is remembered."""
        return self._results.get(scope & ~self._never)

    def grow(self, row: Row, before: Result) -> Result | None:
        """What everything folds to with the row appended last, if that follows from what it folded to before."""
        growing = Growing(self._history, self._ends, before)
        for placed in row.placed:
            if placed.bit & self._never:
                continue
            self.looks += 1
            counted = growing.structural & placed.past
            right = self._right(placed, counted, growing.taken & placed.past)
            if placed.structural and any(
                self._right(placed, counted, part & placed.past) != right for part in growing.parts()
            ):
                growing.even = False
            if not growing.takes(placed) if right else placed.close:
                return None
        after = Result(growing.view, growing.counted, growing.taken, growing.structural, before.plain, growing.even)
        self._remember(self._history.all & ~self._never, after)
        return after

    def may(self, placed: Placed, scope: int) -> bool:
        """Whether an operation would have the right to count with all of `scope` as its past."""
        return may(self._context, self.fold(scope).view, placed)

    def stopped(self, scope: int, result: Result) -> bool:
        """Whether an operation that this version does not know has to stop it: an odd one, whose author had rank 0 or
        1 and was open in its past, and has no lower rank now and lies within its end."""
        view = result.view
        for placed in self._history.strange:
            if not placed.bit & scope & ~self._never or not cast(Unknown, placed.op).stops:
                continue
            rank = view.rank(view.member_of(placed.core))
            if rank > ADMIN or not self._ends.within(placed.row, view.end(placed.core)):
                continue
            past = self.fold(placed.past).view
            if past.open(placed.core) and rank <= past.rank(past.member_of(placed.core)) <= ADMIN:
                return True
        return False

    def within(self, row: Row, end: End) -> bool:
        """Whether an entry lies within an end of its feed."""
        return self._ends.within(row, end)

    # -- one pass ---------------------------------------------------------------------------------------------

    def _judge(self, close: Placed) -> None:
        view = self.fold(close.past).view
        member, op = view.member_of(close.core), cast(Close, close.op)
        named = [feed.core for feed in op.feeds if feed.core in view.admitted]
        out = frozenset(core for core in named if self._context.gone(view, core))
        self._ends.judge(close, op, view.rank(member), member, out)
        if not view.open(close.core):  # closes of one step are not held against each other, so this one is here
            self._late |= close.bit

    def _accept(self, scope: int, taken: int, trying: int, step: int) -> tuple[int, int]:
        """Bits of structural operations that count before this step, and of those closes of it that do.  None of these
        bears upon another: two of one rank that cut each other off both stand."""
        view, structural, accepted = self._pass(self._history.structural, scope, taken, trying)
        if step != REMOVAL_BY_ADMIN:
            return structural, accepted
        # An admin's removal of somebody whose appointment counts is dropped, whatever parents it names.
        shielded = [c for c in self._history.each(accepted) if self._ends.verdicts[c.index].target in view.admins]
        return structural, accepted & ~sum(close.bit for close in shielded)

    def _count(self, scope: int, taken: int, tried: set[int]) -> Result:
        """Every operation of the scope, with the closes judged."""
        view, counted, _ = self._pass(self._history.full, scope, taken, 0)
        structural = counted & self._history.structure
        return Result(view, counted | taken, taken, structural, not self._kept, tried <= {structural})

    def _pass(self, ops: Iterable[Placed], scope: int, taken: int, trying: int) -> tuple[View, int, int]:
        """The state, the operations that count, and of the closes that are tried those that would.

        Which closes leave a succession in place depends on all that is said of its device.  So one look keeps every
        succession, and where that matters a second one judges them by what was said then.
        """
        scoped = [p for p in ops if p.bit & scope and (not p.close or p.bit & trying)]
        look = _Look(scope, taken, None)
        found = self._look(scoped, look)
        if look.kept:
            self._kept = True
            found = self._look(scoped, _Look(scope, taken, found[0].said))
        return found

    def _look(self, ops: Iterable[Placed], look: _Look) -> tuple[View, int, int]:
        view = View(self._history, self._ends, self._taken(look.taken))
        counted = structural = accepted = 0
        for placed in ops:
            self.looks += 1
            if not self._counts(placed, view, structural, look):
                continue
            if placed.close:
                accepted |= placed.bit
                continue
            counted |= placed.bit
            if placed.structural:
                structural |= placed.bit
                view.apply(placed)
        return view, counted, accepted

    def _counts(self, placed: Placed, view: View, counted: int, look: _Look) -> bool:
        past, taken = placed.past, look.taken
        if not self._right(placed, counted & past, taken & past):
            return False
        if placed.create:
            return True
        if taken and not self._ends.within(placed.row, view.end(placed.core)):
            return False
        return not (taken and isinstance(placed.op, Succeed) and self._voided(placed, placed.op, counted, look))

    def _right(self, placed: Placed, counted: int, taken: int) -> bool:
        key = counted, taken
        known = placed.rights.get(key)
        if known is None:
            known = placed.rights[key] = may(self._context, self._view(placed.row, counted, taken), placed)
        return known

    def _voided(self, placed: Placed, op: Succeed, counted: int, look: _Look) -> bool:
        """A close of the old feed by anybody but a successor of it voids each succession outside its past, unless it
        spares it."""
        past = self._view(placed.row, counted & placed.past, look.taken & placed.past)
        member = past.member_of(op.core)
        successors = {s.core for s in self._history.successions.get(op.core, ()) if s.bit & look.scope}
        for close in self._history.each(look.taken):
            verdict = self._ends.verdicts[close.index]
            if op.core not in verdict.named or verdict.target != member:
                continue
            if placed.bit & close.past or close.core in successors:
                continue
            if look.said is None:
                look.kept = True
                return False
            if not self._context.spares(close, op.core, op, look.said, past.identity(member)):
                return True
        return False

    # -- states of pasts --------------------------------------------------------------------------------------

    def _taken(self, taken: int) -> Iterator[tuple[int, Placed]]:
        for close in self._history.each(taken):
            target = self._ends.verdicts[close.index].target
            if target is not None:
                yield target, close

    def _view(self, row: Row, counted: int, taken: int) -> View:
        """The state that these operations and closes amount to; built out of a parent's where that is remembered."""
        key = counted, taken
        known = self._views.get(key)
        if known is not None:
            return known
        base, rest = None, counted
        for start in (row.past, *(parent.past for parent in row.parents)):
            view = self._views.get((counted & start, taken & start))
            if view is not None and (left := counted & ~start).bit_count() <= rest.bit_count():
                base, rest = view, left
        missing = sorted(self._history.each(rest), key=lambda placed: placed.order)
        if base is None or self._twice(base, missing):
            made = View(self._history, self._ends, self._taken(taken))
            missing = sorted(self._history.each(counted), key=lambda placed: placed.order)
        else:
            made = base.branch(self._taken(taken))
        for placed in missing:
            made.apply(placed)
        if len(self._views) >= MAX_VIEWS:
            self._views.clear()
        self._views[key] = made
        return made

    @staticmethod
    def _twice(base: View, missing: list[Placed]) -> bool:
        """Whether a feed is admitted twice: then who admitted whom depends on order, and all is applied in order."""
        seen: set[bytes] = set()
        for placed in missing:
            core = admits(placed)
            if core is None:
                continue
            if core in seen or core in base.admitted:
                return True
            seen.add(core)
        return False
