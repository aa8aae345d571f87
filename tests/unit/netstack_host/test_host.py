"""Hosts on loopback over both UDP implementations: connections as objects, and nothing outlives `stop`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from identity.errors import DecodeError
from identity.keys import SigningKey
from netstack.events import Reason
from netstack.limits import Limits
from netstack.shell.connection import Connection
from netstack.shell.host import ConnectError, Host
from netstack.udp.port import Address, ShellName

BOB = SigningKey.from_seed(b"b" * 32)
SHELLS: list[ShellName] = ["linux", "portable"]
LIMIT = 30  # seconds before a hanging test is called failed


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Runs the story and holds that no task is left when it ends."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await story()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(limited())


def at(host: Host) -> list[Address]:
    return [("127.0.0.1", host.address[1])]


def sockets() -> int:
    """Open sockets of this process."""
    links = Path("/proc/self/fd")
    return sum(entry.is_symlink() and str(entry.readlink()).startswith("socket:") for entry in links.iterdir())


class Guests:
    """Incoming connections, in order."""

    def __init__(self, host: Host) -> None:
        self._queue: asyncio.Queue[Connection] = asyncio.Queue()
        host.on_connection = self._queue.put_nowait
        host.listen(BOB)

    async def next(self) -> Connection:
        return await self._queue.get()


@pytest.mark.parametrize("shell", SHELLS)
def test_frames_pass_both_ways_and_both_ends_close_the_connection(shell: ShellName) -> None:
    async def story() -> None:
        async with Host(shell=shell) as ada, Host(shell=shell) as bob:
            guests = Guests(bob)
            mine = await ada.connect(BOB.public, at(bob))
            theirs = await guests.next()
            assert (mine.initiator, theirs.initiator) == (True, False)
            assert mine.handshake_hash == theirs.handshake_hash
            assert (mine.remote_key, mine.local_key) == (theirs.local_key, theirs.remote_key)
            assert theirs.address[1] == ada.address[1]
            for size in (1, 1000, 100_000):
                mine.send(bytes(size))
                theirs.send(b"y" * size)
            assert [await theirs.receive() for _ in range(3)] == [bytes(1), bytes(1000), bytes(100_000)]
            assert [len(await mine.receive() or b"") for _ in range(3)] == [1, 1000, 100_000]
            mine.end()
            assert await theirs.receive() is None
            assert await mine.wait_closed() == await theirs.wait_closed() == Reason.ENDED
            assert mine.closed and not mine.send(b"late")
            assert ada.connections == bob.connections == {}

    run(story)


@pytest.mark.parametrize("shell", SHELLS)
def test_drain_lets_a_writer_send_much_without_loss(shell: ShellName) -> None:
    async def story() -> None:
        async with Host(shell=shell) as ada, Host(shell=shell) as bob:
            guests = Guests(bob)
            mine = await ada.connect(BOB.public, at(bob))
            theirs = await guests.next()

            async def write() -> None:
                for n in range(100):
                    if not mine.send(n.to_bytes(4, "big") * 16_384):
                        await mine.drain()
                mine.end()

            writing = asyncio.create_task(write())
            seen = [int.from_bytes(frame[:4], "big") async for frame in theirs]
            await writing
            assert seen == list(range(100))

    run(story)


def test_unread_frames_slow_the_writer() -> None:
    async def story() -> None:
        async with Host() as ada, Host() as bob:
            guests = Guests(bob)
            mine = await ada.connect(BOB.public, at(bob))
            theirs = await guests.next()
            sent = 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        if not mine.send(bytes(65_536)):
                            await mine.drain()
                        sent += 1
            assert sent < 400  # two windows of 4 MiB and what the kernel holds, at the very most
            taken = 0
            while taken < sent:
                await theirs.receive()
                taken += 1
            await mine.drain()

    run(story)


def test_unread_tiny_frames_are_bounded_too() -> None:
    async def story() -> None:
        async with Host() as ada, Host() as bob:
            guests = Guests(bob)
            mine = await ada.connect(BOB.public, at(bob))
            theirs = await guests.next()
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    async with asyncio.timeout(0.5):  # the writer is held up, or has still to learn of it
                        await mine.drain()
                    while mine.send(b"x"):
                        sent += 1
            assert theirs.unread < 200_000  # four MiB of window at 64 bytes each, and what was under way
            assert sent < 800_000

    run(story)


def test_callback_receives_frames_in_batches() -> None:
    async def story() -> None:
        async with Host() as ada, Host() as bob:
            guests = Guests(bob)
            mine = await ada.connect(BOB.public, at(bob))
            theirs = await guests.next()
            mine.send(b"early")
            assert await theirs.receive() == b"early"
            mine.send(b"before the callback")
            batches: list[list[bytes]] = []
            done = asyncio.Event()

            def take(frames: Any) -> None:
                batches.append(list(frames))
                if sum(map(len, batches)) >= 1001:
                    done.set()

            theirs.on_frames = take
            for n in range(1000):
                mine.send(b"%d" % n)
            await done.wait()
            frames = [frame for batch in batches for frame in batch]
            assert frames == [b"before the callback", *(b"%d" % n for n in range(1000))]
            assert len(batches) < 200

    run(story)


def test_failed_connect_raises_its_reason() -> None:
    async def story() -> None:
        async with Host(limits=Limits(connect=0.2, retry=0.05)) as ada, Host(accept=lambda *_: False) as bob:
            for listens, reason, code in ((False, Reason.NOT_THERE, "not_found"), (True, Reason.NO_ANSWER, "timeout")):
                if listens:
                    bob.listen(BOB)
                with pytest.raises(ConnectError) as failure:
                    await ada.connect(BOB.public, at(bob))
                assert (failure.value.reason, failure.value.code) == (reason, code)
            with pytest.raises(DecodeError):
                await ada.connect(bytes(32), at(bob))
            assert len(ada.core) == 0

    run(story)


def test_cancelled_connect_leaves_nothing() -> None:
    async def story() -> None:
        before = sockets()
        async with Host() as ada, Host(accept=lambda *_: False) as bob:
            bob.listen(BOB)
            attempt = asyncio.create_task(ada.connect(BOB.public, at(bob)))
            await asyncio.sleep(0)
            assert len(ada.core) == 1
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            await asyncio.sleep(0)
            assert len(ada.core) == 0
        assert sockets() == before

    run(story)


def test_stop_closes_every_connection_and_tells_the_peers() -> None:
    async def story() -> None:
        before = sockets()
        ada, bob = Host(), Host()
        await ada.start()
        await bob.start()
        guests = Guests(bob)
        mine = await ada.connect(BOB.public, at(bob))
        theirs = await guests.next()
        waiting = asyncio.create_task(mine.receive())
        attempt = asyncio.create_task(ada.connect(SigningKey.from_seed(bytes(32)).public, [("127.0.0.1", 9)]))
        await asyncio.sleep(0)
        await ada.stop()
        assert await waiting is None
        with pytest.raises(ConnectError):
            await attempt
        assert mine.reason == Reason.CLOSED
        assert await theirs.wait_closed() == Reason.RESET
        await ada.stop()
        await bob.stop()
        assert sockets() == before

    run(story)


def test_error_in_a_callback_ends_its_connection_alone() -> None:
    async def story() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with Host() as ada, Host() as bob:
            guests = Guests(bob)
            bad, good = await ada.connect(BOB.public, at(bob)), await ada.connect(BOB.public, at(bob))
            first, second = await guests.next(), await guests.next()

            def fail(frames: Any) -> None:
                raise LookupError("a mistake")

            assert first.handshake_hash == bad.handshake_hash
            first.on_frames = fail
            bad.send(b"x")
            good.send(b"y")
            assert await bad.wait_closed() == Reason.RESET
            assert await second.receive() == b"y"
        assert [type(context["exception"]) for context in told] == [LookupError]

    run(story)


def test_connection_is_closed_where_no_callback_is_set() -> None:
    async def story() -> None:
        async with Host() as ada, Host() as bob:
            bob.listen(BOB)
            mine = await ada.connect(BOB.public, at(bob))
            assert await mine.receive() is None
            assert await mine.wait_closed() == Reason.ENDED

    run(story)


def test_abort_records_reason_and_detail() -> None:
    async def story() -> None:
        async with Host() as ada, Host() as bob:
            guests = Guests(bob)
            mine = await ada.connect(BOB.public, at(bob))
            theirs = await guests.next()
            reasons: list[Reason] = []
            theirs.on_close = reasons.append
            theirs.abort("opens channel 9")
            assert await mine.wait_closed() == Reason.RESET
            assert (theirs.reason, theirs.detail, reasons) == (Reason.PROTOCOL, "opens channel 9", [Reason.PROTOCOL])
            with pytest.raises(ConnectionResetError):
                await mine.drain()

    run(story)


def test_unstarted_host_refuses_connect_and_address() -> None:
    async def story() -> None:
        host = Host()
        with pytest.raises(ValueError, match="not started"):
            await host.connect(BOB.public, [("127.0.0.1", 1)])
        with pytest.raises(ValueError, match="not started"):
            _ = host.address
        await host.stop()

    run(story)


def test_error_in_the_core_does_not_stop_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with Host() as bob, Host() as ada:
            guests = Guests(bob)
            connection = await ada.connect(BOB.public, at(bob))
            guest = await guests.next()
            for name, turn in (
                ("wake", bob._wake),
                ("take_effects", bob._serve),
                ("receive_batch", lambda: bob._receive((), 0)),
            ):
                with monkeypatch.context() as patch:
                    patch.setattr(bob.core, name, mistaken)
                    if bob._timer is not None:
                        bob._timer.cancel()
                        bob._timer = None
                    with pytest.raises(ZeroDivisionError):
                        turn()
                    assert bob._timer is not None
            connection.send(b"still there")
            assert await guest.receive() == b"still there"

    run(story)


def mistaken(*_: object) -> None:
    raise ZeroDivisionError


def test_stop_flushes_final_packets_even_if_a_callback_defers() -> None:
    """A callback that runs while the host stops may defer sending; the peer is told of the end all the same."""

    async def story() -> None:
        async with Host() as server, Host() as client:
            guests = Guests(server)
            ours = await client.connect(BOB.public, at(server))
            theirs = await guests.next()
            over: asyncio.Future[Reason] = asyncio.get_running_loop().create_future()
            theirs.on_close = over.set_result
            ours.on_close = lambda reason: client.defer()
            await client.stop()
            assert await over is Reason.RESET

    run(story)
