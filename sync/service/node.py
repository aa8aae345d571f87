"""The node: the asyncio shell around the engine.

It reads the clock, carries frames between the engine and the host, performs effects in their order, sets one timer,
and tells whoever listens.  Everything happens in one event loop, one turn at a time: what happened goes into the
engine, `settle` commits, and only then do effects leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from identity.errors import DecodeError, KithkinError
from netstack.events import Reason
from netstack.shell.connection import Connection
from netstack.shell.host import ConnectError, Host
from netstack.swarm.shell.mdns import Mdns
from netstack.udp.port import Address
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.service import models
from sync.service.api import ANY_HOST, NO_HOST, Network
from sync.service.bootstrap import bootstrap_nodes
from sync.service.discovery import Found, TopicDiscoveries
from sync.service.events import Announcer
from sync.service.watch import Watch

KEEP_NODES = 600.0  # seconds between two times that the profile learns which DHT nodes answer
MAX_EVENTS = 10_000  # that a slow reader may have waiting
Clock = Callable[[], float]


class Node:
    """Runs one engine.  `async with node:` until the block ends; without a network it only commits."""

    def __init__(self, engine: Engine, network: Network | None, *, clock: Clock = time.time) -> None:
        self.engine = engine
        self.clock = clock
        self.host: Host | None = None
        self.places: TopicDiscoveries | None = None
        self.network = network
        self.address: Address | None = None
        self._announcer = Announcer(engine.profile)
        self._watch = Watch(engine.profile)
        self._connections: dict[int, Connection] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._readers: set[asyncio.Queue[models.Event | None]] = set()
        self._changed: dict[bytes, asyncio.Event] = {}
        self._flows: dict[int, asyncio.Queue[object]] = {}
        self._stopped = False
        self._nodes_due = float("inf")

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Node:
        self._loop = asyncio.get_running_loop()
        if self.network is not None:
            await self.go_online(self.network)
        else:
            self.turn()
        return self

    async def go_online(self, network: Network) -> None:
        """Binds the port, accepts peers, dials.  Raises `not_allowed` where the port cannot be had."""
        profile = self.engine.profile
        host = await new_host(network, profile.nodes())
        self.address = await start_host(host, network, profile.port())
        self.host, self.network = host, network
        self.places = TopicDiscoveries(host, await local_network(network, self.address), self._found)
        host.on_connection = self._incoming
        profile.keep_port(self.address[1])
        self._nodes_due = self.clock() + KEEP_NODES
        self.engine.online(hints_of(network, self.address), self.clock())
        self.turn()

    async def __aexit__(self, *_: object) -> None:
        self._keep_nodes()
        self._stopped = True
        for task in list(self._dials):
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        if self.places is not None:
            await self.places.close()
        if self.host is not None:
            await self.host.stop()
        for reader in self._readers:
            reader.put_nowait(None)

    # -- turns --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Commits what was done to the engine and performs what follows.  Raises what the store refuses with."""
        now = self.clock()
        try:
            self._settle(now)
        finally:
            if self.host is not None:
                self.host.flush()  # a message is on its way before its sender is told that it is safe
            if self._readers:
                self._say(self._watch.lines(int(now * 1000)))
            self._arm()

    def _settle(self, now: float) -> None:
        """Until nothing was disconnected: what a lost connection brings about (frames for the others, the next dial)
        is not left until something else happens.  Ends, because each round gives up a connection."""
        refused: KithkinError | None = None
        lost = True
        while lost:
            try:
                self.engine.settle(now)
            except KithkinError as error:
                refused = refused or error
            finally:
                lost = self._perform(self.engine.take())
        if refused is not None:
            raise refused

    def _perform(self, effects: list[e.Effect]) -> bool:
        """Performs effects in their order; whether that ended a connection, of which the engine now knows."""
        host, lost = self.host, False
        for effect in effects:
            match effect:
                case e.Transmit(conn, frame):
                    connection = self._connections.get(conn)
                    if connection is not None:
                        connection.send(frame)
                case e.Disconnect(conn, _):
                    connection = self._connections.get(conn)
                    if connection is not None:
                        connection.close()
                        self._gone(conn)
                        lost = True
                case e.Dial():
                    if host is not None and not self._stopped:
                        task = self._loop.create_task(self._dial(host, effect))
                        self._dials.add(task)
                        task.add_done_callback(self._dials.discard)
                case e.Listen(key, announce):
                    if host is not None:
                        host.listen(key, announce)
                case e.Unlisten(public):
                    if host is not None:
                        host.unlisten(public)
                case e.Meet(topic, key, announce):
                    if self.places is not None and not self._stopped:
                        self.places.meet(topic, key, announce)
                case e.Part(topic):
                    if self.places is not None:
                        self.places.part(topic)
                case e.FlowStep(flow, step):
                    waiting = self._flows.get(flow)
                    if waiting is not None:
                        waiting.put_nowait(step)
                case _:
                    self._tell(effect)
        return lost

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stopped:
            return
        now = self.clock()
        self._timer = self._loop.call_later(self.engine.next_wake(now) - now, self._wake)

    def _wake(self) -> None:
        now = self.clock()
        if now >= self._nodes_due:
            self._nodes_due = now + KEEP_NODES
            self._keep_nodes()
        self.engine.wake(now)
        self._quiet_turn()

    def _quiet_turn(self) -> None:
        """A turn that nobody waits for: a full disk is told at the next command, and tried again meanwhile."""
        with contextlib.suppress(KithkinError):
            self.turn()

    def _keep_nodes(self) -> None:
        """DHT nodes that answer, for the next start."""
        if self.host is not None and self.host.dht is not None:
            self.engine.profile.keep_nodes(self.host.known_nodes())
            self._quiet_turn()

    # -- connections --------------------------------------------------------------------------------------------

    def _found(self, found: Sequence[Found]) -> None:
        """Keys that stand at our topics."""
        if self._stopped:
            return
        for one in found:
            self.engine.found(one.topic, one.key, one.relays, self.clock(), one.addresses)
        self._quiet_turn()

    def connection(self, conn: int) -> Connection | None:
        """The connection behind one of the engine's peers."""
        return self._connections.get(conn)

    def _incoming(self, connection: Connection) -> None:
        self._attach(connection, None)

    async def _dial(self, host: Host, dial: e.Dial) -> None:
        try:
            addresses = [address_of(text) for text in dial.addresses]
            known = [address for address in addresses if address is not None]
            connection = await host.connect(dial.remote, known, dial.local, dial.relays, by_key=dial.announced)
        except (ConnectError, DecodeError, ValueError):
            self.engine.failed(dial.attempt, self.clock())
            self._quiet_turn()
            return
        self._attach(connection, dial.attempt)

    def _attach(self, connection: Connection, attempt: int | None) -> None:
        conn = connection.id
        self._connections[conn] = connection
        host, port = connection.address
        self.engine.opened(
            conn,
            attempt=attempt,
            local=connection.local_key,
            remote=connection.remote_key,
            handshake=connection.handshake_hash,
            address=f"{host}:{port}",
            now=self.clock(),
        )
        connection.on_close = lambda reason: self._closed(conn, reason)
        connection.on_frames = lambda frames: self._frames(conn, frames)
        self._quiet_turn()

    def _frames(self, conn: int, frames: Sequence[bytes]) -> None:
        self.engine.frames([(conn, frame) for frame in frames], self.clock())
        self._quiet_turn()

    def _closed(self, conn: int, reason: Reason) -> None:
        if conn in self._connections:
            self._gone(conn)
            self._quiet_turn()

    def _gone(self, conn: int) -> None:
        """The engine hears of it once, whoever ended it."""
        if self._connections.pop(conn, None) is not None:
            self.engine.closed(conn, self.clock())

    # -- who listens --------------------------------------------------------------------------------------------

    def _tell(self, event: e.Effect) -> None:
        space = getattr(event, "space", None)
        if isinstance(space, bytes) and (changed := self._changed.pop(space, None)) is not None:
            changed.set()
        if self._readers:
            self._say(self._announcer.lines(event, int(self.clock() * 1000)))

    def _say(self, lines: Iterable[models.Event]) -> None:
        for line in lines:
            if self.host is not None and self._readers:
                self.host.defer()
            for reader in self._readers:
                if reader.qsize() < MAX_EVENTS:
                    reader.put_nowait(line)

    async def events(self) -> AsyncIterator[models.Event]:
        reader: asyncio.Queue[models.Event | None] = asyncio.Queue()
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
    def steps(self, flow: int) -> Iterator[asyncio.Queue[object]]:
        """The steps of a pairing or an invite."""
        queue: asyncio.Queue[object] = asyncio.Queue()
        self._flows[flow] = queue
        try:
            yield queue
        finally:
            del self._flows[flow]
            self.engine.onboarding.cancel(flow)
            if not self._stopped:
                self._quiet_turn()


