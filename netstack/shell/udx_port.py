"""Raw UDX on one UDP port, without handshakes: the smallest owner of streams.

Benchmarks and interoperability tests use it, as may an application with another key exchange; the endpoint puts Noise
before its streams.  It shows the whole contract between streams and their owner: one timer, and after each input
`take_effects` and `take_outgoing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf

from netstack.udp.bind import bind
from netstack.udp.port import Address, Datagram, ShellName, UdpShell
from netstack.udx.events import Event
from netstack.udx.intake import dispatch
from netstack.udx.stream import UdxStream

OnEvents = Callable[[UdxStream, list[Event]], None]


class UdxPort:
    """Made by `UdxPort.open`.  `on_events(stream, events)` is called in the event loop."""

    def __init__(self, on_events: OnEvents) -> None:
        self._on_events = on_events
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, UdxStream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._tick: asyncio.Handle | None = None
        self.shell: UdpShell

    @classmethod
    async def open(cls, host: str, port: int, on_events: OnEvents, *, shell: ShellName = "auto") -> UdxPort:
        """Binds; raises OSError."""
        self = cls(on_events)
        self.shell = await bind(host, port, self._receive, on_writable=self._writable, shell=shell)
        return self

    @property
    def address(self) -> Address:
        """Where the port is bound."""
        return self.shell.address

    def add(self, stream: UdxStream) -> None:
        """Routes packets with the stream's local id to it, until it is finished."""
        self._streams[stream.local_id] = stream

    def connect(self, stream: UdxStream, remote_id: int, remote: Address) -> None:
        """Tells the stream the peer's id and address, and sends what was written."""
        stream.connect(remote_id, remote, self._loop.time())
        self.flush()

    def flush(self) -> None:
        """After writes: sends at the end of this iteration of the event loop, so that small writes share packets."""
        if self._tick is None:
            self._tick = self._loop.call_soon(self._flush)

    async def close(self) -> None:
        """Frees the port at once; unsent data of its streams is lost."""
        for handle in (self._timer, self._tick):
            if handle is not None:
                handle.cancel()
        self.shell.close()
        await self.shell.wait_closed()

    def _flush(self) -> None:
        self._tick = None
        self._serve(self._streams.values(), self._loop.time())

    def _receive(self, batch: Sequence[Datagram]) -> None:
        now = self._loop.time()
        touched: dict[int, UdxStream] = {}
        for datagram in batch:
            dispatch(datagram, self._streams, now, touched)
        self._serve(touched.values(), self._loop.time())

    def _writable(self) -> None:
        self._serve(self._streams.values(), self._loop.time())

    def _wake(self) -> None:
        self._timer = None
        self._timer_at = inf
        now = self._loop.time()
        due = [stream for stream in self._streams.values() if stream.next_wake() <= now]
        for stream in due:
            stream.wake(now)
        self._serve(due, now)

    def _serve(self, streams: Iterable[UdxStream], now: float) -> None:
        for stream in list(streams):
            events = stream.take_effects()
            if events:
                self._on_events(stream, events)
            if self.shell.writable:
                out = stream.take_outgoing(now)
                if out:
                    self.shell.send_batch(out)
            events = stream.take_effects()
            if events:
                self._on_events(stream, events)
            if stream.finished:
                self._streams.pop(stream.local_id, None)
        self._arm()

    def _arm(self) -> None:
        at = min((stream.next_wake() for stream in self._streams.values()), default=inf)
        if at >= self._timer_at - 1e-4 and self._timer_at <= at + 1e-4:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at < inf:
            self._timer = self._loop.call_at(at, self._wake)
