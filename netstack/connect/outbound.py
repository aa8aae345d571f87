"""The dialling side: finds a node that passes the handshake on, then takes the ways that the answer leaves.

`docs/protocol.md`, "Which way".  Addresses that we were given, relays that we remember and a walk through the DHT are
asked at once.  All requests carry the same message 1, so the first good answer ends the search.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from enum import Enum, auto

from identity.errors import DecodeError
from netstack.connect.attempt import PASSIVE, PUNCHING, Attempt
from netstack.connect.context import ConnectContext, best_match, likeness, private
from netstack.connect.rounds import Rounds, Route
from netstack.connect.rpc import BareNode, answer_of, dialable, dialable6
from netstack.connect.tasks import Promise, Task
from netstack.dht.ask import Ask
from netstack.dht.contact import Scope, scope_of
from netstack.dht.datagram import PEER_HANDSHAKE, PING, Response
from netstack.dht.hyper import find_peer
from netstack.dht.query import Outcome, Reply
from netstack.dht.records import PeerRecord
from netstack.events import PathKind, Reason
from netstack.link import Link, Phase
from netstack.ports import SERVER, SERVER6
from netstack.udp.port import Address
from netstack.wire.address import decode_address6
from netstack.wire.handshake import Agreement, Initiator, refusal_for, target_of
from netstack.wire.messages import (
    Firewall,
    HandshakeMessage,
    NoisePayload,
    Refusal,
    RelayThrough,
    RoutingMode,
    decode_handshake,
    encode_handshake,
)

TRIES = 6  # of a handshake, which takes four datagrams there and back
PARALLEL = 2  # relays asked at a time,
HEDGE = 1.0  # and seconds until one that is silent no longer counts: it may mean to hold us up
MAX_SIX = 3  # IPv6 addresses of the peer that are tried
MAX_PUBLIC = 2  # addresses of an open peer that are asked at once,
MAX_PRIVATE = 4  # and so many private ones
MAX_RELAYS = 16  # asked in all
FINDING = 20.0  # seconds for walk and handshake together


class Verdict(Enum):
    """What came of one handshake request."""

    SILENT = auto()
    STRANGER = auto()  # answers, but does not know the key
    FORGED = auto()
    PROVED = auto()


class OutboundAttempt(Attempt):
    """One `connect`.  `addresses` are the peer's own, `relays` are DHT nodes that may know it."""

    def __init__(
        self,
        context: ConnectContext,
        link: Link,
        dial: Initiator,
        addresses: Sequence[Address],
        relays: Sequence[Address],
        named: RelayThrough | None,
        by_key: bool,
    ) -> None:
        super().__init__(context, link)
        self._dial = dial
        self._target = target_of(dial.remote)
        self._addresses = tuple(addresses)
        self._relays = tuple(relays)
        self._named = named  # the blind relay that we told the peer of
        self._by_key = by_key  # walk through the DHT, beside the relays that we know
        self._said_open = context.open
        self._forgeries: Counter[Address] = Counter()  # by address: too many end the requests to it, not the attempt
        self._answer = b""  # message 2
        self._early: tuple[Address, int] | None = None  # the peer's stream came before the answer did
        self._asked: list[Address] = []
        self._finders: list[Task] = []
        self.spawn(self._find())

    # finding a route

    async def _find(self) -> None:
        strategies = [self._direct(address) for address in self._addresses]
        if self.context.dht is not None and (self._by_key or self._relays):
            strategies.append(self._through_nodes())
            self.link.patient(self.context.tasks.now + FINDING)
        verdicts: list[Verdict] = []
        self._finders = [self.spawn(self._follow(strategy, verdicts)) for strategy in strategies]
        for task in self._finders:
            await task.done
        if self.link.agreement is not None or self.over:
            return
        reason = Reason.NO_ANSWER
        if Verdict.FORGED in verdicts:
            reason = Reason.REFUSED
        elif verdicts and all(verdict is Verdict.STRANGER for verdict in verdicts):
            reason = Reason.NOT_THERE
        self.context.links.fail(self.link, reason)
        self.close()

    async def _follow(self, strategy: Awaitable[Verdict], verdicts: list[Verdict]) -> None:
        verdicts.append(await strategy)

    async def _direct(self, address: Address) -> Verdict:
        """Until the link's patience ends: the peer may be about to come up."""
        while True:
            verdict = await self._request_handshake(address, SERVER6 if ":" in address[0] else SERVER)
            if verdict is Verdict.STRANGER or self._lies(address):
                return verdict

    async def _through_nodes(self) -> Verdict:
        context, dht = self.context, self.context.dht
        assert dht is not None
        forward = dht.store.forwards.get(self._target, dht.now)
        known = self._relays or context.cache.get(self._dial.remote)
        first = list(dict.fromkeys((*((forward.relay,) if forward else ()), *known)))[:MAX_RELAYS]
        queue: deque[Address] = deque(filter(dialable, first))
        arrived: list[Promise[None]] = [Promise()]
        outcome: list[Outcome] = []

        def stir() -> None:
            arrived[0].keep(None)
            arrived[0] = Promise()

        def found(record: PeerRecord, reply: Reply) -> None:
            queue.append(reply.address)
            stir()

        def done(result: Outcome) -> None:
            outcome.append(result)
            stir()

        verdicts: list[Verdict] = []
        requests: list[Task] = []
        walk = find_peer(dht, self._target, found, done, nodes=first) if self._by_key else None
        try:

            async def worker() -> None:
                while queue or not (outcome or walk is None):
                    if not queue:
                        await arrived[0]
                        continue
                    relay = queue.popleft()
                    if relay not in self._asked and len(self._asked) < MAX_RELAYS:
                        self._asked.append(relay)
                        requests.append(self.spawn(self._follow(self._request_handshake(relay, dht.port), verdicts)))
                        await context.tasks.within(HEDGE, requests[-1].done)

            await context.tasks.together([worker() for _ in range(PARALLEL + bool(first))])
            for request in requests:
                await request.done
        finally:
            for request in requests:
                request.cancel()
            if walk is not None:
                walk.cancel()
        if Verdict.SILENT in verdicts:
            return Verdict.SILENT  # it was there not long ago
        return Verdict.STRANGER if not outcome or outcome[0].answers else Verdict.SILENT

    async def _request_handshake(self, to: Address, port: int) -> Verdict:
        """One request with our message 1.  A good answer ends the search from within."""
        box: Promise[Verdict] = Promise()
        value = encode_handshake(HandshakeMessage(RoutingMode.FROM_CLIENT, self._dial.message))

        def answered(response: Response | None) -> None:
            verdict = self._judge(response, to, port)
            if verdict is not Verdict.FORGED or self._lies(to) or not isinstance(rpc, BareNode):
                box.keep(verdict)

        rpc = self.context.rpc6 if port == SERVER6 else self.context.rpc
        ask = Ask(PEER_HANDSHAKE, target=self._target, value=value, port=port, tries=TRIES)
        call = rpc.request(to, ask, answered)
        try:
            return await box
        finally:
            call.cancel()

    def _lies(self, address: Address) -> bool:
        return self._forgeries[address] >= self.context.limits.forgeries

    def _judge(self, response: Response | None, to: Address, port: int) -> Verdict:
        if self.over or self.link.agreement is not None:
            return Verdict.SILENT
        if response is None:
            return Verdict.SILENT
        if response.value is None:
            return Verdict.STRANGER
        try:
            message = decode_handshake(response.value)
            if message.mode != RoutingMode.REPLY:
                raise DecodeError("no reply")
            agreement = self._dial.accept(message.noise)
        except DecodeError:
            self._forgeries[to] += 1
            return Verdict.FORGED
        payload = agreement.payload
        self._answer = message.noise
        known = payload.udx is not None and payload.udx.id <= 0xFFFF_FFFF
        if payload.error != Refusal.NONE or refusal_for(payload) is not Refusal.NONE or not known:
            self._refuse()
            return Verdict.SILENT
        self._routed(self._route(message.peer, response.to, to, port, payload), agreement)
        return Verdict.SILENT

    def _route(self, peer: Address | None, client: Address, to: Address, port: int, payload: NoisePayload) -> Route:
        """How the answer came.

        Only its payload is authenticated: the addresses around it are the relay's claim.  Where a relay claims to be
        the peer, at an address that the peer does not name, one of the relays that the peer names is taken.
        """
        pairs = payload.holepunch.relays if payload.holepunch is not None else ()
        own = to in self._addresses or to in payload.addresses4 or ":" in to[0] or private(to[0])
        if peer is None and not own and pairs:
            return Route(True, *pairs[0], client, port)
        return Route(peer is not None, to, peer or to, client, port)

    def _refuse(self) -> None:
        self.context.links.fail(self.link, Reason.REFUSED)
        self.close()

    # taking a way

    def _routed(self, route: Route, agreement: Agreement) -> None:
        """The peer has answered: every way that may lead to it is begun, the search is over."""
        for task in self._finders:
            task.cancel()
        self.agree(agreement)
        payload = agreement.payload
        self.hosts.add(route.server[0])
        told = payload.relay_addresses or tuple(self._asked)
        if told:
            self.context.cache.put(self._dial.remote, told)
        if self._early is not None:
            self.found(*self._early, self.kind_of(*self._early))
            return
        if not route.relayed:
            self.found(route.relay, route.port, PathKind.DIRECT)
            return
        holes = payload.holepunch is not None and bool(payload.holepunch.relays)
        if through := payload.relay_through:
            self.relay_through(through.key, through.token, initiator=False)
        elif self._named is not None:
            self.relay_through(self._named.key, self._named.token, initiator=True)
        if self.context.local6():
            for address6 in list(filter(dialable6, map(decode_address6, payload.addresses6)))[:MAX_SIX]:
                name = f"ipv6 {address6[0]}"
                self.way(name, self._six(name, address6), PASSIVE)
        if payload.firewall == Firewall.OPEN or not holes:
            here = self.context.dht.address if self.context.dht is not None else None
            self._reach(named_addresses(payload.addresses4, route, self.context.local(), here), route)
            return
        if self._said_open:
            self.way("passive", self.wait("passive", PASSIVE), PASSIVE)
            return
        if route.client[0] == route.server[0]:
            # private addresses only: a peer that names addresses of others must not have us ping them
            theirs = tuple(address for address in payload.addresses4 if dialable(address) and private(address[0]))
            if theirs:
                address = best_match(self.context.local(), theirs) or theirs[0]
                self.way("lan", self._lan(address), PASSIVE)
        self.way("punch", Rounds(self, self._target, route).run(), PUNCHING)

    def _reach(self, named: tuple[Address, ...], route: Route) -> None:
        """The peer needs no hole.  A single address is taken at once; of several, the one that answers first."""
        if all(address == route.server for address in named):
            if not may_say(route):
                self.lost("direct", Reason.NO_PATH)
                return
            self.found(route.server, route.port, PathKind.DIRECT)
        else:
            self.way("direct", self._race(named, route), PASSIVE)

    async def _race(self, named: tuple[Address, ...], route: Route) -> None:
        """Asks at each address for the answer that we have already; decision 0170.

        What only the relay names is taken where none that the peer names answers: a relay has seen the answer and
        could give it too, and must not turn an attempt aside.  Where nobody answers, the first public address is tried,
        unless a blind relay carries the connection already.
        """
        tasks, said = self.context.tasks, (route.server,) if may_say(route) else ()
        winner: Promise[Address | None] = Promise()
        proved: list[Address] = []

        async def ask_at(address: Address) -> None:
            if await self._request_again(address, route.port) is Verdict.PROVED:
                proved.append(address)
                if address in named:
                    winner.keep(address)

        async def ask_all() -> None:
            await tasks.together([ask_at(address) for address in dict.fromkeys((*named, *said))])
            winner.keep(proved[0] if proved else None)

        self.spawn(ask_all())
        address = await winner
        if address is None and self.link.phase is Phase.WAITING:
            public = (address for address in named if not private(address[0]))
            address = next(public, next(iter(said), None))
        if address is not None:
            self.found(address, route.port, PathKind.DIRECT)
        self.lost("direct", Reason.NO_PATH)

    async def _six(self, name: str, address: Address) -> None:
        """IPv6 needs no hole."""
        if await self._request_again(address, SERVER6) is Verdict.PROVED:
            self.found(address, SERVER6, PathKind.DIRECT)
        self.lost(name, Reason.NO_PATH)

    async def _lan(self, address: Address) -> None:
        """At a private address anybody may be, even ourselves.  The npm stack answers from the socket that it would
        punch with where we share no network with it: then it is heard of at its address by a pong alone."""
        verdict = await self._request_again(address, SERVER)
        if verdict is Verdict.SILENT and await answer_of(
            self.context.rpc, address, Ask(PING, internal=True, port=SERVER)
        ):
            verdict = Verdict.PROVED
        if verdict is Verdict.PROVED:
            self.found(address, SERVER, PathKind.LAN)
        self.lost("lan", Reason.NO_PATH)

    async def _request_again(self, address: Address, port: int) -> Verdict:
        """Whoever gives the answer that we have got already is the peer."""
        value = encode_handshake(HandshakeMessage(RoutingMode.FROM_CLIENT, self._dial.message))
        rpc = self.context.rpc6 if port == SERVER6 else self.context.rpc
        ask = Ask(PEER_HANDSHAKE, target=self._target, value=value, port=port, tries=2)
        response = await answer_of(rpc, address, ask)
        if response is None:
            return Verdict.SILENT
        with suppress(DecodeError):
            if response.value is not None and decode_handshake(response.value).noise == self._answer:
                return Verdict.PROVED
        return Verdict.STRANGER

    def on_packet(self, source: Address, port: int) -> bool | None:
        """As of any attempt; the peer's stream may come before its answer, and is remembered then."""
        if self.link.agreement is None:
            self._early = source, port
            return True
        return super().on_packet(source, port)


