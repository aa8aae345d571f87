"""What a DHT node reports to its owner, and the names of its states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from netstack.udp.port import Address
from netstack.wire.messages import Firewall as Nat

__all__ = ["DHT_EVENTS", "DhtEvent", "Ephemeral", "Mode", "Nat", "NetworkChanged", "Persistent", "Ready", "Woken"]


class Mode(Enum):
    """Whether others may rely on us.  A persistent node has an id, is kept in tables and stores for others."""

    ADAPTIVE = "adaptive"  # persistent after 20 quiet minutes, if the firewall test passes
    PERSISTENT = "persistent"  # as soon as the firewall test passes; at once where our address is given
    EPHEMERAL = "ephemeral"  # never


@dataclass(frozen=True, slots=True)
class Ready:
    """The first walk is done: the table knows whom there is to know."""


@dataclass(frozen=True, slots=True)
class Persistent:
    """We have an id now, that of `address`."""

    address: Address


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """We gave our id up: after a sleep, or in another network."""


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Others see us at another host, or answer again after they did not; `online` False: nobody answers any more."""

    address: Address | None
    online: bool


@dataclass(frozen=True, slots=True)
class Woken:
    """The machine slept: what others knew of us may be gone."""


DhtEvent = Ready | Persistent | Ephemeral | NetworkChanged | Woken
DHT_EVENTS = (Ready, Persistent, Ephemeral, NetworkChanged, Woken)  # for isinstance
