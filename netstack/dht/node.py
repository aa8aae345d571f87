"""One node of the DHT, without I/O: what it is asked, what it asks, who it knows.

`docs/protocol.md`, "DHT".  Whoever owns the ports (`endpoint.py`, a testnet, a simulator) drives it:

    node.bound(SERVER, address)                 once the port is there; the node starts at the next `wake`
    node.receive(data, source, port, now)       for every datagram that begins with 03 or 13; it never raises
    node.wake(now)                              when `next_wake` has come
    node.events(), node.outgoing()              after any of these, and after any call of one's own

Set `now` before calling anything in between: time passes only as the owner says.  Callbacks run inside `receive` and
`wake`, and may call anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from identity.errors import DecodeError
from identity.keys import Random
from netstack.dht.answers import answer_internal
from netstack.dht.bootstrap import Bootstrap
from netstack.dht.contact import Contact, Scope, contact_at
from netstack.dht.datagram import (
    INVALID_TOKEN,
    UNKNOWN_COMMAND,
    Request,
    Response,
    decode_datagram,
    encode_answer,
    encode_request,
)
from netstack.dht.events import DhtEvent, Mode, Nat
from netstack.dht.health import Health
from netstack.dht.limits import DhtLimits
from netstack.dht.query import MakeCommit, OnDone, OnReply, Query
from netstack.dht.quota import Quota
from netstack.dht.reachability import Reachability
from netstack.dht.rpc import Call, Done, Rpc, ignore
from netstack.dht.serving import Serving
from netstack.dht.store import Store
from netstack.dht.table import RoutingTable
from netstack.dht.timers import Alarm, Timers
from netstack.dht.token import Tokens
from netstack.dht.upkeep import Upkeep
from netstack.ports import CLIENT, SERVER
from netstack.udp.port import Address, Outgoing

Handler = Callable[[Request, Address, int, float], bool]


@dataclass(frozen=True, slots=True)
class Stats:
    nodes: int  # in the routing table
    inflight: int
    queries: int
    sent: int  # requests, repetitions included
    answers: int
    timeouts: int
    retries: int
    served: int  # requests of others
    dropped: int  # datagrams that make no sense here, or too many from one host
    stored: int


class DhtNode:
    """`known`: nodes of an earlier run.  `host`: where others surely reach us, "" where that has to be found out.

    `epoch`: Unix time (s) when `now` was 0, so that the dates of announcements can be judged; 0 where not known.
    """

    def __init__(
        self,
        rng: Random,
        now: float,
        *,
        bootstrap: Sequence[Address] = (),
        known: Sequence[Address] = (),
        mode: Mode = Mode.ADAPTIVE,
        host: str = "",
        limits: DhtLimits | None = None,
        epoch: float = 0.0,
    ) -> None:
        self.rng = rng
        self.now = now
        self.limits = limits or DhtLimits()
        self.bootstrap = tuple(bootstrap)
        self.known = tuple(known)
        self.epoch = epoch
        self.timers = Timers()
        self.table = RoutingTable(rng(32))
        self.rpc = Rpc(rng, self.timers, self.limits, self._put, lambda call, at: self.upkeep.gone(call))
        self.tokens = Tokens(rng)
        self.quota = Quota(self.limits)
        self.reach = Reachability(self, mode, host)
        self.upkeep = Upkeep(self, now)
        self.store = Store(self.limits, rng)
        self.handlers: dict[int, Handler] = Serving(self).handlers()
        self.delayed: Counter[str] = Counter()  # pongs that wait for their time, by the network they go to
        self._bound: dict[int, Address] = {}
        self._queries: dict[int, Query] = {}
        self._out: list[Outgoing] = []
        self._events: list[DhtEvent] = []
        self._served = self._dropped = 0

    # what the owner drives

    def bound(self, port: int, address: Address) -> None:
        """The shell tells where SERVER and CLIENT are bound."""
        first = SERVER not in self._bound and port == SERVER
        self._bound[port] = address
        if port == SERVER:
            self.reach.bound(address)
        if first:
            self.later(Alarm(Bootstrap(self).start))

    def receive(self, data: bytes | memoryview, source: Address, port: int, now: float) -> None:
        """One datagram.  Never raises, whatever it is."""
        self.now = now
        try:
            message = decode_datagram(data)
            contact = contact_at(source)
        except DecodeError:
            self._dropped += 1
            return
        if contact.scope is Scope.NOWHERE:
            self._dropped += 1
        elif isinstance(message, Request):
            self._on_request(message, contact, port)
        else:
            self._on_response(message, contact, port)

    def wake(self, now: float) -> None:
        """Does what is due."""
        self.now = now
        self.timers.fire(now)

    def next_wake(self) -> float | None:
        """When `wake` is to be called, None for never."""
        return self.timers.next()

    def outgoing(self) -> list[Outgoing]:
        out, self._out = self._out, []
        return out

    def events(self) -> list[DhtEvent]:
        events, self._events = self._events, []
        return events

    def slept(self, now: float) -> None:
        """The machine was asleep, as only the shell can know where the clock stood still meanwhile."""
        self.now = now
        self.upkeep.woken()

    def network_changed(self, now: float) -> None:
        """The machine has other addresses: everything that others told us about ours is forgotten."""
        self.now = now
        self.reach.moved()

    # what it is

    @property
    def address(self) -> Address | None:
        """Ours as others see it; port 0 where the NAT gives every destination another one."""
        return self.reach.address

    @property
    def nat(self) -> Nat:
        return self.reach.nat

    @property
    def ephemeral(self) -> bool:
        return self.reach.ephemeral

    @property
    def reachable(self) -> bool:
        return self.reach.reachable

    @property
    def online(self) -> bool:
        return self.upkeep.health.state is not Health.OFFLINE

    @property
    def id(self) -> bytes | None:
        return None if self.reach.ephemeral else self.table.own

    @property
    def port(self) -> int:
        """The port that requests go out from."""
        return CLIENT if self.reach.firewalled and CLIENT in self._bound else SERVER

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent or told."""
        return bool(self._out or self._events)

    def bound_to(self, port: int) -> Address | None:
        return self._bound.get(port)

    def known_nodes(self, count: int = 64) -> list[Address]:
        """Those heard last, to be given as `known` after a restart."""
        return self.upkeep.latest(count)

    def stats(self) -> Stats:
        rpc = self.rpc
        return Stats(
            len(self.table),
            len(rpc),
            len(self._queries),
            rpc.sent,
            rpc.answers,
            rpc.timeouts,
            rpc.retries,
            self._served,
            self._dropped,
            len(self.store),
        )

    # asking

    def request(
        self,
        to: Address,
        command: int,
        done: Done,
        *,
        internal: bool = False,
        target: bytes | None = None,
        value: bytes | None = None,
        token: bytes | None = None,
        port: int | None = None,
        tries: int = 0,
        ttl: int = 0,
        timeout: float = 0.0,
    ) -> Call:
        """Asks one node; `done(None)` where it did not answer.  `tries` 0: four.  `timeout` 0: as its round trips say.

        Raises DecodeError where `to` is no IPv4 address.
        """
        if port is None:
            port = self.port
        id = self.table.own if port == SERVER and not self.reach.ephemeral else None
        request = Request(0, to, command, internal, target, value, id, token)
        tries = tries or self.limits.tries
        return self.rpc.start(request, done, self.now, port=port, tries=tries, ttl=ttl, timeout=timeout)

    def call(
        self,
        to: Address,
        command: int,
        *,
        internal: bool = False,
        target: bytes | None = None,
        value: bytes | None = None,
        token: bytes | None = None,
        tries: int = 0,
    ) -> Call:
        """As `request`, for those that set `done` when they hold the call."""
        return self.request(
            to, command, ignore, internal=internal, target=target, value=value, token=token, tries=tries
        )

    def query(
        self,
        target: bytes,
        command: int,
        *,
        internal: bool = False,
        value: bytes | None = None,
        commit: MakeCommit | None = None,
        on_reply: OnReply | None = None,
        on_done: OnDone | None = None,
        nodes: Iterable[Address] = (),
        concurrency: int = 0,
    ) -> Query:
        """A walk to `target` that asks `command` on the way, starting also from `nodes`."""
        if target != self.table.own:
            self.upkeep.queried()
        query = Query(
            self,
            target,
            command,
            internal=internal,
            value=value,
            commit=commit,
            on_reply=on_reply,
            on_done=on_done,
            nodes=nodes,
            concurrency=concurrency or self.limits.concurrency,
        )
        self._queries[id(query)] = query
        return query

    # answering

    def reply(
        self,
        request: Request,
        source: Address,
        port: int,
        *,
        value: bytes | None = None,
        error: int = 0,
        closer: bool = True,
        token: bool = False,
        to: Address | None = None,
    ) -> None:
        """Answers `request`, from the port it came to.  `to`: to another address (a routed handshake).

        `closer` names the nodes closest to the request's target, `token` lets the receiver write here.
        """
        receiver = to or source
        try:
            data = encode_answer(
                request.tid,
                receiver,
                value,
                error,
                [contact.wire for contact in self.table.closest(request.target)]
                if closer and request.target is not None
                else (),
                self.table.own if port == SERVER and not self.reach.ephemeral else None,
                self.tokens.token(receiver[0], self.now) if token else None,
            )
        except DecodeError:
            return  # an IPv6 address: these datagrams have no room for it
        self._put(Outgoing(receiver, data, 0, port))

    def forward(self, request: Request, to: Address, value: bytes, port: int) -> None:
        """Sends `request` on to another node under its own number; what comes back is not ours to match."""
        own = self.table.own if port == SERVER and not self.reach.ephemeral else None
        try:
            data = encode_request(Request(request.tid, to, request.command, False, request.target, value, own))
        except DecodeError:
            return
        self._put(Outgoing(to, data, 0, port))

    def _on_request(self, request: Request, source: Contact, port: int) -> None:
        if source.scope is not Scope.LOOPBACK and not self.quota.take(source.address[0], self.now):
            self._dropped += 1
            return
        self._served += 1
        self.upkeep.last_asked = self.now
        if request.token is not None and not self.tokens.valid(request.token, source.address[0], self.now):
            self.reply(request, source.address, port, error=INVALID_TOKEN, token=True)
            return
        if request.id == source.id:
            self.upkeep.asked_by(source)
        if request.internal:
            answer_internal(self, request, source, port)
            return
        handler = self.handlers.get(request.command)
        if handler is None:
            self.reply(request, source.address, port, error=UNKNOWN_COMMAND)
        elif not handler(request, source.address, port, self.now):
            self.reply(request, source.address, port)

    def _on_response(self, response: Response, source: Contact, port: int) -> None:
        call = self.rpc.answered(response, source.address, port, self.now)
        if call is None:
            self._dropped += 1
            return
        if port == self.port:
            self.reach.witness(source.address, response.to)
        if response.id == source.id:
            self.upkeep.heard(source, response.to, sample=port == self.port)
        elif response.id is None and port == self.port:
            self.reach.sample_stranger(source.address, response.to)
        call.settle(response)

    # for the parts of the node

    def contacts(self, addresses: Iterable[Address]) -> list[Contact]:
        """The usable ones among them."""
        found: list[Contact] = []
        for address in addresses:
            try:
                contact = contact_at(address)
            except DecodeError:
                continue
            if contact.scope is not Scope.NOWHERE:
                found.append(contact)
        return found

    def later(self, alarm: Alarm) -> None:
        """At the next `wake`."""
        self.timers.set(alarm, self.now)

    def tell(self, event: DhtEvent) -> None:
        self._events.append(event)

    def forget(self, query: Query) -> None:
        self._queries.pop(id(query), None)

    def may_hint(self) -> bool:
        """Whether this tick has room for one more hint about a dead node."""
        self.upkeep.hints_sent += 1
        return self.upkeep.hints_sent <= self.limits.hints

    def rebase(self, own: bytes) -> None:
        """Another id of our own; the walk that follows tells the new neighbours."""
        if own != self.table.own:
            self.table = self.table.rebased(own)
            if self.upkeep.started:
                self.upkeep.refresh_soon()

    def sweep(self, now: float) -> None:
        self.store.sweep(now)

    def _put(self, out: Outgoing) -> None:
        self._out.append(out)
