"""The server side of blind relays: pairs streams, and passes their packets on with another stream id.

`docs/protocol.md`, "Blind relay".  Nothing is decrypted or kept; everything that strangers can ask for is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from identity.errors import DecodeError
from netstack.connect.blind_relay import (
    MAX_PAIRS,
    PAIR,
    PROTOCOL,
    UNPAIR,
    Pair,
    RelayEndpoint,
    decode_pair,
    decode_unpair,
    encode_pair,
)
from netstack.events import Closed, Ended, Event, Failed, Frame, Opened
from netstack.udp.port import Address, Outgoing
from netstack.udx.packet import HEADER_SIZE
from netstack.wire.protomux import ChannelClosed, Fault, Message, Offered, Protomux

MAX_LEGS = 2048  # of a relay, and as many that wait for their other end
IDLE = 60.0  # seconds without a packet, after which a leg is given up: a connection sends something every 5 s


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

    def __init__(self, base: RelayEndpoint, free_id: Callable[[], int]) -> None:
        self.legs: dict[int, End] = {}  # by our stream id
        self.passed = 0  # packets
        self._base = base
        self._free_id = free_id
        self._sessions: dict[int, RelaySession] = {}
        self._waiting: dict[bytes, End] = {}
        self._out: list[Outgoing] = []

    def on_event(self, event: Event, now: float) -> None:
        """What happens on connections to the key that we relay under."""
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
                for told in session.mux.take_effects():
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
        """Ends pairs and requests that were not used for IDLE seconds."""
        for token in {leg.token for leg in self.legs.values() if now - leg.heard > IDLE}:
            legs = [leg for leg in self.legs.values() if leg.token == token]
            if all(now - leg.heard > IDLE for leg in legs):
                self._untie(token)
        for token in [token for token, end in self._waiting.items() if now - end.heard > IDLE]:
            self._untie(token)

    def outgoing(self) -> list[Outgoing]:
        """Packets to pass on."""
        out, self._out = self._out, []
        return out

    @property
    def busy(self) -> bool:
        """Whether packets wait to be passed on."""
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
            self._base.close_inner(conn)  # no event of it follows

    def _flush(self, session: RelaySession) -> None:
        for frame in session.mux.take_outgoing():
            self._base.send_inner(session.conn, frame)
