"""Ends: where closes end a feed (`docs/protocol.md` 11, "Closes").

What a close is worth is decided once, from its own past: the rank of its author there, whether it speaks of the
author's own member, whom it ends, and which of its items cut off nothing that the author had seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from crdt.space.control import Close
from crdt.space.history import History, Placed, Row
from crdt.space.lineage import START, End

MAX_KNOWN = 20_000  # remembered ends
OWN = -1  # comes before every rank: what an owner left of its feed, no removal lengthens

Agree = Callable[[bytes, End, End], bool]


class CloseVerdict(NamedTuple):
    """What a close decides.

    items: per core key the ends that are not void for cutting off its own past; out: feeds that it names and whose
    device its own past shows as out.
    """

    rank: int
    own: bool
    target: int | None
    items: dict[bytes, End]
    named: frozenset[bytes]  # every feed it names, void or not
    out: frozenset[bytes] = frozenset()

    @property
    def step(self) -> int:
        """Closes are taken by rank, 0 first; in each rank those of own devices before removals."""
        return 2 * self.rank + (not self.own)


class Claim(NamedTuple):
    """What one close says about one feed."""

    rank: int
    name: tuple[bytes, int]
    end: End


class FeedEnds:
    """The ends of feeds, by the verdicts on closes."""

    def __init__(self, history: History, agree: Agree) -> None:
        self._history = history
        self.agree = agree
        self.verdicts: dict[int, CloseVerdict] = {}
        self._known: dict[tuple[bytes, tuple[int, ...]], End | None] = {}

    def judge(
        self, close: Placed, op: Close, rank: int, member: int | None, out: frozenset[bytes] = frozenset()
    ) -> CloseVerdict:
        """Judges a close.  rank, member and out: the author's, and the feeds of devices that are, in its own past."""
        target = member if op.member is None else self._history.members.get(op.member)
        own = op.member is None or target == member
        items = {f.core: f.end for f in op.feeds if not self._cuts(close.row, f.core, f.end)}
        named = frozenset(f.core for f in op.feeds)
        made = CloseVerdict(rank, own, target, items, named, out & named if own else frozenset())
        self.verdicts[close.index] = made
        return made

    def forget(self) -> None:
        """Drops every verdict: all closes are about to be judged again."""
        self.verdicts.clear()
        self._known.clear()

    def end_of(self, closes: tuple[Placed, ...], core: bytes) -> End | None:
        """The end of a feed of the member that all these closes speak of; None: it stays open."""
        key = core, tuple(close.index for close in closes)
        if key not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[key] = self._pick(core, self._claims(closes, core))
        return self._known[key]

    def within(self, row: Row, end: End | None) -> bool:
        """Whether an entry lies within an end of its feed."""
        if end is None:
            return True
        return row.entry.seq < end.length and self.agree(row.entry.core, row.entry.end, end)

    def _claims(self, closes: Iterable[Placed], core: bytes) -> list[Claim]:
        claims = []
        for close in closes:
            verdict = self.verdicts[close.index]
            rank = OWN if verdict.own else verdict.rank
            end = verdict.items.get(core)
            if end is not None:
                claims.append(Claim(rank, close.name, end))
            elif not verdict.own:  # a removal ends at 0 what it does not name
                claims.append(Claim(rank, close.name, START))
        return claims

    def _pick(self, core: bytes, claims: list[Claim]) -> End | None:
        """The nearest rank decides; a removal may shorten what an owner's own close left, never lengthen it."""
        owners = [claim for claim in claims if claim.rank == OWN]
        removals = [claim for claim in claims if claim.rank != OWN]
        if not removals:
            return self._longest(core, owners) if owners else None
        nearest = min(claim.rank for claim in removals)
        removed = self._longest(core, [claim for claim in removals if claim.rank == nearest])
        if not owners:
            return removed
        left = self._longest(core, owners)
        if not self.agree(core, left, removed):
            return removed
        return min(left, removed, key=lambda end: end.length)

    def _longest(self, core: bytes, claims: list[Claim]) -> End:
        """In hash order, each that agrees with those taken, and of these the longest."""
        taken: list[End] = []
        for claim in sorted(claims, key=lambda claim: claim.name):
            if all(self.agree(core, claim.end, other) for other in taken):
                taken.append(claim.end)
        return max(taken, key=lambda end: end.length)

    def _cuts(self, row: Row, core: bytes, end: End) -> bool:
        """Whether an end cuts off, on the branch it names, a control entry of that feed in the close's own past."""
        return any(
            seen.entry.seq >= end.length and seen.mask & row.past == seen.mask and self.agree(core, seen.entry.end, end)
            for seen in self._history.by_core.get(core, ())
        )
