"""DHT nodes that lie, and two honest peers that want to meet among them.

A liar is a whole node: it joins, answers pings, keeps its place in tables.  What it says in its answers is its `Lie`.
All liars of a network share one, so they collude: each knows what the others know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from identity.keys import SigningKey
from netstack.dht import hyper
from netstack.dht.contact import Contact, contact_at
from netstack.dht.datagram import ANNOUNCE, IMMUTABLE_GET, LOOKUP, MUTABLE_GET, Request, Response, encode_response
from netstack.dht.node import DhtNode
from netstack.dht.query import Outcome
from netstack.dht.records import PeerRecord, encode_lookup, encode_mutable, encode_peer, sign_mutable
from netstack.dht.table import K
from netstack.ports import SERVER
from netstack.swarm.core.discovery import Discovery, Start, Stop, Walk
from netstack.udp.port import Address, Outgoing
from tests.support.dht_census import Census
from tests.support.dht_network import Member, Network

FALSE_HOST = "66.6.6.6"  # where liars say that everybody is
MALLORY = SigningKey.from_seed(b"m" * 32)


class Lie:
    """What liars answer.  This one is the truth; each subclass departs from it in one way."""

    name = "tells the truth"

    def __init__(self, net: Network) -> None:
        self.net = net
        self.liars: list[Contact] = []

    def closer(self, liar: DhtNode, request: Request) -> tuple[Address, ...] | None:
        """Whom to name; None: as an honest node."""
        return None

    def value(self, liar: DhtNode, request: Request) -> bytes | None:
        """What to answer instead of the honest value; none at all by default: a liar forgets what it is told."""
        return None

    def place(self, liar: DhtNode, source: Address) -> Address:
        """Where to say that whoever asks is."""
        return source


class Fresh(Lie):
    """Names nodes that do not exist, new ones in each answer, all nearer to the target than any that exists."""

    name = "endless fresh nodes near the target"
    POOL = 20_000

    def __init__(self, net: Network) -> None:
        super().__init__(net)
        self._pool = Census(contact_at((f"45.{n >> 8}.{n & 255}.7", 1024 + n)) for n in range(self.POOL))
        self._told: dict[bytes, int] = {}

    def closer(self, liar: DhtNode, request: Request) -> tuple[Address, ...]:
        assert request.target is not None
        told = self._told.get(request.target, 0)
        self._told[request.target] = told + K
        number = int.from_bytes(request.target, "big")
        return tuple(contact.address for contact in self._pool.nearest(number, told + K)[told:])


class Clique(Lie):
    """Names other liars alone, the nearest of them."""

    name = "only one another"

    def closer(self, liar: DhtNode, request: Request) -> tuple[Address, ...]:
        assert request.target is not None
        number = int.from_bytes(request.target, "big")
        return tuple(c.address for c in sorted(self.liars, key=lambda c: c.number ^ number)[:K])


class Nowhere(Lie):
    """Names addresses that lead nowhere, into the asker's own network, to itself and to the asker."""

    name = "unroutable, private and own addresses"

    def closer(self, liar: DhtNode, request: Request) -> tuple[Address, ...]:
        mine = contact_at((liar.reach.host, 49737)).address
        bad = ("0.0.0.0", "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.9.9", "169.254.1.1", "224.0.0.1", "255.1.1.1")
        return (mine, mine, request.to, *((host, port) for host in bad for port in (49737, 0)))[:K]


class Silence(Lie):
    """Names nobody and knows nothing."""

    name = "names nobody"

    def closer(self, liar: DhtNode, request: Request) -> tuple[Address, ...]:
        return ()


class Victim(Lie):
    """Names forty ports of one host that is no node."""

    name = "sends everybody to a third party"
    HOST = "77.7.7.7"

    def closer(self, liar: DhtNode, request: Request) -> tuple[Address, ...]:
        return tuple((self.HOST, 2000 + port) for port in range(40))


