"""Making a hole: what one side of a punch knows of both NATs, and which probes it sends from which ports.

`docs/protocol.md`, "Hole punching".

| ours       | theirs     | what we do |
|------------|------------|------------|
| consistent | consistent | a probe to each of their addresses every second, 10 times |
| consistent | random     | a probe every 20 ms to another port of their verified host, 1,750 times |
| random     | consistent | 256 ports, a low-TTL opener from each, then a probe from each in turn every 20 ms |
| random     | random     | nothing: a relay has to do |

The initiator takes the first probe that reaches it; the other side answers probes, and takes the first packet of the
stream (`Links`).  Of random punches a node makes one at a time, 20 s apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from identity.keys import Random
from netstack.connect.nat import ENOUGH, NatSamples, coerced
from netstack.connect.rpc import RpcNode, answer_of, dialable
from netstack.connect.sockets import LOW_TTL, Sockets
from netstack.connect.tasks import Procedure, Promise, Task, Tasks
from netstack.dht.ask import Ask
from netstack.dht.datagram import PING
from netstack.udp.port import Address
from netstack.wire.messages import Firewall

BIRTHDAY = 256  # ports of the random side
RANDOM_PROBES = 1750
RANDOM_PAUSE = 0.02
RANDOM_LATE = 0.2  # seconds of missed probes that are sent together
ROUNDS = 10
REOPENS = 3
SKIPPED = 5  # the nodes heard last may not live long ...
PLENTY = 8  # ... which matters where there are so many
LOWEST_PORT = 1000
PORTS = 65_536 - LOWEST_PORT
RANDOM_APART = 20.0
STEP = 40_507  # coprime with PORTS: a walk over all ports in an order that looks like none


@dataclass(slots=True)
class Throttle:
    """Random punches of one node: at most `most` at a time, so far apart."""

    most: int = 1
    apart: float = RANDOM_APART
    running: int = 0
    last: float = float("-inf")

    def busy(self, now: float) -> bool:
        """Whether a random punch has to wait now."""
        return self.running >= self.most or now - self.last < self.apart


@dataclass(slots=True)
class Remote:
    """What the peer says of itself.  Only hosts that echoed our token get many probes."""

    firewall: int = Firewall.UNKNOWN
    addresses: tuple[Address, ...] = ()
    verified: set[str] = field(default_factory=set)
    punching: bool = False

    def verified_address(self) -> Address | None:
        """The first address whose host has echoed our token."""
        return next((address for address in self.addresses if address[0] in self.verified), None)


@dataclass(frozen=True, slots=True)
class PunchContext:
    """The parts of one node that punches use.  `nodes()` are DHT nodes, the ones heard last first."""

    rng: Random
    tasks: Tasks
    rpc: RpcNode
    sockets: Sockets
    throttle: Throttle
    nodes: Callable[[], Iterable[Address]]
    open: Callable[[], bool]  # whether we are known to be reachable


class Puncher:
    """One side of one attempt.  `on_connect(address, port)` once, or `on_abort()` once, or neither after `close`."""

    def __init__(
        self,
        context: PunchContext,
        *,
        initiator: bool,
        remote_firewall: int,
        on_connect: Callable[[Address, int], None],
        on_abort: Callable[[], None],
    ) -> None:
        self.remote = Remote(remote_firewall)
        self.connected = False
        self.closed = False
        self.punching = False
        self._context = context
        self._initiator = initiator
        self._on_connect = on_connect
        self._on_abort = on_abort
        self._random = False  # counted by the throttle
        self._tasks: list[Task] = []
        self._sampling: Task | None = None
        self._reopening = False
        self._heard_on = -1  # the port that a probe of the peer has come to
        self._ports: list[int] = []
        self._begin()

    # its NAT

    @property
    def port(self) -> int:
        """The socket that is punched with now."""
        return self._ports[-1]

    def _begin(self) -> None:
        self._ports.append(self._context.sockets.open(self._heard))
        self.nat = NatSamples(self._context.open())
        self.settled: Promise[None] = Promise()
        if self.nat.settled:
            self.settled.keep(None)
        self._sampling = self._context.tasks.spawn(self._sample(self.port, self.nat, self.settled))

    async def _sample(self, port: int, nat: NatSamples, settled: Promise[None]) -> None:
        """Asks known nodes where they see this port, four at a time, twice if need be."""
        asked: set[Address] = set()
        for _ in range(2):
            known = [node for node in self._context.nodes() if node not in asked]
            skip = SKIPPED if len(known) + len(asked) >= PLENTY and not asked else 0
            chosen = known[skip : skip + ENOUGH - nat.sampled] or known[:ENOUGH]
            asked.update(chosen)
            await self._context.tasks.together([self._ping(node, port, nat, settled) for node in chosen])
            if nat.sampled >= ENOUGH:
                break
        settled.keep(None)

    async def _ping(self, node: Address, port: int, nat: NatSamples, settled: Promise[None]) -> None:
        answer = await answer_of(self._context.rpc, node, Ask(PING, internal=True, port=port, tries=1))
        if answer is not None:
            self.sampled(answer.to, node, nat)
            if nat.settled:
                settled.keep(None)

    def sampled(self, seen: Address, by: Address, nat: NatSamples | None = None) -> None:
        """A node has answered where it sees our port."""
        nat = nat or self.nat
        nat.add(seen, by)
        if nat is self.nat and nat.settled:
            self.settled.keep(None)

    @property
    def unstable(self) -> bool:
        """Whether this socket is no use for a punch."""
        both = self.remote.firewall >= Firewall.RANDOM and self.nat.firewall >= Firewall.RANDOM
        return both or self.nat.firewall == Firewall.UNKNOWN

    async def analyze(self, reopen: bool) -> bool:
        """Whether our NAT is known, and one that something can be done with; `reopen`: tries other ports for that."""
        await self.settled
        if not reopen or self._reopening:
            return not self.unstable
        self._reopening = True
        for _ in range(REOPENS):
            if not self.unstable or self.done or self.punching or self._heard_on == self.port:
                break
            old = self._ports.pop()
            if self._sampling is not None:
                self._sampling.cancel()
            self._begin()
            self._context.sockets.close(old)
            await self.settled
        return coerced(self.nat.firewall) == Firewall.CONSISTENT

    # the peer

    def learn(self, firewall: int, addresses: tuple[Address, ...] | None, punching: bool, verified: str | None) -> None:
        """What the peer said in its last message; `verified`: the host that has echoed our token."""
        known = tuple(a for a in addresses or () if dialable((a[0], a[1] or 1)))
        self.remote.firewall = firewall
        self.remote.addresses = known
        self.remote.punching = punching
        if verified is not None:
            self.remote.verified.add(verified)

    # probes

    @property
    def done(self) -> bool:
        """Whether it has ended, with a path or without."""
        return self.closed or self.connected

    def ping(self, address: Address) -> None:
        """One probe to `address`."""
        self._context.sockets.probe(self.port, address)

    def open_session(self, address: Address) -> None:
        """Opens our own NAT towards an address, without a probe arriving there."""
        self._context.sockets.probe(self.port, address, LOW_TTL)

    @property
    def random(self) -> bool:
        """Whether either NAT gives every destination another port."""
        return self.remote.firewall >= Firewall.RANDOM or self.nat.firewall >= Firewall.RANDOM

    def punch(self) -> bool:
        """Starts; False where nothing can be done."""
        if self.punching:
            return True
        if self.done or not self.remote.addresses:
            return False
        if self.random and self._context.throttle.busy(self._context.tasks.now):
            return False  # another one began while this one was agreed upon
        ours, theirs = coerced(self.nat.firewall), coerced(self.remote.firewall)
        verified = self.remote.verified_address()
        if ours == theirs == Firewall.CONSISTENT:
            self._start(self._probe_addresses())
        elif verified is None:
            return False
        elif ours == Firewall.CONSISTENT and theirs >= Firewall.RANDOM:
            self._count()
            self._start(self._probe_ports(verified[0]))
        elif ours >= Firewall.RANDOM and theirs == Firewall.CONSISTENT:
            self._count()
            self._start(self._probe_from_many(verified))
        else:
            return False
        return True

    def _start(self, coroutine: Procedure) -> None:
        self.punching = True
        self._tasks.append(self._context.tasks.spawn(coroutine))

    async def _probe_addresses(self) -> None:
        tasks, sockets = self._context.tasks, self._context.sockets
        if not self._initiator:
            await tasks.sleep(1.0)  # the fast opener has just been answered
        for round in range(1, ROUNDS + 1):
            for address in self.remote.addresses:
                if address[0] in self.remote.verified or round % 4 == 0:
                    sockets.probe(self.port, address)
            await tasks.sleep(1.0)
        self._abort()

    async def _probe_ports(self, host: str) -> None:
        """Never the same port twice: better odds than drawing anew."""
        at = int.from_bytes(self._context.rng(4), "little") % PORTS
        due = self._context.tasks.now
        for _ in range(RANDOM_PROBES):
            self._context.sockets.probe(self.port, (host, LOWEST_PORT + at))
            at = (at + STEP) % PORTS
            due = await self._beat(due)
        self._abort()

    async def _probe_from_many(self, address: Address) -> None:
        sockets, tasks = self._context.sockets, self._context.tasks
        while len(self._ports) < BIRTHDAY and not sockets.full:
            self._ports.insert(0, sockets.open(self._heard))
            sockets.probe(self._ports[0], address, LOW_TTL)
        await tasks.sleep(0.1)
        due = tasks.now
        for sent in range(RANDOM_PROBES):
            low = sent < len(self._ports)  # once more around without reaching the peer
            sockets.probe(self._ports[sent % len(self._ports)], address, LOW_TTL if low else 0)
            due = await self._beat(due)
        self._abort()

    async def _beat(self, due: float) -> float:
        """Until the next probe is due.  A busy machine is late, not slow: what it missed is made up for."""
        tasks = self._context.tasks
        due = max(due + RANDOM_PAUSE, tasks.now - RANDOM_LATE)
        if due > tasks.now:
            await tasks.sleep(due - tasks.now)
        return due

    def _heard(self, port: int, source: Address) -> None:
        if self.done:
            return
        if not self._initiator:
            self._heard_on = port  # whatever its NAT seems to be: it lets the peer through
            self._context.sockets.probe(port, source)
            return
        self.taken(port)
        self._on_connect(source, port)

    # the end

    def taken(self, port: int) -> None:
        """There is a path through `port`, which is the connection's from now on; everything else is given back."""
        if self.done:
            return
        self.connected = True
        self._give_back(keep=port)
        self._context.sockets.settle(port)

    def close(self) -> None:
        """Closes every port and calls nobody back."""
        if self.done:
            return
        self.closed = True
        self._give_back()

    def _abort(self) -> None:
        if not self.done:
            self.close()
            self._on_abort()

    def _give_back(self, keep: int = -1) -> None:
        self.punching = False
        for port in self._ports:
            if port != keep:
                self._context.sockets.close(port)
        self._ports = self._ports[-1:]  # its number may still be asked for
        if self._sampling is not None:
            self._sampling.cancel()
        for task in self._tasks:
            task.cancel()
        self.settled.keep(None)
        if self._random:
            self._random = False
            self._context.throttle.running -= 1
            self._context.throttle.last = self._context.tasks.now

    def _count(self) -> None:
        self._random = True
        self._context.throttle.running += 1
