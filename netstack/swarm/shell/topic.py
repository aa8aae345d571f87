"""A handle on a joined topic of a swarm, and the queue of connections behind each `async for` over it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self

from netstack.shell.connection import Connection


class TopicOwner(Protocol):
    """The part of a swarm that a topic handle uses."""

    async def topic_flushed(self, topic: bytes) -> bool:
        """Until the present round of that topic is over; whether it reached the network."""
        ...

    def refresh_topic(self, topic: bytes) -> None:
        """Announces and looks up that topic again now."""
        ...

    def roles_changed(self, topic: bytes) -> None:
        """Some handle on that topic changed its role."""
        ...

    async def leave_handle(self, handle: Topic) -> None:
        """Ends this handle; with the last one of a topic, the topic."""
        ...

    def connections_at(self, topic: bytes) -> list[Connection]:
        """The open connections that were given to that topic."""
        ...


class ConnectionQueue:
    """Connections that one `async for` has yet to yield.  Those that close in the meantime are skipped."""

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
        """Appends an open connection."""
        while self._waiting and self._waiting[0].closed:
            self._waiting.popleft()
        self._waiting.append(connection)
        self._change.set()

    def end(self) -> None:
        """Ends the iteration once the queue is empty."""
        self._ended = True
        self._change.set()


class Topic:
    """A handle on a joined topic: made by `Swarm.join`, valid until `leave`, at the latest until the swarm closes.

    `async for connection in topic` yields the connections that are open already, then others as they open, and ends
    with the handle.  `topic` is the 32 bytes, `server` and `client` are the role of this handle, `left` says whether it
    has ended.  `async with` leaves at its end.
    """

    def __init__(self, swarm: TopicOwner, topic: bytes, *, server: bool, client: bool) -> None:
        self.topic = topic
        self.server = server
        self.client = client
        self.left = False
        self._swarm = swarm
        self._readers: list[ConnectionQueue] = []

    async def flushed(self) -> bool:
        """Until our record is stored and the first look-up is done.  False: the network was not reached, or we left."""
        return not self.left and await self._swarm.topic_flushed(self.topic)

    def refresh(self) -> None:
        """Announces and looks up again now."""
        if not self.left:
            self._swarm.refresh_topic(self.topic)

    def change(self, *, server: bool, client: bool) -> None:
        """Changes the role of this handle; the topic has the roles of all its handles together."""
        self.server, self.client = server, client
        self._swarm.roles_changed(self.topic)

    async def leave(self) -> None:
        """Ends this handle.  Connections stay open.  With the last handle on a topic our record is withdrawn."""
        await self._swarm.leave_handle(self)

    def __aiter__(self) -> AsyncIterator[Connection]:
        queue = ConnectionQueue([] if self.left else self._swarm.connections_at(self.topic), ended=self.left)
        self._readers.append(queue)
        return queue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    # for the swarm

    def give(self, connection: Connection) -> None:
        """Hands a connection to every reader of this handle."""
        for reader in self._readers:
            reader.give(connection)

    def end(self) -> None:
        """Marks the handle as left and ends its readers."""
        self.left = True
        for reader in self._readers:
            reader.end()
        self._readers.clear()
