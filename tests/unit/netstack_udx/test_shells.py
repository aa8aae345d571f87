"""One suite for all implementations of a UDP port: runs, single datagrams, floods, errors, closing without leaks."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence

import pytest

from netstack.udp.bind import bind
from netstack.udp.linux import LinuxShell
from netstack.udp.port import Datagram, Outgoing, ShellName, UdpShell
from netstack.udx.intake import cut

LINUX = pytest.param("linux", marks=pytest.mark.skipif(sys.platform != "linux", reason="the Linux shell needs Linux"))
PLAIN = pytest.param("plain", marks=LINUX.marks)
both = pytest.mark.parametrize("shell", [LINUX, PLAIN, "portable"])


class Inbox:
    """What a shell received, as single datagrams."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.runs: list[int] = []  # datagrams in every entry of every batch
        self.sources: set[tuple[str, int]] = set()
        self._more = asyncio.Event()

    def receive(self, batch: Sequence[Datagram]) -> None:
        assert batch
        for data, source, segment in batch:
            pieces = [bytes(piece) for piece in cut(data, segment or len(data))]
            self.got += pieces
            self.runs.append(len(pieces))
            self.sources.add(source)
        self._more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()


def with_shells(
    name: ShellName, moves: Callable[[UdpShell, Inbox, UdpShell, Inbox], Awaitable[None]], host: str = "127.0.0.1"
) -> None:
    """Runs the moves with two bound shells and checks that nothing is left of them."""

    async def run() -> None:
        before = asyncio.all_tasks()
        inboxes = (Inbox(), Inbox())
        left = await bind(host, 0, inboxes[0].receive, shell=name)
        right = await bind(host, 0, inboxes[1].receive, shell=name)
        try:
            await moves(left, inboxes[0], right, inboxes[1])
        finally:
            for shell in (left, right):
                shell.close()
                await shell.wait_closed()
        assert asyncio.all_tasks() == before
        for shell in (left, right):  # the ports are free again
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(shell.address)

    asyncio.run(run())
    gc.collect()  # an unclosed socket would warn here, and warnings are errors


def numbered(count: int, size: int) -> list[bytes]:
    return [at.to_bytes(4, "big") + bytes(size - 4) for at in range(count)]


@both
def test_single_datagrams_of_all_sizes_arrive(shell: ShellName) -> None:
    sent = [bytes([size & 255]) * size for size in (1, 2, 19, 20, 1172, 1172, 1172, 900, 1172, 1400, 1, 1)]

    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        left.send_batch([Outgoing(right.address, data) for data in sent])
        await inbox.until(len(sent))
        assert inbox.got == sent
        assert inbox.sources == {left.address}

    with_shells(shell, moves)


@both
def test_run_arrives_as_its_datagrams(shell: ShellName) -> None:
    pieces = [*numbered(40, 1172), b"short end"]

    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        left.send_batch([Outgoing(right.address, b"".join(pieces), 1172), Outgoing(right.address, b"after")])
        await inbox.until(len(pieces) + 1)
        assert inbox.got == [*pieces, b"after"]

    with_shells(shell, moves)


@both
def test_runs_to_several_addresses_in_one_batch_arrive(shell: ShellName) -> None:
    async def moves(left: UdpShell, mine: Inbox, right: UdpShell, inbox: Inbox) -> None:
        run = b"".join(numbered(10, 100))
        left.send_batch(
            [Outgoing(right.address, run, 100), Outgoing(left.address, run, 100), Outgoing(right.address, run, 100)]
        )
        await inbox.until(20)
        await mine.until(10)
        assert inbox.got == numbered(10, 100) * 2
        assert mine.got == numbered(10, 100)

    with_shells(shell, moves)


@both
def test_datagrams_pass_over_ipv6(shell: ShellName) -> None:
    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        left.send_batch([Outgoing(right.address, b"".join(numbered(5, 64)), 64)])
        await inbox.until(5)
        assert inbox.got == numbered(5, 64)
        assert inbox.sources == {left.address}
        assert left.address[0] == "::1"

    with_shells(shell, moves, host="::1")


@both
def test_empty_or_refused_datagrams_do_not_stop_the_port(shell: ShellName) -> None:
    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.sendto(b"", right.address)
            nobody = stranger.getsockname()
        left.send_batch([Outgoing(nobody, b"to a closed port"), Outgoing(right.address, b"fine")])
        left.send_batch([Outgoing(right.address, b"still fine")])
        await inbox.until(2)
        assert inbox.got == [b"fine", b"still fine"]

    with_shells(shell, moves)


