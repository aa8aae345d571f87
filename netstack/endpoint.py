"""Everything that happens on one UDP port, without I/O: handshakes, streams, connections, their timers.

`docs/protocol.md`, "Handshake" and "Connections".  Whoever owns the port (`host.py`, or a simulator) drives it:

    core.receive(data, source, now)            for every datagram, or `receive_batch` for what one read brought
    core.wake(now)                             when `next_wake` has come
    for event in core.events(): ...            after any of these, and after any call of one's own
    send core.outgoing()                       once per turn; it may leave events, so look again

All randomness is drawn from `rng`, all time comes as `now` (seconds of one monotonic clock): one seed is one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from identity.errors import DecodeError
from identity.keys import Random, SigningKey
from netstack.dht.address import encode_address
from netstack.dht.datagram import (
    FIND_NODE,
    FIND_PEER,
    LOOKUP,
    PEER_HANDSHAKE,
    PING,
    UNKNOWN_COMMAND,
    Request,
    Response,
    decode_datagram,
    encode_request,
    encode_response,
)
from netstack.dht.messages import (
    Firewall,
    HandshakeMessage,
    Mode,
    NoisePayload,
    Refusal,
    UdxInfo,
    decode_handshake,
    encode_handshake,
)
from netstack.events import Event, Reason
from netstack.handshake import Agreement, Dial, refusal_for, target_of
from netstack.limits import Limits
from netstack.link import Link, Phase
from netstack.listener import Listener
from netstack.ports import SERVER, PortEffect
from netstack.udp import Address, Datagram, Outgoing
from netstack.udx.congestion import CongestionControl
from netstack.udx.intake import cut, dispatch
from netstack.udx.packet import MAGIC
from netstack.udx.stream import UdxStream

Accept = Callable[[bytes, bytes], bool]  # (our key, the dialler's key) -> whether to answer at all

# Questions that any node may be asked; until the DHT is here the honest answer is that we know nobody.
KNOWN_QUESTIONS = {(True, PING), (True, FIND_NODE), (False, FIND_PEER), (False, LOOKUP)}


@dataclass(slots=True)
class Attempt:
    """A handshake that waits for its answer: one message 1 to several addresses, each under a `tid` of its own."""

    dial: Dial
    tids: dict[int, Address]
    retry_at: float
    wait: float
    forgeries: int = 0
    strangers: set[Address] = field(default_factory=set)  # answer, but do not know the key


class EndpointCore:
    """One port.  `addresses` are what peers behind relays may be told; who reaches us directly needs none of them."""

    def __init__(
        self,
        rng: Random,
        *,
        accept: Accept = lambda local, remote: True,
        limits: Limits | None = None,
        addresses: Sequence[Address] = (),
        congestion: Callable[[], CongestionControl] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.addresses = tuple(addresses)
        self.accept = accept
        self._rng = rng
        self._congestion = congestion
        self._listener = Listener(self.limits)
        self._links: dict[int, Link] = {}
        self._streams: dict[int, UdxStream] = {}
        self._owners: dict[int, Link] = {}  # by the stream's local id
        self._attempts: dict[int, Attempt] = {}  # by link id
        self._tids: dict[int, int] = {}  # tid -> link id
        self._next_tid = int.from_bytes(rng(2), "little")
        self._last_id = 0
        self._half_open: dict[int, Link] = {}
        self._touched: dict[int, UdxStream] = {}  # have received something, by local id
        self._dirty: dict[int, Link] = {}  # may have something to send or to wait for, by link id
        self._replies: list[Outgoing] = []
        self._events: list[Event] = []
        self._effects: list[PortEffect] = []
        self._wakes: list[tuple[float, int]] = []
        self._now = 0.0

    # what the owner does

    def listen(self, key: SigningKey) -> None:
        """Answers handshakes that are meant for this key, beside the others."""
        self._listener.listen(key)

    def unlisten(self, public: bytes) -> None:
        """Answers no new ones; connections that are open stay."""
        self._listener.unlisten(public)

    @property
    def listening(self) -> list[bytes]:
        return self._listener.keys

    def connect(self, remote: bytes, addresses: Iterable[Address], key: SigningKey | None, now: float) -> int:
        """Dials `remote` at all of these addresses at once; the first answer wins.  `Opened` or `Failed` follows.

        Addresses are hints from others: those that are not IPv4 are passed over.  `key` None is a key of this one
        connection.  Raises DecodeError where `remote` is no Ed25519 key, ValueError where we have too many connections.
        """
        self._now = now
        candidates = list(filter(dialable, dict.fromkeys(addresses)))[: self.limits.addresses]
        if len(self._links) >= self.limits.connections:
            raise ValueError("too many connections")
        link = self._new_link(now)
        payload = self._payload(link.stream.local_id)
        try:
            dial = Dial(key or SigningKey.generate(self._rng), remote, payload, self._rng)
        except DecodeError:
            self._forget(link)
            raise
        if not candidates:
            link.abort(Reason.NO_ANSWER)
        attempt = Attempt(
            dial, {self._tid(link.id): at for at in candidates}, now + self.limits.retry, self.limits.retry
        )
        self._attempts[link.id] = attempt
        self._ask(attempt)
        self._dirty[link.id] = link
        return link.id

    def send(self, conn: int, frame: bytes, now: float) -> bool:
        """Queues one frame.  False: hold back until `Writable`; or the connection is not open (any more).

        Raises ValueError for a frame above 16 MiB.
        """
        self._now = now
        link = self._links.get(conn)
        if link is None:
            return False
        self._dirty[conn] = link
        return link.send(frame, now)

    def end(self, conn: int, now: float) -> None:
        """We send nothing more; the peer may still."""
        if link := self._touch(conn, now):
            link.end()

    def close(self, conn: int, now: float) -> None:
        """Delivers what was sent, takes nothing more; `Closed` follows, or `Failed` where it never opened."""
        if link := self._touch(conn, now):
            link.close(now)

    def abort(self, conn: int, now: float, reason: Reason = Reason.CLOSED, detail: str = "") -> None:
        """Over at once, what was sent included."""
        if link := self._touch(conn, now):
            link.abort(reason, detail)

    def hold(self, conn: int, size: int, now: float) -> None:
        """How many bytes of frames the owner still holds: the peer is slowed down accordingly."""
        if link := self._touch(conn, now):
            link.hold(size, now)

    def queued(self, conn: int) -> int:
        """Bytes sent and not acknowledged yet."""
        link = self._links.get(conn)
        return link.stream.queued if link else 0

    def stream(self, conn: int) -> UdxStream | None:
        """For statistics."""
        link = self._links.get(conn)
        return link.stream if link else None

    def __len__(self) -> int:
        """Connections of every kind, those included that only repeat their last word."""
        return len(self._links)

    # what the port brings

    def receive(self, data: bytes | memoryview, source: Address, now: float, port: int = SERVER) -> None:
        """One datagram.  Never raises, whatever it is."""
        self.receive_batch((Datagram(memoryview(data), source, 0),), now, port)

    def receive_batch(self, batch: Sequence[Datagram], now: float, port: int = SERVER) -> None:
        """Datagrams and runs as a shell reads them on one of our ports.  They need not outlive the call."""
        self._now = now
        for item in batch:
            for left in dispatch(item, self._streams, now, self._touched):
                if left.data and left.data[0] != MAGIC:
                    self._on_datagram(left.data, left.source, now)

    def wake(self, now: float) -> None:
        """Does what is due."""
        self._now = now
        wakes = self._wakes
        while wakes and wakes[0][0] <= now:
            at, id = heappop(wakes)
            link = self._links.get(id)
            if link is None or link.scheduled != at:
                continue
            link.scheduled = inf
            self._dirty[id] = link
            attempt = self._attempts.get(id)
            if attempt is not None and now >= attempt.retry_at:
                attempt.wait *= 2
                attempt.retry_at = now + attempt.wait
                self._ask(attempt)
            link.wake(now)

    def next_wake(self) -> float | None:
        """When `wake` is to be called, None for never.  At once, where `outgoing` has not been asked yet."""
        if self._dirty or self._touched or self._replies:
            return self._now
        wakes = self._wakes
        while wakes:
            at, id = wakes[0]
            link = self._links.get(id)
            if link is not None and link.scheduled == at:
                return at
            heappop(wakes)
        return None

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        for local_id in self._touched:
            link = self._owners.get(local_id)
            if link is not None:
                self._dirty[link.id] = link
        self._touched.clear()
        for link in list(self._dirty.values()):
            self._absorb(link)
        events, self._events = self._events, []
        return events

    def outgoing(self) -> list[Outgoing]:
        """Datagrams and runs to send now, once per turn."""
        out, self._replies = self._replies, []
        for link in self._dirty.values():
            out += link.stream.take_outgoing(self._now)
        self._settle()
        return out

    def effects(self) -> list[PortEffect]:
        """Ports to open and to close, before `outgoing` is sent."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def restless(self) -> bool:
        """Whether `events` has something, after `outgoing`."""
        return bool(self._events)

    # handshakes

    def _on_datagram(self, data: memoryview, source: Address, now: float) -> None:
        try:
            message = decode_datagram(data)
        except DecodeError:
            return
        if isinstance(message, Response):
            self._on_response(message, source, now)
        elif message.command == PEER_HANDSHAKE and not message.internal:
            self._on_handshake(message, source, now)
        elif (message.internal, message.command) in KNOWN_QUESTIONS:
            self._reply(Response(message.tid, source), source)
        else:
            self._reply(Response(message.tid, source, error=UNKNOWN_COMMAND), source)

    def _on_handshake(self, request: Request, source: Address, now: float) -> None:
        if request.value is None or request.target is None:
            return
        try:
            message = decode_handshake(request.value)
        except DecodeError:
            return
        if message.mode != Mode.FROM_CLIENT:
            return  # routed handshakes come with the DHT
        local = self._listener.key_of(request.target)
        if local is None:
            self._reply(Response(request.tid, source), source)
            return
        noise = self._listener.repetition(message.noise, now)
        if noise is None:
            noise = self._answer(local, request.target, message.noise, source, now)
        if noise is not None:
            value = encode_handshake(HandshakeMessage(Mode.REPLY, noise))
            self._reply(Response(request.tid, source, value), source)

    def _answer(self, local: bytes, target: bytes, message: bytes, source: Address, now: float) -> bytes | None:
        """Message 2 for a new message 1, and a half-open connection unless it is an error."""
        if len(self._half_open) >= self.limits.half_open or len(self._links) >= self.limits.connections:
            return None
        link = self._new_link(now)

        def reply(remote: bytes, payload: NoisePayload) -> NoisePayload | None:
            error = refusal_for(payload)
            if error is Refusal.NONE and not self.accept(local, remote):
                return None
            return self._payload(link.stream.local_id if error is Refusal.NONE else 0, error)

        answered = self._listener.answer(target, message, source[0], now, self._rng, reply)
        if answered is None or answered[1] is None:
            self._forget(link)
            return answered[0] if answered else None
        link.stream.adopt = lambda address: link.half_open  # a dialler may be heard first on another of its paths
        self._half_open[link.id] = link
        self._start(link, answered[1], source, now)
        return answered[0]

    def _on_response(self, response: Response, source: Address, now: float) -> None:
        link = self._links.get(self._tids.get(response.tid, 0))
        attempt = self._attempts.get(link.id) if link else None
        if link is None or attempt is None or attempt.tids[response.tid] != source:
            return
        if response.value is None:
            attempt.strangers.add(source)
            if len(attempt.strangers) == len(attempt.tids):
                self._fail(link, Reason.NOT_THERE)
            return
        try:
            message = decode_handshake(response.value)
            if message.mode != Mode.REPLY:
                return
            agreement = attempt.dial.accept(message.noise)
        except DecodeError:
            attempt.forgeries += 1
            if attempt.forgeries >= self.limits.forgeries:
                self._fail(link, Reason.REFUSED)
            return
        if agreement.payload.error != Refusal.NONE or refusal_for(agreement.payload) is not Refusal.NONE:
            self._fail(link, Reason.REFUSED)
            return
        self._drop_attempt(link.id)
        self._start(link, agreement, source, now)

    def _start(self, link: Link, agreement: Agreement, address: Address, now: float) -> None:
        remote = agreement.payload.udx
        if remote is not None and remote.id <= 0xFFFF_FFFF:
            link.start(agreement, remote.id, address, self._rng, now)
            self._dirty[link.id] = link
        else:
            self._fail(link, Reason.REFUSED)

    def _fail(self, link: Link, reason: Reason) -> None:
        link.abort(reason)
        self._dirty[link.id] = link

    def _payload(self, stream: int, error: Refusal = Refusal.NONE) -> NoisePayload:
        return NoisePayload(
            error=error,
            # "open" makes a peer start its stream at once instead of punching first
            firewall=Firewall.OPEN,
            addresses4=self.addresses,
            udx=UdxInfo(stream),
            secret_stream=1,
        )

    def _ask(self, attempt: Attempt) -> None:
        dial = attempt.dial
        value = encode_handshake(HandshakeMessage(Mode.FROM_CLIENT, dial.message))
        for tid, address in attempt.tids.items():
            request = Request(tid, address, PEER_HANDSHAKE, target=target_of(dial.remote), value=value)
            self._replies.append(Outgoing(address, encode_request(request)))

    def _reply(self, response: Response, source: Address) -> None:
        with suppress(DecodeError):  # an IPv6 source: the DHT's datagrams have no room for it
            self._replies.append(Outgoing(source, encode_response(response)))

    # tables

    def _new_link(self, now: float) -> Link:
        local_id = int.from_bytes(self._rng(4), "little")
        while local_id in self._streams:
            local_id = int.from_bytes(self._rng(4), "little")
        self._last_id += 1
        stream = UdxStream(local_id, congestion=self._congestion() if self._congestion else None)
        link = Link(self._last_id, stream, self.limits, now)
        self._links[link.id] = link
        self._streams[local_id] = stream
        self._owners[local_id] = link
        return link

    def _forget(self, link: Link) -> None:
        self._drop_attempt(link.id)
        self._links.pop(link.id, None)
        self._streams.pop(link.stream.local_id, None)
        self._owners.pop(link.stream.local_id, None)
        self._half_open.pop(link.id, None)

    def _drop_attempt(self, id: int) -> None:
        attempt = self._attempts.pop(id, None)
        if attempt is not None:
            for tid in attempt.tids:
                self._tids.pop(tid, None)

    def _tid(self, id: int) -> int:
        while self._next_tid in self._tids:
            self._next_tid = (self._next_tid + 1) & 0xFFFF
        tid = self._next_tid
        self._tids[tid] = id
        self._next_tid = (tid + 1) & 0xFFFF
        return tid

    def _touch(self, conn: int, now: float) -> Link | None:
        self._now = now
        link = self._links.get(conn)
        if link is not None:
            self._dirty[conn] = link
        return link

    def _absorb(self, link: Link) -> None:
        events = link.absorb(self._now)
        if events:
            self._events += events
        if link.phase is Phase.GONE:
            self._drop_attempt(link.id)
        if link.id in self._half_open and not link.half_open:
            del self._half_open[link.id]

    def _settle(self) -> None:
        """After sending: what that brought about, and when each link that did something is next to be woken."""
        dirty, self._dirty = self._dirty, {}
        for link in dirty.values():
            self._absorb(link)
            if link.finished:
                self._forget(link)
                continue
            attempt = self._attempts.get(link.id)
            at = min(link.next_wake(), attempt.retry_at) if attempt else link.next_wake()
            if at < link.scheduled:
                link.scheduled = at
                heappush(self._wakes, (at, link.id))


def dialable(address: Address) -> bool:
    """Whether a handshake can be sent there: the datagram around it has room for IPv4 alone."""
    try:
        encode_address(address)
    except DecodeError:
        return False
    return address[1] != 0 and address[0] != "0.0.0.0"


def datagrams(outgoing: Iterable[Outgoing]) -> Iterator[tuple[Address, bytes]]:
    """What `outgoing` gave, with its runs cut into single datagrams: for simulators."""
    for item in outgoing:
        for piece in cut(memoryview(item.data), item.segment or max(len(item.data), 1)):
            yield item.address, bytes(piece)
