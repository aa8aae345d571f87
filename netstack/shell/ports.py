"""The UDP sockets of one host by the numbers of `netstack/ports.py`, opened and closed as the core orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from netstack.ports import SERVER, ClosePort, OpenPort, PortEffect
from netstack.udp.bind import bind
from netstack.udp.port import Address, Datagram, Outgoing, ShellName, UdpShell, Writable

MAX_WAITING = 16  # datagrams kept for a port while it opens

ReceiveOn = Callable[[Sequence[Datagram], int], None]


class Ports:
    """Opens, closes and serves the ports of one host.

    `receive(batch, port)` is called for datagrams, `on_writable()` when a full port takes more.  An error of an
    ephemeral port costs that port and not the host.
    """

    def __init__(self, receive: ReceiveOn, on_writable: Writable, shell: ShellName) -> None:
        self._receive = receive
        self._on_writable = on_writable
        self._shell_name: ShellName = shell
        self._shells: dict[int, UdpShell] = {}
        self._opening: dict[int, tuple[asyncio.Task[None], list[Outgoing]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._full: set[int] = set()
        self._host = ""

    async def bind(self, port: int, host: str, number: int) -> Address:
        """Opens `port` at `host` and UDP port `number` (0: any).  Raises OSError."""
        shell = await bind(
            host,
            number,
            lambda batch: self._receive(batch, port),
            on_writable=lambda: self._emptied(port),
            shell=self._shell_name,
        )
        self._shells[port] = shell
        if port == SERVER:
            self._host = host
        return shell.address

    @property
    def writable(self) -> bool:
        """Whether every port takes more.  A full one stops all: they share the kernel's queue."""
        return SERVER in self._shells and not self._full

    def __len__(self) -> int:
        """Sockets that are open, or being opened or closed."""
        return len(self._shells) + len(self._opening) + len(self._closing)

    def address(self, port: int) -> Address | None:
        """Where that port is bound, None if it is not open."""
        shell = self._shells.get(port)
        return shell.address if shell else None

    def carry_out(self, effects: Sequence[PortEffect]) -> None:
        """Opens and closes ports as the core ordered."""
        for effect in effects:
            match effect:
                case OpenPort(port):
                    task = asyncio.create_task(self._open(port))
                    self._opening[port] = task, []
                case ClosePort(port):
                    self._close(port)

    def send(self, batch: Sequence[Outgoing]) -> None:
        """Sends each datagram and run from its port; those of a port that is opening wait for it."""
        if all(item.port == SERVER for item in batch):
            self._send(SERVER, batch)
            return
        ports: dict[int, list[Outgoing]] = {}
        for item in batch:
            ports.setdefault(item.port, []).append(item)
        for port, items in ports.items():
            if port in self._shells:
                self._send(port, items)
            elif opening := self._opening.get(port):
                opening[1].extend(items[: MAX_WAITING - len(opening[1])])

    def _send(self, port: int, items: Sequence[Outgoing]) -> None:
        shell = self._shells[port]
        shell.send_batch(items)
        if not shell.writable:
            self._full.add(port)

    def _emptied(self, port: int) -> None:
        self._full.discard(port)
        self._on_writable()

    async def close(self) -> None:
        """Frees every port and waits until their sockets are closed.  May be called twice."""
        for port in [*self._opening, *self._shells]:
            self._close(port)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _open(self, port: int) -> None:
        try:
            await self.bind(port, self._host, 0)
        except OSError:
            pass  # out of descriptors, for example: counts as loss of every datagram
        finally:
            _, waiting = self._opening.pop(port, (None, []))
        if waiting and port in self._shells:
            self._send(port, waiting)

    def _close(self, port: int) -> None:
        if opening := self._opening.pop(port, None):
            opening[0].cancel()
            self._keep(opening[0])
        if shell := self._shells.pop(port, None):
            shell.close()
            self._full.discard(port)
            self._keep(asyncio.create_task(shell.wait_closed()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
