"""A swarm: connections to every peer that joined the same topics, as npm `hyperswarm` makes them.

    async with Swarm(bootstrap=PUBLIC_NODES) as swarm:
        async for connection in swarm.join(topic):          # topic: 32 bytes that all of them know
            connection.send(b"hello")

There is one connection between two peers, however many topics they share: a connection belongs to the pair.  It is
given to every topic under which its peer was found; that of a peer that dialled us and was found nowhere is given to
every topic that we serve.  An application with several topics therefore reads each connection in one place, with
`swarm.on_connection` or `async for connection in swarm`, and uses Protomux channels inside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from identity.errors import KithkinError
from identity.keys import Random, SigningKey
from netstack.dht.events import DhtEvent, Mode, NetworkChanged, Woken
from netstack.dht.records import PeerRecord
from netstack.events import Reason
from netstack.shell.connection import Connection
from netstack.shell.host import Host, HostStatus
from netstack.swarm.core.effects import Abandon, Dial, Drop, PeerCounts, SwarmLimits, Take
from netstack.swarm.core.lan import rendezvous_of
from netstack.swarm.core.peer import PeerInfo
from netstack.swarm.core.swarm import SwarmCore
from netstack.swarm.shell.topic import ConnectionQueue, Topic
from netstack.swarm.shell.topic_discovery import TopicDiscovery
from netstack.udp.port import Address

if TYPE_CHECKING:
    from netstack.swarm.shell.mdns import Mdns

CLOSE_TIMEOUT = 1.0  # seconds that withdrawing our records may delay `close`


@dataclass(frozen=True, slots=True)
class SwarmStatus:
    """The state of a swarm at one moment."""

    key: bytes
    topics: dict[bytes, tuple[bool, bool]]  # topic: (server, client)
    peers: PeerCounts
    networks: tuple[str, ...]  # our addresses in the local networks where mDNS finds us
    host: HostStatus


@dataclass(slots=True)
class JoinedTopic:
    """One topic of a swarm: its discovery and every handle on it."""

    discovery: TopicDiscovery
    handles: list[Topic]


class Swarm:
    """Connections to the peers of any number of topics, under one key.  Use it with `async with`.

    `key`: our identity, a new one if None.  `bootstrap`, `known`: nodes to enter the DHT by, and nodes of an earlier
    run; with neither the swarm stays outside the DHT.  `lan`: find peers by mDNS too; True, or the addresses of the
    interfaces to use.  `accept(their key)` False: that peer is neither dialled nor answered.  `relay`: the public key
    of a blind relay to use where hole punching fails.  `mode`: whether to store for others.  `limits`: how many peers
    to hold.  `host`, `port`: the UDP address to bind.  `public_host`: our address where it is known to be reachable.
    `rng(size)`: random bytes.

    Attributes: `key`; `host`, the node below; `on_connection(connection, peer)`, called for each new connection.
    """

    def __init__(
        self,
        key: SigningKey | None = None,
        *,
        bootstrap: Sequence[Address] = (),
        known: Sequence[Address] = (),
        lan: bool | Sequence[str] = False,
        accept: Callable[[bytes], bool] = lambda key: True,
        relay: bytes | None = None,
        mode: Mode = Mode.ADAPTIVE,
        limits: SwarmLimits | None = None,
        host: str = "0.0.0.0",
        port: int = 0,
        public_host: str = "",
        rng: Random = os.urandom,
    ) -> None:
        self.key = key or SigningKey.generate(rng)
        self.on_connection: Callable[[Connection, PeerInfo], None] | None = None
        self.host = Host(
            rng=rng,
            accept=self._accepts,
            bootstrap=bootstrap,
            known=known,
            mode=mode,
            public_host=public_host,
            relay_through=relay,
        )
        self._topics: dict[bytes, JoinedTopic] = {}
        self._core = SwarmCore(self.key.public, rng, limits)
        self._accept = accept
        self._bind = host, port
        self._lan = lan
        self._rng = rng
        self._mdns: Mdns | None = None
        self._dials: dict[bytes, asyncio.Task[None]] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._leaving: set[TopicDiscovery] = set()
        self._held: dict[int, Connection] = {}  # every open connection by number, spare ones included
        self._taken: dict[bytes, tuple[Connection, set[bytes]]] = {}  # by key: in use, and given to
        self._readers: list[ConnectionQueue] = []
        self._listening = False
        self._suspended = False
        self._started = self._closed = False
        self._change = asyncio.Event()  # replaced at every use
        self._timer: asyncio.TimerHandle | None = None
        self._tick: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._unwatch: Callable[[], None] = lambda: None

    # life

    async def start(self) -> None:
        """Binds, enters the DHT and the local networks; `async with` calls it.

        Raises OSError as binding does, and ValueError if the swarm was started before.
        """
        if self._started:
            raise ValueError("the swarm was started already")
        self._loop = asyncio.get_running_loop()
        await self.host.start(*self._bind)
        self._started = True
        self.host.on_connection = self._on_incoming
        self._unwatch = self.host.watch(self._heard)
        if self._lan:
            from netstack.swarm.shell.mdns import Mdns

            interfaces = None if self._lan is True else self._lan
            self._mdns = Mdns(self.host.address[1], interfaces=interfaces, rng=self._rng)
            await self._mdns.start()

    async def close(self) -> None:
        """Withdraws our records, closes every connection, frees the port.  May be called twice.

        An unreachable network delays it by a second at most; records that could not be withdrawn expire.
        """
        if not self._started:
            return
        self._closed = True
        self._unwatch()
        self._suspended = True
        self._core.suspend()  # from here on no peer is dialled, answered or waited for
        self._serve()
        for topic in list(self._topics):
            self._end_topic(topic)
        for reader in self._readers:
            reader.end()
        await asyncio.gather(*self._dials.values(), return_exceptions=True)
        leaving = list(self._leaving)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.gather(*(discovery.wait_closed() for discovery in leaving))
        for discovery in leaving:
            discovery.abandon()
            await discovery.wait_closed()
        if self._mdns is not None:
            await self._mdns.close()
        await self.host.stop()
        await asyncio.gather(*self._watches)
        for handle in (self._timer, self._tick):
            if handle is not None:
                handle.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def suspend(self) -> None:
        """Closes every connection, withdraws our records and sends nothing until `resume`.

        For an app that goes to the background.  Topics and peers joined stay joined.
        """
        self._suspended = True
        self._core.suspend()
        for joined in self._topics.values():
            joined.discovery.suspend()
        self._serve()
        await asyncio.gather(*(joined.discovery.wait_closed() for joined in self._topics.values()))

    def resume(self) -> None:
        """Ends `suspend`: announces, looks up and dials again."""
        self._suspended = False
        self._core.resume(self._loop.time())
        for joined in self._topics.values():
            joined.discovery.resume()
        self._soon()

    # topics

    def join(self, topic: bytes, *, server: bool = True, client: bool = True) -> Topic:
        """Joins a topic of 32 bytes.  `server`: others find us there; `client`: we find others and dial them.

        May be called again for the same topic: each handle is left separately, and the roles add up.  Raises ValueError
        for a topic of another length, and while the swarm is not running.
        """
        self._check()
        if len(topic) != 32:
            raise ValueError("a topic has 32 bytes")
        handle = Topic(self, topic, server=server, client=client)
        joined = self._topics.get(topic)
        if joined is not None:
            joined.handles.append(handle)
            self.roles_changed(topic)
            return handle
        if server:
            self.listen()
        self._core.dial_for(topic, client)
        discovery = TopicDiscovery(
            self.host,
            topic,
            self.key,
            on_peer=lambda record: self._found(topic, record),
            on_local=lambda key, addresses: self._found_here(topic, key, addresses),
            server=server,
            client=client,
            mdns=self._mdns,
            rng=self._rng,
        )
        if self._suspended:
            discovery.suspend()
        self._topics[topic] = JoinedTopic(discovery, [handle])
        return handle

    async def leave(self, topic: bytes) -> None:
        """Ends every handle on that topic and withdraws our record.  Connections stay open."""
        discovery = self._end_topic(topic)
        if discovery is not None:
            await discovery.wait_closed()
            self._leaving.discard(discovery)

    def listen(self) -> None:
        """Lets peers that know our key dial us; joining as a server includes it.  Raises ValueError unless running."""
        self._check()
        if not self._listening:
            self._listening = True
            self.host.listen(self.key)
            if self._mdns is not None:
                self._mdns.join(rendezvous_of(self.key.public), self.key.public)

    async def flush(self) -> bool:
        """Until every topic is announced and looked up, and every peer found by then is connected or has failed.

        False: the network was not reached.
        """
        reached = await asyncio.gather(*(joined.discovery.flushed() for joined in self._topics.values()))
        pending = self._core.pending()
        while pending & self._core.pending():
            await self._change.wait()
            pending &= self._core.pending()
        return all(reached)

    # peers

    def join_peer(self, key: bytes) -> None:
        """Stays connected to the peer with this key, whatever the topics.  Raises ValueError unless running."""
        self._check()
        self._core.join_peer(key, self._loop.time())
        if self._mdns is not None and key != self.key.public:
            self._mdns.join(rendezvous_of(key), None, self._located)
        self._soon()

    def leave_peer(self, key: bytes) -> None:
        """Ends `join_peer`.  The connection stays open but is not replaced."""
        self._core.leave_peer(key)
        if self._mdns is not None:
            self._mdns.leave(rendezvous_of(key))

    def ban(self, key: bytes) -> None:
        """Closes a peer's connection, dials and answers it no more until `unban`.  Raises ValueError unless running."""
        self._check()
        self._core.ban(key, self._loop.time())
        self._serve()

    def unban(self, key: bytes) -> None:
        """Ends `ban`."""
        self._core.unban(key)

    def peer(self, key: bytes) -> PeerInfo | None:
        """What is known of a peer, None if nothing is."""
        return self._core.info(key)

    @property
    def peers(self) -> list[PeerInfo]:
        """All peers known or connected, sorted by key."""
        return [info for key in sorted(self._core.keys()) if (info := self._core.info(key)) is not None]

    @property
    def connections(self) -> dict[bytes, Connection]:
        """The open connections by their peers' keys."""
        return {key: connection for key, (connection, _) in self._taken.items()}

    def __aiter__(self) -> AsyncIterator[Connection]:
        """Every connection: those that are open already, then others as they open; ends when the swarm closes."""
        queue = ConnectionQueue(list(self.connections.values()), ended=False)
        self._readers.append(queue)
        return queue

    def status(self) -> SwarmStatus:
        """Topics, counts of peers, and how the node below stands in the network."""
        topics = {topic: (each.discovery.server, each.discovery.client) for topic, each in self._topics.items()}
        networks = tuple(self._mdns.networks) if self._mdns is not None else ()
        return SwarmStatus(self.key.public, topics, self._core.status(), networks, self.host.status())

    # for topic handles (`TopicOwner`)

    async def topic_flushed(self, topic: bytes) -> bool:
        """See `Topic.flushed`."""
        return await self._topics[topic].discovery.flushed()

    def refresh_topic(self, topic: bytes) -> None:
        """See `Topic.refresh`."""
        self._topics[topic].discovery.refresh()

    def roles_changed(self, topic: bytes) -> None:
        """Gives the topic the roles of all its handles together."""
        joined = self._topics[topic]
        server = any(handle.server for handle in joined.handles)
        client = any(handle.client for handle in joined.handles)
        if server:
            self.listen()
        self._core.dial_for(topic, client)
        joined.discovery.set_role(server=server, client=client)

    async def leave_handle(self, handle: Topic) -> None:
        """See `Topic.leave`."""
        if handle.left:
            return
        joined = self._topics[handle.topic]
        if joined.handles == [handle]:
            await self.leave(handle.topic)
            return
        joined.handles.remove(handle)
        handle.end()
        self.roles_changed(handle.topic)

    def connections_at(self, topic: bytes) -> list[Connection]:
        """The open connections that were given to that topic."""
        return [connection for connection, topics in self._taken.values() if topic in topics]

    def _check(self) -> None:
        if not self._started or self._closed:
            raise ValueError("the swarm is not running: use it inside `async with`")

    # what happens

    def _accepts(self, local: bytes, remote: bytes) -> bool:
        return self._accept(remote) and self._core.accepts(remote, self._loop.time())

    def _found(self, topic: bytes, record: PeerRecord) -> None:
        if self._accept(record.key):
            self._core.found(topic, record.key, self._loop.time(), relays=record.relays)
            self._give(topic, record.key)
            self._soon()

    def _found_here(self, topic: bytes, key: bytes, addresses: tuple[Address, ...]) -> None:
        if self._accept(key):
            self._core.found(topic, key, self._loop.time(), addresses=addresses)
            self._give(topic, key)
            self._soon()

    def _located(self, key: bytes, addresses: tuple[Address, ...]) -> None:
        self._core.located(key, addresses, self._loop.time())
        self._soon()

    def _heard(self, event: DhtEvent) -> None:
        if isinstance(event, Woken) or (isinstance(event, NetworkChanged) and event.online):
            self._core.retry_now(self._loop.time())
            self._soon()

    def _on_incoming(self, connection: Connection) -> None:
        """A peer dialled us."""
        self._opened(connection)

    def _opened(self, connection: Connection) -> None:
        self._held[connection.id] = connection
        key = connection.remote_key
        watch = self._loop.create_task(self._watch_connection(key, connection))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        self._core.opened(key, connection.id, connection.initiator, self._loop.time())
        self._serve()

    async def _watch_connection(self, key: bytes, connection: Connection) -> None:
        """Waits in a task: `on_close` belongs to the application."""
        await connection.wait_closed()
        self._held.pop(connection.id, None)
        if key in self._taken and self._taken[key][0] is connection:
            del self._taken[key]
        self._core.closed(key, connection.id, self._loop.time())
        self._soon()

    # the tick: effects of the core, then the timer

    def _soon(self) -> None:
        if self._tick is None:
            self._tick = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        effects = self._core.take_effects()
        while effects:
            for effect in effects:
                match effect:
                    case Dial():
                        self._dials[effect.key] = self._loop.create_task(self._dial(effect))
                    case Abandon(key):
                        if key in self._dials:
                            self._dials[key].cancel()
                    case Take(key, conn, topics):
                        self._take(key, self._held[conn], topics)
                    case Drop(conn):
                        connection = self._held.pop(conn, None)
                        if connection is not None:
                            connection.abort("duplicate connection", Reason.CLOSED)
            effects = self._core.take_effects()
        change, self._change = self._change, asyncio.Event()
        change.set()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._core.next_wake()
        if at < float("inf"):
            self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._core.wake(self._loop.time())
        self._serve()

    async def _dial(self, dial: Dial) -> None:
        try:
            connection = await self.host.connect(dial.key, dial.addresses, self.key, relays=dial.relays)
        except (KithkinError, ValueError, OSError):  # no answer, or an invalid key or address
            self._core.failed(dial.key, self._loop.time())
            self._soon()
        else:
            self._opened(connection)
        finally:
            if self._dials.get(dial.key) is asyncio.current_task():
                del self._dials[dial.key]

    def _take(self, key: bytes, connection: Connection, topics: frozenset[bytes]) -> None:
        self._taken[key] = (connection, set())
        served = {topic for topic, joined in self._topics.items() if joined.discovery.server}
        for topic in topics or served:
            self._give(topic, key)
        for reader in self._readers:
            reader.give(connection)
        info = self._core.info(key)
        if self.on_connection is not None and info is not None:
            try:
                self.on_connection(connection, info)
            except Exception as error:  # an error of the application ends its own connection and no dial under way
                context = {"message": "error in a swarm's on_connection", "exception": error}
                self._loop.call_exception_handler(context)
                connection.abort("error", Reason.CLOSED)

    def _give(self, topic: bytes, key: bytes) -> None:
        """Gives the connection to that peer, if there is one, to a topic that has not had it."""
        joined = self._topics.get(topic)
        if joined is None or key not in self._taken:
            return
        connection, topics = self._taken[key]
        if topic not in topics:
            topics.add(topic)
            for handle in joined.handles:
                handle.give(connection)

    def _end_topic(self, topic: bytes) -> TopicDiscovery | None:
        joined = self._topics.pop(topic, None)
        if joined is None:
            return None
        for handle in joined.handles:
            handle.end()
        self._core.dial_for(topic, False)
        discovery = joined.discovery
        discovery.close()
        self._leaving.add(discovery)
        return discovery
