"""The client side of blind relays: a third node pairs two raw streams and sees neither keys nor contents.

`docs/protocol.md`, "Blind relay".  Both ends connect to the relay, open the channel `blind-relay` and name a common
token; the relay answers each with the id of the stream to talk to, and passes packets on with their id rewritten.
The id of the channel is the key that the end has connected with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from identity.codec import Reader, Writer
from identity.errors import DecodeError
from netstack.connect.tasks import Promise
from netstack.events import Closed, Ended, Event, Failed, Frame, Opened
from netstack.udp.port import Address
from netstack.wire.protomux import ChannelClosed, Fault, Message, Protomux

PROTOCOL = "blind-relay"
PAIR, UNPAIR = 0, 1
TOKEN = 32
MAX_PAIRS = 64  # of one connection to a relay, waiting or tied
MAX_NAMED = 32  # relays that others have named to us, at a time: a stranger may name any key

Leg = tuple[Address, int, int]  # (the relay's address, our port, its stream id)


@dataclass(frozen=True, slots=True)
class Pair:
    """`id` is the sender's stream: in a request the end's own, in an answer the relay's."""

    initiator: bool
    token: bytes
    id: int
    seq: int = 0


def encode_pair(pair: Pair) -> bytes:
    """The body of PAIR."""
    return bytes((pair.initiator,)) + Writer().raw(pair.token).uint(pair.id).uint(pair.seq).finish()


def decode_pair(data: bytes) -> Pair:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    flags = reader.fixed_uint(1)
    return Pair(bool(flags & 1), reader.fixed(TOKEN), reader.uint(0xFFFF_FFFF), reader.uint())


def encode_unpair(token: bytes) -> bytes:
    """The body of UNPAIR."""
    return b"\0" + token


def decode_unpair(data: bytes) -> bytes:
    """Raises DecodeError."""
    reader = Reader(data, minimal=False)
    reader.fixed_uint(1)
    return reader.fixed(TOKEN)


class RelayEndpoint(Protocol):
    """What relaying needs of its endpoint: connections of its own, and where their peers are."""

    def dial_inner(self, remote: bytes, on_event: Callable[[Event], None]) -> int:
        """Connects to `remote` for ourselves; the number of the connection, whose events go to `on_event`."""
        ...

    def send_inner(self, conn: int, frame: bytes) -> None:
        """Queues one frame on such a connection."""
        ...

    def close_inner(self, conn: int) -> None:
        """Closes it; no event follows."""
        ...

    def path_of(self, conn: int) -> tuple[Address, int] | None:
        """The address of the connection's peer and our port; None while there is no path."""
        ...


@dataclass(slots=True)
class Waiting:
    """One pairing that was asked for; `leg` is kept with the relay's answer, or None."""

    initiator: bool
    stream: int
    leg: Promise[Leg | None]


class RelayClient:
    """One connection to one relay, for as long as somebody here is paired through it."""

    def __init__(self, base: RelayEndpoint, key: bytes, on_over: Callable[[], None]) -> None:
        self.users: dict[bytes, Waiting] = {}
        self._base = base
        self._on_over = on_over
        self._mux = Protomux()
        self._channel = 0
        self._conn = base.dial_inner(key, self._on_event)

    @property
    def address(self) -> Address | None:
        """Where the relay is, None while it is not connected."""
        path = self._base.path_of(self._conn)
        return path[0] if path is not None else None

    def pair(self, token: bytes, waiting: Waiting) -> None:
        """Asks for `token`, now or when the channel is open."""
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
        for frame in self._mux.take_outgoing():
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

    def __init__(self, base: RelayEndpoint) -> None:
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
        """Gives a pairing up; the last one closes the connection to its relay."""
        if client := self._clients.get(relay):
            client.unpair(token)

    def is_at(self, relay: bytes, source: Address) -> bool:
        """Whether packets from there come through our connection to that relay."""
        client = self._clients.get(relay)
        return client is not None and client.address == source

    def _drop(self, relay: bytes) -> None:
        self._clients.pop(relay, None)