@both
def test_flood_is_dropped_without_growing_memory_and_the_port_goes_on(shell: ShellName) -> None:
    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            for data in numbered(20_000, 1000):
                flood.sendto(data, right.address)
        await inbox.until(1)
        got = 0
        while got != len(inbox.got):  # until the loop has nothing more to read
            got = len(inbox.got)
            for _turn in range(300):
                await asyncio.sleep(0)
        assert inbox.got == sorted(inbox.got)
        left.send_batch([Outgoing(right.address, b"after the flood")])
        await inbox.until(got + 1)
        assert inbox.got[-1] == b"after the flood"

    with_shells(shell, moves)


@both
def test_every_datagram_of_a_large_batch_is_sent_or_counted_as_lost(shell: ShellName) -> None:
    async def run() -> None:
        inbox = Inbox()
        again = asyncio.Event()
        right = await bind("127.0.0.1", 0, inbox.receive, shell=shell)
        left = await bind("127.0.0.1", 0, Inbox().receive, shell=shell, on_writable=again.set)
        run = b"".join(numbered(50, 1172))
        for _turn in range(400):  # 23 MB: more than any queue
            left.send_batch([Outgoing(right.address, run, 1172)])
        if not left.writable:
            async with asyncio.timeout(20):
                await again.wait()
        assert left.writable
        left.send_batch([Outgoing(right.address, b"last")])
        await inbox.until(1)
        for port in (left, right):
            port.close()
            await port.wait_closed()

    asyncio.run(run())


@both
def test_closed_port_sends_nothing(shell: ShellName) -> None:
    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        right.send_batch([Outgoing(right.address, b"to myself")])
        left.close()
        left.close()
        left.send_batch([Outgoing(right.address, b"too late")])
        await inbox.until(1)
        assert inbox.got == [b"to myself"]

    with_shells(shell, moves)


@both
def test_binding_a_taken_port_raises_and_leaks_no_socket(shell: ShellName) -> None:
    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        with pytest.raises(OSError):
            await bind("127.0.0.1", left.address[1], inbox.receive, shell=shell)

    with_shells(shell, moves)


def linux_pair(moves: Callable[[LinuxShell, LinuxShell, Inbox], Awaitable[None]]) -> None:
    async def checked(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        assert isinstance(left, LinuxShell)
        assert isinstance(right, LinuxShell)
        await moves(left, right, inbox)

    with_shells("linux", checked)


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux shell needs Linux")
@pytest.mark.parametrize("shell", ["linux", "plain"])
def test_run_is_received_as_a_run_with_and_without_offload(shell: ShellName) -> None:
    async def moves(left: UdpShell, _: Inbox, right: UdpShell, inbox: Inbox) -> None:
        left.send_batch([Outgoing(right.address, b"".join([*numbered(40, 500), b"x"]), 500)])
        await inbox.until(41)
        assert sum(inbox.runs) == 41
        assert len(inbox.runs) <= 2  # coalesced by the kernel, or laid together by us
        assert inbox.got == [*numbered(40, 500), b"x"]

    with_shells(shell, moves)


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux shell needs Linux")
def test_kernel_without_segmentation_gets_single_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    async def moves(left: LinuxShell, right: LinuxShell, inbox: Inbox) -> None:
        monkeypatch.setattr("netstack.udp.linux._UDP_SEGMENT", 199)  # an option no kernel knows: EINVAL
        left.send_batch([Outgoing(right.address, b"".join(numbered(40, 500)), 500)])
        await inbox.until(40)
        assert inbox.got == numbered(40, 500)
        assert not left.offload_send

    linux_pair(moves)


@pytest.mark.skipif(sys.platform != "linux", reason="the Linux shell needs Linux")
def test_run_too_large_for_the_path_is_lost_and_offload_stays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netstack.udp.linux._NO_OFFLOAD", {errno.EMSGSIZE})  # some kernels say EINVAL to both

    async def moves(left: LinuxShell, right: LinuxShell, inbox: Inbox) -> None:
        left.send_batch([Outgoing(right.address, bytes(131_040), 65_520), Outgoing(right.address, b"after")])
        await inbox.until(1)
        assert inbox.got == [b"after"]
        assert left.offload_send
        assert left.errors == 2

    linux_pair(moves)
