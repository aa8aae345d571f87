"""What is known of one peer, how eagerly it is dialled, and how long to wait after a connection ended.  Sans-IO.

`docs/protocol.md`, "Swarm".  A peer that we had and just lost is the best bet there is; one that nobody could ever be
reached at, the worst.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from identity.keys import Random
from netstack.swarm.core.jitter import between
from netstack.udp.port import Address

STABLE = 15.0  # seconds that a connection lasts to count as a good one: attempts are counted from 0 again
ATTEMPTS = 3  # in a row, before a peer is given up until it is found again
MAX_TOPICS = 64  # remembered of one peer
SPREAD = 1.5  # a wait is up to this many times as long as its table says
EXPLICIT_AGAIN = 600.0  # seconds between tries of a peer that we were asked to stay with, once it is given up

# Attempts in a row that came to nothing or did not last -> seconds until the next.
BACKOFF_PROVEN = (1.0, 1.0, 5.0, 15.0)  # it was connected once
BACKOFF_UNPROVEN = (1.0, 5.0, 15.0, 15.0)


class Priority(IntEnum):
    """Who is dialled first; those of one class in random order, so that a crowd does not all dial the same one."""

    VERY_LOW = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    VERY_HIGH = 4


BY_ATTEMPTS = (Priority.NORMAL, Priority.VERY_HIGH, Priority.HIGH, Priority.LOW)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer as an application sees it, at one moment."""

    key: bytes
    relays: tuple[Address, ...]  # where its handshakes are routed, as it last said
    topics: frozenset[bytes]  # where we met it
    priority: Priority
    attempts: int  # since the last connection that lasted
    proven: bool  # it was connected once
    explicit: bool  # `join_peer`
    banned: bool
    connected: bool
    initiator: bool | None  # whether we dialled the connection; None while there is none


@dataclass(slots=True)
class Peer:
    """What the swarm keeps of one peer while it matters."""

    key: bytes
    relays: tuple[Address, ...] = ()
    addresses: tuple[Address, ...] = ()  # on our own network; good until a dial there fails
    topics: set[bytes] = field(default_factory=set)
    attempts: int = 0
    proven: bool = False
    explicit: bool = False
    banned: bool = False
    retry_at: float | None = None  # a wait is running until then
    queued: bool = False

    @property
    def priority(self) -> Priority:
        if self.attempts > ATTEMPTS or (self.attempts and not self.proven):
            return Priority.VERY_LOW
        return BY_ATTEMPTS[self.attempts]

    @property
    def given_up(self) -> bool:
        return self.attempts > ATTEMPTS

    def found(self, topic: bytes, relays: tuple[Address, ...], addresses: tuple[Address, ...]) -> bool:
        """It was met again.  True: it said something new, so that a wait that is running has lost its reason."""
        if len(self.topics) < MAX_TOPICS:
            self.topics.add(topic)
        if self.moved(relays, addresses) or self.given_up:
            self.attempts = 0
            return True
        return False

    def moved(self, relays: tuple[Address, ...], addresses: tuple[Address, ...]) -> bool:
        """Takes what it says of where it is; the newest is always the best.  True: that is something new."""
        before = self.relays, self.addresses
        self.relays = relays or self.relays
        self.addresses = addresses or self.addresses
        return before != (self.relays, self.addresses)

    def ended(self, rng: Random, now: float, lasted: float | None) -> None:
        """A connection ended after `lasted` seconds, or never came to be (None): how long to wait now."""
        if lasted is not None:
            self.proven = True
            if lasted >= STABLE:
                self.attempts = 0
        self.attempts += 1
        self.retry_at = None
        if self.given_up and not self.explicit:
            return  # until it is found again
        table = BACKOFF_PROVEN if self.proven else BACKOFF_UNPROVEN
        wait = EXPLICIT_AGAIN if self.given_up else table[self.attempts]
        self.retry_at = now + between(rng, wait, wait * SPREAD)
