"""One UDP port behind one interface, with two implementations: `linux` (batches, segmentation offload) and `portable`.

Both pass one suite (`tests/unit/netstack_udx/test_shells.py`).  A *run* is what the kernel's UDP_SEGMENT and UDP_GRO
speak of: several datagrams to or from one address as one contiguous buffer, cut every `segment` bytes, the last one
possibly shorter.  A shell without offload cuts runs itself, so nobody above needs to know which home they are in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from netstack.ports import SERVER

Address = tuple[str, int]  # numeric host and port, IPv4 or IPv6


class Datagram(NamedTuple):
    """Received: `data` is valid only during the callback.  `segment` 0: one datagram; else a run of that size."""

    data: memoryview
    source: Address
    segment: int


class Outgoing(NamedTuple):
    """To be sent: `segment` 0 is one datagram, else a run of datagrams of that size.

    `port` says from which of a node's ports (`ports.py`); a shell, which is one port, does not look at it.  `ttl` is
    the number of routers a single datagram may pass, 0 for the system's default; where the platform has no say in
    that, it is ignored.
    """

    address: Address
    data: bytes | bytearray | memoryview
    segment: int = 0
    port: int = SERVER
    ttl: int = 0


Receive = Callable[[Sequence[Datagram]], None]
Writable = Callable[[], None]


class UdpShell(Protocol):
    """A bound UDP port.  Loss is allowed everywhere; errors of single datagrams count as loss and are counted."""

    @property
    def address(self) -> Address:
        """Where we are bound: the port the kernel chose if 0 was asked for."""
        ...

    @property
    def writable(self) -> bool:
        """False while the kernel takes no more: hold back, `on_writable` is called when it does again."""
        ...

    @property
    def errors(self) -> int:
        """Datagrams the kernel refused (unreachable, too long, no buffers), in all."""
        ...

    def send_batch(self, batch: Sequence[Outgoing]) -> None:
        """Sends now what the kernel takes, keeps the rest in a bounded queue, drops beyond that."""
        ...

    def close(self) -> None:
        """Stops receiving at once, drops what is queued and frees the port.  May be called twice."""
        ...

    async def wait_closed(self) -> None:
        """Until no task, reader or socket is left."""
        ...


ShellName = Literal["auto", "linux", "plain", "portable"]  # plain: Linux without segmentation offload
