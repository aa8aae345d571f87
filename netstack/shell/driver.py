"""The ticks of a host: each feeds the core, reports its events, sends its datagrams and arms the timer.

There is one timer and at most one pending call.  What an application does between ticks is sent at the end of the
present iteration of the event loop, so that small frames share datagrams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import cast

from netstack.dht.events import DHT_EVENTS, DhtEvent
from netstack.endpoint import EndpointCore
from netstack.events import Event, Frame, PathKind, Reason
from netstack.ports import PORT_EFFECTS, PortEffect
from netstack.shell.ports import Ports
from netstack.udp.port import Datagram


class Driver:
    """Drives an endpoint core.  A subclass binds `_ports`, sets `_loop`, and handles events and frames."""

    def __init__(self, core: EndpointCore) -> None:
        self.core = core
        self._ports: Ports | None = None
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._tick: asyncio.Handle | None = None
        self._in_tick = False
        self._deferred = False
        self._leaving = False
        self._waiting: list[asyncio.Future[None]] = []  # until the next tick
        self._news: list[DhtEvent] = []  # for the watchers, at the end of the tick
        self._watchers: list[Callable[[DhtEvent], None]] = []

    def watch(self, callback: Callable[[DhtEvent], None]) -> Callable[[], None]:
        """Calls back for changes of our place in the DHT (another network, a sleep); the returned function ends it."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback) if callback in self._watchers else None

    def _happened(self, event: Event) -> None:
        raise NotImplementedError

    def _deliver(self, conn: int, frames: list[bytes]) -> None:
        raise NotImplementedError

    # for connections

    def path(self, conn: int) -> PathKind:
        """See `Connection.path`."""
        return self.core.path(conn)

    def rtt(self, conn: int) -> float:
        """See `Connection.rtt`."""
        stream = self.core.stream(conn)
        return stream.rtt.smoothed if stream is not None and stream.rtt.known else 0.0

    def send(self, conn: int, frame: bytes) -> bool:
        """See `Connection.send`."""
        room = self.core.send(conn, frame, self._loop.time())
        self._soon()
        return room

    def end(self, conn: int) -> None:
        """See `Connection.end`."""
        self.core.end(conn, self._loop.time())
        self._soon()

    def close(self, conn: int) -> None:
        """See `Connection.close`."""
        self.core.close(conn, self._loop.time())
        self._soon()

    def abort(self, conn: int, reason: Reason, detail: str) -> None:
        """See `Connection.abort`."""
        self.core.abort(conn, self._loop.time(), reason, detail)
        self._soon()

    def hold(self, conn: int, size: int) -> None:
        """Tells the core how many bytes of frames the application has not read."""
        self.core.hold(conn, size, self._loop.time())
        self._soon()

    def queued(self, conn: int) -> int:
        """See `Connection.queued`."""
        return self.core.queued(conn)

    async def _progress(self) -> None:
        """Waits for the next tick."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        await future

    # ticks

    def flush(self) -> None:
        """Sends now what was queued on connections, instead of at the end of this iteration of the event loop.

        Within a tick it does nothing, since the tick ends by sending."""
        self._serve()

    def defer(self) -> None:
        """Within a tick: postpones its sending to the next iteration of the event loop, after the pending callbacks.

        Sending to a peer on this machine takes long, since the kernel delivers before it returns.  While the host stops
        nothing is postponed: final packets are flushed at once."""
        self._deferred = self._in_tick and not self._leaving

    def _soon(self) -> None:
        """Sends what is queued at the end of this iteration of the event loop: small frames share datagrams."""
        if self._tick is None and not self._in_tick and self._ports is not None:
            self._tick = self._loop.call_soon(self._serve)

    def _receive(self, batch: Sequence[Datagram], port: int) -> None:
        try:
            self.core.receive_batch(batch, self._loop.time(), port)
        finally:
            self._serve()

    def _wake(self) -> None:
        self._timer = None
        try:
            self.core.wake(self._loop.time())
        finally:
            self._serve()

    def _serve(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        ports = self._ports
        if ports is None or self._in_tick:
            return
        self._in_tick = True
        try:
            self._tell(self._carry_out(ports))
            if self._deferred:
                self._deferred = False
                self._tick = self._loop.call_soon(self._serve)
                return
            while ports.writable:
                batch = self.core.outgoing()
                news = self._carry_out(ports)  # before sending: the batch may be from ports that are new
                if batch:
                    ports.send(batch)
                self._tell(news)
                if not self.core.restless:
                    break
        except BaseException:
            self._arm()  # an error in one callback must not stop the timer of all others
            raise
        finally:
            self._in_tick = False
        self._tell_watchers()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._arm()

    def _arm(self) -> None:
        if self._ports is None or not self._ports.writable:
            return  # the UDP port calls back when the kernel takes more; no timer is needed until then
        at = self.core.next_wake()
        if at == inf:
            return
        if self._timer is not None:
            if self._timer.when() <= at:
                return  # the armed timer comes early enough and arms the next one
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _carry_out(self, ports: Ports) -> list[Event | DhtEvent]:
        """Opens and closes ports as the core orders, which it does first; returns the events that follow."""
        effects = self.core.take_effects()
        if not effects or not isinstance(effects[0], PORT_EFFECTS):  # most turns
            return cast("list[Event | DhtEvent]", effects)
        orders: list[PortEffect] = []
        for effect in effects:
            if not isinstance(effect, PORT_EFFECTS):
                break
            orders.append(effect)
        ports.carry_out(orders)
        return cast("list[Event | DhtEvent]", effects[len(orders) :])

    def _tell(self, events: list[Event | DhtEvent]) -> None:
        batch: list[bytes] = []
        owner = 0
        for event in events:
            if type(event) is Frame:
                if event.conn != owner and batch:
                    self._deliver(owner, batch)
                    batch = []
                owner = event.conn
                batch.append(event.data)
                continue
            if batch:
                self._deliver(owner, batch)
                batch = []
            if isinstance(event, DHT_EVENTS):
                self._news.append(event)
            else:
                self._happened(event)
        if batch:
            self._deliver(owner, batch)

    def _tell_watchers(self) -> None:
        news, self._news = self._news, []
        for event in news:
            for callback in list(self._watchers):
                try:
                    callback(event)
                except Exception as error:
                    self._loop.call_exception_handler({"message": "error in a watcher", "exception": error})
