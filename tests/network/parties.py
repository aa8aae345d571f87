"""Processes on the hosts of a network, ours and npm's, that speak one small language of JSON lines.

`middle` holds DHT nodes on public addresses and a relay, a `party` is somebody's machine: it serves a key, connects to
one, says over what path.  Every `serve` and `connect` is a node of its own, as after a start of the application.
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

from tests.network.topology import Host

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = Path(os.environ.get("KITHKIN_NODE_MODULES") or HERE.parent / "interop" / "js" / "node_modules")
LIMIT = 60.0  # seconds that a connection may take; the npm stack punches for 35
SLACK = 30.0  # seconds beside it until a party is called dead


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
    """A DHT that runs: where to begin, and the key and the address of its relay."""

    bootstrap: str
    relay: str
    relay_host: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.  ms: to the secure connection; echo: until a first word came back; boot: before."""

    ok: bool
    ms: float | None
    echo: float
    boot: float
    remote: str | None
    error: str | None
    told: dict[str, Any]


class Party:
    """A process on a host."""

    def __init__(self, process: asyncio.subprocess.Process, stack: Stack, host: Host) -> None:
        self.process = process
        self.stack = stack
        self.host = host

    async def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT + SLACK):
            line = await self.process.stdout.readline()
        assert line, f"the {self.stack.value} process on {self.host.space.label} has ended"
        told: dict[str, Any] = json.loads(line)
        return told

    async def ask(self, do: str, **words: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
        return await self.hear()

    async def serve(self, relay: str | None = None) -> str:
        """Listens by a fresh node; the key."""
        told = await self.ask("serve", relay=relay)
        key: str = told["key"]
        return key

    async def connect(self, key: str, relay: str | None = None, limit: float = LIMIT, *, fresh: bool = True) -> Outcome:
        """Connects and has one word echoed; by a fresh node, or by the one that connected last."""
        told = await self.ask("connect", key=key, relay=relay, limit=limit * 1000, fresh=fresh)
        return Outcome(
            told["ok"],
            told.get("ms"),
            told.get("echo", 0.0),
            told.get("boot", 0.0),
            told.get("remote"),
            told.get("error"),
            told,
        )

    async def again(self, limit: float = LIMIT) -> dict[str, Any]:
        """One more word over the connection that stands."""
        return await self.ask("again", limit=limit * 1000)

    async def status(self) -> dict[str, Any]:
        return await self.ask("status")

    async def close(self) -> None:
        """Ends the nodes of this party, not the party."""
        await self.ask("close")


@asynccontextmanager
async def party(stack: Stack, host: Host, middle: Middle) -> AsyncIterator[Party]:
    async with _process(stack, host, "party", middle.bootstrap) as made:
        yield made


@asynccontextmanager
async def dht(stack: Stack, host: Host, count: int) -> AsyncIterator[Middle]:
    """DHT nodes on the addresses of an open host."""
    async with _process(stack, host, "middle", host.address, str(count)) as made:
        told = made.ready
        yield Middle(told["bootstrap"], told["relay"], told["relayHost"])


class _Ready(Party):
    ready: dict[str, Any]


@asynccontextmanager
async def _process(stack: Stack, host: Host, *words: str) -> AsyncIterator[_Ready]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *host.space.command(*stack.command(), *words),
        stdin=pipe,
        stdout=pipe,
        cwd=ROOT,
        env={**os.environ, "NODE_PATH": str(MODULES), "PYTHONPATH": str(ROOT), "KITHKIN_BOOTSTRAP": ""},
    )
    made = _Ready(process, stack, host)
    try:
        made.ready = await made.hear()
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else its pipes warn after the loop is gone
