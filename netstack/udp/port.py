"""One UDP port behind one interface, with two implementations: `linux` (batches, segmentation offload) and `portable`.

Both pass one test suite (`tests/unit/netstack_udx/test_shells.py`).  A *run* is the unit of the kernel's UDP_SEGMENT
and UDP_GRO: several datagrams to or from one address in one contiguous buffer, cut every `segment` bytes, the last one
possibly shorter.  An implementation without offload cuts runs itself, so that its users need not know which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from netstack.ports import SERVER

Address = tuple[str, int]  # numeric host and port, IPv4 or IPv6


class Datagram(NamedTuple):
    """One received datagram (`segment` 0) or run (else).  `data` is valid only during the callback."""

    data: memoryview
    source: Address
    segment: int


class Outgoing(NamedTuple):
    """One datagram (`segment` 0) or run (else) to send.

    `port` says from which of a node's ports (`netstack/ports.py`); a shell, which is one port, ignores it.  `ttl` is
    the number of routers that a single datagram may pass, 0 for the system's default; platforms that cannot set it
    ignore it.
    """

    address: Address
    data: bytes | bytearray | memoryview
    segment: int = 0
    port: int = SERVER
    ttl: int = 0


Receive = Callable[[Sequence[Datagram]], None]
Writable = Callable[[], None]


class UdpShell(Protocol):
    """A bound UDP port.  Datagrams may be lost; errors of single datagrams are counted and treated as loss."""

    @property
    def address(self) -> Address:
        """The address bound, with the port that the kernel chose if 0 was asked for."""
        ...

    @property
    def writable(self) -> bool:
        """False while the kernel takes no more; `on_writable` is called when it does again."""
        ...

    @property
    def errors(self) -> int:
        """How many datagrams the kernel has refused so far: unreachable, too long, no buffers."""
        ...

    def send_batch(self, batch: Sequence[Outgoing]) -> None:
        """Sends what the kernel takes, keeps the rest in a bounded queue, and drops the excess."""
        ...

    def close(self) -> None:
        """Stops receiving at once, drops the queue and frees the port.  May be called twice."""
        ...

    async def wait_closed(self) -> None:
        """Closes and waits until no task, reader or socket is left."""
        ...


ShellName = Literal["auto", "linux", "plain", "portable"]  # plain: Linux without segmentation offload
