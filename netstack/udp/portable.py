"""The portable implementation of one UDP port, on PyPI `asyncio-dgram`: Windows, macOS, tests.

asyncio-dgram's own `bind` queues received datagrams without bound; here its protocol fills a bounded queue that drops
the excess as a kernel buffer would, and one task takes all waiting datagrams as one batch.  Above the transport's
high-water mark `writable` is False, and what is sent nevertheless is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence
from typing import Any

import asyncio_dgram.aio

from netstack.udp.port import Address, Datagram, Outgoing, Receive, Writable

_MAX_WAITING = 4_096
_BATCH = 256
_HIGH_WATER = 1 << 20
_RECEIVE_BUFFER = 1 << 20
_TTL = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}


_DONT_FRAGMENT = {  # (IPv4 option, IPv6 option, value): fragmented MTU probes would prove nothing
    "linux": (10, 23, 3),
    "win32": (14, 14, 1),
    "darwin": (28, 62, 1),
}
_Item = tuple[bytes | None, Any]  # asyncio-dgram types addresses by a private name of typeshed: (host, port, ...)


class _Inbox(asyncio.Queue[Any]):
    """A bounded queue: the excess is dropped and counted.  The end mark (None, None) always fits."""

    dropped = 0

    def put_nowait(self, item: _Item) -> None:
        if item[0] is not None and self.qsize() >= _MAX_WAITING:
            self.dropped += 1
        else:
            super().put_nowait(item)


class _Faults(asyncio.Queue[Exception]):
    """Counts errors and drops them: an ICMP answer to one datagram is no reason to stop receiving others."""

    count = 0

    def put_nowait(self, item: Exception) -> None:
        self.count += 1


class PortableShell:
    """A `netstack.udp.port.UdpShell`, made by `bind_portable`."""

    def __init__(self, address: Address, receive: Receive, on_writable: Writable | None) -> None:
        self._address = address
        self._receive = receive
        self._on_writable = on_writable
        self._inbox = _Inbox()
        self._faults = _Faults()
        self._drained = asyncio.Event()
        self._transport: asyncio.DatagramTransport
        self._stream: asyncio_dgram.aio.DatagramServer
        self._pump_task: asyncio.Task[None] | None = None
        self._drain_task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._closed = False
        self._dropped = 0

    @property
    def address(self) -> Address:
        return self._address

    @property
    def writable(self) -> bool:
        return self._drained.is_set()

    @property
    def errors(self) -> int:
        return self._dropped + self._inbox.dropped + self._faults.count

    def send_batch(self, batch: Sequence[Outgoing]) -> None:
        send = self._transport.sendto
        for address, data, segment, _port, ttl in batch:
            if self._closed:
                return
            if not self._drained.is_set():
                self._dropped += 1
            elif ttl:
                self._send_short(data, address, ttl)
            elif not segment or len(data) <= segment:
                send(data, address)
            else:
                view = memoryview(data)
                for at in range(0, len(view), segment):
                    send(view[at : at + segment], address)
        if not self._drained.is_set() and self._drain_task is None and not self._closed:
            self._drain_task = asyncio.create_task(self._tell_writable())

    def _send_short(self, data: bytes | bytearray | memoryview, address: Address, ttl: int) -> None:
        """Sets the TTL for one datagram: the transport sends at once while its queue is empty."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        level, option = _TTL[sock.family]
        with contextlib.suppress(OSError):
            before = sock.getsockopt(level, option)
            sock.setsockopt(level, option, ttl)
            try:
                self._transport.sendto(data, address)
            finally:
                sock.setsockopt(level, option, before)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stream.close()
        self._transport.abort()
        for task in (self._pump_task, self._drain_task):
            if task is not None:
                task.cancel()

    async def wait_closed(self) -> None:
        self.close()
        tasks = [task for task in (self._pump_task, self._drain_task) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lost.wait()

    async def start(self, sock: socket.socket) -> None:
        """Hands the bound socket to the event loop."""
        shell = self

        class Protocol(asyncio_dgram.aio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                shell._lost.set()

        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Protocol(self._inbox, self._faults, self._drained), sock=sock
        )
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)  # type: ignore[attr-defined]  # it has it
        self._stream = asyncio_dgram.aio.DatagramServer(
            self._transport,  # type: ignore[arg-type]  # its stub says protocol where the code wants the transport
            self._inbox,
            self._faults,
            self._drained,
        )
        self._pump_task = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        inbox = self._inbox
        while True:
            try:
                item: _Item = await self._stream.recv()
            except asyncio_dgram.TransportClosed:
                return
            batch: list[Datagram] = []
            while item[0] is not None:
                if item[0]:
                    batch.append(Datagram(memoryview(item[0]), item[1][:2], 0))
                if len(batch) >= _BATCH or inbox.empty():
                    break
                item = inbox.get_nowait()
            if batch:
                self._receive(batch)
            await asyncio.sleep(0)

    async def _tell_writable(self) -> None:
        await self._drained.wait()
        self._drain_task = None
        if self._on_writable is not None and not self._closed:
            self._on_writable()


async def bind_portable(host: str, port: int, receive: Receive, on_writable: Writable | None = None) -> PortableShell:
    """Binds a port on any event loop.  Raises OSError as `socket.bind` does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if options := _DONT_FRAGMENT.get(sys.platform):
            level, option = (
                (socket.IPPROTO_IPV6, options[1]) if family == socket.AF_INET6 else (socket.IPPROTO_IP, options[0])
            )
            with contextlib.suppress(OSError):
                sock.setsockopt(level, option, options[2])
        sock.bind((host, port))
        shell = PortableShell(sock.getsockname()[:2], receive, on_writable)
        await shell.start(sock)
        return shell
    except BaseException:
        sock.close()
        raise
