"""One topic on one host: announced and looked up when the core says so, on the DHT and on the local network.

    discovery = TopicDiscovery(host, topic, key, on_peer=found)       # found(PeerRecord), in the event loop
    await discovery.flushed()                                  # our record is stored and present peers are found
    discovery.close()
    await discovery.wait_closed()                              # our record is withdrawn

The core is `core/discovery.py`.  A peer on our own network is reported as a record whose "relay" is the peer itself:
it answers there directly.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from identity.keys import Random, SigningKey
from netstack.dht.events import DhtEvent, NetworkChanged, Ready, Woken
from netstack.dht.records import PeerRecord
from netstack.swarm.core.discovery import Discovery, Start, Stop, Walk
from netstack.udp.port import Address

if TYPE_CHECKING:  # zeroconf loads slowly: only those who use it import it
    from netstack.swarm.shell.mdns import Mdns, Registration

OnPeer = Callable[[PeerRecord], None]


class DiscoveryHost(Protocol):
    """The part of a host that a topic discovery uses.  Cancelling a coroutine ends its walk through the DHT."""

    @property
    def dht(self) -> object | None:
        """None: this host is in no DHT, so that only the local network remains."""
        ...

    async def look_up(self, topic: bytes, on_found: OnPeer) -> int:
        """Reports each record under `topic`; returns how many nodes answered."""
        ...

    async def announce(self, topic: bytes, key: SigningKey, on_found: OnPeer | None = None) -> int:
        """As `look_up`, and stores our record; returns how many nodes took it."""
        ...

    async def unannounce(self, topic: bytes, key: SigningKey) -> None:
        """Withdraws our record."""
        ...

    async def announced(self, key: bytes) -> None:
        """Until nodes of the DHT relay handshakes for `key`."""
        ...

    def watch(self, callback: Callable[[DhtEvent], None]) -> Callable[[], None]:
        """Reports changes of our place in the DHT until the returned function is called."""
        ...


# Walks of one host at a time, first rounds and refreshes apart: each walk asks ten nodes at once, and neither dials nor
# a topic that was just joined should queue behind the refreshes of a hundred others.
JOINING, AGAIN = 4, 2


class WalkQueues:
    """The queues of one host: semaphores for first rounds and for refreshes."""

    def __init__(self) -> None:
        self.joining = asyncio.Semaphore(JOINING)
        self.again = asyncio.Semaphore(AGAIN)


WALK_QUEUES: WeakKeyDictionary[DiscoveryHost, WalkQueues] = WeakKeyDictionary()


class TopicDiscovery:
    """Announces and finds the peers of `topic` (32 bytes) from its creation until `close`.

    `server`: others find us under the topic by `key`, which the host has to listen to and announce.  `client`: peers
    are reported.  `on_peer(record)` is called once for each peer of a walk, and again if its record changed, never for
    ourselves.  `on_local(key, addresses)`, where given, is called instead for peers on our own network.  `mdns`: the
    host's, None to leave the local network alone.  `rng(size)` draws the jitter.  Must be created in a running event
    loop.  Raises ValueError for a topic of another length.
    """

    def __init__(
        self,
        host: DiscoveryHost,
        topic: bytes,
        key: SigningKey,
        *,
        on_peer: OnPeer,
        server: bool = True,
        client: bool = True,
        mdns: Mdns | None = None,
        on_local: Callable[[bytes, tuple[Address, ...]], None] | None = None,
        rng: Random = os.urandom,
    ) -> None:
        if len(topic) != 32:
            raise ValueError("a topic has 32 bytes")
        self.topic = topic
        self.key = key
        self._host = host
        self._on_peer = on_peer
        self._on_local = on_local or (lambda key, addresses: on_peer(PeerRecord(key, addresses)))
        self._mdns = mdns
        self._registration: Registration | None = None
        self._loop = asyncio.get_running_loop()
        self._schedule = Discovery(rng, server=server, client=client)
        self._walks: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._queues = WALK_QUEUES.setdefault(host, WalkQueues())
        self._change = asyncio.Event()  # replaced at every use
        self._unwatch = host.watch(self._heard)
        self._join_local()
        self._serve()

    @property
    def server(self) -> bool:
        """Whether others find us under this topic."""
        return self._schedule.server

    @property
    def client(self) -> bool:
        """Whether peers of this topic are reported."""
        return self._schedule.client

    def set_role(self, *, server: bool, client: bool) -> None:
        """Changes the role; our record is withdrawn where we no longer serve."""
        self._schedule.set_role(server=server, client=client)
        self._join_local()
        self._serve()

    def refresh(self) -> None:
        """Announces and looks up again now."""
        self._schedule.refresh()
        self._serve()

    def suspend(self) -> None:
        """Withdraws our record and sends nothing more until `resume`."""
        self._schedule.suspend()
        self._leave_local()
        self._serve()

    def resume(self) -> None:
        """Ends `suspend`: announces and looks up at once."""
        self._schedule.resume()
        self._join_local()
        self._serve()

    def close(self) -> None:
        """Withdraws our record in the background, and ends.  May be called twice."""
        self._schedule.close()
        self._leave_local()
        self._unwatch()
        self._serve()

    def abandon(self) -> None:
        """Ends at once without withdrawing our record, which expires.  `wait_closed` then waits for the tasks."""
        self.close()
        for task in self._walks.values():
            task.cancel()

    async def flushed(self) -> bool:
        """Until the present round is over; whether it reached the network.  At once, and True, without a DHT."""
        while self._host.dht is not None and not self._schedule.settled:
            await self._change.wait()
        return self._host.dht is None or self._schedule.reached

    async def wait_closed(self) -> None:
        """Until every task of this discovery has ended."""
        while self._walks:
            await asyncio.gather(*self._walks.values(), return_exceptions=True)

    # inner

    def _join_local(self) -> None:
        if self._mdns is not None and self._schedule.active:
            key = self.key.public if self.server else None
            self._registration = self._mdns.join(self.topic, key, self._on_local if self.client else None)

    def _leave_local(self) -> None:
        if self._mdns is not None and self._registration is not None:
            self._mdns.leave(self.topic, self._registration)
            self._registration = None

    def _heard(self, event: DhtEvent) -> None:
        match event:
            case NetworkChanged(_, online) if online:
                self.refresh()
            case Woken():
                self.refresh()
            case Ready() if self._schedule.settled and not self._schedule.reached:
                self.refresh()
            case _:
                pass

    def _ended(self, number: int, _walk: asyncio.Task[None]) -> None:
        del self._walks[number]

    def _serve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._host.dht is None:
            return
        for effect in self._schedule.take_effects():
            match effect:
                case Start(number, walk):
                    task = self._loop.create_task(self._walk(number, walk))
                    self._walks[number] = task
                    task.add_done_callback(partial(self._ended, number))
                case Stop(number):
                    if number in self._walks:
                        self._walks[number].cancel()
        if self._schedule.settled or self._schedule.finished:
            change, self._change = self._change, asyncio.Event()
            change.set()
        at = self._schedule.next_wake()
        if at < float("inf"):
            self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._schedule.wake(self._loop.time())
        self._serve()

    async def _walk(self, number: int, walk: Walk) -> None:
        def found(record: PeerRecord) -> None:
            if record.key == self.key.public or not self.client:
                return
            try:
                self._on_peer(record)
            except Exception as error:  # an error of the application does not end the walk
                self._loop.call_exception_handler({"message": "error in on_peer", "exception": error})

        if walk is Walk.ANNOUNCE:
            # the record names our relays, so these have to be known first; later announcements do not wait here
            await self._host.announced(self.key.public)
        nodes = 1
        async with self._queues.again if self._schedule.settled else self._queues.joining:
            match walk:
                case Walk.LOOK_UP:
                    nodes = await self._host.look_up(self.topic, found)
                case Walk.ANNOUNCE:
                    nodes = await self._host.announce(self.topic, self.key, found)
                case Walk.UNANNOUNCE:
                    await self._host.unannounce(self.topic, self.key)
        self._schedule.done(number, nodes > 0, self._loop.time())
        self._serve()
