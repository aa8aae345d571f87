"""The dialling side of a punch: what is said to the server in which order, through which of the relays.

`docs/protocol.md`, "Hole punching".  The answering side is `inbound.py`; the probes are sent by `puncher.py`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from identity.errors import DecodeError
from netstack.connect.attempt import Attempt
from netstack.connect.nat import coerced
from netstack.connect.puncher import Puncher
from netstack.connect.rpc import answer_of
from netstack.connect.secure_payload import HolepunchMessage, PunchPayload, decode_holepunch, encode_holepunch
from netstack.dht.ask import Ask
from netstack.dht.datagram import PEER_HOLEPUNCH
from netstack.events import PathKind, Reason
from netstack.udp.port import Address
from netstack.wire.messages import Firewall, Refusal, RoutingMode

ROUTED_TRIES = 8  # of a message that takes four datagrams there and back
PAUSE = 1.0  # for the peer to find out about its NAT
LATER = (10.0, 20.0)  # between random punches, while a relay carries us


class Aborted(Exception):
    """The punch has failed; `say`: the peer is told."""

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


class Rounds:
    """One punch.  It sets the attempt's puncher, and ends the way "punch" where that leads nowhere."""

    def __init__(self, attempt: Attempt, target: bytes, route: Route) -> None:
        self._attempt = attempt
        self._target = target
        self._route = route
        self._round = 0

    async def run(self) -> None:
        """Until probes are under way, or nothing is left to try; what follows is the puncher's and the attempt's."""
        attempt, route = self._attempt, self._route
        payload = attempt.payload
        assert payload.holepunch is not None
        relays = payload.holepunch.relays
        # the relay that both use first: what it says of the peer's address then holds for the next round too
        order = sorted(relays, key=lambda pair: pair[0] != route.relay)
        server_relay = order[0]
        puncher = Puncher(
            self._attempt.context.punching,
            initiator=True,
            remote_firewall=payload.firewall,
            on_connect=lambda address, port: attempt.found(address, port, PathKind.PUNCHED),
            on_abort=lambda: attempt.lost("punch", Reason.NO_PATH),
        )
        attempt.puncher = puncher
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
            attempt.lost("punch", Reason.NO_PATH)

    async def _probe(
        self, puncher: Puncher, server: Address, relay: tuple[Address, Address], again: bool
    ) -> tuple[bytes | None, Address]:
        """Opens our NAT, tells the server so, and hears about its NAT; their probe may end it all right here."""
        tasks = self._attempt.context.tasks
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
        """Both sides begin to punch.  A random punch waits for its turn while a relay carries the connection."""
        puncher.nat.freeze()
        assert self._attempt.sealed is not None
        proof = self._attempt.sealed.token(server)
        delayed = False
        while True:
            busy = puncher.random and self._attempt.context.punching.throttle.busy(self._attempt.context.tasks.now)
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
            await self._attempt.context.tasks.sleep(low + (high - low) * self._attempt.context.rng(1)[0] / 255)
        if not puncher.remote.punching or not puncher.punch():
            raise Aborted

    @property
    def _carried(self) -> bool:
        """Whether a blind relay serves us, or may soon."""
        return "relay" in self._attempt.ways

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
        # a token echoed with "later" counts as well; npm drops it, and then has no verified host to probe
        echoed = state.token is not None and answer.remote_token == state.token
        puncher.learn(answer.firewall, answer.addresses, answer.punching, peer[0] if echoed else None)
        self._attempt.hosts.update(address[0] for address in puncher.remote.addresses)
        return answer, seen

    async def _tell(
        self, puncher: Puncher, relay: tuple[Address, Address], state: PunchPayload
    ) -> tuple[PunchPayload, Address] | None:
        assert self._attempt.sealed is not None and self._attempt.payload.holepunch is not None
        id, sealed = self._attempt.payload.holepunch.id, self._attempt.sealed.seal(state)
        value = encode_holepunch(HolepunchMessage(RoutingMode.FROM_CLIENT, id, sealed, relay[1]))
        port, nat = puncher.port, puncher.nat
        ask = Ask(PEER_HOLEPUNCH, target=self._target, value=value, port=port, tries=ROUTED_TRIES)
        response = await answer_of(self._attempt.context.rpc, relay[0], ask)
        if response is None or response.value is None:
            return None
        puncher.sampled(response.to, relay[0], nat)
        try:
            message = decode_holepunch(response.value)
            return self._attempt.sealed.open(message.payload), message.peer or relay[0]
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
