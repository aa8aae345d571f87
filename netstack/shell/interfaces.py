"""The addresses of this machine in its own networks, as far as the system tells them without privileges or packages."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from ipaddress import IPv6Address
from pathlib import Path

from netstack.udp.port import Address

SIOCGIFADDR = 0x8915
MOST = 8  # hosts of one family
LIFE = 10.0  # seconds that the list is used before it is read again
# where the list cannot be read: asking for a route sends nothing; one far address and the private ranges
FAR6 = "2001:db8::1"
TEMPORARY = 0x01  # <linux/if_addr.h>: IFA_F_TEMPORARY, and
UNUSABLE = 0x68  # IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE
FAR = ("192.0.2.1", "10.255.255.254", "172.31.255.254", "192.168.255.254")


class Interfaces:
    """The addresses by which a port that is bound to all interfaces is reached; read anew after ten seconds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # bound to -> as of, hosts

    def known_as(self, bound: Address, now: float) -> tuple[Address, ...]:
        """The addresses of a port bound to `bound`: itself, unless it is 0.0.0.0 or ::."""
        host, port = bound
        look = ANYWHERE.get(host)
        if look is None:
            return (bound,)
        since, hosts = self._known.get(host, (now - LIFE, ()))
        if now - since >= LIFE:
            hosts = look()
            self._known[host] = now, hosts
        return tuple((each, port) for each in hosts)

    def forget(self) -> None:
        """The network changed: reads the list anew at the next call."""
        self._known.clear()


def local_hosts() -> tuple[str, ...]:
    """IPv4 hosts of our interfaces, at most 8; loopback only where there is no other."""
    found: dict[str, None] = {}
    if sys.platform == "linux":
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):
                    answer = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                    found[socket.inet_ntoa(answer[20:24])] = None
    else:
        for far in FAR:
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect((far, 9))
                found[sock.getsockname()[0]] = None
    outside = tuple(host for host in found if not host.startswith("127.") and host != "0.0.0.0")[:MOST]
    return outside or ("127.0.0.1",)


def local_hosts6() -> tuple[str, ...]:
    """Global IPv6 hosts of our interfaces, at most 8."""
    found: dict[str, None] = {}
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return hosts6_of(Path("/proc/net/if_inet6").read_text())
    else:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.connect((FAR6, 9))
            found[sock.getsockname()[0]] = None
    return tuple(found)[:MOST]


def hosts6_of(table: str) -> tuple[str, ...]:
    """The hosts of Linux' `if_inet6` that peers may be told, at most 8.

    Temporary addresses where there are any, since a permanent one identifies the machine in every network."""
    lasting: list[str] = []
    passing: list[str] = []
    for line in table.splitlines():
        digits, _, _, scope, flags, *_ = line.split()
        private = digits[:2] in ("fc", "fd")
        if scope == "00" and not private and not int(flags, 16) & UNUSABLE:
            hosts = passing if int(flags, 16) & TEMPORARY else lasting
            hosts.append(str(IPv6Address(bytes.fromhex(digits))))
    return tuple(dict.fromkeys(passing or lasting))[:MOST]


ANYWHERE = {"0.0.0.0": local_hosts, "::": local_hosts6}
