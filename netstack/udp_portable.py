"""The portable home of one UDP port, on asyncio-dgram: Windows, probes, birthday sockets, tests.

asyncio-dgram queues received datagrams without bound and its `recv` waits for one at a time.  One task here takes
what the queue holds in one go; when a flood has put more than `_MAX_WAITING` datagrams there, the oldest beyond it
are dropped, as a kernel buffer would.  Sending goes straight to the transport, which keeps its own queue; above its
high-water mark `writable` is False and what is sent nevertheless is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import asyncio_dgram

from netstack.udp import Address, Datagram, Outgoing, Receive, Writable

_MAX_WAITING = 4_096
_TURN = 256
_HIGH_WATER = 1 << 20


class PortableShell:
    """See `netstack.udp.UdpShell`; made by `bind_portable`."""

    def __init__(self, stream: asyncio_dgram.DatagramServer, receive: Receive, on_writable: Writable | None) -> None:
        self._stream = stream
        self._transport: asyncio.DatagramTransport = stream._transport
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._queue: asyncio.Queue[tuple[bytes | None, tuple[str, int]]] = stream._recvq
        self._receive = receive
        self._on_writable = on_writable
        self._closed = False
        self._errors = 0
        self._address: Address = stream.sockname[:2]
        self._tasks = [asyncio.create_task(self._pump())]
        self._waiter: asyncio.Task[None] | None = None

    @property
    def address(self) -> Address:
        return self._address

    @property
    def writable(self) -> bool:
        return self._transport.get_write_buffer_size() < _HIGH_WATER

    @property
    def errors(self) -> int:
        return self._errors + self._stream._excq.qsize()

    def send_batch(self, batch: Sequence[Outgoing]) -> None:
        send = self._transport.sendto
        for address, data, segment in batch:
            if self._closed:
                return
            if not self.writable:
                self._errors += 1
                self._await_drain()
                continue
            if not segment or len(data) <= segment:
                send(data, address)
                continue
            view = memoryview(data)
            for at in range(0, len(view), segment):
                send(view[at : at + segment], address)
        if not self.writable:
            self._await_drain()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stream.close()
        self._transport.abort()
        for task in [*self._tasks, *([self._waiter] if self._waiter else [])]:
            task.cancel()

    async def wait_closed(self) -> None:
        self.close()
        tasks = [*self._tasks, *([self._waiter] if self._waiter else [])]
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._transport.get_extra_info("socket").fileno() != -1:
            await asyncio.sleep(0)

    async def _pump(self) -> None:
        queue = self._queue
        while True:
            try:
                first, sender = await self._stream.recv()
            except asyncio_dgram.TransportClosed:
                return
            except OSError:
                self._errors += 1  # an ICMP answer to something sent earlier
                continue
            batch = [Datagram(memoryview(first), sender[:2], 0)]
            while queue.qsize() > _MAX_WAITING:
                queue.get_nowait()
                self._errors += 1
            for _ in range(min(queue.qsize(), _TURN)):
                data, sender = queue.get_nowait()
                if data is None:
                    return
                batch.append(Datagram(memoryview(data), sender[:2], 0))
            self._receive([item for item in batch if item.data])
            await asyncio.sleep(0)

    def _await_drain(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._waiter = asyncio.create_task(self._drained())

    async def _drained(self) -> None:
        await self._stream._drained.wait()
        if self._on_writable is not None and not self._closed:
            self._on_writable()


async def bind_portable(host: str, port: int, receive: Receive, on_writable: Writable | None = None) -> PortableShell:
    """Binds a port on any event loop.  Raises OSError as `socket.bind` does."""
    stream = await asyncio_dgram.bind((host, port))
    with contextlib.suppress(OSError):
        import socket as sockets

        raw = stream.socket
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 20)
    return PortableShell(stream, receive, on_writable)
