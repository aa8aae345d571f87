"""One node of the DHT, without I/O: what it is asked, what it asks, who it knows.

`docs/protocol.md`, "DHT".  Whoever owns the ports (`endpoint.py`, a testnet, a simulator) drives it:

    node.bound(SERVER, address)                 once the port is there; the node starts at the next `wake`
    node.receive(data, source, port, now)       for every datagram that begins with 03 or 13; it never raises
    node.wake(now)                              when `next_wake` has come
    node.take_effects(), node.outgoing()        after any of these, and after any call of one's own

Set `now` before calling anything in between: time passes only as the owner says.  Callbacks run inside `receive` and
`wake`, and may call anything.  This file puts the parts together; what they share is in `context.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from identity.errors import DecodeError
from identity.keys import Random
from netstack.dht.answers import InternalCommands
from netstack.dht.ask import Ask, Done, Handler
from netstack.dht.bootstrap import Bootstrap
from netstack.dht.contact import Contact, Scope, contact_at
from netstack.dht.context import DhtContext
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
from netstack.dht.query import MakeCommit, OnDone, OnReply, Query, Walks
from netstack.dht.quota import Quota
from netstack.dht.reachability import Reachability
from netstack.dht.rpc import Call, Rpc
from netstack.dht.serving import Serving
from netstack.dht.store import Store
from netstack.dht.table import RoutingTable
from netstack.dht.timers import Alarm
from netstack.dht.token import Tokens
from netstack.dht.upkeep import Upkeep
from netstack.ports import SERVER
from netstack.udp.port import Address, Outgoing


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of one node since it began, and what it holds now."""

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
        limits = limits or DhtLimits()
        context = DhtContext(
            rng, now, limits, bootstrap, known, self._put, lambda call, at: self._upkeep.unanswered(call)
        )
        context.epoch = epoch
        self._context = context
        self.tokens = Tokens(rng)
        self.quota = Quota(limits)
        self.store = Store(limits, rng)
        self.reach = Reachability(
            context, mode, host, lambda: self._upkeep.refresh_soon(), lambda own: self._upkeep.rebased(own)
        )
        self._walks = Walks(context, lambda target: self._upkeep.walked(target))
        self._upkeep = Upkeep(context, self._walks, self.reach, self.store.sweep, now)
        self._internal = InternalCommands(context, self.reply, self._upkeep.hinted)
        self.handlers: dict[int, Handler] = Serving(context, self.store, self.reply).handlers()
        self._out: list[Outgoing] = []
        self._served = self._dropped = 0

    # what the owner drives

    @property
    def now(self) -> float:
        """The owner's clock (s)."""
        return self._context.now

    @now.setter
    def now(self, now: float) -> None:
        self._context.now = now

    @property
    def epoch(self) -> float:
        """Unix time (s) when `now` was 0; 0 where not known."""
        return self._context.epoch

    @epoch.setter
    def epoch(self, epoch: float) -> None:
        self._context.epoch = epoch

    def bound(self, port: int, address: Address) -> None:
        """The shell tells where SERVER and CLIENT are bound."""
        first = self._context.bind(port, address)
        if port == SERVER:
            self.reach.bound(address)
        if first:
            self._context.later(Alarm(Bootstrap(self._context, self._upkeep, self.reach).start))

    def receive(self, data: bytes | memoryview, source: Address, port: int, now: float) -> None:
        """One datagram.  Never raises, whatever it is."""
        self._context.now = now
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
        self._context.now = now
        self._context.timers.fire(now)

    def next_wake(self) -> float:
        """When `wake` is to be called (s), infinity for never."""
        return self._context.timers.next()

    def outgoing(self) -> list[Outgoing]:
        """Datagrams to send, each once.  No effects: a lost one is a lost datagram, and `busy` says that some wait."""
        out, self._out = self._out, []
        return out

    def take_effects(self) -> list[DhtEvent]:
        """What the owner has to know, each once, in order."""
        return self._context.take_events()

    def slept(self, now: float) -> None:
        """The machine was asleep, as only the shell can know where the clock stood still meanwhile."""
        self._context.now = now
        self._upkeep.woken()

    def network_changed(self, now: float) -> None:
        """The machine has other addresses: everything that others told us about ours is forgotten."""
        self._context.now = now
        self.reach.moved()

    # what it is

    @property
    def limits(self) -> DhtLimits:
        """What this node holds and waits at most."""
        return self._context.limits

    @property
    def rng(self) -> Random:
        """The source of all its randomness."""
        return self._context.rng

    @property
    def table(self) -> RoutingTable:
        """The nodes that we know.  Another object after a change of our id."""
        return self._context.table

    @property
    def rpc(self) -> Rpc:
        """Our requests under way, and their counts."""
        return self._context.rpc

    @property
    def delayed(self) -> Counter[str]:
        """How many pongs wait for their time, by the network they go to."""
        return self._internal.delayed

    @property
    def address(self) -> Address | None:
        """Ours as others see it; port 0 where the NAT gives every destination another one."""
        return self.reach.address

    @property
    def nat(self) -> Nat:
        """What lies between us and strangers."""
        return self.reach.nat

    @property
    def ephemeral(self) -> bool:
        """Whether we have no id and store nothing for others."""
        return self._context.ephemeral

    @property
    def reachable(self) -> bool:
        """Whether strangers reach the server port."""
        return self.reach.reachable

    @property
    def started(self) -> bool:
        """Whether the first walk is over."""
        return self._upkeep.started

    @property
    def online(self) -> bool:
        """Whether anybody answers."""
        return self._upkeep.health.state is not Health.OFFLINE

    @property
    def id(self) -> bytes | None:
        """Our id (32 bytes), None while we are ephemeral."""
        return self._context.id

    @property
    def port(self) -> int:
        """The port that requests go out from."""
        return self._context.port

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent or told."""
        return bool(self._out) or self._context.has_events

    def bound_to(self, port: int) -> Address | None:
        """The local address of one of our ports, None where it is not bound."""
        return self._context.bound_to(port)

    def known_nodes(self, count: int = 64) -> list[Address]:
        """Those heard last, to be given as `known` after a restart."""
        return self._context.table.latest(count)

    def stats(self) -> Stats:
        """Counts for people and benchmarks."""
        rpc = self._context.rpc
        return Stats(
            len(self._context.table),
            len(rpc),
            len(self._walks),
            rpc.sent,
            rpc.answers,
            rpc.timeouts,
            rpc.retries,
            self._served,
            self._dropped,
            len(self.store),
        )

    # asking

    def request(self, to: Address, ask: Ask, done: Done) -> Call:
        """Asks one node; `done(None)` where it did not answer.  Raises DecodeError where `to` is no IPv4 address."""
        return self._context.request(to, ask, done)

    def call(self, to: Address, ask: Ask) -> Call:
        """As `request`, for those that set `done` when they hold the call."""
        return self._context.call(to, ask)

    def query(
        self,
        ask: Ask,
        *,
        commit: MakeCommit | None = None,
        on_reply: OnReply | None = None,
        on_done: OnDone | None = None,
        nodes: Iterable[Address] = (),
        concurrency: int = 0,
    ) -> Query:
        """A walk to the target of `ask`, which every node on the way is asked, starting also from `nodes`.

        Raises ValueError where `ask` has no target.
        """
        return self._walks.start(
            ask, commit=commit, on_reply=on_reply, on_done=on_done, nodes=nodes, concurrency=concurrency
        )

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
                [contact.wire for contact in self._context.table.closest(request.target)]
                if closer and request.target is not None
                else (),
                self._context.id_at(port),
                self.tokens.token(receiver[0], self._context.now) if token else None,
            )
        except DecodeError:
            return  # an IPv6 address: these datagrams have no room for it
        self._put(Outgoing(receiver, data, 0, port))

    def forward(self, request: Request, to: Address, value: bytes, port: int) -> None:
        """Sends `request` on to another node under its own number; what comes back is not ours to match."""
        own = self._context.id_at(port)
        try:
            data = encode_request(Request(request.tid, to, request.command, False, request.target, value, own))
        except DecodeError:
            return
        self._put(Outgoing(to, data, 0, port))

    def _on_request(self, request: Request, source: Contact, port: int) -> None:
        if source.scope is not Scope.LOOPBACK and not self.quota.take(source.address[0], self._context.now):
            self._dropped += 1
            return
        self._served += 1
        self._upkeep.last_asked = self._context.now
        if request.token is not None and not self.tokens.valid(request.token, source.address[0], self._context.now):
            self.reply(request, source.address, port, error=INVALID_TOKEN, token=True)
            return
        if request.id == source.id:
            self._upkeep.asked_by(source)
        if request.internal:
            self._internal.answer(request, source, port)
            return
        handler = self.handlers.get(request.command)
        if handler is None:
            self.reply(request, source.address, port, error=UNKNOWN_COMMAND)
        elif not handler(request, source.address, port, self._context.now):
            self.reply(request, source.address, port)

    def _on_response(self, response: Response, source: Contact, port: int) -> None:
        call = self._context.rpc.answered(response, source.address, port, self._context.now)
        if call is None:
            self._dropped += 1
            return
        if port == self._context.port:
            self.reach.witness(source.address, response.to)
        if response.id == source.id:
            self._upkeep.heard(source, response.to, sample=port == self._context.port)
        elif response.id is None and port == self._context.port:
            self.reach.sample_stranger(source.address, response.to)
        call.settle(response)

    def _put(self, out: Outgoing) -> None:
        self._out.append(out)
