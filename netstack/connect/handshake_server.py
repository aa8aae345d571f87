"""Answers for the keys that listen here: handshakes and hole-punch rounds, and the attempts that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from identity.keys import SigningKey
from netstack.connect.allowance import account, loopback
from netstack.connect.announcer import Announcer
from netstack.connect.context import ConnectContext
from netstack.connect.inbound import Answer, InboundAttempt
from netstack.connect.listener import Listener
from netstack.connect.route import Router
from netstack.connect.secure_payload import HolepunchMessage
from netstack.dht.datagram import Request
from netstack.link import Link
from netstack.udp.port import Address
from netstack.wire.handshake import refusal_for, target_of
from netstack.wire.messages import Firewall, Holepunch, NoisePayload, Refusal, RelayThrough, UdxInfo

IDLE = 64  # sockets held for diallers that have not asked for a round yet, and
IDLE_HOST = 32  # of these, for those on one host's account

Accept = Callable[[bytes, bytes], bool]  # (our key, the dialler's key) -> whether to answer at all


class HandshakeServer:
    """All keys of one node.  `accept` may be changed at any time."""

    def __init__(self, context: ConnectContext, listener: Listener, router: Router, accept: Accept) -> None:
        self.accept = accept
        self.announcers: dict[bytes, Announcer] = {}  # by key
        self._context = context
        self._listener = listener
        self._router = router
        self._attempts: dict[int, InboundAttempt] = {}
        self._by_link: dict[int, int] = {}
        self._of_host: Counter[str] = Counter()  # connections by the account they are on, open ones too
        self._last_id = 0

    def listen(self, key: SigningKey, announce: bool) -> None:
        """Answers for `key`; with a DHT, `announce` makes it findable, or, said again as False, no longer so."""
        self._listener.listen(key)
        target = target_of(key.public)
        self._router.servers[target] = ListeningKey(self, target, key.public)
        dht = self._context.dht
        if announce and dht is not None and key.public not in self.announcers:
            self.announcers[key.public] = Announcer(dht, self._context.tasks, key, self._context.links.probe_liveness)
        elif not announce and key.public in self.announcers:
            self.announcers.pop(key.public).close()

    def unlisten(self, public: bytes) -> None:
        """Answers for that key no more, and takes its announcement back."""
        self._listener.unlisten(public)
        self._router.servers.pop(target_of(public), None)
        announcer = self.announcers.pop(public, None)
        if announcer is not None:
            announcer.close()

    def gone(self, link: Link) -> None:
        """A connection that was answered is over."""
        id = self._by_link.pop(link.id, None)
        if id is not None:
            attempt = self._attempts.pop(id)
            attempt.gone()
            self._of_host[attempt.account] -= 1
            if not self._of_host[attempt.account]:
                del self._of_host[attempt.account]

    def on_handshake(
        self,
        listening: ListeningKey,
        noise: bytes,
        client: Address,
        relay: Address | None,
        request: Request,
        port: int,
        now: float,
    ) -> tuple[bytes, int] | None:
        """Message 2 for a message 1, and a half-open connection unless it is an error."""
        context, links = self._context, self._context.links
        known = self._listener.repetition(listening.target, noise, now)
        if known is not None:
            return known
        # only our own relays are believed about the client's address; the work is charged to any other relay
        trusted = relay is not None and self._trusts(listening, relay)
        charged = account(client[0] if relay is None or trusted else relay[0])
        unasked = relay is not None and context.dht is None  # nobody relays for a node that is in no DHT
        if unasked or links.too_many_strangers or self._too_many_of(charged):
            return None
        near = trusted and client[0] == request.to[0]
        link = links.new()
        self._last_id += 1
        token = context.rng(32) if context.relay_through is not None and relay is not None else b""

        def reply(remote: bytes, payload: NoisePayload) -> NoisePayload | None:
            error = refusal_for(payload)
            if error is Refusal.NONE and not self.accept(listening.key, remote):
                return None
            if error is Refusal.NONE and relay is not None and not context.open and payload.firewall != Firewall.OPEN:
                error = Refusal.TRY_LATER if self._too_many_idle(charged) else error
            return self._payload(listening, link, error, relay is not None, near, token)

        answered = self._listener.answer(listening.target, noise, charged, now, context.rng, reply)
        agreement = answered[1] if answered else None
        if answered is None or agreement is None:
            links.forget(link)
            return (answered[0], port) if answered else None
        if agreement.payload.udx is None or agreement.payload.udx.id > 0xFFFF_FFFF:
            links.forget(link)
            return None
        attempt = InboundAttempt(context, link, self._last_id, port, token, charged)
        self._attempts[attempt.id] = attempt
        self._by_link[link.id] = attempt.id
        self._of_host[charged] += 1
        links.half_open[link.id] = link
        attempt.agree(agreement)
        attempt.begin(client, request.to, port, relay is None, context.open)
        self._listener.answered_from(listening.target, noise, attempt.answer_port)
        return answered[0], attempt.answer_port

    def on_holepunch(
        self,
        listening: ListeningKey,
        message: HolepunchMessage,
        relay: Address,
        request: Request,
        port: int,
        answer: Answer,
    ) -> None:
        """One round of a punch, for the attempt that its number names."""
        attempt = self._attempts.get(message.id)
        if attempt is not None and attempt.link.agreement and attempt.link.agreement.local_key == listening.key:
            attempt.on_round(message, relay, request, port, self._trusts(listening, relay), answer)

    def _trusts(self, listening: ListeningKey, relay: Address) -> bool:
        """Whether we have announced ourselves at that relay."""
        announcer = self.announcers.get(listening.key)
        return announcer is not None and announcer.is_relay(relay)

    def _begun(self) -> list[InboundAttempt]:
        """Those that are not open yet."""
        attempts = (self._attempts.get(self._by_link.get(id, 0)) for id in self._context.links.half_open)
        return [attempt for attempt in attempts if attempt is not None]

    def _too_many_of(self, host: str) -> bool:
        """Whether a host has begun as much as one host may: whoever proves nothing must not keep others out."""
        limits = self._context.limits
        if self._of_host[host] >= limits.connections_host and not loopback(host):
            return True
        return sum(attempt.account == host for attempt in self._begun()) >= limits.half_open_host

    def _too_many_idle(self, host: str) -> bool:
        """Whether one more socket for a stranger is one too many: other sockets and files need descriptors too."""
        idle = [attempt.account for attempt in self._begun() if attempt.idle]
        return len(idle) >= IDLE or idle.count(host) >= IDLE_HOST

    def _payload(
        self, listening: ListeningKey, link: Link, error: Refusal, routed: bool, near: bool, token: bytes
    ) -> NoisePayload:
        context = self._context
        announcer = self.announcers.get(listening.key)
        relays = announcer.relay_addresses if announcer is not None else ()
        holes = None
        if routed and not context.open:
            holes = Holepunch(self._last_id, announcer.relays if announcer is not None else ())
        return NoisePayload(
            error=error,
            # "open" makes a peer start its stream at once instead of punching first
            firewall=Firewall.OPEN if context.open else Firewall.UNKNOWN,
            holepunch=holes,
            addresses4=context.addresses(near),
            addresses6=context.addresses6() if routed else (),
            udx=UdxInfo(link.stream.local_id if error is Refusal.NONE else 0),
            secret_stream=1,
            relay_through=RelayThrough(context.relay_through, token) if token and context.relay_through else None,
            relay_addresses=relays or None,
        )


class ListeningKey:
    """One key that listens here, as the router calls it.  `target` is the hash of `key`."""

    __slots__ = ("_server", "key", "target")

    def __init__(self, server: HandshakeServer, target: bytes, key: bytes) -> None:
        self.key = key
        self.target = target
        self._server = server

    def on_handshake(
        self, noise: bytes, client: Address, relay: Address | None, request: Request, port: int, now: float
    ) -> tuple[bytes, int] | None:
        """As `route.Server` says."""
        return self._server.on_handshake(self, noise, client, relay, request, port, now)

    def on_holepunch(
        self, message: HolepunchMessage, relay: Address, request: Request, port: int, answer: Answer
    ) -> None:
        """As `route.Server` says."""
        self._server.on_holepunch(self, message, relay, request, port, answer)
