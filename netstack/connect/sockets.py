"""The ports that attempts open for themselves: their numbers, their probes, and which attempt hears of a probe."""

from __future__ import annotations

from collections.abc import Callable

from netstack.dht.datagram import PROBE
from netstack.ports import OWN, ClosePort, OpenPort, PortEffect
from netstack.udp.port import Address, Outgoing

LOW_TTL = 5  # routers an opener may pass: beyond our own NAT, and with luck not as far as the peer's
MOST = 1024  # ports of a node at a time: two random punches and what is open

OnProbe = Callable[[int, Address], None]  # (our port, where the probe came from)


class Sockets:
    """Every port that is opened here is closed here, by whoever holds it last."""

    def __init__(self) -> None:
        self._next = OWN
        self._owners: dict[int, OnProbe | None] = {}
        self._effects: list[PortEffect] = []
        self._out: list[Outgoing] = []

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def full(self) -> bool:
        """Whether there are MOST ports already."""
        return len(self._owners) >= MOST

    def open(self, on_probe: OnProbe) -> int:
        """Opens a port and returns its number; probes that come to it go to `on_probe`."""
        port = self._next
        self._next += 1
        self._owners[port] = on_probe
        self._effects.append(OpenPort(port))
        return port

    def settle(self, port: int) -> None:
        """A connection lives on it from now on; probes mean nothing any more."""
        if port in self._owners:
            self._owners[port] = None

    def close(self, port: int) -> None:
        """Closes a port, once."""
        if port in self._owners:
            del self._owners[port]
            self._effects.append(ClosePort(port))

    def probe(self, port: int, address: Address, ttl: int = 0) -> None:
        """Sends one probe from `port`; `ttl` 0: as the system does."""
        if address[1]:
            self._out.append(Outgoing(address, PROBE, port=port, ttl=ttl))

    def heard(self, port: int, source: Address) -> None:
        """A probe came."""
        owner = self._owners.get(port)
        if owner is not None:
            owner(port, source)

    @property
    def busy(self) -> bool:
        """Whether there are effects or datagrams."""
        return bool(self._out or self._effects)

    def outgoing(self) -> list[Outgoing]:
        """Probes to send, each once."""
        out, self._out = self._out, []
        return out

    def take_effects(self) -> list[PortEffect]:
        """Ports to open and to close, in order."""
        effects, self._effects = self._effects, []
        return effects
