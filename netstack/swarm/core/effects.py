"""The effects that a swarm's core orders from its shell, its limits, and its counts of peers."""

from __future__ import annotations

from dataclasses import dataclass

from netstack.udp.port import Address


@dataclass(frozen=True, slots=True)
class SwarmLimits:
    """The limits of npm hyperswarm, and a bound on the peers that a topic can make us remember."""

    peers: int = 64  # connected or being dialled; peers joined by key come on top
    parallel: int = 3  # dialled at once
    slow: int = 16  # dials slower than `SLOW`, on top: peers that never answer do not delay others
    known: int = 4096  # remembered


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to `key`: at these addresses of our own network, through these relays, or by looking it up.

    The shell answers with `opened` or `failed`, once."""

    key: bytes
    relays: tuple[Address, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop dialling `key`; the shell reports nothing more of that dial."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Take:
    """Hand this connection to the application.  `topics`: where its peer was found, empty for one found nowhere."""

    key: bytes
    conn: int
    topics: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Drop:
    """Close this connection; the shell need not report it `closed`."""

    conn: int


Effect = Dial | Abandon | Take | Drop


@dataclass(frozen=True, slots=True)
class PeerCounts:
    """Numbers of peers: known, banned, queued for a dial, waiting for the next attempt, being dialled, connected."""

    known: int
    banned: int
    queued: int
    waiting: int
    dialling: int
    connected: int
