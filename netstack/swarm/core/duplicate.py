"""Two connections between the same two peers: which one stays.  Sans-IO, pure functions.

`docs/protocol.md`, "Swarm".  Both ends must reach the same answer without exchanging a message, from what both know:
who dialled, whose key is larger, and whether the older connection is in use.

hyperswarm's rule: the connection that the larger key dialled stays, unless the existing one has carried traffic both
ways: then the other side must have lost it, and the new one wins.  Our connections are open only after traffic both
ways, so that when both dial at once *each* would count as settled and both would be closed.  Hence a connection must
have been open for `SETTLED` seconds before it counts as settled.

Most duplicates never arise: a peer that answered a dial does not dial, and the larger key does not answer while its own
dial is under way (`swarm.py`).  In that case no connection is taken away from the application.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

SETTLED = 2.0  # seconds open after which a connection counts as in use; a simultaneous dial arrives within an RTT
SPARE = 3.0  # seconds that we keep the losing connection where the other end has to close it
PATIENCE = 1.0  # seconds that we wait for a connection that the other end is opening


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """An open connection: its number, whether we dialled it, since when it is open."""

    conn: int
    initiator: bool
    since: float


class Keep(Enum):
    """Which of two connections stays."""

    OLD = auto()
    NEW = auto()


def keep(old: OpenConnection, new: OpenConnection, *, larger: bool, now: float) -> Keep:
    """Which of two open connections stays.  `larger`: our key is the larger one."""
    if old.initiator == new.initiator or lost_theirs(old, new, now):
        return Keep.NEW  # a peer with an open connection does not dial
    return Keep.NEW if new.initiator == larger else Keep.OLD


def lost_theirs(old: OpenConnection, new: OpenConnection, now: float) -> bool:
    """Whether the peer dialled although a connection has been settled, so that it must have lost its end of it.

    Our own dial never means that: it was begun before the other connection opened."""
    return not new.initiator and now - old.since >= SETTLED


def closes_loser(old: OpenConnection, new: OpenConnection, *, larger: bool, now: float) -> bool:
    """Whether we are the side that closes the losing connection.

    Where both dialled at once, only the larger key closes.  The smaller one waits: the larger one may have seen the two
    in the other order and close the one that we would have kept; then ours is still open.
    """
    return larger or old.initiator == new.initiator or lost_theirs(old, new, now)
