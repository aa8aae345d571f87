"""The answering side: one handshake that was answered, and the ways that its dialler may take to us.

`docs/protocol.md`, "Which way".  An attempt lives until its connection is open or has failed, and for the few seconds
in which a dialler may still ask for the same answer.
"""

from __future__ import annotations

from collections.abc import Callable

from identity.errors import DecodeError
from netstack.connect.attempt import PASSIVE, PUNCHING, Attempt
from netstack.connect.context import ConnectContext, best_match, private
from netstack.connect.puncher import Puncher
from netstack.connect.secure_payload import HolepunchMessage, PunchPayload
from netstack.connect.tasks import Task
from netstack.dht.datagram import Request
from netstack.events import PathKind, Reason
from netstack.link import Link
from netstack.udp.port import Address
from netstack.wire.messages import Firewall, Refusal

MAX_ROUNDS = 8  # hole-punch messages of one session that wait for our NAT at a time

Answer = Callable[[bytes, int], None]


class InboundAttempt(Attempt):
    """One handshake that was answered.

    `id` names it in hole-punch messages; answers go out from `default_port` unless a punched socket is better;
    `account`: the host whose share of our connections it takes.
    """

    def __init__(
        self, context: ConnectContext, link: Link, id: int, default_port: int, token: bytes, account: str
    ) -> None:
        super().__init__(context, link)
        self.id = id
        self.account = account
        self.answer_port = default_port
        self._default_port = default_port
        self._token = token  # of the blind relay that we named, b"" for none
        self._round = 0
        self._asked = 0  # hole-punch messages that came
        self._rounds: list[Task] = []

    def begin(self, client: Address, here: Address, port: int, direct: bool, open: bool) -> None:
        """What the dialler's payload leaves to do.  `here` is our address as whoever passed it on sees it."""
        payload = self.payload
        self.hosts.add(client[0])
        if direct or payload.firewall == Firewall.OPEN:
            self.found(client, port if direct else self._default_port, PathKind.DIRECT)
            return
        if self._token and self.context.relay_through:
            self.relay_through(self.context.relay_through, self._token, initiator=True)
        elif through := payload.relay_through:
            self.relay_through(through.key, through.token, initiator=False)
        if open:
            self.way("passive", self.wait("passive", PASSIVE), PASSIVE)
            return
        self._prepare()
        near = tuple(address for address in payload.addresses4 if private(address[0]))
        if not (client[0] == here[0] and best_match(self.context.local(), near)):
            # the address that the relay sees is then that of the socket to be punched
            self.answer_port = self.puncher.port if self.puncher else self._default_port

    def _prepare(self) -> None:
        self.puncher = Puncher(
            self.context.punching,
            initiator=False,
            remote_firewall=self.payload.firewall,
            on_connect=lambda address, port: None,  # the first packet of the dialler's stream shows which probe arrived
            on_abort=lambda: self.lost("punch", Reason.NO_PATH),
        )
        self.way("punch", self._unasked(), PUNCHING)

    @property
    def idle(self) -> bool:
        """Whether it holds a socket for a dialler that has not asked for a round yet."""
        return self.puncher is not None and not self.puncher.done and not self._asked

    async def _unasked(self) -> None:
        """A dialler that sends no round, or no further one, keeps no socket, unless a relay carries it meanwhile."""
        puncher, before = self.puncher, -1
        while puncher is not None and not puncher.punching and ("relay" in self.ways or self._asked != before):
            before = self._asked
            await self.context.tasks.sleep(PASSIVE)
        if puncher is not None and not puncher.punching:
            puncher.close()
            self.lost("punch", Reason.NO_PATH)

    def kind_of(self, source: Address, port: int) -> PathKind:
        """As of any attempt; a private host that may punch is in our network."""
        kind = super().kind_of(source, port)
        return PathKind.LAN if kind is PathKind.DIRECT and private(source[0]) and self.puncher else kind

    # rounds

    def on_round(
        self, message: HolepunchMessage, relay: Address, request: Request, port: int, trusted: bool, answer: Answer
    ) -> None:
        """`trusted`: the relay is one of those that we announced at, so what it echoes was sent to that client."""
        self._rounds = [task for task in self._rounds if not task.done.done]
        if message.peer is None or len(self._rounds) >= MAX_ROUNDS or self.over:
            return
        self._asked += 1
        self._rounds.append(self.spawn(self._answer(message, message.peer, relay, request, port, trusted, answer)))

    async def _answer(
        self,
        message: HolepunchMessage,
        client: Address,
        relay: Address,
        request: Request,
        port: int,
        trusted: bool,
        answer: Answer,
    ) -> None:
        puncher, sealed = self.puncher, self.sealed
        if puncher is None or sealed is None:
            return
        try:
            theirs = sealed.open(message.payload)
        except DecodeError:
            return
        reply = await self._round_of(puncher, theirs, client, relay, request, port, trusted)
        answer(sealed.seal(reply), self._default_port if reply.error == Refusal.ABORTED else puncher.port)
        if reply.error in (Refusal.ABORTED, Refusal.TRY_LATER) and "relay" not in self.ways:
            puncher.close()
            self.lost("punch", Reason.NO_PATH)

    async def _round_of(
        self,
        puncher: Puncher,
        theirs: PunchPayload,
        client: Address,
        relay: Address,
        request: Request,
        port: int,
        trusted: bool,
    ) -> PunchPayload:
        assert self.sealed is not None
        token = self.sealed.token(client)
        aborted = PunchPayload(error=Refusal.ABORTED, round=self._round)
        if theirs.error != Refusal.NONE:
            return aborted
        if port == puncher.port:
            puncher.sampled(request.to, relay)
        if theirs.round >= self._round:
            self._round = theirs.round
            echoed = trusted and theirs.remote_token == token
            puncher.learn(theirs.firewall, theirs.addresses, theirs.punching, client[0] if echoed else None)
            self.hosts.update(address[0] for address in puncher.remote.addresses)
        stable = await puncher.analyze(False)
        if not stable and not puncher.remote.punching:
            stable = await puncher.analyze(True)
            if not stable:
                return aborted
        nat = puncher.nat
        consistent = nat.firewall in (Firewall.OPEN, Firewall.CONSISTENT)
        if consistent and theirs.remote is not None and theirs.remote in (nat.addresses or ()):
            puncher.ping(client)  # its NAT is open to us already: one probe may be enough
        error = Refusal.NONE
        if puncher.remote.punching and not puncher.punching:
            if puncher.random and self.context.punching.throttle.busy(self.context.tasks.now):
                error = Refusal.TRY_LATER
            elif not puncher.punch():
                return aborted
        if nat.firewall != Firewall.UNKNOWN:
            nat.freeze()
        return PunchPayload(
            error=error,
            firewall=nat.firewall,
            round=self._round,
            connected=puncher.connected,
            punching=puncher.punching,
            addresses=nat.addresses,
            token=token if trusted else None,
            remote_token=theirs.token,
        )
