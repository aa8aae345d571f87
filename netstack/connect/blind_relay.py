"""Blind relays: a third node ties two raw streams together and sees neither keys nor contents.

`docs/protocol.md`, "Blind relay".  Both ends connect to the relay, open the channel `blind-relay` and name a common
token; the relay answers each with the id of the stream to talk to, and passes packets on with their id rewritten.
The channel's id is the key that the end has connected with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from netstack.connect.tasks import Promise
from netstack.events import Closed, Ended, Event, Failed, Frame, Opened
from netstack.protomux import ChannelClosed, Fault, Message, Offered, Protomux
from netstack.udp import Address, Outgoing
from netstack.udx.packet import HEADER_SIZE

PROTOCOL = "blind-relay"
PAIR, UNPAIR = 0, 1
TOKEN = 32
MAX_PAIRS = 64  # of one connection to a relay, waiting or tied
MAX_LEGS = 2048  # of a relay, and as many that wait for their other end
MAX_NAMED = 32  # relays that others have named to us, at a time: a stranger may name any key
IDLE = 60.0  # seconds without a packet, after which a leg is given up: a connection says something every few

Leg = tuple[Address, int, int]  # (the relay's address, our port, its stream id)


@dataclass(frozen=True, slots=True)
class Pair:
    """`id` is the sender's stream: in a request the end's own, in an answer the relay's."""

    initiator: bool
    token: bytes
    id: int
    seq: int = 0


def encode_pair(pair: Pair) -> bytes:
    return bytes((pair.initiator,)) + Writer().raw(pair.token).uint(pair.id).uint(pair.seq).finish()


def decode_pair(data: bytes) -> Pair:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    flags = reader.fixed_uint(1)
    return Pair(bool(flags & 1), reader.fixed(TOKEN), reader.uint(0xFFFF_FFFF), reader.uint())


def encode_unpair(token: bytes) -> bytes:
    return b"\0" + token


def decode_unpair(data: bytes) -> bytes:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    reader.fixed_uint(1)
    return reader.fixed(TOKEN)


class Base(Protocol):
    """What relaying needs of its endpoint: connections of its own, and where their peers are."""

    def dial_inner(self, remote: bytes, on_event: Callable[[Event], None]) -> int: ...
    def send_inner(self, conn: int, frame: bytes) -> None: ...
    def close_inner(self, conn: int) -> None: ...
    def path_of(self, conn: int) -> tuple[Address, int] | None: ...


# the end's side


@dataclass(slots=True)
class Waiting:
    initiator: bool
    stream: int
    leg: Promise[Leg | None]


class RelayClient:
    """One connection to one relay, for as long as somebody here is paired through it."""

    def __init__(self, base: Base, key: bytes, on_over: Callable[[], None]) -> None:
        self.users: dict[bytes, Waiting] = {}
        self._base = base
        self._on_over = on_over
        self._mux = Protomux()
        self._channel = 0
        self._conn = base.dial_inner(key, self._on_event)

    @property
    def address(self) -> Address | None:
        path = self._base.path_of(self._conn)
        return path[0] if path is not None else None

    def pair(self, token: bytes, waiting: Waiting) -> None:
        self.users[token] = waiting
        if self._channel:
            self._ask(token, waiting)

    def unpair(self, token: bytes) -> None:
        """Tells the relay; who is last closes the connection."""
        if self.users.pop(token, None) is None:
            return
        if self._channel:
            self._mux.send(self._channel, UNPAIR, encode_unpair(token))
            self._flush()
        if not self.users:
            self._over()

    def _ask(self, token: bytes, waiting: Waiting) -> None:
        self._mux.send(self._channel, PAIR, encode_pair(Pair(waiting.initiator, token, waiting.stream)))
        self._flush()

    def _on_event(self, event: Event) -> None:
        match event:
            case Opened():
                self._channel = self._mux.open(PROTOCOL, event.local_key)
                for token, waiting in self.users.items():
                    self._ask(token, waiting)
                self._flush()
            case Frame(_, data):
                for told in self._mux.receive(data):
                    self._on_channel(told)
                self._flush()
            case Ended() | Closed() | Failed():
                self._over()
            case _:
                pass

    def _on_channel(self, event: object) -> None:
        match event:
            case Message(_, type, body) if type == PAIR:
                try:
                    pair = decode_pair(body)
                except DecodeError:
                    return
                waiting = self.users.get(pair.token)
                path = self._base.path_of(self._conn)
                if waiting is not None and waiting.initiator == pair.initiator and path is not None:
                    waiting.leg.keep((*path, pair.id))
            case ChannelClosed() | Fault():
                self._over()
            case _:
                pass

    def _flush(self) -> None:
        for frame in self._mux.take():
            self._base.send_inner(self._conn, frame)

    def _over(self) -> None:
        users, self.users = self.users, {}
        for waiting in users.values():
            waiting.leg.keep(None)
        self._channel = 0
        self._base.close_inner(self._conn)
        self._on_over()


