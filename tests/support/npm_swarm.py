"""npm Hyperswarm peers in one process, driven by JSON lines (`tests/interop/hyperswarm/peer.js`)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from types import TracebackType
from typing import Any, Self

import pytest

from netstack.udp.port import Address
from netstack.wire.address import parse_address
from tests.support.npm_dht import INTEROP, MODULES


class NpmSwarms:
    """Use it with `async with`; events wait in a queue for each event and peer name until a test asks for them."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process
        self._reader: asyncio.Task[None]
        self._heard: dict[tuple[str, str], asyncio.Queue[dict[str, Any]]] = {}

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        if node is None:
            pytest.fail("node is needed for the interoperability tests")
        if not (MODULES / "hyperswarm").is_dir():
            pytest.fail("hyperswarm is not installed: npm ci in tests/interop/js")
        pipe = asyncio.subprocess.PIPE
        script = str(INTEROP / "hyperswarm" / "peer.js")
        env = {**os.environ, "NODE_PATH": str(MODULES)}
        self._process = await asyncio.create_subprocess_exec(node, script, stdin=pipe, stdout=pipe, env=env)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader
        self._process._transport.close()  # type: ignore[attr-defined]  # else its pipes warn after the loop is gone

    async def testnet(self, size: int) -> Address:
        """Starts a DHT of npm nodes; its bootstrap address."""
        self.tell("testnet", size=size)
        return parse_address((await self.hear("testnet"))["bootstrap"])

    async def swarm(self, name: str, bootstrap: Address, *, open: bool) -> bytes:
        """Starts a peer; its public key.  `open`: it knows that it is reachable."""
        self.tell("swarm", name=name, bootstrap="{}:{}".format(*bootstrap), open=open)
        return bytes.fromhex((await self.hear("swarm", name))["key"])

    def join(self, name: str, topic: bytes, *, server: bool = True, client: bool = True) -> None:
        """Joins a topic; the event `joined` follows when it is announced and looked up."""
        self.tell("join", name=name, topic=topic.hex(), server=server, client=client)

    async def connection(self, name: str) -> bytes:
        """Waits for the next connection of that peer; the public key of the other side."""
        return bytes.fromhex((await self.hear("connection", name))["key"])

    def tell(self, do: str, **arguments: Any) -> None:
        """Sends a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")

    async def hear(self, event: str, name: str = "") -> dict[str, Any]:
        """Waits for the next event of that kind and peer."""
        return await self._queue(event, name).get()

    def _queue(self, event: str, name: str) -> asyncio.Queue[dict[str, Any]]:
        return self._heard.setdefault((event, name), asyncio.Queue())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            self._queue(said["event"], said.get("name", "")).put_nowait(said)
