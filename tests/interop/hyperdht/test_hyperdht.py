"""Connections with npm hyperdht by address, both ways: 4 MiB over the secret stream, then over a Protomux channel."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from identity.keys import SigningKey
from netstack.events import Reason
from netstack.limits import Limits
from netstack.shell.connection import Connection
from netstack.shell.host import ConnectError, Host
from netstack.wire.protomux import ChannelClosed, ChannelOpened, Event, Message, Protomux
from netstack.wire.secret_stream import MAX_FRAME

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODULES = Path(os.environ.get("KITHKIN_NODE_MODULES") or HERE.parent / "js" / "node_modules")
SIZE = 4 << 20
LIMIT = 60  # seconds before a hanging test is called failed
KEY = SigningKey.from_seed(b"k" * 32)
NPM_KEY = SigningKey.from_seed(b"\x09" * 32)
WHOLE = Limits(frame=MAX_FRAME)


def pattern(size: int) -> bytes:
    return bytes((at * 31 + (at >> 8)) & 255 for at in range(size))


DATA = pattern(SIZE)
SHA = hashlib.sha256(DATA).hexdigest()


class Peer:
    """A process on the other side and the JSON lines it tells."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    @classmethod
    async def npm(cls, *arguments: object) -> Peer:
        node = shutil.which("node")
        if node is None:
            pytest.fail("node is needed for the interoperability tests")
        if not (MODULES / "hyperdht").is_dir():
            pytest.fail("hyperdht is not installed: npm ci in tests/interop/js")
        return await cls._start(node, str(HERE / "peer.js"), *map(str, arguments))

    @classmethod
    async def ours(cls, *arguments: object) -> Peer:
        return await cls._start(sys.executable, "-m", "netstack", *map(str, arguments))

    @classmethod
    async def _start(cls, *command: str) -> Peer:
        env = {**os.environ, "NODE_PATH": str(MODULES), "PYTHONPATH": str(ROOT), "KITHKIN_BOOTSTRAP": ""}
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=env, cwd=ROOT))

    async def hear(self, name: str) -> dict[str, Any]:
        """Waits for the line whose event (or first key) has this name, keeping what comes before."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.told.append(json.loads(line))
            if name in (self.told[-1].get("event"), next(iter(self.told[-1]))):
                return self.told[-1]
        raise AssertionError(f"the peer ended without {name}: {self.told}")

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        transport = self.process._transport  # type: ignore[attr-defined]  # else its pipes warn after the loop is gone
        transport.close()

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.told]


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await story()

    asyncio.run(limited())


class Channel:
    """Protomux on a connection, as an application would drive it; echoes what comes if `echoing`."""

    def __init__(self, connection: Connection, *, echoing: bool) -> None:
        self.connection = connection
        self.mux = Protomux(limit=MAX_FRAME)
        self.seen: list[Event] = []
        self.received = bytearray()
        self.whole = asyncio.Event()
        self.closed = asyncio.Event()
        self.echoing = echoing
        self.number = self.mux.open("interop/echo", b"interop", b"\x07from us")
        connection.on_frames = self.on_frames
        self.flush()

    def on_frames(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            for event in self.mux.receive(frame):
                self.on_event(event)
        self.flush()

    def on_event(self, event: Event) -> None:
        if isinstance(event, Message):
            self.received += event.body
            if len(self.received) >= SIZE:
                self.whole.set()
            if self.echoing:
                self.mux.send(self.number, event.type, event.body)
            return
        self.seen.append(event)
        if isinstance(event, ChannelClosed):
            self.closed.set()

    def flush(self) -> None:
        for frame in self.mux.take_outgoing():
            self.connection.send(frame)


def test_an_npm_client_reaches_our_echo_command() -> None:
    async def story() -> None:
        ours = await Peer.ours("echo", "--seed", KEY.seed.hex())
        npm = None
        try:
            ready = await ours.hear("ready")
            assert ready["key"] == KEY.public.hex()
            npm = await Peer.npm("client", "stream", ready["key"], ready["address"], SIZE)
            assert (await npm.hear("echoed"))["sha"] == SHA
            await npm.hear("closed")
            assert npm.events == ["open", "echoed", "closed"]
            assert npm.told[0]["remote"] == KEY.public.hex()
        finally:
            for peer in (npm, ours):
                if peer is not None:
                    await peer.stop()

    run(story)


def test_npm_client_exchanges_messages_with_us_over_a_protomux_channel() -> None:
    async def story() -> None:
        channels: list[Channel] = []
        async with Host(limits=WHOLE) as host:
            host.on_connection = lambda connection: channels.append(Channel(connection, echoing=True))
            host.listen(KEY)
            npm = await Peer.npm("client", "mux", KEY.public.hex(), f"127.0.0.1:{host.address[1]}", SIZE)
            try:
                assert (await npm.hear("echoed"))["sha"] == SHA
                [channel] = channels
                await channel.closed.wait()
                assert npm.told[0]["hash"] == channel.connection.handshake_hash.hex()
                assert npm.told[1] == {"event": "channel", "handshake": "from us"}
                assert channel.seen == [
                    ChannelOpened(channel.number, "interop/echo", b"interop", b"\x08from npm"),
                    ChannelClosed(channel.number, rejected=False),
                ]
                assert (len(channel.received), bytes(channel.received) == DATA) == (len(DATA), True)
            finally:
                await npm.stop()

    run(story)


def test_our_client_reaches_npm_server_by_address() -> None:
    async def story() -> None:
        npm = await Peer.npm("server", "stream")
        try:
            ready = await npm.hear("ready")
            async with Host(limits=WHOLE) as host:
                connection = await host.connect(bytes.fromhex(ready["key"]), [("127.0.0.1", ready["port"])], KEY)
                echoed = bytearray()
                for at in range(0, SIZE, 100_000):
                    if not connection.send(DATA[at : at + 100_000]):
                        await connection.drain()
                async for frame in connection:
                    echoed += frame
                    if len(echoed) >= SIZE:
                        connection.end()
                assert (len(echoed), bytes(echoed) == DATA) == (len(DATA), True)
                assert connection.remote_key == NPM_KEY.public
                assert await connection.wait_closed() == Reason.ENDED
                await npm.hear("closed")
            assert npm.events == ["ready", "open", "closed"]
            assert npm.told[1]["remote"] == KEY.public.hex()
            assert npm.told[1]["hash"] == connection.handshake_hash.hex()
        finally:
            await npm.stop()

    run(story)


def test_our_client_exchanges_messages_with_npm_server_over_a_protomux_channel() -> None:
    async def story() -> None:
        npm = await Peer.npm("server", "mux")
        try:
            ready = await npm.hear("ready")
            async with Host(limits=WHOLE) as host:
                connection = await host.connect(bytes.fromhex(ready["key"]), [("127.0.0.1", ready["port"])], KEY)
                channel = Channel(connection, echoing=False)
                for at in range(0, SIZE, 32_768):
                    channel.mux.send(channel.number, 0, DATA[at : at + 32_768])
                channel.flush()
                await channel.whole.wait()
                assert (len(channel.received), bytes(channel.received) == DATA) == (len(DATA), True)
                channel.mux.close(channel.number)
                channel.flush()
                await npm.hear("channel-closed")
                assert npm.told[2] == {"event": "channel", "handshake": "from us"}
        finally:
            await npm.stop()

    run(story)


def test_our_connect_command_reaches_an_npm_server() -> None:
    async def story() -> None:
        npm = await Peer.npm("server", "stream")
        ours = None
        try:
            ready = await npm.hear("ready")
            ours = await Peer.ours("connect", ready["key"], "--address", f"127.0.0.1:{ready['port']}")
            echoed, _ = await ours.process.communicate(DATA)
            assert (len(echoed), echoed == DATA) == (len(DATA), True)
            assert ours.process.returncode == 0
        finally:
            for peer in (ours, npm):
                if peer is not None:
                    await peer.stop()

    run(story)


def test_connect_fails_when_npm_node_does_not_know_the_key() -> None:
    async def story() -> None:
        npm = await Peer.npm("server", "stream")
        try:
            ready = await npm.hear("ready")
            async with Host() as host:
                with pytest.raises(ConnectError) as failure:
                    await host.connect(KEY.public, [("127.0.0.1", ready["port"])])
                assert failure.value.reason == Reason.NOT_THERE
        finally:
            await npm.stop()

    run(story)
