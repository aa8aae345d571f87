"""The actors of the demo: each is a profile, its commands and its node, all of them processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sync.service.api import KithkinError
from sync.service.models import Message
from sync.service.remote import SocketService, connect

KITHKIN = [sys.executable, "-m", "apps.cli", "--json"]
APART = ("--host", "127.0.0.1", "--advertise", "none")  # nobody is told where anybody is
PAGE = 500


class Dialogue:
    """A command that is under way: its lines as they come, and what is typed into it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        """The next line.  Raises the KithkinError that the command said."""
        stream = self.process.stdout
        said = await stream.readline() if stream is not None else b""
        if not said:
            raise KithkinError("internal", "A command of the demo ended without an answer.")
        value: dict[str, Any] = json.loads(said)
        if "error" in value:
            raise KithkinError(value["error"]["code"], value["error"]["message"])
        return value

    def type(self, line: str) -> None:
        if self.process.stdin is not None:
            self.process.stdin.write(line.encode() + b"\n")


class Actor:
    """One device on the stage."""

    def __init__(self, name: str, folder: Path, passphrase: Path, bootstrap: str) -> None:
        self.name = name
        self.folder = folder
        self._environment = {
            **os.environ,
            "KITHKIN_PROFILE": str(folder),
            "KITHKIN_PASSPHRASE_FILE": str(passphrase),
            "KITHKIN_BOOTSTRAP": bootstrap,
        }
        self._node: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.service: SocketService | None = None

    @contextlib.asynccontextmanager
    async def dialogue(self, *words: str) -> AsyncIterator[Dialogue]:
        process = await self._spawn(*words)
        try:
            yield Dialogue(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def ask(self, *words: str) -> dict[str, Any]:
        """The last line that the command says.  Raises KithkinError."""
        async with self.dialogue(*words) as said:
            line = await said.line()
            await said.process.wait()
            return line

    @property
    def node(self) -> SocketService:
        if self.service is None:
            raise KithkinError("internal", f"The node of {self.name} is not running.")
        return self.service

    async def start(self) -> None:
        """Returns once the node accepts peers."""
        self._node = await self._spawn("run", *APART)
        await Dialogue(self._node).line()
        self._reader = asyncio.create_task(self._drain(self._node))
        self.service = await connect(self.folder)

    async def stop(self) -> None:
        if self.service is not None:
            await self.service.close()
            self.service = None
        if self._node is not None:
            if self._node.returncode is None:
                self._node.terminate()
            await self._node.wait()
            self._node = None
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def messages(self, chat: str) -> list[Message]:
        """All of a chat, oldest first."""
        found: list[Message] = []
        before: str | None = None
        while True:
            page = await self.node.read(chat, limit=PAGE, before=before)
            found[:0] = page.messages
            if not page.more or not page.messages:
                return found
            before = page.messages[0].id

    async def _drain(self, node: asyncio.subprocess.Process) -> None:
        if node.stdout is not None:
            while await node.stdout.readline():
                pass

    async def _spawn(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        # Notes for people would stand between the lines of the story.
        notes = None if os.environ.get("KITHKIN_DEBUG") else asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(
            *KITHKIN, *words, env=self._environment, stdin=pipe, stdout=pipe, stderr=notes, limit=2**24
        )
