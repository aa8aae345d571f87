"""Our streams against npm udx-native on loopback, both ways: bytes, ends, destroys, back-pressure, messages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from netstack.shell.udx_port import UdxPort
from netstack.udp.port import ShellName
from netstack.udx.events import Closed, CloseReason, Data, Drained, Event, Message
from netstack.udx.stream import UdxStream

HERE = Path(__file__).resolve().parent
MODULES = Path(os.environ.get("KITHKIN_NODE_MODULES") or HERE.parent / "js" / "node_modules")
OURS, THEIRS = 0xC0FFEE, 7
SHELLS: list[ShellName] = ["linux", "portable"]
LIMIT = 60  # seconds before a hanging test is called failed


def pattern(size: int) -> bytes:
    return bytes((at * 31 + (at >> 8)) & 255 for at in range(size))


class Native:
    """The npm side: what it told, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []

    @classmethod
    async def start(cls, role: str, size: int = 0) -> Native:
        node = shutil.which("node")
        if node is None:
            pytest.fail("node is needed for the interoperability tests")
        if not (MODULES / "udx-native").is_dir():
            pytest.fail(f"udx-native is not installed in {MODULES.name}: npm ci in tests/interop/js")
        process = await asyncio.create_subprocess_exec(
            node,
            str(HERE / "peer.js"),
            *map(str, (THEIRS, OURS, role, size)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(MODULES)},
        )
        return cls(process)

    async def hear(self, event: str) -> dict[str, Any]:
        """Waits for this event, keeping what comes before."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.told.append(json.loads(line))
            if self.told[-1]["event"] == event:
                return self.told[-1]
        raise AssertionError(f"the npm side ended without {event}: {self.told}")

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        transport = self._process._transport  # type: ignore[attr-defined]  # else its pipes warn after the loop is gone
        transport.close()

    @property
    def events(self) -> list[str]:
        return [entry["event"] for entry in self.told]


class Ours:
    """Our side: one stream, what it told, and a queue to write from."""

    def __init__(self) -> None:
        self.stream = UdxStream(OURS)
        self.received = bytearray()
        self.seen: list[Event] = []
        self.closed: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        self.to_write = memoryview(b"")
        self.end_after = False
        self.port: UdxPort

    def on_events(self, stream: UdxStream, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Data):
                self.received += event.data
            else:
                self.seen.append(event)
            if isinstance(event, Drained):
                self.pump()
            if isinstance(event, Closed):
                self.closed.set_result(event.reason)
        self.changed.set()

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.to_write, self.end_after = memoryview(data), end
        self.pump()

    def pump(self) -> None:
        while self.to_write:
            piece, self.to_write = self.to_write[:50_000], self.to_write[50_000:]
            if not self.stream.write(piece):
                break
        if not self.to_write and self.end_after and self.stream.closed is None:
            self.end_after = False
            self.stream.end()
        self.port.flush()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    @property
    def story(self) -> list[str]:
        return [type(event).__name__ for event in self.seen if not isinstance(event, Drained)]


def transcript(
    shell: ShellName, role: str, moves: Callable[[Ours, Native], Awaitable[None]], size: int = 0
) -> tuple[Ours, Native]:
    """Starts both sides, connects them, does the moves, stops both."""

    async def run() -> tuple[Ours, Native]:
        native = await Native.start(role, size)
        ours = Ours()
        ours.port = await UdxPort.open("127.0.0.1", 0, ours.on_events, shell=shell)
        ours.port.add(ours.stream)
        try:
            async with asyncio.timeout(LIMIT):
                bound = await native.hear("bound")
                ours.port.connect(ours.stream, THEIRS, ("127.0.0.1", bound["port"]))
                native.say(f"connect {ours.port.address[1]}")
                await moves(ours, native)
        finally:
            await ours.port.close()
            await native.stop()
        return ours, native

    return asyncio.run(run())


@pytest.mark.parametrize("shell", SHELLS)
def test_four_mebibytes_come_back_from_an_echo(shell: ShellName) -> None:
    data = pattern(4 << 20)

    async def moves(ours: Ours, native: Native) -> None:
        ours.send(data, end=True)
        assert await ours.closed is CloseReason.ENDED
        await native.hear("close")

    ours, native = transcript(shell, "echo", moves)
    assert bytes(ours.received) == data
    assert ours.story == ["End", "Closed"]
    assert native.events == ["bound", "connected", "end", "close"]
    assert ours.stream.refused == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_bytes_sent_by_us_arrive_at_the_native_peer(shell: ShellName) -> None:
    data = pattern(8 << 20)

    async def moves(ours: Ours, native: Native) -> None:
        ours.send(data, end=True)
        assert await ours.closed is CloseReason.ENDED
        await native.hear("close")

    _, native = transcript(shell, "sink", moves)
    assert native.told[-1]["received"] == len(data)
    assert native.told[-1]["hash"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("shell", SHELLS)
def test_bytes_sent_by_the_native_peer_arrive_here(shell: ShellName) -> None:
    async def moves(ours: Ours, native: Native) -> None:
        await ours.until(lambda: "End" in ours.story)
        ours.send(b"", end=True)
        assert await ours.closed is CloseReason.ENDED
        await native.hear("close")

    ours, _ = transcript(shell, "source", moves, size=8 << 20)
    assert bytes(ours.received) == pattern(8 << 20)
    assert ours.story == ["End", "Closed"]


def test_single_bytes_written_apart_arrive_in_order() -> None:
    async def moves(ours: Ours, native: Native) -> None:
        for at in range(300):
            ours.send(bytes([at & 255]))
            if at % 7 == 0:
                await asyncio.sleep(0)
        ours.send(b"", end=True)
        await ours.closed

    ours, _ = transcript("linux", "echo", moves)
    assert bytes(ours.received) == bytes(at & 255 for at in range(300))


def test_destroy_of_the_native_peer_closes_our_stream() -> None:
    async def moves(ours: Ours, native: Native) -> None:
        assert await ours.closed is CloseReason.RESET

    ours, _ = transcript("linux", "chatty", moves)
    assert bytes(ours.received) == pattern(65536)
    assert ours.story == ["Closed"]


def test_our_destroy_closes_the_native_stream() -> None:
    async def moves(ours: Ours, native: Native) -> None:
        ours.send(pattern(1000))
        await ours.until(lambda: len(ours.received) == 1000)
        ours.stream.destroy()
        ours.port.flush()
        assert await ours.closed is CloseReason.DESTROYED
        await native.hear("close")

    _, native = transcript("linux", "echo", moves)
    assert native.events == ["bound", "connected", "error", "close"]
    assert native.told[2]["code"] == "ECONNRESET"


def test_destroy_by_the_native_peer_while_we_write() -> None:
    async def moves(ours: Ours, native: Native) -> None:
        ours.send(pattern(3 << 20))
        assert await ours.closed is CloseReason.RESET

    ours, _ = transcript("linux", "quiet", moves)
    assert ours.story == ["Closed"]


def test_unreliable_messages_are_echoed() -> None:
    async def moves(ours: Ours, native: Native) -> None:
        await native.hear("connected")
        ours.stream.send_message(b"are you there")
        ours.port.flush()
        await ours.until(lambda: bool(ours.seen))
        ours.stream.destroy()
        ours.port.flush()
        await native.hear("close")

    ours, _ = transcript("linux", "message", moves)
    assert ours.seen[0] == Message(b"are you there")


def test_paused_reader_slows_the_writer_without_loss() -> None:
    data = pattern(6 << 20)  # more than the window

    async def moves(ours: Ours, native: Native) -> None:
        ours.send(data, end=True)
        await native.hear("connected")
        native.say("read")
        await ours.closed
        await native.hear("close")

    _, native = transcript("linux", "slow", moves)
    assert native.told[-1]["hash"] == hashlib.sha256(data).hexdigest()
