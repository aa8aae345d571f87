"""The turns of a host: what happened goes to the core, what follows is told and sent, then the next is awaited.

One timer, one pending call.  What an application does between turns goes out at the end of this one of the loop, so
that small frames share datagrams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf

from netstack.dht.events import DHT_EVENTS, DhtEvent
from netstack.endpoint import EndpointCore
from netstack.events import Event, Frame, PathKind, Reason
from netstack.ports import ClosePort, OpenPort
from netstack.shell.ports import Ports
from netstack.udp.port import Datagram


class Turns:
    """Drives a core.  Whoever inherits binds `_ports`, sets `_loop`, and says what becomes of events and frames."""

    def __init__(self, core: EndpointCore) -> None:
        self.core = core
        self._ports: Ports | None = None
        self._loop: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._in_turn = False
        self._deferred = False
        self._leaving = False
        self._waiting: list[asyncio.Future[None]] = []  # for anything to happen
        self._news: list[DhtEvent] = []  # for the watchers, at the end of the turn
        self._watchers: list[Callable[[DhtEvent], None]] = []

    def watch(self, callback: Callable[[DhtEvent], None]) -> Callable[[], None]:
        """Tells what happens to our place in the DHT: other networks, sleep.  What it returns ends that."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback) if callback in self._watchers else None

    def _happened(self, event: Event) -> None:
        raise NotImplementedError

    def _deliver(self, conn: int, frames: list[bytes]) -> None:
        raise NotImplementedError

    # for connections

    def path(self, conn: int) -> PathKind:
        return self.core.path(conn)

    def rtt(self, conn: int) -> float:
        stream = self.core.stream(conn)
        return stream.rtt.smoothed if stream is not None and stream.rtt.known else 0.0

    def send(self, conn: int, frame: bytes) -> bool:
        room = self.core.send(conn, frame, self._loop.time())
        self._soon()
        return room

    def end(self, conn: int) -> None:
        self.core.end(conn, self._loop.time())
        self._soon()

    def close(self, conn: int) -> None:
        self.core.close(conn, self._loop.time())
        self._soon()

    def abort(self, conn: int, reason: Reason, detail: str) -> None:
        self.core.abort(conn, self._loop.time(), reason, detail)
        self._soon()

    def hold(self, conn: int, size: int) -> None:
        self.core.hold(conn, size, self._loop.time())
        self._soon()

    def queued(self, conn: int) -> int:
        return self.core.queued(conn)

    async def _progress(self) -> None:
        """Until something has happened."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        await future

    # turns

    def flush(self) -> None:
        """Sends now what was put on connections, instead of when the loop comes round.  Nothing within a turn, at
        whose end it goes out anyway."""
        self._serve()

    def defer(self) -> None:
        """Within a turn: what it sends waits until the loop came round, so that whoever was just told of something
        hears of it first.  The kernel delivers to a peer on this machine while we send, which takes its time."""
        self._deferred = self._in_turn and not self._leaving  # last words wait for nobody

    def _soon(self) -> None:
        """What is done between turns goes out at the end of this one, so that small frames share datagrams."""
        if self._turn is None and not self._in_turn and self._ports is not None:
            self._turn = self._loop.call_soon(self._serve)

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
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        ports = self._ports
        if ports is None or self._in_turn:
            return
        self._in_turn = True
        try:
            self._tell(self._carry_out(ports))
            if self._deferred:
                self._deferred = False
                self._turn = self._loop.call_soon(self._serve)
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
            self._arm()  # one thing that went wrong does not stop the others' clock
            raise
        finally:
            self._in_turn = False
        self._tell_watchers()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._arm()

    def _arm(self) -> None:
        if self._ports is None or not self._ports.writable:
            return  # the shell calls when the kernel takes more; until then there is nothing to wake for
        at = self.core.next_wake()
        if at == inf:
            return
        if self._timer is not None:
            if self._timer.when() <= at:
                return  # it comes early enough; what it finds then sets the next
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _carry_out(self, ports: Ports) -> list[Event | DhtEvent]:
        """Opens and closes ports; returns what else the core has to tell."""
        effects = self.core.take_effects()
        ports.carry_out([effect for effect in effects if isinstance(effect, OpenPort | ClosePort)])
        return [effect for effect in effects if not isinstance(effect, OpenPort | ClosePort)]

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
