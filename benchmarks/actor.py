"""One profile in a process of its own, told what to do over its standard input: the nodes of the benchmarks.

Lines in are JSON `{"do": NAME, …}`, lines out are JSON answers; moments are seconds of the system-wide monotonic clock,
so that moments of several processes can be compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from crdt.docs.chat import Message
from sync.service import messages
from sync.service import profiles as profile
from sync.service.api import Network
from sync.service.ids import find_space
from sync.service.local import LocalService
from sync.service.models import MessageEvent
from sync.space import timeline

PASSPHRASE = "benchmark"


class Actor:
    """Holds one opened service at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        self._service: LocalService | None = None
        self._listening: asyncio.Task[None] | None = None
        self._arrived: dict[str, float] = {}
        self._news = asyncio.Event()

    async def do(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        found = getattr(self, f"_{name}")
        result: dict[str, Any] = await found(**given)
        return result

    @property
    def service(self) -> LocalService:
        if self._service is None:
            raise ValueError("nothing is open")
        return self._service

    async def _create(self, who: str) -> dict[str, Any]:
        await profile.create_profile(self._folder, PASSPHRASE, name=who)
        return {}

    async def _open(self, online: bool) -> dict[str, Any]:
        network = Network(host="127.0.0.1") if online else None
        start = time.monotonic()
        opened = profile.open_service(self._folder, PASSPHRASE, network=network)
        self._service = await self._stack.enter_async_context(opened)
        return {"seconds": time.monotonic() - start}

    async def _close(self) -> dict[str, Any]:
        if self._listening is not None:
            self._listening.cancel()
        await self._stack.aclose()
        self._stack, self._service = AsyncExitStack(), None
        return {}

    async def _call(self, method: str, **given: Any) -> dict[str, Any]:
        """Any command of the service, as the command line gives it."""
        answer = await getattr(self.service, method)(**given)
        value: dict[str, Any] = answer.model_dump(mode="json")
        return value

    async def _write(self, chat: str, count: int, size: int, batch: int) -> dict[str, Any]:
        """`count` messages, `batch` of them a commit."""
        engine, home = self.service.node.engine, self.service.node.engine.profile
        space = find_space(home, chat)
        text = "m" * size
        start = time.monotonic()
        for at in range(0, count, batch):
            some = [Message(home.rng(16), f"{at + i} {text}"[:size]) for i in range(min(batch, count - at))]
            messages.write_messages(home, space, some, int(time.time() * 1000))
            engine.tick(time.time())
            engine.take_effects()
        return {"seconds": time.monotonic() - start}

    async def _length(self, chat: str) -> dict[str, Any]:
        space = find_space(self.service.node.engine.profile, chat)
        return {"mine": space.mine.length if space.mine else 0}

    async def _online(self) -> dict[str, Any]:
        """Goes online with the profile that is open; `at` is just before the first datagram can leave."""
        at = time.monotonic()
        await self.service.node.go_online(Network(host="127.0.0.1"))
        return {"at": at}

    async def _reach(self, chat: str, total: int) -> dict[str, Any]:
        """Waits until `total` entries of the chat are committed and opened; tells when, and a digest of the messages in
        their order."""
        node = self.service.node
        space = find_space(node.engine.profile, chat)
        store = node.engine.profile.store
        while sum(feed.opened for feed in space.feed_store.feeds.values()) < total:
            await node.changed(space.id).wait()
        at = time.monotonic()
        digest = hashlib.sha256()
        after: bytes | None = b""
        count = 0
        while True:
            rows = timeline.page(store, space.id, 1000, after=after)
            for row in rows:
                digest.update(row.id)
            count += len(rows)
            if len(rows) < 1000:
                break
            after = rows[-1].key()
        usage = time.process_time()
        return {"at": at, "digest": digest.hexdigest()[:16], "messages": count, "cpu": round(usage, 3)}

    async def _send(self, chat: str, text: str) -> dict[str, Any]:
        """One message, as a person sends it."""
        start = time.monotonic()
        sent = await self.service.send(chat, text)
        return {"message": sent.id, "start": start, "end": time.monotonic()}

    async def _listen(self) -> dict[str, Any]:
        """From now on notes when each message is told of."""

        async def listen() -> None:
            async for event in self.service.events():
                if isinstance(event, MessageEvent):
                    self._arrived.setdefault(event.message.id, time.monotonic())
                    self._news.set()

        self._listening = asyncio.create_task(listen())
        return {}

    async def _arrived_at(self, message: str) -> dict[str, Any]:
        """When the message was told of, once it was."""
        while message not in self._arrived:
            self._news.clear()
            await self._news.wait()
        return {"at": self._arrived[message]}

    async def _self(self) -> str:
        """The chat with oneself."""
        return next(one.id for one in (await self.service.chats()).chats if one.kind == "self")

    async def _write_own(self, count: int, size: int, batch: int) -> dict[str, Any]:
        """The same in the chat with oneself."""
        return await self._write(await self._self(), count, size, batch)

    async def _import(self, path: str) -> dict[str, Any]:
        own = await self._self()
        start = time.monotonic()
        found = await self.service.import_messages(own, Path(path))
        return {"seconds": time.monotonic() - start, "imported": found.imported}

    async def _read_newest(self, limit: int) -> dict[str, Any]:
        """The last page of the chat with oneself, as a window opens it."""
        own = await self._self()
        start = time.monotonic()
        page = await self.service.read(own, limit=limit)
        return {"seconds": time.monotonic() - start, "messages": len(page.messages)}

    async def _cpu(self) -> dict[str, Any]:
        return {"cpu": time.process_time()}

    async def _until_listed(self, chat: str) -> dict[str, Any]:
        await self._until(lambda chats: any(one.id == chat for one in chats.chats), self.service.chats)
        return {}

    async def _until_members(self, chat: str, count: int) -> dict[str, Any]:
        def all_active(found: Any) -> bool:
            return bool(sum(one.state == "active" for one in found.members) == count)

        await self._until(all_active, lambda: self.service.chat_members(chat))
        return {}

    async def _until_peers(self, count: int) -> dict[str, Any]:
        await self._until(lambda status: len(status.peers) >= count, self.service.status)
        return {}

    async def _until(self, good: Callable[[Any], bool], ask: Callable[[], Awaitable[Any]]) -> None:
        """Asks again and again until the answer is good: only while a scene is set, never while time is taken."""
        while not good(await ask()):
            await asyncio.sleep(0.05)


async def lines() -> AsyncIterator[bytes]:
    """Orders as they come, without a thread, whose hand-overs would cost more than many an order."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    while line := await reader.readline():
        yield line


async def main(folder: Path) -> None:
    actor = Actor(folder)
    async for line in lines():
        given = json.loads(line)
        answer = await actor.do(given.pop("do"), given)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
