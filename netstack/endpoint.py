"""Everything that happens on the ports of one node, without I/O: the DHT, handshakes, paths, connections, timers.

`docs/protocol.md`, from "Handshake" on.  Whoever owns the ports (`host.py`, or a simulator) drives it:

    core.receive(data, source, now, port)        for every datagram, or `receive_batch` for what one read brought
    core.wake(now)                               when `next_wake` has come
    for effect in core.take_effects(): ...       after any of these, and after any call of one's own: ports to open and
                                                 to close, what happened to connections and in the DHT
    send core.outgoing()                         once per turn; it may leave effects, so look again

All randomness is drawn from `rng`, all time comes as `now` (seconds of one monotonic clock): one seed is one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import cast

from identity.errors import DecodeError
from identity.keys import Random, SigningKey
from netstack.connect.blind_relay import RelayClients
from netstack.connect.context import ConnectContext
from netstack.connect.handshake_server import Accept, HandshakeServer
from netstack.connect.links import Links
from netstack.connect.listener import Listener
from netstack.connect.outbound import OutboundAttempt
from netstack.connect.puncher import PunchContext, Throttle
from netstack.connect.relaying import BlindRelay
from netstack.connect.route import Router
from netstack.connect.rpc import BareNode, RpcNode, dialable, dialable6
from netstack.connect.sockets import Sockets
from netstack.connect.tasks import Tasks
from netstack.dht.datagram import PROBE, REQUEST, RESPONSE
from netstack.dht.events import DhtEvent, NetworkChanged, Woken
from netstack.dht.node import DhtNode
from netstack.events import Event, Opened, PathKind, Reason
from netstack.limits import Limits
from netstack.link import Link
from netstack.ports import SERVER, SERVER6, PortEffect
from netstack.udp.port import Address, Datagram, Outgoing
from netstack.udx.congestion import CongestionControl
from netstack.udx.intake import cut, dispatch
from netstack.udx.packet import MAGIC
from netstack.udx.stream import UdxStream
from netstack.wire.handshake import Initiator
from netstack.wire.messages import Firewall, NoisePayload, RelayThrough, UdxInfo

__all__ = ["Accept", "EndpointCore", "datagrams", "dialable"]

Effect = Event | DhtEvent | PortEffect

SWEEP = 10.0  # seconds between two looks at what a blind relay carries


class EndpointCore:
    """One node.  `dht` None: it reaches, and is reached, by address alone.

    `addresses` are what peers are told of us beside what the DHT sees; `local()` gives those of our own networks,
    `local6()` those of the port SERVER6, if there is one.
    `relay_through`: the key of a blind relay that we name to peers, for when no other path is found.
    """

    def __init__(
        self,
        rng: Random,
        *,
        accept: Accept = lambda local, remote: True,
        limits: Limits | None = None,
        addresses: Sequence[Address] = (),
        congestion: Callable[[], CongestionControl] | None = None,
        dht: DhtNode | None = None,
        local: Callable[[], tuple[Address, ...]] = lambda: (),
        local6: Callable[[], tuple[Address, ...]] = lambda: (),
        relay_through: bytes | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.dht = dht
        self._rng = rng
        self._tasks = Tasks()
        self._sockets = Sockets()
        self._rpc: RpcNode = dht if dht is not None else BareNode(rng, self._tasks)
        self._rpc6 = BareNode(rng, self._tasks, SERVER6)
        self._links = Links(rng, self.limits, self._sockets, congestion, self._on_events, self._on_gone)
        self._listener = Listener(self.limits)
        self._context = ConnectContext(
            rng=rng,
            limits=self.limits,
            tasks=self._tasks,
            sockets=self._sockets,
            links=self._links,
            rpc=self._rpc,
            punching=PunchContext(
                rng,
                self._tasks,
                self._rpc,
                self._sockets,
                Throttle(),
                lambda: dht.known_nodes(32) if dht is not None else (),
                lambda: dht is not None and dht.reachable,
            ),
            local=local,
            rpc6=self._rpc6,
            local6=local6,
            dht=dht,
            told=tuple(addresses),
            relay_through=relay_through,
        )
        self._context.relays = RelayClients(self)
        self._router = Router(self._rpc, self._forward_of)
        Router(self._rpc6, servers=self._router.servers)  # answers there, passes nothing on
        self._server = HandshakeServer(self._context, self._listener, self._router, accept)
        self._outbound: dict[int, OutboundAttempt] = {}
        self._inner: dict[int, Callable[[Event], None]] = {}  # connections to and of relays, by link id
        self._relay: BlindRelay | None = None
        self._relay_key = b""
        self._effects: list[Event | DhtEvent] = []
        self._now = 0.0

    # what the owner does

    @property
    def accept(self) -> Accept:
        """Whether a stranger is answered at all; may be changed at any time."""
        return self._server.accept

    @accept.setter
    def accept(self, accept: Accept) -> None:
        self._server.accept = accept

    def listen(self, key: SigningKey, *, announce: bool = True) -> None:
        """Answers handshakes that are meant for this key, beside the others; with a DHT, announces it there."""
        self._server.listen(key, announce)

    def unlisten(self, public: bytes) -> None:
        """Answers no new ones; connections that are open stay."""
        self._server.unlisten(public)

    @property
    def listening(self) -> list[bytes]:
        """The keys that listen here."""
        return self._listener.keys

    def relay_for_others(self, key: SigningKey) -> None:
        """Serves as blind relay for whoever connects to `key`."""
        self._relay = BlindRelay(self, self._links.free_id)
        self._relay_key = key.public
        self.listen(key)
        self._tasks.at(self._now + SWEEP, self._sweep)

    def connect(
        self,
        remote: bytes,
        addresses: Iterable[Address],
        key: SigningKey | None,
        now: float,
        relays: Iterable[Address] = (),
        by_key: bool = True,
    ) -> int:
        """Connects to `remote` by every way there is; the first path wins.  `Opened` or `Failed` follows.

        `addresses` are the peer's, `relays` DHT nodes that may know it; both are hints from others: those that
        nothing can be sent to are passed over.  Without a DHT only addresses help; `by_key` False leaves the walk
        through it out, for a key that nobody announces.  `key` None is a key of this one connection.  Raises
        DecodeError where `remote` is no Ed25519 key, ValueError where we have too many connections.
        """
        self._at(now)
        return self._dial(remote, addresses, key, relays, self._context.relay_through, by_key)

    def _dial(
        self,
        remote: bytes,
        addresses: Iterable[Address],
        key: SigningKey | None,
        relays: Iterable[Address],
        relay_through: bytes | None,
        by_key: bool,
    ) -> int:
        context = self._context
        reachable = any_family if context.local6() else dialable
        candidates = list(filter(reachable, dict.fromkeys(addresses)))[: self.limits.addresses]
        through = list(filter(dialable, dict.fromkeys(relays)))[: self.limits.addresses]
        if self._links.full:
            raise ValueError("too many connections")
        link = self._links.new()
        through_relay = RelayThrough(relay_through, self._rng(32)) if relay_through and self.dht is not None else None
        payload = NoisePayload(
            # "open" makes a peer start its stream at once instead of punching first
            firewall=Firewall.OPEN if context.open else Firewall.UNKNOWN,
            addresses4=context.addresses(),
            addresses6=context.addresses6() if self.dht is not None else (),
            udx=UdxInfo(link.stream.local_id),
            secret_stream=1,
            relay_through=through_relay,
        )
        try:
            dial = Initiator(key or SigningKey.generate(self._rng), remote, payload, self._rng)
        except DecodeError:
            self._links.forget(link)
            raise
        if candidates or (self.dht is not None and (by_key or through)):
            self._outbound[link.id] = OutboundAttempt(context, link, dial, candidates, through, through_relay, by_key)
        else:
            link.abort(Reason.NO_ANSWER)
        return link.id

    def send(self, conn: int, frame: bytes, now: float) -> bool:
        """Queues one frame.  False: hold back until `Writable`; or the connection is not open (any more).

        Raises ValueError for a frame above 16 MiB.
        """
        link = self._touch(conn, now)
        return link.send(frame, now) if link is not None else False

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
        link = self._links.by_id.get(conn)
        return link.stream.queued if link else 0

    def stream(self, conn: int) -> UdxStream | None:
        """For statistics."""
        link = self._links.by_id.get(conn)
        return link.stream if link else None

    def path(self, conn: int) -> PathKind:
        """What lies between us and that peer."""
        link = self._links.by_id.get(conn)
        return link.path if link else PathKind.DIRECT

    def relays_of(self, key: bytes) -> tuple[Address, ...]:
        """The DHT nodes that relay for our listening `key` now, ourselves first where we are reachable."""
        announcer = self._server.announcers.get(key)
        return announcer.relay_addresses if announcer is not None else ()

    def announced(self, key: bytes) -> bool:
        """Whether the first announcement of our listening `key` has been made."""
        announcer = self._server.announcers.get(key)
        return announcer is not None and announcer.announced.done

    def shut(self, now: float) -> None:
        """Withdraws what was announced by a few messages; `quiet` is True when they have been sent."""
        self._at(now)
        for attempt in list(self._outbound.values()):
            attempt.close()
        for key in self.listening:
            self.unlisten(key)

    @property
    def quiet(self) -> bool:
        """Whether no attempt, round or message of ours is under way."""
        return not len(self._tasks)

    def __len__(self) -> int:
        """Connections of every kind, those included that only wait until their end is acknowledged."""
        return len(self._links)

    # what the ports bring

    def receive(self, data: bytes | memoryview, source: Address, now: float, port: int = SERVER) -> None:
        """One datagram.  Never raises, whatever it is."""
        self.receive_batch((Datagram(memoryview(data), source, 0),), now, port)

    def receive_batch(self, batch: Sequence[Datagram], now: float, port: int = SERVER) -> None:
        """Datagrams and runs as a shell reads them on one of our ports.  They need not outlive the call."""
        self._at(now)
        links = self._links
        links.arriving = port
        for item in batch:
            for left in dispatch(item, links.streams, now, links.touched):
                if left.data:
                    self._on_datagram(left.data, left.source, port, now)

    def _on_datagram(self, data: memoryview, source: Address, port: int, now: float) -> None:
        kind = data[0]
        if kind == MAGIC:
            if self._relay is not None:
                self._relay.packet(data, source, port, now)
        elif kind in (REQUEST, RESPONSE):
            (self._rpc6 if port == SERVER6 else self._rpc).receive(data, source, port, now)
        elif data == PROBE:
            self._sockets.heard(port, source)

    def wake(self, now: float) -> None:
        """Does what is due."""
        self._at(now)
        if self.dht is not None:
            self.dht.wake(now)
        self._tasks.wake(now)
        self._links.wake()

    def next_wake(self) -> float:
        """When `wake` is to be called (s), infinity for never.  At once, where `outgoing` has not been asked yet."""
        if self.restless:
            return self._now
        return min(self._links.next_wake(), self._tasks.next_wake(), self.dht.next_wake() if self.dht else inf)

    def take_effects(self) -> list[Effect]:
        """Ports to open and to close since the last call, then the events in their order."""
        self._tasks.run(self._now)
        self._links.absorb_touched()
        self._tasks.run(self._now)
        if self.dht is not None and (told := self.dht.take_effects()):
            self._on_dht(told)
        events, self._effects = self._effects, []
        if ports := self._sockets.take_effects():
            return [*ports, *events]
        return cast("list[Effect]", events)

    def outgoing(self) -> list[Outgoing]:
        """Datagrams and runs to send now, once per turn.

        Apart from the effects, because streams cut what is queued into datagrams here, once per turn and as late as
        possible: what a turn writes to one connection shares them.
        """
        self._tasks.run(self._now)
        out = self._rpc.outgoing()
        out += self._rpc6.outgoing()
        out += self._sockets.outgoing()
        out += self._links.take_outgoing()
        if self._relay is not None:
            out += self._relay.outgoing()
        return out

    @property
    def restless(self) -> bool:
        """Whether `take_effects` or `outgoing` has something."""
        parts = (self._links, self._sockets, self._rpc, self._rpc6, self._tasks)
        return bool(self._effects) or any(part.busy for part in parts)

    # for relays (`blind_relay.RelayEndpoint`)

    def dial_inner(self, remote: bytes, on_event: Callable[[Event], None]) -> int:
        """As `blind_relay.RelayEndpoint` says."""
        conn = self._dial(remote, (), None, (), None, True)
        self._inner[conn] = on_event
        return conn

    def send_inner(self, conn: int, frame: bytes) -> None:
        """As `blind_relay.RelayEndpoint` says."""
        self.send(conn, frame, self._now)

    def close_inner(self, conn: int) -> None:
        """As `blind_relay.RelayEndpoint` says."""
        if conn in self._inner:
            self._inner[conn] = lambda event: None
        self.close(conn, self._now)

    def path_of(self, conn: int) -> tuple[Address, int] | None:
        """As `blind_relay.RelayEndpoint` says."""
        stream = self.stream(conn)
        return (stream.remote, stream.port) if stream is not None and stream.remote is not None else None

    # inner

    def _at(self, now: float) -> None:
        self._now = self._links.now = self._tasks.now = now
        if self.dht is not None:
            self.dht.now = now

    def _touch(self, conn: int, now: float) -> Link | None:
        self._at(now)
        return self._links.touch(conn)

    def _forward_of(self, target: bytes, now: float) -> Address | None:
        forward = self.dht.store.forwards.get(target, now) if self.dht is not None else None
        return forward.relay if forward is not None else None

    def _on_events(self, link: Link, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Opened) and not event.initiator and event.local_key == self._relay_key:
                self._inner[link.id] = self._relayed
            inner = self._inner.get(link.id)
            if inner is not None:
                inner(event)
            else:
                self._effects.append(event)

    def _relayed(self, event: Event) -> None:
        if self._relay is not None:
            self._relay.on_event(event, self._now)

    def _on_gone(self, link: Link) -> None:
        self._inner.pop(link.id, None)
        attempt = self._outbound.pop(link.id, None)
        if attempt is not None:
            attempt.gone()
        self._server.gone(link)

    def _on_dht(self, events: list[DhtEvent]) -> None:
        self._effects += events
        if any(isinstance(event, NetworkChanged | Woken) for event in events):
            for announcer in self._server.announcers.values():
                announcer.refresh()

    def _sweep(self) -> None:
        if self._relay is not None:
            self._relay.sweep(self._now)
            self._tasks.at(self._now + SWEEP, self._sweep)


def any_family(address: Address) -> bool:
    """Whether a datagram can be sent there, over IPv4 or IPv6."""
    return dialable(address) or dialable6(address)


def datagrams(outgoing: Iterable[Outgoing]) -> Iterator[tuple[Address, bytes]]:
    """What `outgoing` gave, with its runs cut into single datagrams: for simulators."""
    for item in outgoing:
        for piece in cut(memoryview(item.data), item.segment or max(len(item.data), 1)):
            yield item.address, bytes(piece)
