"""What is known of one peer, its priority for dialling, and the back-off after a connection ended.  Sans-IO.

`docs/protocol.md`, "Swarm".  A peer whose connection was just lost is dialled first; one that was never reached, last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from identity.keys import Random
from netstack.swarm.core.jitter import between
from netstack.udp.port import Address

STABLE = 15.0  # seconds after which a connection counts as stable and resets the attempts to 0
ATTEMPTS = 3  # in a row; then a peer is given up until it is found again
MAX_TOPICS = 64  # remembered of one peer
SPREAD = 1.5  # jitter: a wait is up to this many times its table value
EXPLICIT_AGAIN = 600.0  # seconds between attempts at a peer of `join_peer` that is given up

# Failed or short-lived attempts in a row -> seconds until the next one.
BACKOFF_PROVEN = (1.0, 1.0, 5.0, 15.0)  # was connected before
BACKOFF_UNPROVEN = (1.0, 5.0, 15.0, 15.0)


class Priority(IntEnum):
    """The order of dialling, highest first; random within a class, so that many peers do not all dial the same one."""

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
    relays: tuple[Address, ...]  # DHT nodes that relay its handshakes, from its latest record
    topics: frozenset[bytes]  # where it was found
    priority: Priority
    attempts: int  # since the last stable connection
    proven: bool  # was connected before
    explicit: bool  # joined by `join_peer`
    banned: bool
    connected: bool
    initiator: bool | None  # whether we dialled the connection; None while there is none


@dataclass(slots=True)
class Peer:
    """A swarm's entry for one peer."""

    key: bytes
    relays: tuple[Address, ...] = ()
    addresses: tuple[Address, ...] = ()  # on our own network; dropped when a dial there fails
    topics: set[bytes] = field(default_factory=set)
    attempts: int = 0
    proven: bool = False
    explicit: bool = False
    banned: bool = False
    retry_at: float | None = None  # when the back-off ends, None while none runs
    queued: bool = False

    @property
    def priority(self) -> Priority:
        """By attempts in a row, and by whether it was ever connected."""
        if self.attempts > ATTEMPTS or (self.attempts and not self.proven):
            return Priority.VERY_LOW
        return BY_ATTEMPTS[self.attempts]

    @property
    def given_up(self) -> bool:
        """Whether it failed too often to be dialled before it is found again."""
        return self.attempts > ATTEMPTS

    def found(self, topic: bytes, relays: tuple[Address, ...], addresses: tuple[Address, ...]) -> bool:
        """Its record was found.  True: the record is new or the peer was given up, so that a running back-off ends."""
        if len(self.topics) < MAX_TOPICS:
            self.topics.add(topic)
        if self.moved(relays, addresses) or self.given_up:
            self.attempts = 0
            return True
        return False

    def moved(self, relays: tuple[Address, ...], addresses: tuple[Address, ...]) -> bool:
        """Takes its latest relays and addresses; an empty tuple keeps the old ones.  True: something changed."""
        before = self.relays, self.addresses
        self.relays = relays or self.relays
        self.addresses = addresses or self.addresses
        return before != (self.relays, self.addresses)

    def ended(self, rng: Random, now: float, lasted: float | None) -> None:
        """A connection ended after `lasted` seconds, or failed (None): sets the back-off."""
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
