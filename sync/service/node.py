"""The node: the asyncio shell around the engine.

It reads the clock, carries frames between the engine and the host, sets one timer, and tells whoever listens.  What the
engine asks for is performed by `sync.engine.perform.Driver`, of which the node is one port.  Everything happens in one
event loop, one tick at a time: what happened goes into the engine, the tick commits, and only then do effects leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence

from identity.errors import DecodeError, KithkinError
from netstack.events import Reason
from netstack.shell.connection import Connection
from netstack.shell.host import ConnectError, Host
from netstack.udp.port import Address
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.engine.inputs import ConnectionUp, FoundKey
from sync.engine.perform import Driver
from sync.service import models
from sync.service.api import Network
from sync.service.discovery import TopicDiscoveries
from sync.service.events import EventMapper
from sync.service.gap_queue import GapQueue
from sync.service.network import address_of, hints_of, local_network, new_host, start_host

KEEP_NODES = 600.0  # seconds between two times that the profile learns which DHT nodes answer
AFTER_DEFECT = 1.0  # seconds after which the engine is woken again where a wake-up failed
MAX_EVENTS = 10_000  # that a slow reader may have waiting
Clock = Callable[[], float]


class Node:
    """Runs one engine.  `async with node:` until the block ends; without a network it only commits."""

    def __init__(self, engine: Engine, network: Network | None, *, clock: Clock = time.time) -> None:
        self.engine = engine
        self.clock = clock
        self.host: Host | None = None
        self.topics: TopicDiscoveries | None = None
        self.network = network
        self.address: Address | None = None
        self._driver = Driver(engine, self, clock)
        self._mapper = EventMapper(engine.profile)
        self._connections: dict[int, Connection] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._readers: set[GapQueue[models.Event]] = set()
        self._changed: dict[bytes, asyncio.Event] = {}
        self._conversations: dict[int, asyncio.Queue[e.OnboardingStep]] = {}
        self._stopped = False
        self._nodes_due = float("inf")

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Node:
        if self.network is not None:
            await self.go_online(self.network)
        else:
            self.tick()
        return self

    async def go_online(self, network: Network) -> None:
        """Binds the port, accepts peers, dials.  Raises `not_allowed` where the port cannot be had."""
        profile = self.engine.profile
        host = await new_host(network, profile.nodes())
        self.address = await start_host(host, network, profile.port())
        self.host, self.network = host, network
        self.topics = TopicDiscoveries(host, await local_network(network, self.address), self._found)
        host.on_connection = self._incoming
        profile.keep_port(self.address[1])
        self._nodes_due = self.clock() + KEEP_NODES
        self.engine.online(hints_of(network, self.address), self.clock())
        self.tick()

    async def __aexit__(self, *_: object) -> None:
        self._keep_nodes()
        self._stopped = True
        for task in list(self._dials):
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        if self.topics is not None:
            await self.topics.close()
        if self.host is not None:
            await self.host.stop()
        for reader in self._readers:
            reader.end()

    # -- ticks --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Commits what was done to the engine and performs what follows.  Raises what the store refuses with."""
        self._driver.tick()

    def _wake(self) -> None:
        # The tick sets the timer anew; where a defect ends it before, the engine is woken all the same.
        self._timer = asyncio.get_running_loop().call_later(AFTER_DEFECT, self._wake)
        now = self.clock()
        if now >= self._nodes_due:
            self._nodes_due = now + KEEP_NODES
            self._keep_nodes()
        self._driver.wake()

    def _keep_nodes(self) -> None:
        """DHT nodes that answer, for the next start."""
        if self.host is not None and self.host.dht is not None:
            self.engine.profile.keep_nodes(self.host.known_nodes())
            self._driver.tick_quietly()

    # -- what the engine asks for (`sync.engine.perform.Port`) ----------------------------------------------------

    def transmit(self, conn: int, frame: bytes) -> None:
        """Sends a frame on an open connection."""
        connection = self._connections.get(conn)
        if connection is not None:
            connection.send(frame)

    def disconnect(self, conn: int, reason: str) -> None:
        """Ends an open connection."""
        connection = self._connections.pop(conn, None)
        if connection is not None:
            connection.close()

    def dial(self, dial: e.Dial) -> None:
        """Connects in a task of its own; nothing is dialled once the node stops."""
        if self.host is not None and not self._stopped:
            task = asyncio.get_running_loop().create_task(self._dial(self.host, dial))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)

    def listen(self, listen: e.Listen) -> None:
        """Answers handshakes for a key."""
        if self.host is not None:
            self.host.listen(listen.key, listen.announce)

    def unlisten(self, public: bytes) -> None:
        """Answers for this key no more."""
        if self.host is not None:
            self.host.unlisten(public)

    def join_topic(self, join: e.JoinTopic) -> None:
        """Looks who is at a topic, in the DHT and on the local network."""
        if self.topics is not None and not self._stopped:
            self.topics.join(join.topic, join.key, join.announce)

    def leave_topic(self, topic: bytes) -> None:
        """Takes back what was announced there."""
        if self.topics is not None:
            self.topics.leave(topic)

    def put_record(self, put: e.PutRecord) -> None:
        """Stores a value in the DHT, in a task of its own."""
        self._in_dht(lambda host: self._put_record(host, put))

    def seek_record(self, public: bytes) -> None:
        """Looks for a value in the DHT, in a task of its own."""
        self._in_dht(lambda host: self._seek_record(host, public))

    def advance(self, step: e.OnboardingStep) -> None:
        """A step of a pairing or an invite, for whoever waits for it."""
        waiting = self._conversations.get(step.conversation)
        if waiting is not None:
            waiting.put_nowait(step)

    def tell(self, event: e.Event) -> None:
        """An event, for whoever reads `events` or waits for a change of that chat."""
        space = getattr(event, "space", None)
        if isinstance(space, bytes) and (changed := self._changed.pop(space, None)) is not None:
            changed.set()
        if self._readers:
            self._say(self._mapper.lines(event, int(self.clock() * 1000)))

    def refused(self, error: KithkinError) -> None:
        """Nobody waits for this tick: the next command is told, and the engine tries again meanwhile."""

    def ticked(self) -> None:
        """Sends what is queued, and sets the timer for the engine's next wake-up."""
        if self.host is not None:
            self.host.flush()  # a message is on its way before its sender is told that it is safe
        if self._timer is not None:
            self._timer.cancel()
        if not self._stopped:
            delay = self.engine.next_wake() - self.clock()
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    # -- connections --------------------------------------------------------------------------------------------

    def _found(self, found: Sequence[FoundKey]) -> None:
        """Keys that stand at our topics."""
        if not self._stopped:
            self._driver.found(found)

    def connection(self, conn: int) -> Connection | None:
        """The connection behind one of the engine's peers."""
        return self._connections.get(conn)

    def _incoming(self, connection: Connection) -> None:
        self._attach(connection, None)

    def _in_dht(self, work: Callable[[Host], Coroutine[object, object, None]]) -> None:
        if self.host is not None and self.host.dht is not None and not self._stopped:
            task = asyncio.get_running_loop().create_task(work(self.host))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)

    async def _put_record(self, host: Host, put: e.PutRecord) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            await host.ready()
            await host.mutable_put(put.key, put.value, put.seq)

    async def _seek_record(self, host: Host, public: bytes) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            await host.ready()
            found = await host.mutable_get(public)
            if found is not None and not self._stopped:
                self._driver.sought(public, found.value)

    async def _dial(self, host: Host, dial: e.Dial) -> None:
        try:
            addresses = [address_of(text) for text in dial.addresses]
            known = [address for address in addresses if address is not None]
            connection = await host.connect(dial.remote, known, dial.local, dial.relays, by_key=dial.announced)
        except (ConnectError, DecodeError, ValueError):
            self._driver.failed(dial.attempt)
            return
        self._attach(connection, dial.attempt)

    def _attach(self, connection: Connection, attempt: int | None) -> None:
        conn = connection.id
        if connection.closed:
            if attempt is not None:
                self._driver.failed(attempt)
            return
        self._connections[conn] = connection
        connection.on_close = lambda reason: self._closed(conn, reason)
        try:
            self._driver.opened(up(connection, attempt))
        finally:
            connection.on_frames = lambda frames: self._driver.frames(conn, frames)  # frames that waited come at once

    def _closed(self, conn: int, reason: Reason) -> None:
        self._connections.pop(conn, None)
        self._driver.closed(conn)

    # -- who listens --------------------------------------------------------------------------------------------

    def _say(self, lines: Iterable[models.Event]) -> None:
        for line in lines:
            if self.host is not None and self._readers:
                self.host.defer()
            for reader in self._readers:
                reader.put(line)

    async def events(self) -> AsyncIterator[models.Event]:
        """Everything that happens from now on, until the node stops.  A reader that stays behind by `MAX_EVENTS` finds
        a `GapEvent` in place of what it lost."""
        reader: GapQueue[models.Event] = GapQueue(MAX_EVENTS, models.GapEvent())
        if not self._readers:
            self._mapper.begin()
        self._readers.add(reader)
        try:
            while (line := await reader.get()) is not None:
                yield line
        finally:
            self._readers.discard(reader)

    def changed(self, space: bytes) -> asyncio.Event:
        """Set at the next change in a chat."""
        return self._changed.setdefault(space, asyncio.Event())

    @contextlib.contextmanager
    def steps(self, conversation: int) -> Iterator[asyncio.Queue[e.OnboardingStep]]:
        """The steps of a pairing or an invite.  It is given up when the block ends."""
        queue: asyncio.Queue[e.OnboardingStep] = asyncio.Queue()
        self._conversations[conversation] = queue
        try:
            yield queue
        finally:
            del self._conversations[conversation]
            self.engine.onboarding.conversations.cancel(conversation)
            if not self._stopped:
                self._driver.tick_quietly()


def up(connection: Connection, attempt: int | None = None) -> ConnectionUp:
    """What an engine is told of an open connection.  attempt: the dial that it answers."""
    host, port = connection.address
    local, remote = connection.local_key, connection.remote_key
    return ConnectionUp(connection.id, attempt, local, remote, connection.handshake_hash, f"{host}:{port}")
