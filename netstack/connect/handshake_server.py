"""Who answers for the keys that listen here: handshakes, hole-punch rounds, and the sessions between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from identity.keys import SigningKey
from netstack.connect.allowance import account, loopback
from netstack.connect.announcer import Announcer
from netstack.connect.context import Field
from netstack.connect.inbound import Answer, Session
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


class Reception:
    """All keys of one node.  `accept` may be changed at any time."""

    def __init__(self, field: Field, listener: Listener, router: Router, accept: Accept) -> None:
        self.accept = accept
        self.announcers: dict[bytes, Announcer] = {}  # by key
        self._field = field
        self._listener = listener
        self._router = router
        self._sessions: dict[int, Session] = {}
        self._by_link: dict[int, int] = {}
        self._of_host: Counter[str] = Counter()  # connections by the account they are on, open ones too
        self._last_id = 0

    def listen(self, key: SigningKey, announce: bool) -> None:
        """Answers for `key`; with a DHT, `announce` makes it findable, or, said again as False, no longer so."""
        self._listener.listen(key)
        target = target_of(key.public)
        self._router.servers[target] = Desk(self, target, key.public)
        dht = self._field.dht
        if announce and dht is not None and key.public not in self.announcers:
            self.announcers[key.public] = Announcer(dht, self._field.tasks, key, self._field.links.doubt)
        elif not announce and key.public in self.announcers:
            self.announcers.pop(key.public).close()

    def unlisten(self, public: bytes) -> None:
        self._listener.unlisten(public)
        self._router.servers.pop(target_of(public), None)
        announcer = self.announcers.pop(public, None)
        if announcer is not None:
            announcer.close()

    def gone(self, link: Link) -> None:
        """A connection that was answered is over."""
        id = self._by_link.pop(link.id, None)
        if id is not None:
            session = self._sessions.pop(id)
            session.gone()
            self._of_host[session.knocker] -= 1
            if not self._of_host[session.knocker]:
                del self._of_host[session.knocker]

    def on_handshake(
        self, desk: Desk, noise: bytes, client: Address, relay: Address | None, request: Request, port: int, now: float
    ) -> tuple[bytes, int] | None:
        """Message 2 for a message 1, and a half-open connection unless it is an error."""
        field, links = self._field, self._field.links
        known = self._listener.repetition(desk.target, noise, now)
        if known is not None:
            return known
        # a relay of ours saw the client's address; of another it is a mere word, so the work is on that one's account
        trusted = relay is not None and self._trusts(desk, relay)
        knocker = account(client[0] if relay is None or trusted else relay[0])
        unasked = relay is not None and field.dht is None  # nobody relays for a node that is in no DHT
        if unasked or links.too_many_strangers or self._too_many_of(knocker):
            return None
        near = trusted and client[0] == request.to[0]
        link = links.new()
        self._last_id += 1
        token = field.rng(32) if field.relay_through is not None and relay is not None else b""

        def reply(remote: bytes, payload: NoisePayload) -> NoisePayload | None:
            error = refusal_for(payload)
            if error is Refusal.NONE and not self.accept(desk.key, remote):
                return None
            if error is Refusal.NONE and relay is not None and not field.open and payload.firewall != Firewall.OPEN:
                error = Refusal.TRY_LATER if self._too_many_idle(knocker) else error
            return self._payload(desk, link, error, relay is not None, near, token)

        answered = self._listener.answer(desk.target, noise, knocker, now, field.rng, reply)
        agreement = answered[1] if answered else None
        if answered is None or agreement is None:
            links.forget(link)
            return (answered[0], port) if answered else None
        if agreement.payload.udx is None or agreement.payload.udx.id > 0xFFFF_FFFF:
            links.forget(link)
            return None
        session = Session(field, link, self._last_id, port, token, knocker)
        self._sessions[session.id] = session
        self._by_link[link.id] = session.id
        self._of_host[knocker] += 1
        links.half_open[link.id] = link
        session.agree(agreement)
        session.begin(client, request.to, port, relay is None, field.open)
        self._listener.answered_from(desk.target, noise, session.answer_port)
        return answered[0], session.answer_port

    def on_holepunch(
        self, desk: Desk, message: HolepunchMessage, relay: Address, request: Request, port: int, answer: Answer
    ) -> None:
        session = self._sessions.get(message.id)
        if session is not None and session.link.agreement and session.link.agreement.local_key == desk.key:
            session.on_round(message, relay, request, port, self._trusts(desk, relay), answer)

    def _trusts(self, desk: Desk, relay: Address) -> bool:
        """Whether we have announced ourselves at that relay."""
        announcer = self.announcers.get(desk.key)
        return announcer is not None and announcer.is_relay(relay)

    def _begun(self) -> list[Session]:
        """Those that are not open yet."""
        sessions = (self._sessions.get(self._by_link.get(id, 0)) for id in self._field.links.half_open)
        return [session for session in sessions if session is not None]

    def _too_many_of(self, host: str) -> bool:
        """Whether a host has begun as much as one host may: whoever proves nothing must not keep others out."""
        limits = self._field.limits
        if self._of_host[host] >= limits.connections_host and not loopback(host):
            return True
        return sum(session.knocker == host for session in self._begun()) >= limits.half_open_host

    def _too_many_idle(self, host: str) -> bool:
        """Whether one more socket for a stranger is one too many: other sockets and files need descriptors too."""
        idle = [session.knocker for session in self._begun() if session.idle]
        return len(idle) >= IDLE or idle.count(host) >= IDLE_HOST

    def _payload(self, desk: Desk, link: Link, error: Refusal, routed: bool, near: bool, token: bytes) -> NoisePayload:
        field = self._field
        announcer = self.announcers.get(desk.key)
        relays = announcer.relay_addresses if announcer is not None else ()
        holes = None
        if routed and not field.open:
            holes = Holepunch(self._last_id, announcer.relays if announcer is not None else ())
        return NoisePayload(
            error=error,
            # "open" makes a peer start its stream at once instead of punching first
            firewall=Firewall.OPEN if field.open else Firewall.UNKNOWN,
            holepunch=holes,
            addresses4=field.addresses(near),
            addresses6=field.addresses6() if routed else (),
            udx=UdxInfo(link.stream.local_id if error is Refusal.NONE else 0),
            secret_stream=1,
            relay_through=RelayThrough(field.relay_through, token) if token and field.relay_through else None,
            relay_addresses=relays or None,
        )


class Desk:
    """One listening key, as the router knows it."""

    __slots__ = ("_reception", "key", "target")

    def __init__(self, reception: Reception, target: bytes, key: bytes) -> None:
        self.key = key
        self.target = target
        self._reception = reception

    def on_handshake(
        self, noise: bytes, client: Address, relay: Address | None, request: Request, port: int, now: float
    ) -> tuple[bytes, int] | None:
        return self._reception.on_handshake(self, noise, client, relay, request, port, now)

    def on_holepunch(
        self, message: HolepunchMessage, relay: Address, request: Request, port: int, answer: Answer
    ) -> None:
        self._reception.on_holepunch(self, message, relay, request, port, answer)
