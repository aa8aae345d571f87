"""The dialling side: finds somebody who passes the handshake on, then takes the ways that the answer leaves.

`docs/protocol.md`, "Which way".  Addresses that we were given, relays that we remember and a walk through the DHT run
beside each other.  All of them carry the same message 1, so whoever answers first answers for all.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from identity.errors import DecodeError
from netstack.connect.attempt import PASSIVE, PUNCHING, Attempt
from netstack.connect.field import Field, best_match, private
from netstack.connect.nat import coerced
from netstack.connect.puncher import Puncher
from netstack.connect.rpc import BareNode, ask, dialable, dialable6
from netstack.connect.secure_payload import HolepunchMessage, PunchPayload, decode_holepunch, encode_holepunch
from netstack.connect.tasks import Promise, Task
from netstack.dht.address import decode_address6
from netstack.dht.datagram import PEER_HANDSHAKE, PEER_HOLEPUNCH, PING, Response
from netstack.dht.hyper import find_peer
from netstack.dht.messages import (
    Firewall,
    HandshakeMessage,
    Mode,
    Refusal,
    RelayThrough,
    decode_handshake,
    encode_handshake,
)
from netstack.dht.query import Outcome, Reply
from netstack.dht.records import PeerRecord
from netstack.events import PathKind, Reason
from netstack.handshake import Agreement, Dial, refusal_for, target_of
from netstack.link import Link
from netstack.ports import SERVER, SERVER6
from netstack.udp import Address

PARALLEL = 2  # relays asked at a time
MAX_SIX = 3  # IPv6 addresses of the peer that are tried
MAX_RELAYS = 16  # asked in all
FINDING = 20.0  # seconds for walk and handshake together
ROUTED_TRIES = 8  # of a message that takes four datagrams there and back
PAUSE = 1.0  # for the peer to find out about its NAT
LATER = (10.0, 20.0)  # between random punches, while a relay carries us


class Verdict(Enum):
    SILENT = auto()
    STRANGER = auto()  # answers, but does not know the key
    FORGED = auto()


class Aborted(Exception):
    """A punch came to an end; `say` tells the peer so."""

    def __init__(self, say: bool = False) -> None:
        super().__init__("the punch was given up")
        self.say = say


class Unanswered(Aborted):
    """Through this relay the peer does not answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """How the handshake went: through `relay` (the server itself where not `relayed`), from our `port`.

    `server` is the server's address as the relay saw it, `client` ours.
    """

    relayed: bool
    relay: Address
    server: Address
    client: Address
    port: int


