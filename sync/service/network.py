"""The network under a node: a host bound, announced and found as the user asked (`api.Network`)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from identity.errors import KithkinError
from netstack.shell.host import Host
from netstack.swarm.shell.mdns import Mdns
from netstack.udp.port import Address
from sync.service.api import ANY_HOST, NO_HOST, Network
from sync.service.bootstrap import bootstrap_nodes


async def new_host(network: Network, known: Sequence[Address] = ()) -> Host:
    """A host in the DHT that the network names, or in none.  known: nodes kept from an earlier run."""
    if network.bootstrap is not None and not network.bootstrap:
        return Host()
    return Host(bootstrap=await bootstrap_nodes(network.bootstrap), known=known)


async def local_network(network: Network, address: Address) -> Mdns | None:
    """Discovery on the local network, where it is wanted and the port can be reached from there."""
    if not network.lan or ipaddress.ip_address(address[0]).is_loopback:
        return None
    mdns = Mdns(address[1])
    await mdns.start()
    return mdns


async def start_host(host: Host, network: Network, kept: int) -> Address:
    """Binds to the port asked for, else the one kept, else any.  Raises `not_allowed` where the one asked for is
    taken."""
    for port in (network.port,) if network.port else dict.fromkeys((kept, 0)):
        try:
            return await host.start(network.host, port)
        except OSError as error:
            if port == network.port and port:
                raise KithkinError("not_allowed", f"Port {port} cannot be used: {error.strerror}.") from None
    raise KithkinError("not_allowed", "No UDP port can be used here.")


def hints_of(network: Network, address: Address) -> tuple[str, ...]:
    """Where to tell peers to find this node: what was said, else what is bound, else this machine's addresses."""
    host, port = address
    if network.advertise == NO_HOST:
        return ()
    if network.advertise is not None:
        return (f"{network.advertise}:{port}",)
    if host != ANY_HOST:
        return (f"{host}:{port}",)
    return tuple(f"{one}:{port}" for one in local_addresses() or ["127.0.0.1"])


def local_addresses() -> list[str]:
    """The IPv4 address that this machine uses towards others.  Connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


def address_of(text: str) -> Address | None:
    """ "host:port" with an IP address; None for anything else."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    return host.strip("[]"), int(port)
