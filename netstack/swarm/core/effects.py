"""What a swarm's core asks of its shell, what bounds it, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass

from netstack.udp.port import Address


@dataclass(frozen=True, slots=True)
class Limits:
    """Those of hyperswarm, and a bound on what a topic full of strangers can make us remember."""

    peers: int = 64  # connected or being dialled; peers joined by key come on top
    parallel: int = 3  # dialled at once
    slow: int = 16  # dials that take longer than `SLOW`, on top: strangers that never answer keep nobody waiting
    known: int = 4096  # remembered


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to `key`: at these addresses of our own network, or through these relays, or by looking it up.

    `opened` or `failed` is expected once."""

    key: bytes
    relays: tuple[Address, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop dialling `key`; nothing more is expected of that."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Take:
    """This connection is the application's now.  `topics`: where that peer was met, empty for one never met."""

    key: bytes
    conn: int
    topics: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Drop:
    """Close that connection; `closed` need not be said of it."""

    conn: int


Effect = Dial | Abandon | Take | Drop


@dataclass(frozen=True, slots=True)
class Status:
    """How many peers a swarm knows, waits for, dials, holds."""

    known: int
    banned: int
    queued: int
    waiting: int
    dialling: int
    connected: int