class Connector(Attempt):
    """One `connect`.  `addresses` are the peer's own, `relays` are DHT nodes that may know it."""

    def __init__(
        self,
        field: Field,
        link: Link,
        dial: Dial,
        addresses: Sequence[Address],
        relays: Sequence[Address],
        named: RelayThrough | None,
        by_key: bool,
    ) -> None:
        super().__init__(field, link)
        self._dial = dial
        self._target = target_of(dial.remote)
        self._addresses = tuple(addresses)
        self._relays = tuple(relays)
        self._named = named  # the blind relay that we told the peer of
        self._by_key = by_key  # walk through the DHT, beside the relays that we know
        self._said_open = field.open
        self._forgeries: Counter[Address] = Counter()  # by who answered: it ends what we ask there, and nothing else
        self._answer = b""  # message 2
        self._early: tuple[Address, int] | None = None  # the peer's stream came before the answer did
        self._asked: list[Address] = []
        self._round = 0
        self._finders: list[Task] = []
        self.spawn(self._find())

    # finding a route

    async def _find(self) -> None:
        lanes = [self._direct(address) for address in self._addresses]
        if self.field.dht is not None and (self._by_key or self._relays):
            lanes.append(self._through_nodes())
            self.link.patient(self.field.tasks.now + FINDING)
        verdicts: list[Verdict] = []
        self._finders = [self.spawn(self._lane(lane, verdicts)) for lane in lanes]
        for task in self._finders:
            await task.done
        if self.link.agreement is not None or self.over:
            return
        reason = Reason.NO_ANSWER
        if Verdict.FORGED in verdicts:
            reason = Reason.REFUSED
        elif verdicts and all(verdict is Verdict.STRANGER for verdict in verdicts):
            reason = Reason.NOT_THERE
        self.field.links.fail(self.link, reason)
        self.close()

    async def _lane(self, lane: object, verdicts: list[Verdict]) -> None:
        verdicts.append(await lane)  # type: ignore[misc]

    async def _direct(self, address: Address) -> Verdict:
        """Until the link's patience ends: the peer may be about to come up."""
        while True:
            verdict = await self._knock(address, SERVER6 if ":" in address[0] else SERVER)
            if verdict is Verdict.STRANGER or self._lies(address):
                return verdict

    async def _through_nodes(self) -> Verdict:
        field, dht = self.field, self.field.dht
        assert dht is not None
        forward = dht.store.forwards.get(self._target, dht.now)
        known = self._relays or field.cache.get(self._dial.remote)
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
                        verdicts.append(await self._knock(relay, dht.port))

            await field.tasks.together([worker() for _ in range(PARALLEL + bool(first))])
        finally:
            if walk is not None:
                walk.cancel()
        if Verdict.SILENT in verdicts:
            return Verdict.SILENT  # it was there not long ago
        return Verdict.STRANGER if not outcome or outcome[0].answers else Verdict.SILENT

    async def _knock(self, to: Address, port: int) -> Verdict:
        """One request with our message 1.  A good answer ends the search from within."""
        box: Promise[Verdict] = Promise()
        value = encode_handshake(HandshakeMessage(Mode.FROM_CLIENT, self._dial.message))

        def answered(response: Response | None) -> None:
            verdict = self._judge(response, to, port)
            if verdict is not Verdict.FORGED or self._lies(to) or not isinstance(rpc, BareNode):
                box.keep(verdict)

        rpc = self.field.rpc6 if port == SERVER6 else self.field.rpc
        call = rpc.request(
            to, PEER_HANDSHAKE, answered, target=self._target, value=value, port=port, tries=ROUTED_TRIES - 2
        )
        try:
            return await box
        finally:
            call.cancel()

    def _lies(self, address: Address) -> bool:
        return self._forgeries[address] >= self.field.limits.forgeries

    def _judge(self, response: Response | None, to: Address, port: int) -> Verdict:
        if self.over or self.link.agreement is not None:
            return Verdict.SILENT
        if response is None:
            return Verdict.SILENT
        if response.value is None:
            return Verdict.STRANGER
        try:
            message = decode_handshake(response.value)
            if message.mode != Mode.REPLY:
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
        self._routed(Route(message.peer is not None, to, message.peer or to, response.to, port), agreement)
        return Verdict.SILENT

    def _refuse(self) -> None:
        self.field.links.fail(self.link, Reason.REFUSED)
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
            self.field.cache.put(self._dial.remote, told)
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
        if self.field.local6():
            for address6 in list(filter(dialable6, map(decode_address6, payload.addresses6)))[:MAX_SIX]:
                name = f"ipv6 {address6[0]}"
                self.way(name, self._six(name, address6), PASSIVE)
        if payload.firewall == Firewall.OPEN or not holes:
            public = (address for address in payload.addresses4 if not private(address[0]))
            self.found(next(public, route.server), route.port, PathKind.DIRECT)
            return
        if self._said_open:
            self.way("passive", self.wait("passive", PASSIVE), PASSIVE)
            return
        if route.client[0] == route.server[0]:
            theirs = tuple(filter(dialable, payload.addresses4))
            if theirs:
                address = best_match(self.field.local(), theirs) or theirs[0]
                self.way("lan", self._lan(address), PASSIVE)
        self.way("punch", self._punch(route), PUNCHING)

    async def _six(self, name: str, address: Address) -> None:
        """Whoever gives the answer that we have got is the peer, and IPv6 then needs no hole."""
        value = encode_handshake(HandshakeMessage(Mode.FROM_CLIENT, self._dial.message))
        response = await ask(self.field.rpc6, address, PEER_HANDSHAKE, target=self._target, value=value, port=SERVER6)
        if response is not None and response.value is not None:
            with suppress(DecodeError):
                if decode_handshake(response.value).noise == self._answer:
                    self.found(address, SERVER6, PathKind.DIRECT)
        self.lost(name, Reason.NO_PATH)

    async def _lan(self, address: Address) -> None:
        answer = await ask(self.field.rpc, address, PING, internal=True, port=SERVER)
        if answer is not None:
            self.found(address, SERVER, PathKind.LAN)
        self.lost("lan", Reason.NO_PATH)

    def on_packet(self, source: Address, port: int) -> bool | None:
        if self.link.agreement is None:
            self._early = source, port
            return True
        return super().on_packet(source, port)

    # punching

    async def _punch(self, route: Route) -> None:
        payload = self.payload
        assert payload.holepunch is not None
        relays = payload.holepunch.relays
        # the relay that both use first: what it says of the peer's address then holds for the next round too
        order = sorted(relays, key=lambda pair: pair[0] != route.relay)
        server_relay = order[0]
        puncher = Puncher(
            self.field.ground,
            initiator=True,
            remote_firewall=payload.firewall,
            on_connect=lambda address, port: self.found(address, port, PathKind.PUNCHED),
            on_abort=lambda: self.lost("punch", Reason.NO_PATH),
        )
        self.puncher = puncher
        try:
            server = route.server
            for server_relay in order:
                with suppress(Unanswered):
                    token, peer = await self._probe(puncher, server, server_relay, True)
                    break
            else:
                raise Aborted
            if server_relay[0] == route.relay and peer != server:
                server = peer  # it took another socket meanwhile
                puncher.open_session(server)
            await self._punch_round(puncher, server, token, route.relay, server_relay)
        except Aborted as aborted:
            if aborted.say:
                await self._tell(puncher, server_relay, PunchPayload(error=Refusal.ABORTED, round=self._next_round()))
            puncher.close()
            self.lost("punch", Reason.NO_PATH)

    async def _probe(
        self, puncher: Puncher, server: Address, relay: tuple[Address, Address], again: bool
    ) -> tuple[bytes | None, Address]:
        """Opens our NAT, tells the server so, and hears about its NAT; their probe may end it all right here."""
        tasks = self.field.tasks
        puncher.open_session(server)
        nat = puncher.nat
        answer, peer = await self._exchange(
            puncher, relay[1], relay[0], self._state(puncher, punching=False, remote=server)
        )
        if puncher.remote.firewall == Firewall.UNKNOWN:
            await tasks.sleep(PAUSE)
        if not await puncher.analyze(False) and await puncher.analyze(True) and nat is not puncher.nat:
            return await self._probe(puncher, server, relay, False)
        if again and (puncher.remote.firewall == Firewall.UNKNOWN or answer.token is None):
            return await self._probe(puncher, server, relay, False)
        ours, theirs = coerced(puncher.nat.firewall), coerced(puncher.remote.firewall)
        if Firewall.UNKNOWN in (ours, theirs) or ours == theirs == Firewall.RANDOM:
            raise Aborted(say=True)
        return answer.token, peer

    async def _punch_round(
        self,
        puncher: Puncher,
        server: Address,
        token: bytes | None,
        client_relay: Address,
        server_relay: tuple[Address, Address],
    ) -> None:
        """Both are told to punch.  While a relay carries us, a storm of probes may wait for its turn."""
        puncher.nat.freeze()
        assert self.sealed is not None
        proof = self.sealed.token(server)
        delayed = False
        while True:
            busy = puncher.random and self.field.ground.throttle.busy(self.field.tasks.now)
            if not busy:
                state = self._state(puncher, punching=True, token=None if delayed else proof, remote_token=token)
                to, relay = (server_relay[1], server_relay[0]) if delayed else (server, client_relay)
                answer, _ = await self._exchange(puncher, to, relay, state)
                if answer.error != Refusal.TRY_LATER:
                    break
            elif not delayed and self._carried:
                state = self._state(puncher, punching=False, token=proof, remote_token=token)
                await self._exchange(puncher, server, client_relay, state)
            if not self._carried:
                raise Aborted
            delayed = True
            low, high = LATER
            await self.field.tasks.sleep(low + (high - low) * self.field.rng(1)[0] / 255)
        if not puncher.remote.punching or not puncher.punch():
            raise Aborted

    @property
    def _carried(self) -> bool:
        """Whether a blind relay serves us, or may soon."""
        return "relay" in self.ways

    async def _exchange(
        self, puncher: Puncher, peer: Address, relay: Address, state: PunchPayload
    ) -> tuple[PunchPayload, Address]:
        """One round through a relay: what the peer said, and its address there.  Raises Aborted."""
        answered = await self._tell(puncher, (relay, peer), state)
        if answered is None:
            raise Unanswered
        answer, seen = answered
        later = answer.error == Refusal.TRY_LATER and self._carried and state.punching
        if answer.error != Refusal.NONE and not later:
            raise Aborted
        # a token that comes back with "later" holds as well; npm forgets it, and then has nobody to send probes to
        echoed = state.token is not None and answer.remote_token == state.token
        puncher.learn(answer.firewall, answer.addresses, answer.punching, peer[0] if echoed else None)
        self.hosts.update(address[0] for address in puncher.remote.addresses)
        return answer, seen

    async def _tell(
        self, puncher: Puncher, relay: tuple[Address, Address], state: PunchPayload
    ) -> tuple[PunchPayload, Address] | None:
        assert self.sealed is not None and self.payload.holepunch is not None
        id, sealed = self.payload.holepunch.id, self.sealed.seal(state)
        value = encode_holepunch(HolepunchMessage(Mode.FROM_CLIENT, id, sealed, relay[1]))
        port, nat = puncher.port, puncher.nat
        response = await ask(
            self.field.rpc, relay[0], PEER_HOLEPUNCH, target=self._target, value=value, port=port, tries=ROUTED_TRIES
        )
        if response is None or response.value is None:
            return None
        puncher.sampled(response.to, relay[0], nat)
        try:
            message = decode_holepunch(response.value)
            return self.sealed.open(message.payload), message.peer or relay[0]
        except DecodeError:
            return None

    def _state(
        self,
        puncher: Puncher,
        *,
        punching: bool,
        remote: Address | None = None,
        token: bytes | None = None,
        remote_token: bytes | None = None,
    ) -> PunchPayload:
        nat = puncher.nat
        return PunchPayload(
            firewall=nat.firewall,
            round=self._next_round(),
            punching=punching,
            addresses=nat.addresses,
            remote=remote,
            token=token,
            remote_token=remote_token,
        )

    def _next_round(self) -> int:
        round = self._round
        self._round += 1
        return round
