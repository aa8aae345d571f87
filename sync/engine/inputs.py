"""What a shell tells the engine about the network: connections that are up, and keys found at topics."""

from __future__ import annotations

from dataclasses import dataclass, field

from identity.hints import Address


@dataclass(frozen=True, slots=True)
class ConnectionUp:
    """A connection is open.

    conn: the shell's number for it; attempt: the `Dial` that it answers, None where the other side dialled; local and
    remote: transport keys; handshake: its 64-byte hash; address: the peer's, "host:port".
    """

    conn: int
    attempt: int | None
    local: bytes
    remote: bytes
    handshake: bytes = field(repr=False)
    address: str


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A transport key at a topic of ours: DHT nodes that may lead there, its addresses on the local network."""

    topic: bytes
    key: bytes
    relays: tuple[Address, ...] = ()
    addresses: tuple[Address, ...] = ()
