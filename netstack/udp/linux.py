"""The Linux implementation of one UDP port: direct socket calls, with segmentation offload where the kernel has it.

Received datagrams are read one behind the other into one arena, so that consecutive ones of one size from one address
form a run even where the kernel did not coalesce them (loopback, many NICs): the layers above then work per run, not
per packet.  UDP_SEGMENT is tried on the first run and not again once the kernel has refused it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Sequence
from struct import Struct
from weakref import WeakKeyDictionary

from netstack.udp.port import Address, Datagram, Outgoing, Receive, Writable

_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3  # Don't-Fragment set, the kernel's own path MTU guess ignored: we probe ourselves
_RECEIVE_BUFFER = 4 << 20
_SEND_BUFFER = 1 << 20

_ARENA = 1 << 20
_LARGEST = 65_536  # what one read may return with coalescing
_BATCH_READS = 256  # reads before control returns to the event loop
_QUEUE_BYTES = 4 << 20
_SEGMENT_CMSG = Struct("=H")
_GRO_CMSG = Struct("=i")
_CMSG_SPACE = socket.CMSG_SPACE(_GRO_CMSG.size)
_TTL = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
}
_FULL = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}
_NO_OFFLOAD = {errno.EIO, errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP}


class LinuxShell:
    """A `netstack.udp.port.UdpShell`, made by `bind_linux`."""

    def __init__(
        self,
        sock: socket.socket,
        receive: Receive,
        on_writable: Writable | None,
        loop: asyncio.AbstractEventLoop,
        offload: bool,
    ) -> None:
        self._sock = sock
        self._receive = receive
        self._on_writable = on_writable
        self._loop = loop
        self._view = _arena(loop)
        self._queue: deque[Outgoing] = deque()
        self._queued = 0
        self._closed = False
        self._errors = 0
        self._address: Address = sock.getsockname()[:2]
        self.offload_send = offload
        self.offload_receive = offload and _enabled(sock, socket.IPPROTO_UDP, _UDP_GRO, 1)
        loop.add_reader(sock, self._readable)

    @property
    def address(self) -> Address:
        return self._address

    @property
    def writable(self) -> bool:
        return not self._queue

    @property
    def errors(self) -> int:
        return self._errors

    def send_batch(self, batch: Sequence[Outgoing]) -> None:
        if self._closed:
            return
        for at, item in enumerate(batch):
            rest = item if self._queue else self._send(item)
            if rest is not None:
                self._keep(rest)
                for later in batch[at + 1 :]:
                    self._keep(later)
                return

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._queue.clear()
        self._sock.close()

    async def wait_closed(self) -> None:
        self.close()

    def _readable(self) -> None:
        """Reads until the socket is empty, the arena is full or 256 reads are done, then delivers one batch."""
        batch: list[Datagram] = []
        view = self._view
        read = self._sock.recvmsg_into
        at = begin = segment = 0  # the open run lies at begin:at
        source: Address | None = None
        for _ in range(_BATCH_READS):
            if at + _LARGEST > _ARENA:
                break
            try:
                size, ancillary, _flags, sender = read([view[at : at + _LARGEST]], _CMSG_SPACE)
            except OSError as error:
                if error.errno in _FULL:
                    break
                self._errors += 1
                continue
            cut = size
            for level, kind, value in ancillary:
                if level == socket.IPPROTO_UDP and kind == _UDP_GRO and len(value) >= _GRO_CMSG.size:
                    cut = min(_GRO_CMSG.unpack_from(value)[0], size) or size
            whole = at > begin and (at - begin) % segment == 0  # no shorter datagram has ended the run yet
            if not (whole and cut <= segment and (cut == segment or size == cut) and sender[:2] == source):
                if source is not None:
                    batch.append(_datagram(view[begin:at], source, segment))
                begin, segment, source = at, cut, sender[:2]
            at += size
            if not size:
                begin, source = at, None  # no protocol of ours has empty datagrams
        if source is not None:
            batch.append(_datagram(view[begin:at], source, segment))
        if batch:
            self._receive(batch)

    def _send(self, item: Outgoing) -> Outgoing | None:
        """Sends one datagram or run; returns what the kernel did not take."""
        address, data, segment, port, ttl = item
        if ttl:
            self._send_short(data, address, ttl)
            return None
        if not segment or len(data) <= segment:
            return None if self._send_one(data, address) else item
        refused = False
        if self.offload_send:
            try:
                self._sock.sendmsg(
                    [data], [(socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT_CMSG.pack(segment))], 0, address
                )
                return None
            except OSError as error:
                if error.errno in _FULL:
                    return item
                if error.errno not in _NO_OFFLOAD:
                    self._errors += 1
                    return None
                refused = True
        view = memoryview(data)
        send = self._sock.sendto
        for at in range(0, len(view), segment):
            try:
                send(view[at : at + segment], address)
                if refused:  # single datagrams pass, so that the kernel refused segmentation and not the size
                    self.offload_send = refused = False
            except OSError as error:
                if error.errno in _FULL:
                    return Outgoing(address, view[at:], segment, port)
                self._errors += 1
        return None

    def _send_one(self, data: bytes | bytearray | memoryview, address: Address) -> bool:
        try:
            self._sock.sendto(data, address)
        except OSError as error:
            if error.errno in _FULL:
                return False
            self._errors += 1
        return True

    def _send_short(self, data: bytes | bytearray | memoryview, address: Address, ttl: int) -> None:
        """Sends a datagram with a short TTL, which is meant to be dropped on its way: errors are only counted."""
        level, kind = _TTL[self._sock.family]
        try:
            self._sock.sendmsg([data], [(level, kind, _GRO_CMSG.pack(ttl))], 0, address)
        except OSError:
            self._errors += 1

    def _keep(self, item: Outgoing) -> None:
        if self._queued + len(item.data) > _QUEUE_BYTES:
            self._errors += 1
            return
        if not self._queue:
            self._loop.add_writer(self._sock, self._flush)
        self._queue.append(item)
        self._queued += len(item.data)

    def _flush(self) -> None:
        while self._queue:
            item = self._queue.popleft()
            self._queued -= len(item.data)
            rest = self._send(item)
            if rest is not None:
                self._queue.appendleft(rest)
                self._queued += len(rest.data)
                return
        self._loop.remove_writer(self._sock)
        if self._on_writable is not None:
            self._on_writable()


async def bind_linux(
    host: str, port: int, receive: Receive, on_writable: Writable | None = None, *, offload: bool = True
) -> LinuxShell:
    """Binds a port drained by the running loop (which must have `add_reader`).  Raises OSError as `bind` does.

    `offload` False: plain datagrams only, as on a kernel without UDP_SEGMENT and UDP_GRO.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _enabled(sock, socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            _enabled(sock, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        sock.bind((host, port))
        return LinuxShell(sock, receive, on_writable, asyncio.get_running_loop(), offload)
    except BaseException:
        sock.close()
        raise


_ARENAS: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _arena(loop: asyncio.AbstractEventLoop) -> memoryview:
    """One buffer for all ports of a loop: a batch is processed before the next port is read, and a node that punches
    through a random NAT opens 256 ports."""
    return _ARENAS.setdefault(loop, memoryview(bytearray(_ARENA)))


def _datagram(data: memoryview, source: Address, segment: int) -> Datagram:
    return Datagram(data, source, segment if len(data) > segment else 0)


def _enabled(sock: socket.socket, level: int, option: int, value: int) -> bool:
    """Sets a socket option; False where this kernel does not know it."""
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, value)
        return True
    return False
