"""What a UDX stream tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netstack.udp.port import Address


class Reason(StrEnum):
    """Why a stream closed."""

    ENDED = "ended"  # both sides ended and everything was acknowledged
    DESTROYED = "destroyed"  # this side called destroy
    RESET = "reset"  # the other side destroyed
    TIMED_OUT = "timed_out"  # a packet ran into too many retransmission timeouts


@dataclass(frozen=True, slots=True)
class Data:
    """The next bytes of the stream, in order; how they were cut into packets means nothing."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One unreliable datagram that belongs to the stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The other side will write no more; ours may still."""


@dataclass(frozen=True, slots=True)
class Drained:
    """After a write that returned False: there is room again."""


@dataclass(frozen=True, slots=True)
class RemoteChanged:
    """The peer is now reached at another address."""

    address: Address


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of a stream."""

    reason: Reason


Event = Data | Message | End | Drained | RemoteChanged | Closed
