"""An internet in memory: nodes behind routers that map and filter as real ones do.  Virtual time, one seed.

    net = Internet(seed=1, nodes=8)
    home = net.router(Mapping.INDEPENDENT, Filtering.ADDRESS_AND_PORT)
    bob = net.host(behind=home)
    ada = net.host(behind=net.router(Mapping.PER_DESTINATION))
    net.run(5)

A router gives a datagram from inside an address of its own and takes from outside what that address has spoken to.
Between two routers lie more hops than a low-TTL opener survives.  RFC 4787 has the words.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from heapq import heappop, heappush
from math import inf

from identity.keys import SigningKey
from netstack.dht.events import Mode
from netstack.dht.node import DhtNode
from netstack.endpoint import EndpointCore
from netstack.events import Closed, Ended, Event, Failed, Frame, Moved, Opened, Writable
from netstack.limits import Limits
from netstack.ports import CLIENT, SERVER, ClosePort, OpenPort
from netstack.udp.port import Address, Outgoing
from netstack.udx.intake import cut
from tests.support.streams import stream

HOPS = 10  # between two routers
DELAY = 0.01  # seconds, one way
PORT = 49737
EPHEMERAL = 50_000


class Mapping(Enum):
    """How a router chooses the outer address of an inner one."""

    INDEPENDENT = "independent"  # one for all destinations
    PER_DESTINATION = "per destination"  # a random port for each: symmetric


class Filtering(Enum):
    """Whom a router lets in."""

    NONE = "none"
    ADDRESS = "address"  # hosts that were spoken to
    ADDRESS_AND_PORT = "address and port"  # addresses that were spoken to


class Router:
    def __init__(self, net: Internet, host: str, inside: str, mapping: Mapping, filtering: Filtering) -> None:
        self.host = host
        self.inside = inside  # prefix of the addresses behind it
        self._net = net
        self._mapping = mapping
        self._filtering = filtering
        self._rng = stream(f"{net.seed} router {host}")
        self._outer: dict[tuple[Address, Address | None], int] = {}
        self._inner: dict[int, Address] = {}
        self._spoken: dict[int, set[Address]] = {}
        self.mapped = 0

    def outbound(self, inner: Address, to: Address) -> Address:
        key = (inner, None if self._mapping is Mapping.INDEPENDENT else to)
        port = self._outer.get(key)
        if port is None:
            self.mapped += 1
            port = 1024 + int.from_bytes(self._rng(2), "little") % 64_000
            while port in self._inner:
                port = 1024 + (port + 1) % 64_000
            self._outer[key], self._inner[port] = port, inner
        self._spoken.setdefault(port, set()).add(to)
        return self.host, port

    def inbound(self, port: int, source: Address) -> Address | None:
        """The inner address that this is for, None if it is dropped."""
        inner = self._inner.get(port)
        spoken = self._spoken.get(port, set())
        match self._filtering:
            case Filtering.NONE:
                return inner
            case Filtering.ADDRESS:
                return inner if any(source[0] == host for host, _ in spoken) else None
            case Filtering.ADDRESS_AND_PORT:
                return inner if source in spoken else None

    def forget(self) -> None:
        """It was switched off and on."""
        self._outer.clear()
        self._inner.clear()
        self._spoken.clear()


class SimHost:
    """One node with all its sockets.  `seen` has what its core told, `frames` the frames apart."""

    def __init__(self, net: Internet, name: str, host: str, router: Router | None, core: EndpointCore) -> None:
        self.net = net
        self.name = name
        self.host = host
        self.router = router
        self.core = core
        self.seen: list[Event] = []
        self.frames: list[bytes] = []
        self.echoing = False
        self.ports: dict[int, int] = {SERVER: PORT, CLIENT: EPHEMERAL}
        self.by_number: dict[int, int] = {PORT: SERVER, EPHEMERAL: CLIENT}
        self._next = EPHEMERAL + 1
        self.most_ports = 2

    @property
    def address(self) -> Address:
        return self.host, PORT

    def listen(self, key: SigningKey) -> None:
        self.core.listen(key)

    def connect(self, key: bytes) -> int:
        return self.core.connect(key, (), None, self.net.now)

    @property
    def opened(self) -> list[Opened]:
        return [event for event in self.seen if isinstance(event, Opened)]

    @property
    def failed(self) -> list[Failed]:
        return [event for event in self.seen if isinstance(event, Failed)]

    @property
    def moved(self) -> list[Moved]:
        return [event for event in self.seen if isinstance(event, Moved)]

    @property
    def closed(self) -> list[Closed]:
        return [event for event in self.seen if isinstance(event, Closed)]

    def turn(self) -> None:
        """What follows from what has just happened."""
        while True:
            self._perform()
            out = self.core.outgoing()
            self._perform()
            for item in out:
                self.net.send(self, item)
            if not self.core.restless:
                break
        at = self.core.next_wake()
        if at < inf:
            self.net.wake_at(self, at)

    def _perform(self) -> None:
        for effect in self.core.take_effects():
            match effect:
                case OpenPort(port):
                    self.ports[port], self.by_number[self._next] = self._next, port
                    self._next += 1
                    self.most_ports = max(self.most_ports, len(self.ports))
                case ClosePort(port):
                    self.by_number.pop(self.ports.pop(port), None)
                case Frame(conn, data):
                    self.frames.append(data)
                    if self.echoing:
                        self.core.send(conn, data, self.net.now)
                case Opened() | Moved() | Closed() | Failed() | Ended() | Writable():
                    self.seen.append(effect)
                case _:
                    pass  # what happened in the DHT


class Internet:
    """`nodes` persistent DHT nodes, the first of them the bootstrap node; hosts and routers as a test adds them."""

    def __init__(self, seed: int = 0, nodes: int = 8) -> None:
        self.seed = seed
        self.now = 1.0
        self.sent = 0
        self.loss: Callable[[Address, Address, bytes], bool] = lambda source, target, data: False
        self.spoil: Callable[[bytes], list[bytes]] = lambda data: [data]  # what arrives of a datagram
        self._routers: dict[str, Router] = {}
        self._hosts: dict[str, SimHost] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._wakes: dict[str, float] = {}
        self._public = 0
        self.nodes = [self.host(mode=Mode.PERSISTENT, reachable=True) for _ in range(nodes)]
        self.run(2)

    def router(
        self, mapping: Mapping = Mapping.INDEPENDENT, filtering: Filtering = Filtering.ADDRESS_AND_PORT
    ) -> Router:
        self._public += 1
        inside = f"192.168.{len(self._routers)}"
        router = Router(self, f"5.20.30.{self._public}", inside, mapping, filtering)
        self._routers[router.host] = router
        return router

    def host(
        self,
        *,
        behind: Router | None = None,
        mode: Mode = Mode.EPHEMERAL,
        reachable: bool = False,
        relay_through: bytes | None = None,
        limits: Limits | None = None,
    ) -> SimHost:
        number = len(self._hosts) + 1
        if behind is None:
            self._public += 1
            host = f"5.20.30.{self._public}"
        else:
            host = f"{behind.inside}.{number}"
        bootstrap = [next(iter(self._hosts.values())).address] if self._hosts else []
        rng = stream(f"{self.seed} host {number}")
        dht = DhtNode(rng, self.now, bootstrap=bootstrap, mode=mode, host=host if reachable else "", epoch=1.8e9)
        core = EndpointCore(rng, dht=dht, local=lambda: ((host, PORT),), relay_through=relay_through, limits=limits)
        made = SimHost(self, f"host {number}", host, behind, core)
        self._hosts[host] = made
        dht.bound(CLIENT, (host, EPHEMERAL))
        dht.bound(SERVER, (host, PORT))
        core.wake(self.now)
        made.turn()
        return made

    # time

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Lets time pass; True as soon as `until` holds."""
        end = self.now + seconds
        while not until():
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return until()
            at, _, act = heappop(self._queue)
            self.now = max(self.now, at)
            act()
        return True

    def wake_at(self, host: SimHost, at: float) -> None:
        at = max(at, self.now)
        if self._wakes.get(host.host, float("inf")) <= at:
            return
        self._wakes[host.host] = at

        def wake() -> None:
            if self._wakes.get(host.host) == at:
                del self._wakes[host.host]
                host.core.wake(self.now)
                host.turn()

        self._at(at, wake)

    def _at(self, at: float, act: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._queue, (at, self._order, act))

    # datagrams

    def send(self, sender: SimHost, item: Outgoing) -> None:
        number = sender.ports.get(item.port)
        if number is None:
            return
        source: Address = (sender.host, number)
        for piece in cut(memoryview(item.data), item.segment or max(len(item.data), 1)):
            self._route(sender, source, item.address, bytes(piece), item.ttl)

    def _route(self, sender: SimHost, source: Address, target: Address, data: bytes, ttl: int) -> None:
        router = sender.router
        neighbour = self._hosts.get(target[0])
        if neighbour is not None and router is not None and neighbour.router is router:
            self._arrive(neighbour, target[1], source, data, DELAY / 10)
            return
        if router is not None:
            if target[0] == router.host:
                return  # no hairpin
            source = router.outbound(source, target)
        if ttl and ttl < HOPS:
            return
        if self.loss(source, target, data):
            return
        for piece in self.spoil(data):
            self._deliver(source, target, piece, neighbour)

    def _deliver(self, source: Address, target: Address, data: bytes, neighbour: SimHost | None) -> None:
        far = self._routers.get(target[0])
        if far is not None:
            inner = far.inbound(target[1], source)
            if inner is not None:
                self._arrive(self._hosts[inner[0]], inner[1], source, data, 2 * DELAY)
        elif neighbour is not None and neighbour.router is None:
            self._arrive(neighbour, target[1], source, data, 2 * DELAY)

    def _arrive(self, receiver: SimHost, number: int, source: Address, data: bytes, delay: float) -> None:
        self.sent += 1

        def arrive() -> None:
            port = receiver.by_number.get(number)
            if port is not None:
                receiver.core.receive(data, source, self.now, port)
                receiver.turn()

        self._at(self.now + delay, arrive)
