"""The events that a UDX stream reports to its owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netstack.udp.port import Address


class CloseReason(StrEnum):
    """Why a stream closed."""

    ENDED = "ended"  # both sides ended and everything was acknowledged
    DESTROYED = "destroyed"  # by our `destroy`
    RESET = "reset"  # by the peer's `destroy`
    TIMED_OUT = "timed_out"  # a packet ran into too many retransmission timeouts


@dataclass(frozen=True, slots=True)
class Data:
    """The next bytes of the stream, in order; packet boundaries carry no meaning."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One unreliable datagram of the peer, outside of the stream's order."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The peer writes no more; we still may."""


@dataclass(frozen=True, slots=True)
class Drained:
    """There is room again after a `write` that returned False."""


@dataclass(frozen=True, slots=True)
class RemoteChanged:
    """Packets to the peer go to another address from now on."""

    address: Address


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of a stream."""

    reason: CloseReason


Event = Data | Message | End | Drained | RemoteChanged | Closed
