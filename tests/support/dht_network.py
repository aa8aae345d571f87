"""A network of DHT nodes in memory: virtual time, one seed, loss, latency, and NATs of three kinds.

    net = Network(seed=1, loss=0.05)
    nodes = net.grow(50)                       # persistent, the first is the bootstrap node
    phone = net.join(nat=Nat.CONSISTENT)       # an ephemeral one behind a router
    net.run(10)                                # seconds of virtual time
    net.until(lambda: phone.ready)

The same cores as in production; nothing here knows what a datagram means.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import Enum
from heapq import heappop, heappush
from typing import Any

from netstack.dht.events import DhtEvent, Mode, Ready
from netstack.dht.limits import DhtLimits
from netstack.dht.node import DhtNode
from netstack.ports import CLIENT, SERVER
from netstack.udp.port import Address

PORT = 49737
CLIENT_PORT = 50000
EPOCH = 1_800_000_000.0  # Unix time at the start


def public_host(number: int) -> str:
    """A host of its own for every number below 2**24, hardly two in a row in one network of a provider."""
    spread = number * 0x9E3779 & 0xFFFFFF
    return f"44.{spread >> 16}.{spread >> 8 & 255}.{spread & 255}"


class Nat(Enum):
    """What stands before a node.  All but OPEN keep out whoever was not spoken to."""

    OPEN = "open"
    CONSISTENT = "consistent"  # keeps the port, the same towards everybody
    RANDOM = "random"  # another port for every destination


class Member:
    """One node and where it sits."""

    def __init__(self, network: Network, node: DhtNode, host: str, nat: Nat, port: int = PORT) -> None:
        self.network = network
        self.port = port
        self.node = node
        self.host = host
        self.nat = nat
        self.alive = True
        self.seen: list[DhtEvent] = []
        self.sent = self.received = 0
        self.scheduled = float("inf")
        self.spoken: set[tuple[Address, Address]] = set()  # (our public address, theirs)
        self.mapped: dict[tuple[int, Address], Address] = {}

    @property
    def address(self) -> Address:
        """The public address of the server port."""
        return self.host, self.port

    @property
    def ready(self) -> bool:
        return Ready() in self.seen

    def outside(self, port: int, to: Address) -> Address:
        """What a datagram from `port` to `to` seems to come from; the router remembers it."""
        local = self.port if port == SERVER else CLIENT_PORT
        public = (self.host, local)
        if self.nat is Nat.RANDOM:
            known = self.mapped.get((port, to))
            if known is None:
                known = self.mapped[port, to] = (self.host, 20_000 + len(self.mapped))
                self.network.places[known] = (self, port)
            public = known
        if self.nat is not Nat.OPEN:
            self.spoken.add((public, to))
        return public

    def admits(self, at: Address, source: Address) -> bool:
        return self.nat is Nat.OPEN or (at, source) in self.spoken

    def forget_mappings(self) -> None:
        """The router was switched off and on."""
        self.spoken.clear()
        self.mapped.clear()


class Network:
    """`latency` is the range (s) that each way of each datagram is drawn from; `loss` a share of all datagrams."""

    def __init__(self, seed: int = 0, *, latency: tuple[float, float] = (0.005, 0.05), loss: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.latency = latency
        self.loss = loss
        self.now = 0.0
        self.members: list[Member] = []
        self.places: dict[Address, tuple[Member, int]] = {}
        self.datagrams = 0
        self._heap: list[tuple[float, int, Member, tuple[bytes, Address, int] | None]] = []
        self._order = 0
        self.tap: Callable[[Address, Address, bytes], bytes | None] | None = None  # may change or drop a datagram

    # members

    def join(
        self,
        *,
        bootstrap: Sequence[Address] | None = None,
        nat: Nat = Nat.OPEN,
        mode: Mode = Mode.ADAPTIVE,
        host_known: bool = False,
        known: Sequence[Address] = (),
        host: str = "",
        limits: DhtLimits | None = None,
        port: int = PORT,
        kind: type[DhtNode] = DhtNode,
    ) -> Member:
        """A new node; `host_known` makes it reachable from the start, as in a test net; `kind`: a liar, say."""
        host = host or public_host(len(self.members) + 1)
        if bootstrap is None:
            bootstrap = [self.members[0].address] if self.members else []
        node = kind(
            random.Random(self.random.getrandbits(64)).randbytes,
            self.now,
            bootstrap=bootstrap,
            known=known,
            mode=mode,
            host=host if host_known else "",
            limits=limits,
            epoch=EPOCH,
        )
        member = Member(self, node, host, nat, port)
        self.members.append(member)
        self.places[host, port] = (member, SERVER)
        if port == PORT:  # others of that host have no second socket
            self.places[host, CLIENT_PORT] = (member, CLIENT)
            node.bound(CLIENT, ("0.0.0.0", CLIENT_PORT))
        node.bound(SERVER, ("0.0.0.0", port))
        self.flush(member)
        return member

    def grow(self, count: int, *, settle: bool = True, **options: Any) -> list[Member]:
        """Persistent nodes, each joined when the one before is ready."""
        grown = []
        for _ in range(count):
            member = self.join(mode=Mode.PERSISTENT, host_known=True, **options)
            grown.append(member)
            if settle:
                self.until(lambda member=member: member.ready)  # type: ignore[misc]
        return grown

    def kill(self, member: Member) -> None:
        member.alive = False

    def move(self, member: Member, host: str) -> None:
        """Another network: a new public host, and nothing arrives at the old one any more."""
        for place in [place for place, (owner, _) in self.places.items() if owner is member]:
            del self.places[place]
        member.forget_mappings()
        member.host = host
        self.places[host, PORT] = (member, SERVER)
        self.places[host, CLIENT_PORT] = (member, CLIENT)

    def at(self, address: Address) -> Member:
        return self.places[address][0]

    def place(self, to: Address) -> tuple[Member, int] | None:
        """Who gets a datagram to this address, and at which port of its own."""
        return self.places.get(to)

    # time

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self._step()
        self.now = end

    def step(self, end: float) -> None:
        """The next thing that happens, or nothing until `end`, but at most 50 ms."""
        end = min(end, self.now + 0.05)
        if self._heap and self._heap[0][0] <= end:
            self._step()
        else:
            self.now = end

    def until(self, true: Callable[[], bool], limit: float = 120.0) -> None:
        """Runs until `true()`; fails when `limit` seconds of virtual time did not bring it."""
        end = self.now + limit
        while not true():
            if not self._heap or self._heap[0][0] > end:
                raise AssertionError(f"not within {limit} s of virtual time")
            self._step()

    def sleep(self, member: Member, seconds: float) -> None:
        """The machine stands still while time goes on; what arrives meanwhile is lost."""
        alive, member.alive = member.alive, False
        self.run(seconds)
        member.alive = alive
        member.scheduled = float("inf")
        self.flush(member)

    def flush(self, member: Member) -> None:
        """Sends what the node wants to send and sets its next wake."""
        node = member.node
        node.now = max(node.now, self.now)
        for out in node.outgoing():
            self._send(member, bytes(out.data), out.address, out.port)
        member.seen += node.take_effects()
        at = node.next_wake()
        if at < member.scheduled:
            member.scheduled = at
            self._push(max(at, self.now), member, None)

    def _step(self) -> None:
        self.now, _, member, item = heappop(self._heap)
        node = member.node
        if item is None:
            if member.scheduled > self.now:
                return
            member.scheduled = float("inf")
            if not member.alive:
                return
            node.wake(self.now)
        else:
            if not member.alive:
                return
            member.received += 1
            node.receive(*item, self.now)
        self.flush(member)

    def _send(self, member: Member, data: bytes, to: Address, port: int) -> None:
        self.datagrams += 1
        member.sent += 1
        source = member.outside(port, to)
        if self.tap is not None:
            changed = self.tap(source, to, data)
            if changed is None:
                return
            data = changed
        if self.loss and self.random.random() < self.loss:
            return
        place = self.place(to)
        if place is None or not place[0].admits(to, source):
            return
        self._push(self.now + self.random.uniform(*self.latency), place[0], (data, source, place[1]))

    def inject(self, data: bytes, source: Address, to: Address) -> None:
        """A datagram from somebody who is no member, under whatever source it claims."""
        place = self.place(to)
        if place is not None and place[0].admits(to, source):
            self._push(self.now, place[0], (data, source, place[1]))

    def _push(self, at: float, member: Member, item: tuple[bytes, Address, int] | None) -> None:
        self._order += 1
        heappush(self._heap, (at, self._order, member, item))
