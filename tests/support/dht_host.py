"""A node of a `Testnet` as the host of topic discoveries (`netstack.swarm.shell.topic_discovery.DiscoveryHost`)."""

from __future__ import annotations

from collections.abc import Callable

from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.events import DhtEvent, Mode
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome
from netstack.dht.records import PeerRecord
from netstack.shell.dht_client import each_record
from netstack.shell.testnet import Testnet

OnPeer = Callable[[PeerRecord], None]


class DhtHost:
    """An ephemeral node; `walks` names the walks asked of it, `watchers` the callbacks that wait for events."""

    def __init__(self, net: Testnet, node: DhtNode) -> None:
        self.net = net
        self.dht = node
        self.watchers: list[Callable[[DhtEvent], None]] = []
        self.walks: list[str] = []

    @classmethod
    async def enter(cls, net: Testnet) -> DhtHost:
        """Joins a node to the network."""
        return cls(net, await net.join(Mode.EPHEMERAL))

    async def look_up(self, topic: bytes, on_found: OnPeer) -> int:
        self.walks.append("look up")
        outcome: Outcome = await self.net.ask(
            self.dht, lambda done: hyper.lookup(self.dht, topic, each_record(on_found), done)
        )
        return outcome.answers

    async def announce(self, topic: bytes, key: SigningKey, on_found: OnPeer | None = None) -> int:
        self.walks.append("announce")
        found = each_record(on_found) if on_found else None
        outcome: Outcome = await self.net.ask(
            self.dht, lambda done: hyper.announce(self.dht, topic, key, (), done, on_found=found)
        )
        return outcome.committed

    async def unannounce(self, topic: bytes, key: SigningKey) -> None:
        self.walks.append("unannounce")
        _: Outcome = await self.net.ask(self.dht, lambda done: hyper.unannounce(self.dht, topic, key, done))

    async def announced(self, key: bytes) -> None:
        """Returns at once, since nobody dials these nodes."""

    def watch(self, callback: Callable[[DhtEvent], None]) -> Callable[[], None]:
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)
