"""Encrypted connections to a key or to a topic, over the network that HyperDHT and Hyperswarm speak.

    import asyncio
    from netstack import Swarm, Testnet

    async def main() -> None:
        topic = bytes(32)  # in earnest: 32 bytes that only those who should meet know
        async with Testnet(10) as net, Swarm(bootstrap=net.bootstrap) as ada, Swarm(bootstrap=net.bootstrap) as bob:
            bob.join(topic)
            async for connection in ada.join(topic):
                connection.send(b"hello")
                break

    asyncio.run(main())

These names are the public interface; `docs/netstack.md` tells how they belong together, and `examples/` uses no others.
`protomux` is a module: many channels in one connection, as npm `protomux` has them.

Each name is imported at its first use, so that `import netstack` by itself costs nothing.  Modules of this package
import each other directly and never from here.
"""

from typing import TYPE_CHECKING

__all__ = [
    "PUBLIC_NODES",
    "Address",
    "ConnectError",
    "Connection",
    "Host",
    "HostStatus",
    "Limits",
    "Mode",
    "PathKind",
    "PeerInfo",
    "PeerRecord",
    "Reason",
    "SigningKey",
    "Swarm",
    "SwarmLimits",
    "SwarmStatus",
    "Testnet",
    "Topic",
    "parse_address",
    "protomux",
]

PUBLIC_NODES: "tuple[Address, ...]" = (("88.99.3.86", 49737), ("142.93.90.113", 49737), ("138.68.147.8", 49737))
"""Where the public network of the HyperDHT family is entered.  Nothing asks these nodes unless they are passed on."""

if TYPE_CHECKING:
    from identity.keys import SigningKey
    from netstack.dht.events import Mode
    from netstack.dht.records import PeerRecord
    from netstack.events import PathKind, Reason
    from netstack.limits import Limits
    from netstack.shell.connection import Connection
    from netstack.shell.host import ConnectError, Host, HostStatus
    from netstack.shell.testnet import Testnet
    from netstack.swarm.core.effects import SwarmLimits
    from netstack.swarm.core.peer import PeerInfo
    from netstack.swarm.shell.swarm import Swarm, SwarmStatus
    from netstack.swarm.shell.topic import Topic
    from netstack.udp.port import Address
    from netstack.wire import protomux
    from netstack.wire.address import parse_address
else:  # a type checker that saw this function would believe that every name exists
    _MODULES = {
        "SigningKey": "identity.keys",
        "parse_address": "netstack.wire.address",
        "Mode": "netstack.dht.events",
        "PeerRecord": "netstack.dht.records",
        "PathKind": "netstack.events",
        "Reason": "netstack.events",
        "Limits": "netstack.limits",
        "Connection": "netstack.shell.connection",
        "ConnectError": "netstack.shell.host",
        "Host": "netstack.shell.host",
        "HostStatus": "netstack.shell.host",
        "Testnet": "netstack.shell.testnet",
        "SwarmLimits": "netstack.swarm.core.effects",
        "PeerInfo": "netstack.swarm.core.peer",
        "Swarm": "netstack.swarm.shell.swarm",
        "SwarmStatus": "netstack.swarm.shell.swarm",
        "Topic": "netstack.swarm.shell.topic",
        "Address": "netstack.udp.port",
    }

    def __getattr__(name):
        from importlib import import_module

        if name == "protomux":
            value = import_module("netstack.wire.protomux")
        elif name in _MODULES:
            value = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
