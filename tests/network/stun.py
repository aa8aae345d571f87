"""What a NAT does, measured from both sides of it with plain datagrams (RFC 4787's two questions)."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from tests.network.topology import Host, Internet

LIMIT = 5.0  # seconds until a datagram that must come is missed
PORTS = (7001, 7002)

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Reflexive:
    """How one socket inside is seen: by two addresses, two ports each, in the order they were spoken to."""

    inside: Address
    seen: tuple[Address, ...]

    @property
    def independent(self) -> bool:
        """One mapping for all destinations."""
        return len(set(self.seen)) == 1

    @property
    def keeps_port(self) -> bool:
        return {port for _, port in self.seen} == {self.inside[1]}


class Mirror:
    """An open host of two addresses that says from where it was spoken to: `with Mirror(net) as mirror`."""

    def __init__(self, net: Internet) -> None:
        self.host = net.open("mirror", addresses=2)
        self.addresses = self.host.addresses

    def __enter__(self) -> Mirror:
        self._stack = contextlib.ExitStack()
        self.sockets = [
            self._stack.enter_context(_socket(self.host, address, port)) for address in self.addresses for port in PORTS
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self, inside: socket.socket) -> Reflexive:
        """Speaks to all four ends from one socket inside."""
        seen = []
        for mirror in self.sockets:
            inside.sendto(b"?", mirror.getsockname())
            seen.append(mirror.recvfrom(64)[1])
        return Reflexive(inside.getsockname(), tuple(seen))

    def unasked(self, inside: socket.socket) -> set[int]:
        """Which of the four ends reach a socket that has spoken to the first one alone."""
        inside.sendto(b"?", self.sockets[0].getsockname())
        _, address = self.sockets[0].recvfrom(64)
        for number, mirror in reversed(list(enumerate(self.sockets))):
            mirror.sendto(bytes([number]), address)  # the first end speaks last: its word ends the wait
        arrived: set[int] = set()
        while 0 not in arrived:
            arrived.add(inside.recv(64)[0])
        return arrived


def inside(host: Host, port: int = 0) -> socket.socket:
    """A socket of a host, bound to its own address."""
    return _socket(host, host.address, port)


def _socket(host: Host, address: str, port: int) -> socket.socket:
    made = host.space.socket(address, port)
    made.settimeout(LIMIT)
    return made
