"""Passing on handshakes and hole-punch messages between two peers that cannot reach each other yet.

`docs/protocol.md`, "Routing".  A client asks a relay, the relay asks the server that announced itself there, the
server's answer travels back as a request, and becomes the response that the client waits for:

    client --FROM_CLIENT--> relay --FROM_RELAY--> server --FROM_SERVER--> relay --REPLY--> client

The npm stack keeps no state here, so whoever asks can have a datagram sent anywhere.  We pass on what belongs
together and nothing else: an answer to whoever asked under that number, a client's message to the server that
announced itself or to where that server answered from.  One datagram in, one of about its size out.  Decision 0111.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from identity.errors import DecodeError
from netstack.connect.allowance import Allowance
from netstack.connect.rpc import RpcNode, dialable, dialable6
from netstack.connect.secure_payload import HolepunchMessage, decode_holepunch, encode_holepunch
from netstack.dht.contact import network_of
from netstack.dht.datagram import PEER_HANDSHAKE, PEER_HOLEPUNCH, Request
from netstack.dht.node import DhtNode
from netstack.udp.port import Address
from netstack.wire.messages import HandshakeMessage, RoutingMode, decode_handshake, encode_handshake

ASKED = 4096  # messages on their way, and
ASKED_LIFE = 20.0  # seconds an answer may take: a punch round waits for a NAT to be found out
HEARD = 4096  # addresses from which a server answered through us, and
HEARD_LIFE = 120.0  # seconds they may be used for
BURST, RATE = 256, 64.0  # messages of one host

K = TypeVar("K", bound=Hashable)


class Server(Protocol):
    """Who listens for a key here."""

    def on_handshake(
        self, noise: bytes, client: Address, relay: Address | None, request: Request, port: int, now: float
    ) -> tuple[bytes, int] | None:
        """Message 2 and the port to send it from; `relay` None where the client reached us itself."""
        ...

    def on_holepunch(
        self,
        message: HolepunchMessage,
        relay: Address,
        request: Request,
        port: int,
        answer: Callable[[bytes, int], None],
    ) -> None:
        """`answer(payload, port)` may be called later, or never."""
        ...


class Recent(Generic[K]):
    """The last `size` keys noted, each for `life` seconds and with a text about it.

    Where it is full, a network that has a sixteenth of the places already makes room itself: whoever can make up the
    sources of a few networks does not push out what the others wait for.
    """

    def __init__(self, size: int, life: float) -> None:
        self._size, self._life = size, life
        self._share = max(size // 16, 1)
        self._noted: OrderedDict[K, tuple[float, str, str]] = OrderedDict()  # since, network, what about it
        self._by_network: dict[str, OrderedDict[K, None]] = {}

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, key: K, now: float, network: str, about: str = "") -> None:
        """Notes `key` for `life` seconds, on the account of `network`."""
        self._drop(key)
        while self._noted and now - next(iter(self._noted.values()))[0] > self._life:
            self._drop(next(iter(self._noted)))
        if len(self._noted) >= self._size:
            own = self._by_network.get(network, ())
            self._drop(next(iter(own if len(own) >= self._share else self._noted)))
        self._noted[key] = now, network, about
        self._by_network.setdefault(network, OrderedDict())[key] = None

    def about(self, key: K, now: float) -> str | None:
        """The text noted with `key`; None where it was not noted or has expired."""
        noted = self._noted.get(key)
        return noted[2] if noted is not None and now - noted[0] <= self._life else None

    def _drop(self, key: K) -> None:
        noted = self._noted.pop(key, None)
        if noted is not None:
            others = self._by_network[noted[1]]
            del others[key]
            if not others:
                del self._by_network[noted[1]]


class Router:
    """`forward_of(target, now)`: where whoever announced the key of this target is, as far as we know."""

    def __init__(
        self,
        rpc: RpcNode,
        forward_of: Callable[[bytes, float], Address | None] = lambda target, now: None,
        servers: dict[bytes, Server] | None = None,
    ) -> None:
        self.servers: dict[bytes, Server] = {} if servers is None else servers  # by target
        self._rpc = rpc
        self._forward_of = forward_of
        self._allowance = Allowance(BURST, RATE, ASKED)
        self._asked: Recent[tuple[int, int, bytes, Address]] = Recent(ASKED, ASKED_LIFE)
        self._heard: Recent[tuple[bytes, Address]] = Recent(HEARD, HEARD_LIFE)
        rpc.handlers[PEER_HANDSHAKE] = self.on_handshake
        rpc.handlers[PEER_HOLEPUNCH] = self.on_holepunch

    def on_handshake(self, request: Request, source: Address, port: int, now: float) -> bool:
        """False: we know nothing of that target, so the asker is helped on with closer nodes."""
        if request.value is None or request.target is None:
            return True
        try:
            message = decode_handshake(request.value)
        except DecodeError:
            return True
        server = self.servers.get(request.target)
        if server is not None:
            if self._allowance.spend(source[0], now):
                self._serve_handshake(server, message, request, source, port, now)
            return True
        return self._pass_handshake(message, request, source, port, now)

    def _serve_handshake(
        self, server: Server, message: HandshakeMessage, request: Request, source: Address, port: int, now: float
    ) -> None:
        match message.mode:
            case RoutingMode.FROM_CLIENT:
                client, relay, back = source, None, None
            case RoutingMode.FROM_RELAY if message.peer is not None:
                client, relay, back = message.peer, source, source
            case RoutingMode.FROM_SECOND_RELAY if message.peer is not None and message.relay is not None:
                client, relay, back = message.peer, source, message.relay
            case _:
                return
        if not (dialable(client) or (relay is None and dialable6(client))) or (back is not None and not dialable(back)):
            return
        answered = server.on_handshake(message.noise, client, relay, request, port, now)
        if answered is None:
            return
        noise, answer_port = answered
        if back is None:
            value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, noise))
            self._rpc.reply(request, source, port, value=value, closer=False)
        else:
            value = encode_handshake(HandshakeMessage(RoutingMode.FROM_SERVER, noise, client))
            self._rpc.forward(request, back, value, answer_port)

    def _pass_handshake(
        self, message: HandshakeMessage, request: Request, source: Address, port: int, now: float
    ) -> bool:
        target = request.target or b""
        if message.mode == RoutingMode.FROM_SERVER:
            if message.peer is not None and self._answers(request, target, message.peer, source, now):
                value = encode_handshake(HandshakeMessage(RoutingMode.REPLY, message.noise, source))
                self._rpc.reply(request, source, port, value=value, closer=False, to=message.peer)
            return True
        to = self._forward_of(target, now)
        if message.mode == RoutingMode.FROM_CLIENT:
            if to is None:
                return False
            if self._allowance.spend(source[0], now):
                self._ask(request, target, source, to, now)
                value = encode_handshake(HandshakeMessage(RoutingMode.FROM_RELAY, message.noise, source))
                self._rpc.forward(request, to, value, port)
        elif (
            message.mode == RoutingMode.FROM_RELAY
            and message.peer is not None
            and to not in (None, source)
            and self._allowance.spend(source[0], now)
        ):
            value = encode_handshake(
                HandshakeMessage(RoutingMode.FROM_SECOND_RELAY, message.noise, message.peer, source)
            )
            self._rpc.forward(request, to, value, port)
        return True

    def on_holepunch(self, request: Request, source: Address, port: int, now: float) -> bool:
        """Passes one message of a punch on, or hands it to the server here.  Always True: nobody is helped on."""
        if request.value is None or request.target is None:
            return True
        try:
            message = decode_holepunch(request.value)
        except DecodeError:
            return True
        target = request.target
        match message.mode:
            case RoutingMode.FROM_CLIENT:
                to = self._punch_target(target, message.peer, now)
                if to is not None and self._allowance.spend(source[0], now):
                    self._ask(request, target, source, to, now)
                    onward = HolepunchMessage(RoutingMode.FROM_RELAY, message.id, message.payload, source)
                    self._rpc.forward(request, to, encode_holepunch(onward), port)
            case RoutingMode.FROM_RELAY:
                server = self.servers.get(target)
                if server is not None and message.peer is not None and dialable(message.peer) and dialable(source):
                    self._serve_holepunch(server, message, request, source, port, now)
            case RoutingMode.FROM_SERVER:
                if message.peer is not None and self._answers(request, target, message.peer, source, now):
                    back = HolepunchMessage(RoutingMode.REPLY, message.id, message.payload, source)
                    self._rpc.reply(request, source, port, value=encode_holepunch(back), closer=False, to=message.peer)
            case _:
                pass
        return True

    def _serve_holepunch(
        self, server: Server, message: HolepunchMessage, request: Request, source: Address, port: int, now: float
    ) -> None:
        if not self._allowance.spend(source[0], now):
            return

        def answer(payload: bytes, answer_port: int) -> None:
            back = HolepunchMessage(RoutingMode.FROM_SERVER, 0, payload, message.peer)
            self._rpc.forward(request, source, encode_holepunch(back), answer_port)

        server.on_holepunch(message, source, request, port, answer)

    def _punch_target(self, target: bytes, named: Address | None, now: float) -> Address | None:
        """The server as it announced itself, or where the client saw it answer from through us."""
        announced = self._forward_of(target, now)
        if named is None or named == announced:
            return announced
        return named if self._heard.about((target, named), now) is not None else None

    def _ask(self, request: Request, target: bytes, client: Address, to: Address, now: float) -> None:
        key = (request.command, request.tid, target, client)
        self._asked.note(key, now, network_of(client[0]), network_of(to[0]))

    def _answers(self, request: Request, target: bytes, client: Address, source: Address, now: float) -> bool:
        """Whether that client asked for this through us, and this network: a server answers from whichever of its
        ports it likes, and its provider may have given that another address beside the one that we know."""
        asked = self._asked.about((request.command, request.tid, target, client), now)
        if asked is None or asked != network_of(source[0]):
            return False
        self._heard.note((target, source), now, asked)
        return True


def relay_on(node: DhtNode) -> Router:
    """A node that serves the DHT and listens for nobody passes handshakes on all the same."""

    def forward_of(target: bytes, now: float) -> Address | None:
        forward = node.store.forwards.get(target, now)
        return forward.relay if forward is not None else None

    return Router(node, forward_of)
