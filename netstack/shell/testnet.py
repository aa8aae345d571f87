"""A DHT of one's own on loopback: many nodes in one process, one timer for all of them.

    async with Testnet(10) as net:
        ...                                  # give net.bootstrap to whoever should join
        guest = await net.join()             # an ordinary node, behind no NAT, in the same process
        await net.ask(guest, lambda done: hyper.announce(guest, topic, key, (), done))

The first node is the bootstrap node.  All are persistent at once, since their addresses are known to be reachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from argparse import Namespace
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


class Seat:
    """One node, its sockets, and when it wants to be woken."""

    __slots__ = ("node", "ready", "scheduled", "sockets")

    def __init__(self, node: DhtNode) -> None:
        self.node = node
        self.sockets: dict[int, UdpShell] = {}
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.scheduled = inf


class Testnet:
    """`size` nodes on `host`; `bootstrap`: joins an existing network instead of starting one."""

    __test__ = False  # no test, whatever pytest thinks of the name

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
        self._equip = equip  # gives a node more handlers
        self._seats: dict[DhtNode, Seat] = {}
        self._wakes: list[tuple[float, int, Seat]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Grows the network node by node.  Raises OSError as binding does."""
        self._loop = asyncio.get_running_loop()
        try:
            for _ in range(self.size):
                await self.grow()
        except BaseException:
            await self.stop()
            raise

    async def grow(self) -> DhtNode:
        """One more persistent node."""
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
        """A node that has to find out about itself, like anybody's; it counts as none of `nodes`."""
        return await self._add(
            "", 0, mode, self.bootstrap if bootstrap is None else bootstrap, client=True, known=known
        )

    def address_of(self, node: DhtNode) -> Address:
        return self._seats[node].sockets[SERVER].address

    async def ask(self, node: DhtNode, start: Callable[[Callable[[T], None]], object]) -> T:
        """Runs `start(done)` at a node of this process; what `done` was called with."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(value: T) -> None:
            if not future.done():
                future.set_result(value)

        node.now = self._loop.time()
        start(done)
        self._serve(self._seats[node])
        return await future

    async def kill(self, node: DhtNode) -> None:
        """Without a word to anybody."""
        seat = self._seats.pop(node)
        seat.scheduled = inf
        if node in self.nodes:
            self.nodes.remove(node)
        for socket in seat.sockets.values():
            socket.close()
            await socket.wait_closed()

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for node in list(self._seats):
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
        seat = self._seats[node] = Seat(node)
        for name, wanted in ((CLIENT, 0), (SERVER, port)):
            if name == SERVER or client:

                def receive(batch: Sequence[Datagram], name: int = name) -> None:
                    self._receive(seat, name, batch)

                seat.sockets[name] = await bind(self.host, wanted, receive)
                node.bound(name, seat.sockets[name].address)
        self._serve(seat)
        await seat.ready
        return node

    # turns

    def _receive(self, seat: Seat, port: int, batch: Sequence[Datagram]) -> None:
        node = seat.node
        now = self._loop.time()
        for data, source, segment in batch:
            for piece in cut(data, segment) if segment else (data,):
                node.receive(piece, source, port, now)
        self._serve(seat)

    def _serve(self, seat: Seat) -> None:
        node = seat.node
        if node not in self._seats:
            return
        out = node.outgoing()
        if out:
            for port, socket in seat.sockets.items():
                batch = [item for item in out if item.port == port] if len(seat.sockets) > 1 else out
                if batch:
                    socket.send_batch(batch)
        for event in node.take_effects():
            if isinstance(event, Ready) and not seat.ready.done():
                seat.ready.set_result(None)
        at = node.next_wake()
        if at < seat.scheduled:
            seat.scheduled = at
            heappush(self._wakes, (at, next(self._order), seat))
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
            at, _, seat = heappop(wakes)
            if seat.scheduled != at:
                continue
            seat.scheduled = inf
            seat.node.wake(now)
            self._serve(seat)
        if wakes:
            self._arm()


async def testnet(options: Namespace) -> int:
    """`python -m netstack testnet`: a network until a signal."""
    from netstack.shell.commands import say, signalled

    stop = signalled()
    net = Testnet(options.size, host=LOOPBACK, port=options.port)
    starting = asyncio.ensure_future(net.start())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            host, port = net.bootstrap[0]
            say(ready=True, bootstrap=f"{host}:{port}", size=len(net.nodes))
            await stopping
    finally:
        for task in (starting, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task
        await net.stop()
    return 0
