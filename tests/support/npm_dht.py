"""npm hyperdht nodes in a process of their own, asked by JSON lines (`tests/interop/hyperdht/dht_peer.js`)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from netstack.udp.port import Address

INTEROP = Path(__file__).resolve().parents[1] / "interop"
MODULES = Path(os.environ.get("KITHKIN_NODE_MODULES") or INTEROP / "js" / "node_modules")


class NpmError(Exception):
    """What the npm side said instead of a value."""


class NpmDht:
    """`async with NpmDht() as npm: await npm.ask("lookup", node=0, topic=...)`; bytes travel as hexadecimal."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._reader: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        if node is None:
            pytest.fail("node is needed for the interoperability tests")
        if not (MODULES / "hyperdht").is_dir():
            pytest.fail("hyperdht is not installed: npm ci in tests/interop/js")
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            node,
            str(INTEROP / "hyperdht" / "dht_peer.js"),
            stdin=pipe,
            stdout=pipe,
            env={**os.environ, "NODE_PATH": str(MODULES)},
            limit=1 << 24,
        )
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

    async def ask(self, op: str, **arguments: Any) -> Any:
        """Raises NpmError where the npm side does."""
        number = len(self._asked)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "op": op, **arguments}, default=bytes.hex).encode() + b"\n")
        return await future

    async def join(self, bootstrap: Sequence[Address], **options: Any) -> int:
        """An ordinary node; its number."""
        number: int = (await self.ask("join", bootstrap=bootstrap, options=options))["node"]
        return number

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            future = self._asked[said["id"]]
            if not future.done():
                if "error" in said:
                    future.set_exception(NpmError(said["error"]))
                else:
                    future.set_result(said["value"])
        for future in self._asked.values():
            if not future.done():
                future.set_exception(NpmError("the npm side ended"))