async def new_host(network: Network, known: Sequence[Address] = ()) -> Host:
    """A host in the DHT that the network names, or in none.  known: nodes kept from an earlier run."""
    if network.bootstrap is not None and not network.bootstrap:
        return Host()
    return Host(bootstrap=await bootstrap_nodes(network.bootstrap), known=known)


async def local_network(network: Network, address: Address) -> Mdns | None:
    """Discovery on the local network, where it is wanted and the port can be reached from there."""
    if not network.lan or ipaddress.ip_address(address[0]).is_loopback:
        return None
    mdns = Mdns(address[1])
    await mdns.start()
    return mdns


async def start_host(host: Host, network: Network, kept: int) -> Address:
    """Binds to the port asked for, else the one kept, else any.  Raises `not_allowed` where the one asked for is
    taken."""
    for port in (network.port,) if network.port else dict.fromkeys((kept, 0)):
        try:
            return await host.start(network.host, port)
        except OSError as error:
            if port == network.port and port:
                raise KithkinError("not_allowed", f"Port {port} cannot be used: {error.strerror}.") from None
    raise KithkinError("not_allowed", "No UDP port can be used here.")


def hints_of(network: Network, address: Address) -> tuple[str, ...]:
    """Where to tell peers to find this node: what was said, else what is bound, else this machine's addresses."""
    host, port = address
    if network.advertise == NO_HOST:
        return ()
    if network.advertise is not None:
        return (f"{network.advertise}:{port}",)
    if host != ANY_HOST:
        return (f"{host}:{port}",)
    return tuple(f"{one}:{port}" for one in local_addresses() or ["127.0.0.1"])


def local_addresses() -> list[str]:
    """The IPv4 address that this machine uses towards others.  Connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


def address_of(text: str) -> Address | None:
    """ "host:port" with an IP address; None for anything else."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    return host.strip("[]"), int(port)
