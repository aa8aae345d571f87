"""Which closes void a succession, and which spare it: section 11 of docs/protocol.md, "Closes" and "The fold" 4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.second.control import Close, Succeed
from tests.second.device_set import fold_devices
from tests.second.graph import Act
from tests.second.rules import Rules
from tests.second.state import State, Worth, predecessors
from tests.second.statement import Statement, readable


class Sparing:
    """One look at successions: the first has nothing said yet, and keeps what a close may spare."""

    def __init__(self, rules: Rules, said: frozenset[Statement] | None) -> None:
        self.rules, self.said = rules, said
        self.assumed = False
        """Whether a succession was kept against a close: then there is a second look."""

    def bars(self, op: Succeed, act: Act, past: State) -> bool:
        """The right: whether a close that counts in the past of a succession names the old feed and does not spare."""
        return any(
            not self._spares(worth, op)
            for close, worth in against(op, act, past, past.closes)
            if op.old not in predecessors(close.author, past)
        )

    def voids(self, op: Succeed, act: Act, now: State, closes: Iterable[tuple[Act, Worth]]) -> bool:
        """The fold: whether a close, wherever it stands, voids a succession outside its past."""
        others = [worth for _, worth in against(op, act, now, closes) if op.old not in worth.took_over]
        if self.said is None:
            self.assumed |= bool(others)
            return False
        return any(not self._spares(worth, op) for worth in others)

    def _spares(self, worth: Worth, op: Succeed) -> bool:
        """The owner closed a lost device, not the one that was restored from it."""
        if not self.rules.spares or not worth.own or op.old not in worth.out:
            return False
        if self.said is None:
            self.assumed = True
            return True
        own = {one for one in map(readable, op.newcomer.statements) if one is not None}
        return not fold_devices(self.said | own, worth.identity).out(op.newcomer.device)


def against(op: Succeed, act: Act, state: State, closes: Iterable[tuple[Act, Worth]]) -> Iterator[tuple[Act, Worth]]:
    """Closes of the old feed's member that name the old feed and do not have the succession in their past."""
    old = state.writers.get(op.old)
    for close, worth in closes:
        assert isinstance(close.op, Close)
        named = any(writer == op.old for writer, _ in close.op.ends)
        if old is not None and worth.target == old.member and named and not close.past & act.bit:
            yield close, worth
