"""The sockets of a host by number: opened as ordered, each sends from itself, a TTL holds for one datagram."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from netstack.ports import OWN, SERVER, ClosePort, OpenPort
from netstack.shell.ports import Ports
from netstack.udp.port import Address, Datagram, Outgoing, Receive, ShellName, UdpShell

SHELLS: list[ShellName] = ["linux", "portable"]


def sockets() -> int:
    links = Path("/proc/self/fd")
    return sum(entry.is_symlink() and str(entry.readlink()).startswith("socket:") for entry in links.iterdir())


class Listener:
    """A plain socket that reads the TTL of what it receives."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_RECVTTL", 12), 1)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(20)
        self.address: Address = self._sock.getsockname()

    def read(self) -> tuple[bytes, int, Address]:
        data, ancillary, _, source = self._sock.recvmsg(2048, socket.CMSG_SPACE(4))
        return data, int.from_bytes(ancillary[0][2], "little"), source

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_ephemeral_ports_send_for_themselves_and_ttl_holds_for_one_datagram(shell: ShellName) -> None:
    async def story() -> None:
        before = sockets()
        got: list[tuple[bytes, int]] = []
        heard = asyncio.Event()

        def receive(batch: Sequence[Datagram], port: int) -> None:
            got.extend((bytes(item.data), port) for item in batch)
            heard.set()

        ports = Ports(receive, lambda: None, shell)
        with Listener() as listener:
            server = await ports.bind(SERVER, "127.0.0.1", 0)
            ports.carry_out([OpenPort(OWN)])
            ports.send(
                [
                    Outgoing(listener.address, b"first", port=OWN),  # before it is open
                    Outgoing(server, b"to ourselves", port=OWN),
                ]
            )
            await heard.wait()
            ports.send(
                [
                    Outgoing(listener.address, b"short", port=OWN, ttl=5),
                    Outgoing(listener.address, b"long", port=OWN),
                    Outgoing(listener.address, b"from the server port"),
                ]
            )
            seen = [await asyncio.to_thread(listener.read) for _ in range(4)]
            own = ports.address(OWN)
            assert got == [(b"to ourselves", SERVER)]
            assert [(data, ttl == 5, source) for data, ttl, source in seen] == [
                (b"first", False, own),
                (b"short", True, own),
                (b"long", False, own),
                (b"from the server port", False, server),
            ]
            ports.carry_out([ClosePort(OWN), OpenPort(OWN + 1), ClosePort(OWN + 1)])
            await ports.close()
            assert len(ports) == 0
        assert sockets() == before

    asyncio.run(asyncio.wait_for(story(), 30))


class Stuck:
    """A port whose kernel takes nothing."""

    address: Address = ("127.0.0.1", 9)
    writable = False
    errors = 0

    def __init__(self) -> None:
        self.sent = 0

    def send_batch(self, batch: Sequence[Outgoing]) -> None:
        self.sent += len(batch)

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


def test_one_full_port_makes_the_host_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        own, tell = Stuck(), list[Callable[[], None]]()

        async def bind(
            host: str,
            port: int,
            receive: Receive,
            on_writable: Callable[[], None] = lambda: None,
            *,
            shell: ShellName = "auto",
        ) -> UdpShell:
            tell.append(on_writable)
            server = Stuck()
            server.writable = True
            return own if len(tell) == 2 else server

        monkeypatch.setattr("netstack.shell.ports.bind", bind)
        told: list[bool] = []

        def tell_writable() -> None:
            told.append(ports.writable)

        ports = Ports(lambda batch, port: None, tell_writable, "auto")
        await ports.bind(SERVER, "127.0.0.1", 0)
        await ports.bind(OWN, "127.0.0.1", 0)
        ports.send([Outgoing(own.address, b"from the server port")])
        tell_writable()
        ports.send([Outgoing(own.address, b"a fast stream", port=OWN)])
        tell_writable()
        tell[0]()  # the other port becoming writable changes nothing
        own.writable = True
        tell[1]()
        own.writable = False
        ports.send([Outgoing(own.address, b"more", port=OWN)])
        tell_writable()
        ports.carry_out([ClosePort(OWN)])  # a closed port delays no other
        tell_writable()
        assert told == [True, False, False, True, False, True]
        await ports.close()

    asyncio.run(asyncio.wait_for(story(), 30))
