"""Processes on the hosts of a network, ours and npm's, driven by JSON lines.

`middle` holds DHT nodes on public addresses and a relay; a `party` is one machine: it serves a key, connects to one,
and reports the path.  Each `serve` and `connect` starts a new node, as a start of the application does.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tests.network.topology import Host, Internet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = Path(os.environ.get("KITHKIN_NODE_MODULES") or HERE.parent / "interop" / "js" / "node_modules")
LIMIT = 60.0  # seconds that a connection may take; the npm stack punches for 35
SLACK = 30.0  # further seconds until a party counts as dead


class Stack(Enum):
    JS = "js"
    OURS = "ours"

    def command(self) -> tuple[str, ...]:
        if self is Stack.OURS:
            return (sys.executable, "-m", "tests.network.peer")
        node = shutil.which("node")
        assert node is not None and (MODULES / "hyperdht").is_dir(), "npm ci in tests/interop/js"
        return (node, str(HERE / "peer.js"))


@dataclass(frozen=True, slots=True)
class Middle:
    """A running DHT: its bootstrap address, and the key and the address of its relay."""

    bootstrap: str
    relay: str
    relay_host: str


@dataclass(frozen=True, slots=True)
class Serving:
    """A key that a node of the party listens for."""

    key: str
    node: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt, in milliseconds.  boot: until it began; ms: to the secure connection; echo: to the first echo."""

    ok: bool
    node: int
    ms: float | None
    echo: float
    boot: float
    remote: str | None
    error: str | None


class Party:
    """A process on a host; it serves several requests at once."""

    def __init__(self, process: asyncio.subprocess.Process, stack: Stack, host: Host) -> None:
        self.process = process
        self.stack = stack
        self.host = host
        self.ready: dict[str, Any] = {}
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0

    async def listen(self) -> None:
        """Hands the lines of the process to the requests that wait for them, until it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            self._asked.pop(told.pop("id", 0)).set_result(told)
        for future in self._asked.values():
            future.set_exception(AssertionError(f"the {self.stack.value} process on {self.host.space.label} has ended"))
        self._asked.clear()

    def expect(self, id: int) -> asyncio.Future[dict[str, Any]]:
        future = self._asked[id] = asyncio.get_running_loop().create_future()
        return future

    async def ask(self, do: str, **words: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self._count += 1
        future = self.expect(self._count)
        self.process.stdin.write(json.dumps({"id": self._count, "do": do, **words}).encode() + b"\n")
        async with asyncio.timeout(LIMIT + SLACK):
            return await future

    async def serve(self, relay: str | None = None) -> Serving:
        """Listens with a new node."""
        told = await self.ask("serve", relay=relay)
        return Serving(told["key"], told["node"])

    async def connect(
        self, key: str, relay: str | None = None, limit: float = LIMIT, node: int | None = None
    ) -> Outcome:
        """Connects and has one frame echoed, with a new node or with one that connected before."""
        told = await self.ask("connect", key=key, relay=relay, limit=limit * 1000, node=node)
        return Outcome(
            told["ok"], told["node"], told.get("ms"), told["echo"], told["boot"], told.get("remote"), told.get("error")
        )

    async def again(self, node: int, limit: float = LIMIT) -> str | None:
        """One more echo on the connection of a node: the peer's present address, None without an answer."""
        told = await self.ask("again", node=node, limit=limit * 1000)
        remote: str | None = told["remote"] if told["ok"] else None
        return remote

    async def close(self, node: int) -> None:
        """Stops a node."""
        await self.ask("close", node=node)


@asynccontextmanager
async def party(stack: Stack, host: Host, middle: Middle) -> AsyncIterator[Party]:
    async with _process(stack, host, "party", middle.bootstrap) as made:
        yield made


@asynccontextmanager
async def dht(stack: Stack, net: Internet, count: int = 12) -> AsyncIterator[Middle]:
    """DHT nodes in one process, each on a public address of its own."""
    host = net.open("dht", addresses=count)
    async with _process(stack, host, "middle", *host.addresses) as made:
        told = made.ready
        yield Middle(told["bootstrap"], told["relay"], told["relayHost"])


@asynccontextmanager
async def _process(stack: Stack, host: Host, *words: str) -> AsyncIterator[Party]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *host.space.command(*stack.command(), *words),
        stdin=pipe,
        stdout=pipe,
        cwd=ROOT,
        env={**os.environ, "NODE_PATH": str(MODULES), "PYTHONPATH": str(ROOT), "KITHKIN_BOOTSTRAP": ""},
    )
    made = Party(process, stack, host)
    first = made.expect(0)
    listening = asyncio.create_task(made.listen())
    try:
        async with asyncio.timeout(LIMIT):
            made.ready = await first
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening
        process._transport.close()  # type: ignore[attr-defined]  # else its pipes warn after the loop is gone
