"""Address hints: where somebody was reachable lately, tried and never trusted (`docs/protocol.md`, "Address hints")."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from identity.codec import Reader, Writer
from identity.errors import DecodeError

Address = tuple[str, int]  # an IPv4 or IPv6 address as text, and a UDP port
MAX_HINTS = 6


def write_hints(out: Writer, hints: Iterable[Address]) -> Writer:
    """`count | (4 or 6 | address | port u16)…`.  Raises ValueError for what is no address, or for more than six."""
    packed = [hint_bytes(hint) for hint in hints]
    if len(packed) > MAX_HINTS:
        raise ValueError("too many address hints")
    return out.array(packed, Writer.raw)


def hint_bytes(hint: Address) -> bytes:
    """`4 or 6 | address | port u16`.  Raises ValueError for what is no address."""
    address, port = ipaddress.ip_address(hint[0]), hint[1]
    if not 0 < port < 65_536:
        raise ValueError("not a port")
    return Writer().uint(address.version).raw(address.packed).fixed_uint(port, 2).finish()


def read_hints(reader: Reader) -> tuple[Address, ...]:
    """Raises DecodeError.  Loopback and private addresses are kept: two devices may be in one house or machine."""
    return tuple(reader.array(read_hint, MAX_HINTS))


def read_hint(reader: Reader) -> Address:
    """One address, (host, port).  Raises DecodeError, also for multicast and unspecified ones and port 0."""
    version = reader.fixed_uint(1)
    if version not in (4, 6):
        raise DecodeError("an address is IPv4 or IPv6")
    packed = reader.fixed(4 if version == 4 else 16)
    port = reader.fixed_uint(2)
    address = ipaddress.ip_address(packed)
    if port == 0 or address.is_multicast or address.is_unspecified:
        raise DecodeError("nobody listens at that address")
    return str(address), port
