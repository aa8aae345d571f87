"""The asyncio shell of one node: sockets, one timer, and connections as objects.

All decisions are the core's (`endpoint.py`).  The shell reads the clock and the kernel's randomness, carries
datagrams, and turns events into calls.  Nothing outlives `stop`: no task, no timer, no socket.

    async with Host(bootstrap=[("192.0.2.7", 49737)]) as host:
        host.listen(key)                               # findable by its key from anywhere
        host.on_connection = greet
        connection = await host.connect(remote_key)    # by key through the DHT, or by addresses without it
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from identity.errors import KithkinError
from identity.keys import Random, SigningKey
from netstack.dht.events import DhtEvent, Mode
from netstack.dht.limits import DhtLimits
from netstack.dht.messages import Firewall
from netstack.dht.node import DhtNode
from netstack.endpoint import Accept, EndpointCore
from netstack.events import Closed, Ended, Event, Failed, Frame, Moved, Opened, PathKind, Reason, Writable
from netstack.limits import Limits
from netstack.ports import CLIENT, SERVER, SERVER6
from netstack.shell_connection import Connection
from netstack.shell_dht import DhtCalls
from netstack.shell_local import local_hosts, local_hosts6
from netstack.shell_ports import Ports
from netstack.shell_surroundings import Surroundings
from netstack.udp import Address, Datagram, ShellName
from netstack.udx.congestion import CongestionControl

FAREWELL = 0.5  # seconds that taking back announcements may hold up the end
LOCAL_LIFE = 10.0  # seconds for which the list of our interfaces is believed

CODES = {
    Reason.NO_ANSWER: ("timeout", "nothing answers at the addresses of that peer"),
    Reason.NO_PATH: ("timeout", "that peer answers, but no connection comes through"),
    Reason.NOT_THERE: ("not_found", "the addresses answer, but nobody with that key is there"),
    Reason.REFUSED: ("not_allowed", "that peer refused the connection"),
}


class ConnectError(KithkinError):
    """A connection that did not come to be; `reason` says why, `code` is of the command line contract."""

    def __init__(self, reason: Reason) -> None:
        code, message = CODES.get(reason, ("not_found", "that peer went away while connecting"))
        super().__init__(code, message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What a node knows of its own standing.  `address` port 0: the NAT gives every destination another one."""

    nat: Firewall
    address: Address | None  # as others see it
    reachable: bool  # strangers reach our port
    ephemeral: bool  # we store nothing for others and have no id
    online: bool  # the DHT answers
    relays: tuple[Address, ...]  # DHT nodes that pass handshakes on to our keys
    nodes: int  # in the routing table
    connections: int


