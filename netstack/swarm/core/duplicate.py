"""Two connections between the same two peers: which one stays.  Sans-IO, and one table.

`docs/protocol.md`, "Swarm".  Both ends must come to one answer without talking about it, from what both know: who
dialled, whose key is larger, and whether the older one is in use.

hyperswarm's rule: kept is the one that the larger key dialled; unless the existing one has carried traffic both ways,
for then the other side must have lost it, and the new one wins.  A connection of ours is open only once it has carried
traffic both ways, so that in the moment when both dial each other *each* would seem to be the settled one, and both
would go.  Hence the little time that a connection must have been open before it counts as settled.

Best is that there are never two: who has answered a dial does not dial, and the larger key leaves a dial unanswered
while its own is under way (`core.py`).  Then nothing that the application holds is ever taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

SETTLED = 2.0  # seconds that a connection has been open to count as in use; a simultaneous dial comes within an RTT
SPARE = 3.0  # seconds that the one that lost is kept, where the other end is the one to close it
PATIENCE = 1.0  # seconds that the other end has to show, or decide upon, a connection that is on its way


@dataclass(frozen=True, slots=True)
class Held:
    """An open connection: its number, whether we dialled it, since when it is open."""

    conn: int
    initiator: bool
    since: float


class Keep(Enum):
    OLD = auto()
    NEW = auto()


def keep(old: Held, new: Held, *, larger: bool, now: float) -> Keep:
    """Which of two open connections stays.  `larger`: our key is the larger one."""
    if old.initiator == new.initiator or lost_theirs(old, new, now):
        return Keep.NEW  # nobody dials who still has one
    return Keep.NEW if new.initiator == larger else Keep.OLD


def lost_theirs(old: Held, new: Held, now: float) -> bool:
    """They dial although we have had a connection for a while.  (That we dial in that case cannot be: what comes of a
    dial of ours was begun before the other one opened.)"""
    return not new.initiator and now - old.since >= SETTLED


def closes_loser(old: Held, new: Held, *, larger: bool, now: float) -> bool:
    """Whether we close the one that lost.

    Where both dialled at once, only the larger key does.  The smaller one waits for it: if the larger one saw the two
    in another order and closes the one that we would have kept, the other is still there.
    """
    return larger or old.initiator == new.initiator or lost_theirs(old, new, now)