def may_say(route: Route) -> bool:
    """Whether the relay is believed about where it saw the peer: a node cannot have seen an address that reaches less
    far than its own, so one on the Internet does not send us into our own network."""
    return scope_of(route.server) >= scope_of(route.relay)


def named_addresses(
    addresses: tuple[Address, ...], route: Route, ours: tuple[Address, ...], here: Address | None = None
) -> tuple[Address, ...]:
    """Which of the addresses that an open peer names of itself are asked: at most MAX_PUBLIC and MAX_PRIVATE.

    A private address means something in its own network alone.  It is asked where the relay saw the peer in a network
    that reaches no farther, or at the public host that it saw ourselves at, which must be the one where other nodes see
    us too (`here`, None while that is not known); those that resemble `ours` come first.
    """
    server = route.server
    near = route.client[0] == server[0] and (here is None or here[0] == server[0])
    usable = tuple(address for address in addresses if dialable(address) and scope_of(address) is not Scope.NOWHERE)

    def meant(address: Address) -> bool:
        if private(server[0]):
            return may_say(route) and scope_of(address) >= scope_of(server)
        return near and scope_of(address) is not Scope.LOOPBACK

    public = [address for address in usable if not private(address[0])]
    nearby = [address for address in usable if private(address[0]) and meant(address)]
    nearby.sort(key=lambda address: -likeness(address, ours))
    return (*public[:MAX_PUBLIC], *nearby[:MAX_PRIVATE])
