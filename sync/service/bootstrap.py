"""The DHT nodes that a node asks first."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from netstack import PUBLIC_NODES, Address


async def bootstrap_nodes(named: Sequence[str] | None) -> list[Address]:
    """Addresses of the nodes named ("host:port"); None: the public ones.  A name that cannot be resolved now is left
    out: contacts with known addresses must be reached without the DHT too."""
    found: list[Address] = []
    if named is None:
        return list(PUBLIC_NODES)
    for text in named:
        host, _, port = text.rpartition(":")
        found += await _addresses(host.strip("[]"), int(port))
    return list(dict.fromkeys(found))


async def _addresses(host: str, port: int) -> list[Address]:
    try:
        return [(str(ipaddress.ip_address(host)), port)]
    except ValueError:
        pass
    try:
        known = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )  # the DHT is IPv4
    except OSError:
        return []
    return [(str(address[0]), port) for *_, address in known]
