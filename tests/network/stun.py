"""Measures the mapping and filtering of a NAT from both sides with plain datagrams (RFC 4787)."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from tests.network.topology import Host, Internet

LIMIT = 5.0  # seconds until an expected datagram counts as missing
PORTS = (7001, 7002)

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Reflexive:
    """The addresses of one inside socket as four outside sockets (two addresses, two ports) see it, in order."""

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
    """An open host with two addresses that reports the source of datagrams: `with Mirror(net) as mirror`."""

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
        """Sends to all four outside sockets from one inside socket."""
        seen = []
        for mirror in self.sockets:
            inside.sendto(b"?", mirror.getsockname())
            seen.append(mirror.recvfrom(64)[1])
        return Reflexive(inside.getsockname(), tuple(seen))

    def unasked(self, inside: socket.socket) -> set[int]:
        """Which of the four outside sockets reach an inside socket that has sent to the first one alone."""
        inside.sendto(b"?", self.sockets[0].getsockname())
        _, address = self.sockets[0].recvfrom(64)
        for number, mirror in reversed(list(enumerate(self.sockets))):
            mirror.sendto(bytes([number]), address)  # the first one sends last: its datagram ends the wait
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
