"""One topic on one host: announced and looked up when `discovery.py` says so, on the DHT and on the local network.

    meeting = Meeting(host, topic, key, on_peer=found)       # found(PeerRecord), in the event loop
    await meeting.flushed()                                  # our record is stored, whoever was there is found
    meeting.close()
    await meeting.wait_closed()                              # our record is taken back

A peer of our own network is handed on as a record whose "relay" is the peer itself: it answers there directly.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from identity.keys import Random, SigningKey
from netstack.dht.events import DhtEvent, NetworkChanged, Ready, Woken
from netstack.dht.records import PeerRecord
from netstack.swarm.core.discovery import Discovery, Start, Stop, Walk
from netstack.udp.port import Address

if TYPE_CHECKING:  # zeroconf takes its time to load: whoever uses it does that
    from netstack.swarm.shell.mdns import Mdns, Wish

OnPeer = Callable[[PeerRecord], None]


class Walks(Protocol):
    """What a meeting needs of its host.  Cancelling a walk ends it."""

    @property
    def dht(self) -> object | None:
        """None: this host is in no DHT, and only the local network is left."""
        ...

    async def look_up(self, topic: bytes, on_found: OnPeer) -> int: ...
    async def announce(self, topic: bytes, key: SigningKey, on_found: OnPeer | None = None) -> int: ...
    async def unannounce(self, topic: bytes, key: SigningKey) -> None: ...
    async def announced(self, key: bytes) -> None: ...
    def watch(self, callback: Callable[[DhtEvent], None]) -> Callable[[], None]: ...


# Walks of one host at once, of those who join and of those who look again: each asks ten nodes at a time, and neither
# what connects us nor who has just joined should queue behind a hundred topics that are only being refreshed.
JOINING, AGAIN = 4, 2


class Gates:
    """One host's."""

    def __init__(self) -> None:
        self.joining = asyncio.Semaphore(JOINING)
        self.again = asyncio.Semaphore(AGAIN)


GATES: WeakKeyDictionary[Walks, Gates] = WeakKeyDictionary()


class Meeting:
    """`server`: be found under the topic with `key`, which the host listens to and announces; `client`: be told of
    others.

    `on_peer` hears of each peer once a walk, again when it says something new, and of nobody twice at once; never of
    ourselves.  `on_local(key, addresses)` hears of those of our own network instead, where it is given.  `mdns`: the
    host's, or None.
    """

    def __init__(
        self,
        host: Walks,
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
        self._wish: Wish | None = None
        self._loop = asyncio.get_running_loop()
        self._discovery = Discovery(rng, server=server, client=client)
        self._walks: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._gates = GATES.setdefault(host, Gates())
        self._change = asyncio.Event()  # replaced at every use
        self._unwatch = host.watch(self._heard)
        self._stay()
        self._serve()

    @property
    def server(self) -> bool:
        return self._discovery.server

    @property
    def client(self) -> bool:
        return self._discovery.client

    def want(self, *, server: bool, client: bool) -> None:
        """Changes the role; what was announced is taken back where we no longer serve."""
        self._discovery.want(server=server, client=client)
        self._stay()
        self._serve()

    def refresh(self) -> None:
        """Announces and looks up again now."""
        self._discovery.refresh()
        self._serve()

    def suspend(self) -> None:
        """Takes our record back and is silent until `resume`."""
        self._discovery.suspend()
        self._leave_local()
        self._serve()

    def resume(self) -> None:
        self._discovery.resume()
        self._stay()
        self._serve()

    def close(self) -> None:
        """Takes our record back, in the background, and ends.  May be called twice."""
        self._discovery.close()
        self._leave_local()
        self._unwatch()
        self._serve()

    def abandon(self) -> None:
        """Ends at once and takes nothing back: the record runs out by itself.  `wait_closed` waits for the tasks."""
        self.close()
        for task in self._walks.values():
            task.cancel()

    async def flushed(self) -> bool:
        """Until the round under way is over.  Whether it reached the network; without a DHT there is nothing to wait
        for."""
        while self._host.dht is not None and not self._discovery.settled:
            await self._change.wait()
        return self._host.dht is None or self._discovery.reached

    async def wait_closed(self) -> None:
        """Until nothing of it is left."""
        while self._walks:
            await asyncio.gather(*self._walks.values(), return_exceptions=True)

    # inner

    def _stay(self) -> None:
        if self._mdns is not None and self._discovery.active:
            key = self.key.public if self.server else None
            self._wish = self._mdns.join(self.topic, key, self._on_local if self.client else None)

    def _leave_local(self) -> None:
        if self._mdns is not None and self._wish is not None:
            self._mdns.leave(self.topic, self._wish)
            self._wish = None

    def _heard(self, event: DhtEvent) -> None:
        match event:
            case NetworkChanged(_, online) if online:
                self.refresh()
            case Woken():
                self.refresh()
            case Ready() if self._discovery.settled and not self._discovery.reached:
                self.refresh()
            case _:
                pass

    def _serve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._host.dht is None:
            return
        for effect in self._discovery.effects():
            match effect:
                case Start(number, walk):
                    task = self._loop.create_task(self._walk(number, walk))
                    self._walks[number] = task
                    task.add_done_callback(lambda _, number=number: self._walks.pop(number))  # type: ignore[misc]
                case Stop(number):
                    if number in self._walks:
                        self._walks[number].cancel()
        if self._discovery.settled or self._discovery.finished:
            change, self._change = self._change, asyncio.Event()
            change.set()
        at = self._discovery.next_wake()
        if at < float("inf"):
            self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._discovery.wake(self._loop.time())
        self._serve()

    async def _walk(self, number: int, walk: Walk) -> None:
        def found(record: PeerRecord) -> None:
            if record.key == self.key.public or not self.client:
                return
            try:
                self._on_peer(record)
            except Exception as error:  # the application's mistake ends no walk
                self._loop.call_exception_handler({"message": "error in on_peer", "exception": error})

        if walk is Walk.ANNOUNCE:
            # others ask our relays for us, so these have to be known first; once they are it takes no time
            await self._host.announced(self.key.public)
        nodes = 1
        async with self._gates.again if self._discovery.settled else self._gates.joining:
            match walk:
                case Walk.LOOK_UP:
                    nodes = await self._host.look_up(self.topic, found)
                case Walk.ANNOUNCE:
                    nodes = await self._host.announce(self.topic, self.key, found)
                case Walk.UNANNOUNCE:
                    await self._host.unannounce(self.topic, self.key)
        self._discovery.done(number, nodes > 0, self._loop.time())
        self._serve()