class Forger(Clique):
    """As a clique; also answers with forged records, and names a false address to every asker."""

    name = "forged records and false addresses"

    def value(self, liar: DhtNode, request: Request) -> bytes | None:
        if request.command == LOOKUP:
            keys = [SigningKey.from_seed(liar.rng(32)).public for _ in range(10)]
            return encode_lookup([encode_peer(PeerRecord(key, (("6.6.6.6", 666),))) for key in keys], 0)
        if request.command == MUTABLE_GET:
            return encode_mutable(sign_mutable(MALLORY, 1 << 40, b"forged"))
        return b"forged" if request.command == IMMUTABLE_GET else None

    def place(self, liar: DhtNode, source: Address) -> Address:
        return FALSE_HOST, source[1]


LIES: tuple[type[Lie], ...] = (Fresh, Clique, Nowhere, Silence, Victim, Forger)


class Liar(DhtNode):
    lie: Lie | None = None

    def reply(
        self,
        request: Request,
        source: Address,
        port: int,
        *,
        value: bytes | None = None,
        error: int = 0,
        closer: bool = True,
        token: bool = False,
        to: Address | None = None,
    ) -> None:
        lie = self.lie
        named = lie.closer(self, request) if lie and closer and request.target is not None else None
        if lie is None or named is None or to is not None:
            super().reply(request, source, port, value=value, error=error, closer=closer, token=token, to=to)
            return
        told = Response(
            request.tid,
            lie.place(self, source),
            lie.value(self, request) if request.command != ANNOUNCE else None,
            error,
            named,
            self.id if port == SERVER else None,
            self.tokens.token(source[0], self.now) if token else None,
        )
        self._put(Outgoing(source, encode_response(told), 0, port))


def among_liars(seed: int, honest: int, liars: int, lie: type[Lie], *, loss: float = 0.0) -> tuple[Network, Lie]:
    """A network grown in one mixed order, the bootstrap node honest; the liars start to lie when all are there."""
    net = Network(seed, loss=loss)
    kinds: list[type[DhtNode]] = [DhtNode] * (honest - 1) + [Liar] * liars
    net.random.shuffle(kinds)
    for kind in (DhtNode, *kinds):
        net.grow(1, kind=kind)
    told = lie(net)
    for member in net.members:
        if isinstance(member.node, Liar):
            told.liars.append(contact_at(member.address))
            member.node.lie = told
    return net, told


class Seeker:
    """Announces itself under a topic and looks for others there, by the schedule of the product."""

    def __init__(self, net: Network, member: Member, topic: bytes, key: SigningKey, relays: Sequence[Address]) -> None:
        self.net = net
        self.member = member
        self.topic = topic
        self.key = key
        self.relays = tuple(relays)
        self.found: set[PeerRecord] = set()
        self.outcomes: list[Outcome] = []
        self._discovery = Discovery(member.node.rng)
        self._carry_out()

    def met(self, other: Seeker) -> bool:
        return PeerRecord(other.key.public, other.relays) in self.found

    def wake(self) -> None:
        """To be called once a step of the network."""
        if self._discovery.next_wake() <= self.net.now:
            self._discovery.wake(self.net.now)
            self._carry_out()

    def _carry_out(self) -> None:
        node = self.member.node
        node.now = self.net.now
        for effect in self._discovery.take_effects():
            match effect:
                case Start(number, Walk.ANNOUNCE):
                    hyper.announce(node, self.topic, self.key, self.relays, self._over(number), on_found=self._found)
                case Start(number, _):
                    hyper.lookup(node, self.topic, self._found, self._over(number))
                case Stop(_):
                    raise AssertionError("nobody asked for that")
        self.net.flush(self.member)

    def _found(self, peers: Any, reply: object) -> None:
        self.found.update(peers.peers)

    def _over(self, number: int) -> Callable[[Outcome], None]:
        def over(outcome: Outcome) -> None:
            self.outcomes.append(outcome)
            self._discovery.done(number, bool(outcome.closest), self.net.now)
            self._carry_out()

        return over


def meet(net: Network, seekers: Sequence[Seeker], limit: float) -> float | None:
    """Runs until all have found each other; seconds that it took, None where `limit` was not enough."""
    began = net.now
    end = net.now + limit
    pairs = [(a, b) for a in seekers for b in seekers if a is not b]
    while not all(a.met(b) for a, b in pairs):
        if net.now >= end:
            return None
        net.step(end)
        for seeker in seekers:
            seeker.wake()
    return net.now - began