class RelayClients:
    """Connections to relays, one for each."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._clients: dict[bytes, RelayClient] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def pair(self, relay: bytes, token: bytes, initiator: bool, stream: int) -> Promise[Leg | None]:
        """Where our raw stream is tied to the peer's; None if the relay does not do it."""
        leg: Promise[Leg | None] = Promise()
        client = self._clients.get(relay)
        if client is None and not initiator and len(self._clients) >= MAX_NAMED:
            leg.keep(None)
            return leg
        if client is None:
            try:
                client = RelayClient(self._base, relay, lambda: self._drop(relay))
            except (DecodeError, ValueError):  # the peer named something that is no key; or we are full
                leg.keep(None)
                return leg
            self._clients[relay] = client
        if len(client.users) >= MAX_PAIRS or token in client.users:
            leg.keep(None)
        else:
            client.pair(token, Waiting(initiator, stream, leg))
        return leg

    def unpair(self, relay: bytes, token: bytes) -> None:
        if client := self._clients.get(relay):
            client.unpair(token)

    def is_at(self, relay: bytes, source: Address) -> bool:
        """Whether packets from there come through our connection to that relay."""
        client = self._clients.get(relay)
        return client is not None and client.address == source

    def _drop(self, relay: bytes) -> None:
        self._clients.pop(relay, None)


# the relay's side


@dataclass(slots=True)
class End:
    """One leg of a pair: packets that name `id` come from `address` and are for the other leg's `remote_id` stream."""

    session: RelaySession
    initiator: bool
    token: bytes
    remote_id: int
    id: int = 0
    address: Address | None = None
    port: int = 0
    other: End | None = None
    heard: float = 0.0
    adopted: bool = False  # the address is where packets came from, not where the session is


@dataclass(slots=True)
class RelaySession:
    """One end's connection to us."""

    conn: int
    key: bytes
    mux: Protomux = field(default_factory=Protomux)
    channel: int = 0
    tokens: set[bytes] = field(default_factory=set)


