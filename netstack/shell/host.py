"""One node of the network, on asyncio: sockets, one timer, and connections as objects.

The core (`endpoint.py`) makes all decisions.  This shell reads the clock and the kernel's randomness, carries
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
from netstack.dht.events import Mode
from netstack.dht.limits import DhtLimits
from netstack.dht.node import DhtNode
from netstack.endpoint import Accept, EndpointCore
from netstack.events import Closed, Ended, Event, Failed, Moved, Opened, Reason, Writable
from netstack.limits import Limits
from netstack.ports import CLIENT, SERVER, SERVER6
from netstack.shell.connection import Connection
from netstack.shell.dht_client import DhtClient
from netstack.shell.driver import Driver
from netstack.shell.interfaces import Interfaces
from netstack.shell.ports import Ports
from netstack.shell.system_monitor import SystemMonitor
from netstack.udp.port import Address, ShellName
from netstack.udx.congestion import CongestionControl
from netstack.wire.messages import Firewall

STOP_TIMEOUT = 0.5  # seconds that withdrawing announcements may delay `stop`

CODES = {
    Reason.NO_ANSWER: ("timeout", "nothing answers at the addresses of that peer"),
    Reason.NO_PATH: ("timeout", "that peer answers, but no connection comes through"),
    Reason.NOT_THERE: ("not_found", "the addresses answer, but nobody with that key is there"),
    Reason.REFUSED: ("not_allowed", "that peer refused the connection"),
}


class ConnectError(KithkinError):
    """A connection could not be opened.  `reason` says why; `code` is stable: timeout, not_found or not_allowed."""

    def __init__(self, reason: Reason) -> None:
        code, message = CODES.get(reason, ("not_found", "that peer went away while connecting"))
        super().__init__(code, message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HostStatus:
    """How a node stands in the network.  Port 0 in `address`: the NAT maps every destination to another port."""

    nat: Firewall
    address: Address | None  # as others see it
    reachable: bool  # unsolicited packets reach our port
    ephemeral: bool  # we store nothing for others and have no node id
    online: bool  # nodes of the DHT answer
    relays: tuple[Address, ...]  # DHT nodes that relay handshakes to our keys
    nodes: int  # in the routing table
    connections: int


class Host(Driver, DhtClient):
    """One node with one UDP port: it listens for keys, connects to keys, and takes part in the DHT.

    `bootstrap`: addresses of DHT nodes to start from.  `known`: those of an earlier run.  With neither of them, and not
    in `mode` PERSISTENT, the host is in no DHT and connects by addresses alone.  `accept(our key, their key)` False:
    that dialler gets no answer.  `public_host`: our address where it is known to be reachable, "" to find out.
    `relay_through`: the public key of a blind relay to use when nothing else connects.  `addresses`: told to peers
    beside what the DHT sees.  `limits`: of connections; `dht_limits`: of what is stored for others.  `congestion`
    makes the congestion control of each connection.  `shell`: which UDP implementation to use.  `rng(size)`: random
    bytes.

    Attributes: `connections` by number; `on_connection(connection)`, called for each that a peer dialled.
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
        self._interfaces = Interfaces()
        core = EndpointCore(
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
        super().__init__(core)
        self.connections: dict[int, Connection] = {}
        self.on_connection: Callable[[Connection], None] | None = None  # for those that others dialled
        self._shell_name: ShellName = shell
        self._dialing: dict[int, asyncio.Future[Connection]] = {}
        self._system: SystemMonitor | None = None

    async def start(self, host: str = "0.0.0.0", port: int = 0, host6: str | None = None) -> Address:
        """Binds and starts; returns the address bound.  `async with` calls it, with any free port, where it was not.

        `host6`: where to bind the same port for IPv6; "" for nowhere, None for everywhere if `host` is "0.0.0.0".
        Raises OSError as binding does, ValueError if the host is started already.
        """
        if self._ports is not None:
            raise ValueError("the host is started already")
        self._loop = asyncio.get_running_loop()
        ports = Ports(self._receive, self._soon, self._shell_name)
        try:
            address = await ports.bind(SERVER, host, port)
            client = await ports.bind(CLIENT, host, 0) if self.dht is not None else None
            if host6 or (host6 is None and host == "0.0.0.0"):
                with contextlib.suppress(OSError):  # no IPv6 here, or another process has that port
                    await ports.bind(SERVER6, host6 or "::", address[1])
        except OSError:
            await ports.close()
            raise
        self._leaving = False
        self._ports = ports
        if self.dht is not None and not address[0].startswith("127."):
            self._system = SystemMonitor(self.system_slept, self.network_changed)
            self._system.watch()
        if self.dht is not None and client is not None:
            self.dht.now = self._loop.time()
            self.dht.epoch = time.time() - self.dht.now
            self.dht.bound(CLIENT, client)
            self.dht.bound(SERVER, address)
            self._soon()
        return address

    @property
    def address(self) -> Address:
        """The address bound.  Raises ValueError before `start`."""
        address = self._ports.address(SERVER) if self._ports else None
        if address is None:
            raise ValueError("the host is not started")
        return address

    def listen(self, key: SigningKey, announce: bool = True) -> None:
        """Accepts connections to `key`.  `announce`: in a DHT, three nodes relay handshakes to us while we listen."""
        self.core.listen(key, announce=announce)
        self._soon()

    def unlisten(self, public: bytes) -> None:
        """Ends `listen` for the key with this public half.  Open connections stay."""
        self.core.unlisten(public)
        self._soon()

    def relay_for_others(self, key: SigningKey) -> None:
        """Serves as a blind relay under `key`: peers that cannot connect directly exchange packets through us."""
        self.core.relay_for_others(key)
        self._soon()

    async def announced(self, key: bytes) -> None:
        """Waits until our listening `key` can be found in the DHT."""
        while not self.core.announced(key):
            await self._progress()

    async def ready(self) -> None:
        """Waits until the first walk through the DHT is done; returns at once without a DHT."""
        while self.dht is not None and not self.dht.started:
            await self._progress()

    def status(self) -> HostStatus:
        """How the node stands in the network at this moment."""
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
        """Connects to the holder of the public key `remote`: 32 bytes.

        `addresses`: where it may be.  `relays`: DHT nodes that relay its handshakes.  `by_key`: also look it up in the
        DHT.  All ways are tried at once.  `key`: our identity on this connection, a new one if None.  Raises
        ConnectError, DecodeError where `remote` is no public key, ValueError before `start`.  Cancelling leaves nothing
        behind.
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
            # cancelled, perhaps in the same tick in which the connection opened
            self.core.abort(conn, self._loop.time())
            self._soon()
            raise
        finally:
            del self._dialing[conn]

    def system_slept(self) -> None:
        """The machine slept: renews what other nodes know of us.

        The host notices within five seconds by itself; an application that the platform tells may call it at once.
        """
        if self.dht is not None and self._ports is not None:
            self.dht.epoch = time.time() - self._loop.time()  # the loop's clock stood still
            self.dht.slept(self._loop.time())
            self._soon()

    def network_changed(self) -> None:
        """The machine is in another network: finds out our addresses anew.

        The host notices within five seconds by itself; an application that the platform tells may call it at once.
        """
        if self.dht is not None and self._ports is not None:
            self._interfaces.forget()
            self.dht.network_changed(self._loop.time())
            self._soon()

    async def stop(self) -> None:
        """Closes every connection at once, tells the peers, frees the port.  May be called twice."""
        ports = self._ports
        if ports is None:
            return
        if self._system is not None:
            self._system.stop()
            self._system = None
        self._leaving = True
        now = self._loop.time()
        for conn in [*self.connections, *self._dialing]:
            self.core.abort(conn, now)
        self.core.shut(now)
        self._serve()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                while not self.core.quiet:
                    await self._progress()
        for conn in list(self.connections):  # handshakes that finished while we stopped
            self.core.abort(conn, self._loop.time())
        self._serve()
        self._ports = None
        for handle in (self._timer, self._tick):
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
        """Our addresses in our own networks, for peers that turn out to be in the same one."""
        address = self._ports.address(SERVER) if self._ports is not None and self.dht is not None else None
        return self._interfaces.known_as(address, self._loop.time()) if address else ()

    def _local6(self) -> tuple[Address, ...]:
        address = self._ports.address(SERVER6) if self._ports is not None else None
        return self._interfaces.known_as(address, self._loop.time()) if address else ()

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
        """Runs a callback of the application: an error in it closes that connection and no other."""
        try:
            call()
        except Exception as error:
            self._loop.call_exception_handler({"message": "error in a connection's callback", "exception": error})
            self.core.abort(connection.id, self._loop.time(), Reason.CLOSED)
