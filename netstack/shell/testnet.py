"""A private DHT on loopback: many nodes in one process, with one timer for all of them.

    async with Testnet(10) as net:
        ...                                  # give net.bootstrap to hosts and swarms
        guest = await net.join()             # an ordinary node, behind no NAT, in the same process
        await net.ask(guest, lambda done: hyper.announce(guest, topic, key, (), done))

The first node is the bootstrap node.  All store for others at once, since their addresses are known to be reachable.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from types import TracebackType
from typing import Self, TypeVar

from identity.keys import Random
from netstack.connect.route import relay_on
from netstack.dht.events import Mode, Ready
from netstack.dht.limits import DhtLimits
from netstack.dht.node import DhtNode
from netstack.ports import CLIENT, SERVER
from netstack.udp.bind import bind
from netstack.udp.port import Address, Datagram, UdpShell
from netstack.udx.intake import cut

T = TypeVar("T")
LOOPBACK = "127.0.0.1"


class RunningNode:
    """One node, its sockets, and the time of its next wake-up."""

    __slots__ = ("node", "ready", "scheduled", "sockets")

    def __init__(self, node: DhtNode) -> None:
        self.node = node
        self.sockets: dict[int, UdpShell] = {}
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.scheduled = inf


class Testnet:
    """A DHT of `size` nodes bound to `host`, from `async with` or `start` until `stop`.

    `port`: that of the bootstrap node, 0 for any.  `bootstrap`: joins an existing network instead of starting one.
    `limits`: of what each node stores.  `equip(node)` adds request handlers to a node; by default it relays handshakes.
    `rng(size)`: random bytes.

    Attributes: `bootstrap`, the addresses to give to hosts and swarms; `nodes`, the nodes themselves.
    """

    __test__ = False  # tells pytest that this class is no test

    def __init__(
        self,
        size: int = 10,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        bootstrap: Sequence[Address] = (),
        rng: Random = os.urandom,
        limits: DhtLimits | None = None,
        equip: Callable[[DhtNode], object] = relay_on,
    ) -> None:
        self.size = size
        self.host = host
        self.bootstrap: list[Address] = list(bootstrap)
        self.nodes: list[DhtNode] = []
        self._port = port
        self._rng = rng
        self._limits = limits
        self._equip = equip
        self._running: dict[DhtNode, RunningNode] = {}
        self._wakes: list[tuple[float, int, RunningNode]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Adds the nodes one by one; leaves none behind if one fails.  Raises OSError as binding does."""
        self._loop = asyncio.get_running_loop()
        try:
            for _ in range(self.size):
                await self.grow()
        except BaseException:
            await self.stop()
            raise

    async def grow(self) -> DhtNode:
        """Adds one more node that stores for others, and returns it."""
        port = self._port if not self.nodes else 0
        node = await self._add(self.host, port, Mode.PERSISTENT, self.bootstrap, client=False)
        self.nodes.append(node)
        if not self.bootstrap:
            self.bootstrap.append(self.address_of(node))
        return node

    async def join(
        self,
        mode: Mode = Mode.EPHEMERAL,
        *,
        bootstrap: Sequence[Address] | None = None,
        known: Sequence[Address] = (),
    ) -> DhtNode:
        """Adds a node that has to find out its own address, as any guest of the network; it is not in `nodes`."""
        return await self._add(
            "", 0, mode, self.bootstrap if bootstrap is None else bootstrap, client=True, known=known
        )

    def address_of(self, node: DhtNode) -> Address:
        """Where a node of this process is bound."""
        return self._running[node].sockets[SERVER].address

    async def ask(self, node: DhtNode, start: Callable[[Callable[[T], None]], object]) -> T:
        """Runs `start(done)` at a node of this process, and returns the value with which `done` is called."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(value: T) -> None:
            if not future.done():
                future.set_result(value)

        node.now = self._loop.time()
        start(done)
        self._serve(self._running[node])
        return await future

    async def kill(self, node: DhtNode) -> None:
        """Stops one node at once, without telling any other."""
        running = self._running.pop(node)
        running.scheduled = inf
        if node in self.nodes:
            self.nodes.remove(node)
        for socket in running.sockets.values():
            socket.close()
            await socket.wait_closed()

    async def stop(self) -> None:
        """Stops every node and frees the sockets.  May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for node in list(self._running):
            await self.kill(node)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _add(
        self,
        host: str,
        port: int,
        mode: Mode,
        bootstrap: Sequence[Address],
        *,
        client: bool,
        known: Sequence[Address] = (),
    ) -> DhtNode:
        now = self._loop.time()
        node = DhtNode(
            self._rng,
            now,
            bootstrap=tuple(bootstrap),
            known=known,
            mode=mode,
            host=host,
            limits=self._limits,
            epoch=time.time() - now,
        )
        self._equip(node)
        running = self._running[node] = RunningNode(node)
        for name, wanted in ((CLIENT, 0), (SERVER, port)):
            if name == SERVER or client:

                def receive(batch: Sequence[Datagram], name: int = name) -> None:
                    self._receive(running, name, batch)

                running.sockets[name] = await bind(self.host, wanted, receive)
                node.bound(name, running.sockets[name].address)
        self._serve(running)
        await running.ready
        return node

    # inner

    def _receive(self, running: RunningNode, port: int, batch: Sequence[Datagram]) -> None:
        node = running.node
        now = self._loop.time()
        for data, source, segment in batch:
            for piece in cut(data, segment) if segment else (data,):
                node.receive(piece, source, port, now)
        self._serve(running)

    def _serve(self, running: RunningNode) -> None:
        node = running.node
        if node not in self._running:
            return
        out = node.outgoing()
        if out:
            for port, socket in running.sockets.items():
                batch = [item for item in out if item.port == port] if len(running.sockets) > 1 else out
                if batch:
                    socket.send_batch(batch)
        for event in node.take_effects():
            if isinstance(event, Ready) and not running.ready.done():
                running.ready.set_result(None)
        at = node.next_wake()
        if at < running.scheduled:
            running.scheduled = at
            heappush(self._wakes, (at, next(self._order), running))
            self._arm()

    def _arm(self) -> None:
        at = self._wakes[0][0]
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._loop.time()
        wakes = self._wakes
        while wakes and wakes[0][0] <= now:
            at, _, running = heappop(wakes)
            if running.scheduled != at:
                continue
            running.scheduled = inf
            running.node.wake(now)
            self._serve(running)
        if wakes:
            self._arm()
