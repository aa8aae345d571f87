"""A swarm: connections to everybody who joined the same topics.  hyperswarm's idea, in Python's manner.

    async with Swarm(bootstrap=PUBLIC_NODES) as swarm:
        async for connection in swarm.join(topic):          # topic: 32 bytes that all of them know
            connection.send(b"hello")

One connection a pair of peers, whatever number of topics they share: a connection belongs to the pair.  It is given to
every topic where its peer is known to be, and one of a peer that dialled us and was never met goes to every topic that
we serve.  Who joins several topics therefore reads a connection in one place: with `swarm.on_connection`, or with
`async for connection in swarm`, and Protomux channels inside it.
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
from netstack.swarm.core.effects import Abandon, Dial, Drop, Limits, Status, Take
from netstack.swarm.core.lan import rendezvous_of
from netstack.swarm.core.peer import PeerInfo
from netstack.swarm.core.swarm import SwarmCore
from netstack.swarm.shell.topic import Feed, Topic
from netstack.swarm.shell.topic_discovery import Meeting
from netstack.udp.port import Address

if TYPE_CHECKING:
    from netstack.swarm.shell.mdns import Mdns

# The nodes that the public network of the HyperDHT family is entered by.  Nothing here asks them by default.
PUBLIC_NODES: tuple[Address, ...] = (("88.99.3.86", 49737), ("142.93.90.113", 49737), ("138.68.147.8", 49737))

FAREWELL = 1.0  # seconds that taking back what was announced may hold up the end


@dataclass(frozen=True, slots=True)
class SwarmStatus:
    """A swarm at one moment."""

    key: bytes
    topics: dict[bytes, tuple[bool, bool]]  # topic: (server, client)
    peers: Status
    networks: tuple[str, ...]  # our addresses in the networks where we are found without the DHT
    host: HostStatus


@dataclass(slots=True)
class Gathering:
    """Everything at one topic."""

    meeting: Meeting
    places: list[Topic]


class Swarm:
    """`key`: who we are, new if None.  `bootstrap`, `known`: nodes to enter the DHT by; neither, and it stays outside.
    `lan`: found by mDNS too; True, or the addresses of the interfaces to use.  `accept(their key)` False: a stranger
    who is neither dialled nor answered.  `relay`: key of a blind relay for where no path can be punched.
    `public_host`: our address, where strangers surely reach us there.
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
        limits: Limits | None = None,
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
        self._gatherings: dict[bytes, Gathering] = {}
        self._core = SwarmCore(self.key.public, rng, limits)
        self._accept = accept
        self._bind = host, port
        self._lan = lan
        self._rng = rng
        self._mdns: Mdns | None = None
        self._dials: dict[bytes, asyncio.Task[None]] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._leaving: set[Meeting] = set()
        self._held: dict[int, Connection] = {}  # every open connection, spares too
        self._taken: dict[bytes, tuple[Connection, set[bytes]]] = {}  # by key: the one in use, topics it was given to
        self._readers: list[Feed] = []
        self._listening = False
        self._suspended = False
        self._started = self._closed = False
        self._change = asyncio.Event()  # replaced at every use
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._unwatch: Callable[[], None] = lambda: None

    # life

    async def start(self) -> None:
        """Binds, and enters the networks.  `async with` does it.  Raises OSError as binding does."""
        if self._started:
            raise ValueError("the swarm was started already")
        self._loop = asyncio.get_running_loop()
        await self.host.start(*self._bind)
        self._started = True
        self.host.on_connection = self._arrived
        self._unwatch = self.host.watch(self._heard)
        if self._lan:
            from netstack.swarm.shell.mdns import Mdns

            interfaces = None if self._lan is True else self._lan
            self._mdns = Mdns(self.host.address[1], interfaces=interfaces, rng=self._rng)
            await self._mdns.start()

    async def close(self) -> None:
        """Takes back what was announced, closes every connection, frees the port.  May be called twice.

        A network that is gone holds it up for a second at most; what could not be taken back runs out by itself.
        """
        if not self._started:
            return
        self._closed = True
        self._unwatch()
        self._suspended = True
        self._core.suspend()  # from here on nobody is dialled, answered or waited for
        self._serve()
        for topic in list(self._gatherings):
            self._dissolve(topic)
        for reader in self._readers:
            reader.end()
        await asyncio.gather(*self._dials.values(), return_exceptions=True)
        leaving = list(self._leaving)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await asyncio.gather(*(meeting.wait_closed() for meeting in leaving))
        for meeting in leaving:
            meeting.abandon()
            await meeting.wait_closed()
        if self._mdns is not None:
            await self._mdns.close()
        await self.host.stop()
        await asyncio.gather(*self._watches)
        for handle in (self._timer, self._turn):
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
        """Closes everything and is silent until `resume`: for an app that goes to the background."""
        self._suspended = True
        self._core.suspend()
        for gathering in self._gatherings.values():
            gathering.meeting.suspend()
        self._serve()
        await asyncio.gather(*(gathering.meeting.wait_closed() for gathering in self._gatherings.values()))

    def resume(self) -> None:
        self._suspended = False
        self._core.resume(self._loop.time())
        for gathering in self._gatherings.values():
            gathering.meeting.resume()
        self._soon()

    # topics

    def join(self, topic: bytes, *, server: bool = True, client: bool = True) -> Topic:
        """A place at a topic.  `server`: others find us there; `client`: we look for others and dial them.

        May be called again for the same topic: every place is left by itself, and the roles add up.  Raises ValueError
        for a topic of another length, and where the swarm is not running.
        """
        self._check()
        if len(topic) != 32:
            raise ValueError("a topic has 32 bytes")
        place = Topic(self, topic, server=server, client=client)
        gathering = self._gatherings.get(topic)
        if gathering is not None:
            gathering.places.append(place)
            self.roles_changed(topic)
            return place
        if server:
            self.listen()
        self._core.want(topic, client)
        meeting = Meeting(
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
            meeting.suspend()
        self._gatherings[topic] = Gathering(meeting, [place])
        return place

    async def leave(self, topic: bytes) -> None:
        """Leaves every place at that topic; our record is taken back.  Connections stay."""
        meeting = self._dissolve(topic)
        if meeting is not None:
            await meeting.wait_closed()
            self._leaving.discard(meeting)

    def listen(self) -> None:
        """Lets peers who know our key dial us; joining a topic as a server does."""
        self._check()
        if not self._listening:
            self._listening = True
            self.host.listen(self.key)
            if self._mdns is not None:
                self._mdns.join(rendezvous_of(self.key.public), self.key.public)

    async def flush(self) -> bool:
        """Until every topic is announced and looked up, and whoever was found by then is connected, or could not be.

        False: the network was not reached.
        """
        reached = await asyncio.gather(*(gathering.meeting.flushed() for gathering in self._gatherings.values()))
        pending = self._core.pending()
        while pending & self._core.pending():
            await self._change.wait()
            pending &= self._core.pending()
        return all(reached)

    # peers

    def join_peer(self, key: bytes) -> None:
        """Stays connected to the peer with this key, wherever it is found, whatever topics there are."""
        self._check()
        self._core.join_peer(key, self._loop.time())
        if self._mdns is not None and key != self.key.public:
            self._mdns.join(rendezvous_of(key), None, self._located)
        self._soon()

    def leave_peer(self, key: bytes) -> None:
        """That peer is like any other from now on.  Its connection stays."""
        self._core.leave_peer(key)
        if self._mdns is not None:
            self._mdns.leave(rendezvous_of(key))

    def ban(self, key: bytes) -> None:
        """Closes its connection, and neither dials nor answers it any more."""
        self._check()
        self._core.ban(key, self._loop.time())
        self._serve()

    def unban(self, key: bytes) -> None:
        self._core.unban(key)

    def peer(self, key: bytes) -> PeerInfo | None:
        """What is known of a peer; None for one never heard of."""
        return self._core.info(key)

    @property
    def peers(self) -> list[PeerInfo]:
        """All peers known or connected, in the order of their keys."""
        return [info for key in sorted(self._core.keys()) if (info := self._core.info(key)) is not None]

    @property
    def connections(self) -> dict[bytes, Connection]:
        """The open connections by their peers' keys."""
        return {key: connection for key, (connection, _) in self._taken.items()}

    def __aiter__(self) -> AsyncIterator[Connection]:
        """Every connection, those that are open already first; ends with the swarm."""
        feed = Feed(list(self.connections.values()), ended=False)
        self._readers.append(feed)
        return feed

    def status(self) -> SwarmStatus:
        topics = {topic: (each.meeting.server, each.meeting.client) for topic, each in self._gatherings.items()}
        networks = tuple(self._mdns.networks) if self._mdns is not None else ()
        return SwarmStatus(self.key.public, topics, self._core.status(), networks, self.host.status())

    # for places

    async def topic_flushed(self, topic: bytes) -> bool:
        return await self._gatherings[topic].meeting.flushed()

    def refresh_topic(self, topic: bytes) -> None:
        self._gatherings[topic].meeting.refresh()

    def roles_changed(self, topic: bytes) -> None:
        gathering = self._gatherings[topic]
        server = any(place.server for place in gathering.places)
        client = any(place.client for place in gathering.places)
        if server:
            self.listen()
        self._core.want(topic, client)
        gathering.meeting.want(server=server, client=client)

    async def leave_place(self, place: Topic) -> None:
        if place.left:
            return
        gathering = self._gatherings[place.topic]
        if gathering.places == [place]:
            await self.leave(place.topic)
            return
        gathering.places.remove(place)
        place.end()
        self.roles_changed(place.topic)

    def connections_at(self, topic: bytes) -> list[Connection]:
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
            self._core.hurry(self._loop.time())
            self._soon()

    def _arrived(self, connection: Connection) -> None:
        """Somebody dialled us."""
        self._opened(connection)

    def _opened(self, connection: Connection) -> None:
        self._held[connection.id] = connection
        key = connection.remote_key
        watch = self._loop.create_task(self._until_closed(key, connection))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        self._core.opened(key, connection.id, connection.initiator, self._loop.time())
        self._serve()

    async def _until_closed(self, key: bytes, connection: Connection) -> None:
        """A task and not `on_close`, which is the application's."""
        await connection.wait_closed()
        self._held.pop(connection.id, None)
        if key in self._taken and self._taken[key][0] is connection:
            del self._taken[key]
        self._core.closed(key, connection.id, self._loop.time())
        self._soon()

    # turns

    def _soon(self) -> None:
        if self._turn is None:
            self._turn = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        effects = self._core.effects()
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
            effects = self._core.effects()
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
        except (KithkinError, ValueError, OSError):  # nobody there, or a key or address that is none
            self._core.failed(dial.key, self._loop.time())
            self._soon()
        else:
            self._opened(connection)
        finally:
            if self._dials.get(dial.key) is asyncio.current_task():
                del self._dials[dial.key]

    def _take(self, key: bytes, connection: Connection, topics: frozenset[bytes]) -> None:
        self._taken[key] = (connection, set())
        served = {topic for topic, gathering in self._gatherings.items() if gathering.meeting.server}
        for topic in topics or served:
            self._give(topic, key)
        for reader in self._readers:
            reader.give(connection)
        info = self._core.info(key)
        if self.on_connection is not None and info is not None:
            try:
                self.on_connection(connection, info)
            except Exception as error:  # the application's mistake ends its own connection, and no dial under way
                context = {"message": "error in a swarm's on_connection", "exception": error}
                self._loop.call_exception_handler(context)
                connection.abort("error", Reason.CLOSED)

    def _give(self, topic: bytes, key: bytes) -> None:
        """The connection to that peer, if there is one, goes to a topic that has not had it."""
        gathering = self._gatherings.get(topic)
        if gathering is None or key not in self._taken:
            return
        connection, topics = self._taken[key]
        if topic not in topics:
            topics.add(topic)
            for place in gathering.places:
                place.give(connection)

    def _dissolve(self, topic: bytes) -> Meeting | None:
        gathering = self._gatherings.pop(topic, None)
        if gathering is None:
            return None
        for place in gathering.places:
            place.end()
        self._core.want(topic, False)
        meeting = gathering.meeting
        meeting.close()
        self._leaving.add(meeting)
        return meeting