class Host(DhtCalls):
    """One node.  `accept(our key, their key)` False leaves a stranger without any answer.

    `bootstrap` (or `known`, or mode PERSISTENT) puts it into a DHT: nodes to start from, and nodes of an earlier run.
    `public_host`: where strangers surely reach us, "" where that has to be found out.  `relay_through`: the key of a
    blind relay for when nothing else connects.  `addresses`: told to peers beside what the DHT sees.
    """

    def __init__(
        self,
        *,
        rng: Random = os.urandom,
        accept: Accept = lambda local, remote: True,
        limits: Limits | None = None,
        addresses: Sequence[Address] = (),
        congestion: Callable[[], CongestionControl] | None = None,
        shell: ShellName = "auto",
        bootstrap: Sequence[Address] = (),
        known: Sequence[Address] = (),
        mode: Mode = Mode.ADAPTIVE,
        public_host: str = "",
        relay_through: bytes | None = None,
        dht_limits: DhtLimits | None = None,
    ) -> None:
        self.dht: DhtNode | None = None
        if bootstrap or known or mode is Mode.PERSISTENT:
            self.dht = DhtNode(
                rng, 0.0, bootstrap=bootstrap, known=known, mode=mode, host=public_host, limits=dht_limits
            )
        self.core = EndpointCore(
            rng,
            accept=accept,
            limits=limits,
            addresses=addresses,
            congestion=congestion,
            dht=self.dht,
            local=self._local,
            local6=self._local6,
            relay_through=relay_through,
        )
        self.connections: dict[int, Connection] = {}
        self.on_connection: Callable[[Connection], None] | None = None  # for those that others dialled
        self._shell_name: ShellName = shell
        self._ports: Ports | None = None
        self._loop: asyncio.AbstractEventLoop
        self._dialing: dict[int, asyncio.Future[Connection]] = {}
        self._surroundings: Surroundings | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._in_turn = False
        self._deferred = False
        self._waiting: list[asyncio.Future[None]] = []  # for anything to happen
        self._watchers: list[Callable[[DhtEvent], None]] = []
        self._hosts: tuple[float, tuple[str, ...]] = (float("-inf"), ())
        self._hosts6: tuple[float, tuple[str, ...]] = (float("-inf"), ())

    async def start(self, host: str = "0.0.0.0", port: int = 0, host6: str | None = None) -> Address:
        """Binds and starts; returns the address bound.  Raises OSError as binding does.

        `host6`: where to bind the same port for IPv6, "" for nowhere, None for everywhere if `host` is everywhere.
        `async with` starts a host that is not started yet, on any port.
        """
        if self._ports is not None:
            raise ValueError("the host is started already")
        self._loop = asyncio.get_running_loop()
        ports = Ports(self._receive, self._soon, self._shell_name)
        try:
            address = await ports.bind(SERVER, host, port)
            client = await ports.bind(CLIENT, host, 0) if self.dht is not None else None
            if host6 or (host6 is None and host == "0.0.0.0"):
                with contextlib.suppress(OSError):  # a machine without IPv6, or the port is somebody else's there
                    await ports.bind(SERVER6, host6 or "::", address[1])
        except OSError:
            await ports.close()
            raise
        self._ports = ports
        if self.dht is not None and not address[0].startswith("127."):
            self._surroundings = Surroundings(self._slept, self._moved)
            self._surroundings.watch()
        if self.dht is not None and client is not None:
            self.dht.now = self._loop.time()
            self.dht.epoch = time.time() - self.dht.now
            self.dht.bound(CLIENT, client)
            self.dht.bound(SERVER, address)
            self._soon()
        return address

    @property
    def address(self) -> Address:
        """Where the port is bound."""
        address = self._ports.address(SERVER) if self._ports else None
        if address is None:
            raise ValueError("the host is not started")
        return address

    def listen(self, key: SigningKey, announce: bool = True) -> None:
        """Answers for `key`; in a DHT, three nodes pass handshakes on to us for as long as we listen."""
        self.core.listen(key, announce=announce)
        self._soon()

    def unlisten(self, public: bytes) -> None:
        self.core.unlisten(public)
        self._soon()

    def relay_for_others(self, key: SigningKey) -> None:
        """Serves as blind relay for whoever connects to `key` and pairs there."""
        self.core.relay_for_others(key)
        self._soon()

    async def announced(self, key: bytes) -> None:
        """Until our listening `key` can be found in the DHT."""
        while not self.core.announced(key):
            await self._progress()

    async def ready(self) -> None:
        """Until the first walk through the DHT is done; at once without one."""
        while self.dht is not None and not self.dht.upkeep.started:
            await self._progress()

    def watch(self, callback: Callable[[DhtEvent], None]) -> Callable[[], None]:
        """Tells what happens to our place in the DHT: other networks, sleep.  What it returns ends that."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback) if callback in self._watchers else None

    def status(self) -> HostStatus:
        if self.dht is None:
            return HostStatus(Firewall.UNKNOWN, None, False, True, False, (), 0, len(self.connections))
        dht = self.dht
        relays = {relay for key in self.core.listening for relay in self.core.relays_of(key)}
        return HostStatus(
            dht.nat,
            dht.address,
            dht.reachable,
            dht.ephemeral,
            dht.online,
            tuple(sorted(relays)),
            len(dht.table),
            len(self.connections),
        )

    async def connect(
        self,
        remote: bytes,
        addresses: Iterable[Address] = (),
        key: SigningKey | None = None,
        relays: Iterable[Address] = (),
        by_key: bool = True,
    ) -> Connection:
        """A connection to `remote`: at these addresses, through these DHT nodes, or through those that know it.

        All ways are tried beside each other; `by_key` False leaves the DHT out, but for those `relays`.  `key` None:
        one made for this alone.  Raises ConnectError, and DecodeError where `remote` is no key.  Cancelling leaves
        nothing behind.
        """
        if self._ports is None:
            raise ValueError("the host is not started")
        conn = self.core.connect(remote, addresses, key, self._loop.time(), relays, by_key)
        future: asyncio.Future[Connection] = self._loop.create_future()
        self._dialing[conn] = future
        self._soon()
        try:
            return await future
        except BaseException:
            # cancelled, perhaps in the very turn in which the connection opened
            self.core.abort(conn, self._loop.time())
            self._soon()
            raise
        finally:
            del self._dialing[conn]

    async def stop(self) -> None:
        """Ends every connection at once, tells the peers so, frees the port.  May be called twice."""
        ports = self._ports
        if ports is None:
            return
        if self._surroundings is not None:
            self._surroundings.stop()
            self._surroundings = None
        now = self._loop.time()
        for conn in [*self.connections, *self._dialing]:
            self.core.abort(conn, now)
        self.core.shut(now)
        self._serve()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while not self.core.quiet:
                    await self._progress()
        for conn in list(self.connections):  # whoever was half way in when we began to stop
            self.core.abort(conn, self._loop.time())
        self._serve()
        self._ports = None
        for handle in (self._timer, self._turn):
            if handle is not None:
                handle.cancel()
        await ports.close()

    async def __aenter__(self) -> Self:
        if self._ports is None:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # for connections

    def path(self, conn: int) -> PathKind:
        return self.core.path(conn)

    def rtt(self, conn: int) -> float:
        stream = self.core.stream(conn)
        return stream.rtt.smoothed if stream is not None and stream.rtt.known else 0.0

    def send(self, conn: int, frame: bytes) -> bool:
        room = self.core.send(conn, frame, self._loop.time())
        self._soon()
        return room

    def end(self, conn: int) -> None:
        self.core.end(conn, self._loop.time())
        self._soon()

    def close(self, conn: int) -> None:
        self.core.close(conn, self._loop.time())
        self._soon()

    def abort(self, conn: int, reason: Reason, detail: str) -> None:
        self.core.abort(conn, self._loop.time(), reason, detail)
        self._soon()

    def hold(self, conn: int, size: int) -> None:
        self.core.hold(conn, size, self._loop.time())
        self._soon()

    def queued(self, conn: int) -> int:
        return self.core.queued(conn)

    # for the DHT

    def _dht(self) -> DhtNode:
        if self.dht is None:
            return super()._dht()
        if self._ports is None:
            raise ValueError("the host is not started")
        self.dht.now = self._loop.time()
        return self.dht

    def _relays_of(self, key: bytes) -> tuple[Address, ...]:
        return self.core.relays_of(key)

    def _local(self) -> tuple[Address, ...]:
        """Our addresses in our own networks, for peers that turn out to be in one of them."""
        if self.dht is None or self._ports is None:
            return ()
        host, port = self.address
        if host != "0.0.0.0":
            return ((host, port),)
        now = self._loop.time()
        if now - self._hosts[0] > LOCAL_LIFE:
            self._hosts = now, local_hosts()
        return tuple((host, port) for host in self._hosts[1]) or (("127.0.0.1", port),)

    def _slept(self) -> None:
        if self.dht is not None:
            self.dht.epoch = time.time() - self._loop.time()  # the loop's clock stood still
            self.dht.slept(self._loop.time())
            self._soon()

    def _moved(self) -> None:
        if self.dht is not None:
            self._hosts = float("-inf"), ()
            self.dht.network_changed(self._loop.time())
            self._soon()

    def _local6(self) -> tuple[Address, ...]:
        address = self._ports.address(SERVER6) if self._ports is not None else None
        if address is None:
            return ()
        if address[0] != "::":
            return (address,)
        now = self._loop.time()
        if now - self._hosts6[0] > LOCAL_LIFE:
            self._hosts6 = now, local_hosts6()
        return tuple((host, address[1]) for host in self._hosts6[1])

    async def _progress(self) -> None:
        """Until something has happened."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        await future

    # turns: whatever happened, tell it, send what follows from it, wait for the next thing

    def flush(self) -> None:
        """Sends now what was put on connections, instead of when the loop comes round.  Nothing within a turn, at
        whose end it goes out anyway."""
        self._serve()

    def defer(self) -> None:
        """Within a turn: what it sends waits until the loop came round, so that whoever was just told of something
        hears of it first.  The kernel delivers to a peer on this machine while we send, which takes its time."""
        self._deferred = self._in_turn

    def _soon(self) -> None:
        """What is done between turns goes out at the end of this one, so that small frames share datagrams."""
        if self._turn is None and not self._in_turn and self._ports is not None:
            self._turn = self._loop.call_soon(self._serve)

    def _receive(self, batch: Sequence[Datagram], port: int) -> None:
        try:
            self.core.receive_batch(batch, self._loop.time(), port)
        finally:
            self._serve()

    def _wake(self) -> None:
        self._timer = None
        try:
            self.core.wake(self._loop.time())
        finally:
            self._serve()

    def _serve(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        ports = self._ports
        if ports is None or self._in_turn:
            return
        self._in_turn = True
        try:
            self._tell(self.core.events())
            if self._deferred:
                self._deferred = False
                self._turn = self._loop.call_soon(self._serve)
                return
            while ports.writable:
                batch = self.core.outgoing()
                ports.carry_out(self.core.effects())
                if batch:
                    ports.send(batch)
                if not self.core.restless:
                    break
                self._tell(self.core.events())
        except BaseException:
            self._arm()  # one thing that went wrong does not stop the others' clock
            raise
        finally:
            self._in_turn = False
        self._tell_watchers()
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._arm()

    def _arm(self) -> None:
        if self._ports is None or not self._ports.writable:
            return  # the shell calls when the kernel takes more; until then there is nothing to wake for
        at = self.core.next_wake()
        if at is None:
            return
        if self._timer is not None:
            if self._timer.when() <= at:
                return  # it comes early enough; what it finds then sets the next
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _tell(self, events: list[Event]) -> None:
        batch: list[bytes] = []
        owner = 0
        for event in events:
            if type(event) is Frame:
                if event.conn != owner and batch:
                    self._deliver(owner, batch)
                    batch = []
                owner = event.conn
                batch.append(event.data)
                continue
            if batch:
                self._deliver(owner, batch)
                batch = []
            self._happened(event)
        if batch:
            self._deliver(owner, batch)

    def _tell_watchers(self) -> None:
        for event in self.core.take_dht_events():
            for callback in list(self._watchers):
                try:
                    callback(event)
                except Exception as error:
                    self._loop.call_exception_handler({"message": "error in a watcher", "exception": error})

    def _deliver(self, conn: int, frames: list[bytes]) -> None:
        connection = self.connections.get(conn)
        if connection is not None:
            self._guarded(connection, lambda: connection.deliver(frames))

    def _happened(self, event: Event) -> None:
        connection = self.connections.get(event.conn)
        match event:
            case Opened():
                self._opened(event)
            case Failed(conn, reason):
                future = self._dialing.get(conn)
                if future is not None and not future.done():
                    future.set_exception(ConnectError(reason))
            case Moved(_, address, _) if connection is not None:
                connection.address = address
            case Writable() if connection is not None:
                connection.writable()
            case Ended() if connection is not None:
                self._guarded(connection, connection.peer_ended)
            case Closed(conn, reason, detail) if connection is not None:
                del self.connections[conn]
                self._guarded(connection, lambda: connection.over(reason, detail))
            case _:
                pass

    def _opened(self, event: Opened) -> None:
        connection = Connection(self, event)
        if event.initiator:
            future = self._dialing.get(event.conn)
            if future is None or future.done():
                self.core.abort(event.conn, self._loop.time())
                return
            self.connections[event.conn] = connection
            future.set_result(connection)
            return
        self.connections[event.conn] = connection
        if self.on_connection is None:
            connection.close()
            return
        callback = self.on_connection
        self._guarded(connection, lambda: callback(connection))

    def _guarded(self, connection: Connection, call: Callable[[], None]) -> None:
        """An application's mistake ends its own connection, not the port."""
        try:
            call()
        except Exception as error:
            self._loop.call_exception_handler({"message": "error in a connection's callback", "exception": error})
            self.core.abort(connection.id, self._loop.time(), Reason.CLOSED)
