"""A node as others name it: its address, the id that follows from the address, and how far the address reaches.

A node does not choose its id: it is the hash of its address, so an address says everything.  Contacts are shared by all
tables of a process: 10,000 simulated nodes name the same 10,000 addresses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network

from netstack.udp.port import Address
from netstack.wire.address import encode_address

ID_BITS = 256
SHARED = 1 << 15  # contacts kept for all; what does not fit is computed again
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
UNUSABLE = (IPv4Network("0.0.0.0/8"), IPv4Network("240.0.0.0/4"))


class Scope(IntEnum):
    """How far an address reaches.  Nobody is believed about addresses that reach less far than its own: a stranger
    on the Internet cannot send us into our own network."""

    NOWHERE = 0
    LOOPBACK = 1
    PRIVATE = 2
    PUBLIC = 3


@dataclass(frozen=True, slots=True)
class Contact:
    """Equal by address; `number` is the id as an integer, so that distance is one XOR."""

    address: Address
    wire: bytes = field(compare=False)
    id: bytes = field(compare=False)
    number: int = field(compare=False, repr=False)
    scope: Scope = field(compare=False, repr=False)
    place: bytes = field(compare=False, repr=False)  # its network: the /24 of a public address, else itself alone


@lru_cache(maxsize=SHARED)
def contact_at(address: Address) -> Contact:
    """Raises DecodeError for what is no IPv4 address with a port."""
    wire = encode_address(address)
    id = blake2b(wire, digest_size=32).digest()
    scope = scope_of(address)
    return Contact(address, wire, id, int.from_bytes(id, "big"), scope, wire[:3] if scope is Scope.PUBLIC else wire)


def scope_of(address: Address) -> Scope:
    """How far an IPv4 address reaches.  Raises ValueError for another host."""
    host = IPv4Address(address[0])
    if address[1] == 0 or host.is_multicast or any(host in network for network in UNUSABLE):
        return Scope.NOWHERE
    if host.is_loopback:
        return Scope.LOOPBACK
    if host.is_link_local or any(host in network for network in PRIVATE):
        return Scope.PRIVATE
    return Scope.PUBLIC


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Whose quota a host uses up: its /24 if it is public, itself otherwise.  Addresses of one /24 are one buyer's."""
    public = scope_of((host, 1)) is Scope.PUBLIC
    return host.rpartition(".")[0] if public else host


def shared_prefix(a: int, b: int) -> int:
    """How many leading bits two ids have in common."""
    return ID_BITS - (a ^ b).bit_length()