class BlindRelay:
    """Serves pairs for whoever connects to the key that we relay under."""

    def __init__(self, base: Base, free_id: Callable[[], int]) -> None:
        self.legs: dict[int, End] = {}  # by our stream id
        self.passed = 0  # packets
        self._base = base
        self._free_id = free_id
        self._sessions: dict[int, RelaySession] = {}
        self._waiting: dict[bytes, End] = {}
        self._out: list[Outgoing] = []

    def on_event(self, event: Event, now: float) -> None:
        match event:
            case Opened():
                session = RelaySession(event.conn, event.remote_key)
                self._sessions[event.conn] = session
                session.mux.pair(PROTOCOL, event.remote_key)
            case Frame(conn, data) if conn in self._sessions:
                session = self._sessions[conn]
                for told in session.mux.receive(data):
                    self._on_channel(session, told, now)
                self._flush(session)
            case Ended() | Closed() | Failed():
                self._end(event.conn)
            case _:
                pass

    def _on_channel(self, session: RelaySession, event: object, now: float) -> None:
        if session.conn not in self._sessions:
            return  # closed by what came before
        match event:
            case Offered(protocol, id, _) if session.channel == 0:
                session.channel = session.mux.open(protocol, id)
                for told in session.mux.events():
                    self._on_channel(session, told, now)
            case Offered(protocol, id, _):
                session.mux.refuse(protocol, id)
            case Message(_, type, body):
                try:
                    if type == PAIR:
                        self._on_pair(session, decode_pair(body), now)
                    elif type == UNPAIR and (token := decode_unpair(body)) in session.tokens:
                        self._untie(token)
                except DecodeError:
                    self._end(session.conn)
            case ChannelClosed() | Fault():
                self._end(session.conn)
            case _:
                pass

    def _on_pair(self, session: RelaySession, pair: Pair, now: float) -> None:
        token = pair.token
        if len(session.tokens) >= MAX_PAIRS or len(self.legs) + 2 > MAX_LEGS or len(self._waiting) >= MAX_LEGS:
            return
        end = End(session, pair.initiator, token, pair.id, heard=now)
        other = self._waiting.get(token)
        if other is None:
            if any(leg.token == token for leg in self.legs.values()):
                return
            session.tokens.add(token)
            self._waiting[token] = end
            return
        if other.initiator == end.initiator:
            return
        del self._waiting[token]
        session.tokens.add(token)
        end.other, other.other = other, end
        for leg in (end, other):
            leg.id = self._free_id()
            while leg.id in self.legs:
                leg.id = self._free_id()
            self.legs[leg.id] = leg
            leg.heard = now
            if path := self._base.path_of(leg.session.conn):
                leg.address, leg.port = path
        for leg in (end, other):
            leg.session.mux.send(leg.session.channel, PAIR, encode_pair(Pair(leg.initiator, token, leg.id)))
            self._flush(leg.session)

    def packet(self, data: memoryview, source: Address, port: int, now: float) -> None:
        """A UDX packet that names none of our own streams."""
        if len(data) < HEADER_SIZE:
            return
        leg = self.legs.get(int.from_bytes(data[4:8], "little"))
        if leg is None or leg.other is None:
            return
        if source != leg.address:
            if leg.adopted or (leg.address is not None and source[0] != leg.address[0]):
                return  # its end has shown where it is
            leg.address, leg.port = source, port
        leg.adopted = True
        leg.heard = now
        other = leg.other
        if other.address is None:
            return
        self.passed += 1
        packet = bytes(data[:4]) + other.remote_id.to_bytes(4, "little") + bytes(data[8:])
        self._out.append(Outgoing(other.address, packet, port=other.port))

    def sweep(self, now: float) -> None:
        """Unties what nobody has used for a while."""
        for token in {leg.token for leg in self.legs.values() if now - leg.heard > IDLE}:
            legs = [leg for leg in self.legs.values() if leg.token == token]
            if all(now - leg.heard > IDLE for leg in legs):
                self._untie(token)
        for token in [token for token, end in self._waiting.items() if now - end.heard > IDLE]:
            self._untie(token)

    def outgoing(self) -> list[Outgoing]:
        out, self._out = self._out, []
        return out

    @property
    def busy(self) -> bool:
        return bool(self._out)

    def _untie(self, token: bytes) -> None:
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            waiting.session.tokens.discard(token)
        for leg in [leg for leg in self.legs.values() if leg.token == token]:
            del self.legs[leg.id]
            leg.session.tokens.discard(token)

    def _end(self, conn: int) -> None:
        session = self._sessions.pop(conn, None)
        if session is not None:
            for token in list(session.tokens):
                self._untie(token)
            self._base.close_inner(conn)  # after which nobody tells us of it any more

    def _flush(self, session: RelaySession) -> None:
        for frame in session.mux.take():
            self._base.send_inner(session.conn, frame)
