"""A place at a topic of a swarm, and the connections that one reader has still to see."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self

from netstack.shell.connection import Connection


class Home(Protocol):
    """What a place needs of its swarm."""

    async def topic_flushed(self, topic: bytes) -> bool: ...
    def refresh_topic(self, topic: bytes) -> None: ...
    def roles_changed(self, topic: bytes) -> None: ...
    async def leave_place(self, place: Topic) -> None: ...
    def connections_at(self, topic: bytes) -> list[Connection]: ...


class Feed:
    """The connections that one `async for` has still to see.  Those that close in the meantime are passed over."""

    def __init__(self, connections: list[Connection], *, ended: bool) -> None:
        self._waiting = deque(connections)
        self._ended = ended
        self._change = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Connection:
        while True:
            while self._waiting:
                connection = self._waiting.popleft()
                if not connection.closed:
                    return connection
            if self._ended:
                raise StopAsyncIteration
            self._change.clear()
            await self._change.wait()

    def give(self, connection: Connection) -> None:
        while self._waiting and self._waiting[0].closed:
            self._waiting.popleft()
        self._waiting.append(connection)
        self._change.set()

    def end(self) -> None:
        self._ended = True
        self._change.set()


class Topic:
    """One's place at a topic, from `Swarm.join` until `leave`.  Iterating gives its connections as they open, those
    that are open already first; it ends with `leave` or the swarm."""

    def __init__(self, swarm: Home, topic: bytes, *, server: bool, client: bool) -> None:
        self.topic = topic
        self.server = server
        self.client = client
        self.left = False
        self._swarm = swarm
        self._readers: list[Feed] = []

    async def flushed(self) -> bool:
        """Until we are announced and have looked up who is there.  False: the network was not reached."""
        return not self.left and await self._swarm.topic_flushed(self.topic)

    def refresh(self) -> None:
        """Announces and looks up again now."""
        if not self.left:
            self._swarm.refresh_topic(self.topic)

    def change(self, *, server: bool, client: bool) -> None:
        """Changes the role."""
        self.server, self.client = server, client
        self._swarm.roles_changed(self.topic)

    async def leave(self) -> None:
        """Ends this place.  Connections stay.  With the last place at a topic our record is taken back."""
        await self._swarm.leave_place(self)

    def __aiter__(self) -> AsyncIterator[Connection]:
        feed = Feed([] if self.left else self._swarm.connections_at(self.topic), ended=self.left)
        self._readers.append(feed)
        return feed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    # for the swarm

    def give(self, connection: Connection) -> None:
        for reader in self._readers:
            reader.give(connection)

    def end(self) -> None:
        self.left = True
        for reader in self._readers:
            reader.end()
        self._readers.clear()
