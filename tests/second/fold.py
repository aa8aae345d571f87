"""The membership fold: section 11 of docs/protocol.md, "Closes" and "The fold"."""

from __future__ import annotations

from collections.abc import Iterable

from tests.second.control import Close, Create, End, Succeed
from tests.second.graph import Act, Branches, Placed, acts_in_order, complete
from tests.second.rights import Rights, founds, good_by_itself
from tests.second.rules import AS_WRITTEN, Rules
from tests.second.sparing import Sparing
from tests.second.state import ADMINISTRATOR, CREATOR, ORDINARY, State, Worth, end_of, predecessors

# Own closes of rank 0, removals of rank 0, own of rank 1, removals of rank 1, own of rank 2.
STEPS = ((CREATOR, True), (CREATOR, False), (ADMINISTRATOR, True), (ADMINISTRATOR, False), (ORDINARY, True))


class Fold:
    """One fold over the complete entries of a space."""

    def __init__(self, space: bytes, entries: Iterable[Placed], branches: Branches, rules: Rules = AS_WRITTEN) -> None:
        self.branches, self.rules = branches, rules
        self.entries = complete(entries, branches)
        self.acts = acts_in_order(self.entries, branches)
        creators = sorted((act for act in self.acts if founds(space, act)), key=lambda act: act.id)
        self.kind = creators[0].op.kind if creators and isinstance(creators[0].op, Create) else 0
        signed = frozenset(act.bit for act in self.acts if good_by_itself(space, act))
        self.rights = Rights(self.kind, creators[0].id if creators else None, signed, rules)
        self.worths: dict[int, Worth] = {}
        self._states: dict[int, State] = {}
        self._counted: dict[int, int] = {}
        # Parents come first in order, so what counts of a past is known before the close that has it.
        for act in self.acts:
            if isinstance(act.op, Close) and (worth := self._worth(act, act.op)) is not None:
                self.worths[act.bit] = worth
        self.counting = self.counted(sum(act.bit for act in self.acts))

    def state(self, mask: int) -> State:
        """The state of the operations of a mask."""
        if mask not in self._states:
            acts = (act for act in self.acts if act.bit & mask)
            self._states[mask] = State(acts, self.worths, self.branches, self.rules)
        return self._states[mask]

    def counted(self, mask: int) -> int:
        """What counts of some operations, given with their pasts: the fold of these alone."""
        if mask not in self._counted:
            acts = [act for act in self.acts if act.bit & mask]
            first = Sparing(self.rules, None)
            counting = self._settle(acts, first)
            if first.assumed:
                counting = self._settle(acts, Sparing(self.rules, frozenset(self.state(counting).statements)))
            self._counted[mask] = counting
        return self._counted[mask]

    def _settle(self, acts: list[Act], sparing: Sparing) -> int:
        """Takes closes in steps, then everything else; gives the mask of what counts."""
        settled = 0
        for rank, own in STEPS:
            look = self._look(acts, settled, sparing)
            state, taken = self.state(look), 0
            for act in acts:
                worth = self.worths.get(act.bit)
                if worth is None or (worth.rank, worth.own) != (rank, own):
                    continue
                shielded = not own and rank == ADMINISTRATOR and worth.target in state.appointed
                if shielded and self.rules.appointed_stay:
                    continue
                if self._held(act, look, sparing) and self._within(act, state, state.closes):
                    taken |= act.bit
            settled |= taken
        return self._look(acts, settled, sparing)

    def _look(self, acts: list[Act], closes: int, sparing: Sparing) -> int:
        """What counts, in order, beside these closes: everything that held its right and lies within its end."""
        counting, closing = 0, self.state(closes).closes
        for act in acts:
            counting |= act.bit & closes
            if isinstance(act.op, Close) or not self._held(act, counting, sparing):
                continue
            now = self.state(counting)
            if isinstance(act.op, Succeed) and sparing.voids(act.op, act, now, closing):
                continue
            if isinstance(act.op, Create) or self._within(act, now, closing):
                counting |= act.bit
        return counting

    def _held(self, act: Act, counting: int, sparing: Sparing) -> bool:
        return self.rights.held(act, self.state(counting & act.past), sparing)

    def _within(self, act: Act, now: State, closes: Iterable[tuple[Act, Worth]]) -> bool:
        """Whether an entry lies within its feed's end, by the closes that are given."""
        held = now.writers.get(act.author)
        if held is None:
            return True
        return self.lies(act, end_of(act.author, [pair for pair in closes if pair[1].target == held.member], now))

    def lies(self, act: Act, end: End | None) -> bool:
        """Whether an entry lies within an end: seq < length, and both on one branch."""
        if end is None:
            return True
        return act.entry.seq < end.length and self.branches.agree(act.author, act.entry.end, end)

    # -- what a close is worth, fixed by its own past

    def _worth(self, act: Act, op: Close) -> Worth | None:
        past = self.state(self.counted(act.past))
        author = past.member_of(act.author)
        if author is None or not past.open(act.author):
            return None
        target = past.members.get(op.member) if op.member else author
        if target is None:
            return None
        own = target.id == author.id
        return Worth(
            target.id,
            target.identity,
            author.rank,
            own,
            {writer: end for writer, end in op.ends if not self._cuts(act, writer, end)},
            None if own or not self.rules.unnamed_end else End(0, bytes(32)),
            frozenset(writer for writer, _ in op.ends if past.shown_out(writer)),
            predecessors(act.author, past),
        )

    def _cuts(self, act: Act, writer: bytes, end: End) -> bool:
        """Whether an end cuts off, on its branch, a control entry of the close's past."""
        return any(
            other.entry.writer == writer
            and other.bit & act.past
            and other.entry.hash != act.entry.hash
            and other.entry.seq >= end.length
            and self.branches.agree(writer, other.entry.end, end)
            for other in self.acts
        )
