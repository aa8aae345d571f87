"""Topic discovery of a node: one `TopicDiscovery` a topic, on the DHT and the LAN; finds are told in batches.

The engine says where to be (`JoinTopic`, `LeaveTopic`); whom it finds goes to `on_found`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from identity.keys import SigningKey
from netstack.shell.host import Host
from netstack.swarm.shell.mdns import Mdns
from netstack.swarm.shell.topic_discovery import TopicDiscovery
from sync.engine.inputs import FoundKey

FAREWELL = 1.0  # seconds that taking announcements back may hold up the end
MAX_WAITING = 2048  # found in one turn of the loop; further ones come again with the next look-up


class TopicDiscoveries:
    """All topics of one host.  `mdns` None: the local network is left alone."""

    def __init__(self, host: Host, mdns: Mdns | None, on_found: Callable[[Sequence[FoundKey]], None]) -> None:
        self._host = host
        self._mdns = mdns
        self._on_found = on_found
        self._discoveries: dict[bytes, TopicDiscovery] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._found: list[FoundKey] = []

    def __len__(self) -> int:
        return len(self._discoveries)

    @property
    def on_lan(self) -> bool:
        """Whether the local network is looked at."""
        return self._mdns is not None

    def join(self, topic: bytes, key: SigningKey, announce: bool) -> None:
        """Is there from now on, as `key`; what was there before under another one is taken back."""
        self.leave(topic)
        if self._host.dht is None and self._mdns is None:
            return
        self._discoveries[topic] = TopicDiscovery(
            self._host,
            topic,
            key,
            server=announce,
            client=True,
            on_peer=lambda record: self._met(FoundKey(topic, record.key, tuple(record.relays))),
            on_local=lambda key, addresses: self._met(FoundKey(topic, key, addresses=tuple(addresses))),
            mdns=self._mdns,
        )

    def leave(self, topic: bytes) -> None:
        discovery = self._discoveries.pop(topic, None)
        if discovery is not None:
            discovery.close()
            task = asyncio.get_running_loop().create_task(discovery.wait_closed())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Takes everything back as far as that goes quickly.  Leaves no task and no socket."""
        discoveries = list(self._discoveries.values())
        for topic in list(self._discoveries):
            self.leave(topic)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=FAREWELL)
        for discovery in discoveries:
            discovery.abandon()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        if self._mdns is not None:
            await self._mdns.close()

    def _met(self, found: FoundKey) -> None:
        if not self._found:
            asyncio.get_running_loop().call_soon(self._tell)
        if len(self._found) < MAX_WAITING:
            self._found.append(found)

    def _tell(self) -> None:
        found, self._found = self._found, []
        self._on_found([one for one in found if one.topic in self._discoveries])
