"""What the parts of one node share: its clock, limits, randomness and timers, the nodes that it knows, and how it asks.

A part (a walk, the upkeep of the table, what is served) gets this and the few functions of other parts that it calls,
never the whole node.  `node.py` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from identity.errors import DecodeError
from identity.keys import Random
from netstack.dht.ask import Ask, Done
from netstack.dht.contact import Contact, Scope, contact_at
from netstack.dht.datagram import Request
from netstack.dht.events import DhtEvent
from netstack.dht.limits import DhtLimits
from netstack.dht.rpc import Call, Rpc, ignore
from netstack.dht.table import RoutingTable
from netstack.dht.timers import Alarm, Timers
from netstack.ports import CLIENT, SERVER
from netstack.udp.port import Address, Outgoing


class DhtContext:
    """`send` takes each datagram; `unanswered(call, now)` hears of every call that nobody answered.

    `now` is set by whoever drives the node.  `firewalled` and `ephemeral` are decided by `reachability.py`.
    """

    __slots__ = (
        "_bound",
        "_events",
        "bootstrap",
        "ephemeral",
        "epoch",
        "firewalled",
        "known",
        "limits",
        "now",
        "rng",
        "rpc",
        "table",
        "timers",
    )

    def __init__(
        self,
        rng: Random,
        now: float,
        limits: DhtLimits,
        bootstrap: Sequence[Address],
        known: Sequence[Address],
        send: Callable[[Outgoing], None],
        unanswered: Callable[[Call, float], None],
    ) -> None:
        self.rng = rng
        self.now = now
        self.epoch = 0.0  # Unix time (s) when `now` was 0, so that dates can be judged; 0 where not known
        self.limits = limits
        self.bootstrap = tuple(bootstrap)
        self.known = tuple(known)
        self.timers = Timers()
        self.table = RoutingTable(rng(32))
        self.rpc = Rpc(rng, self.timers, limits, send, unanswered)
        self.firewalled = True
        self.ephemeral = True
        self._bound: dict[int, Address] = {}
        self._events: list[DhtEvent] = []

    # what the node is

    @property
    def id(self) -> bytes | None:
        """Our id (32 bytes), None while we are ephemeral."""
        return None if self.ephemeral else self.table.own

    def id_at(self, port: int) -> bytes | None:
        """The id that datagrams from `port` carry: it is the hash of the server port's address."""
        return self.table.own if port == SERVER and not self.ephemeral else None

    @property
    def port(self) -> int:
        """The port that requests go out from."""
        return CLIENT if self.firewalled and CLIENT in self._bound else SERVER

    def bind(self, port: int, address: Address) -> bool:
        """`port` is bound at `address`; True where SERVER is for the first time."""
        first = port == SERVER and SERVER not in self._bound
        self._bound[port] = address
        return first

    def bound_to(self, port: int) -> Address | None:
        """The local address of one of our ports, None where it is not bound."""
        return self._bound.get(port)

    # asking

    def request(self, to: Address, ask: Ask, done: Done) -> Call:
        """Asks one node; `done(None)` where it did not answer.  Raises DecodeError where `to` is no IPv4 address."""
        port = self.port if ask.port is None else ask.port
        request = Request(0, to, ask.command, ask.internal, ask.target, ask.value, self.id_at(port), ask.token)
        tries = ask.tries or self.limits.tries
        return self.rpc.start(request, done, self.now, port=port, tries=tries, ttl=ask.ttl, timeout=ask.timeout)

    def call(self, to: Address, ask: Ask) -> Call:
        """As `request`, for those that set `done` when they hold the call."""
        return self.request(to, ask, ignore)

    # for all parts

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
        """Fires `alarm` at the next `wake`."""
        self.timers.set(alarm, self.now)

    def tell(self, event: DhtEvent) -> None:
        """Reports `event` to the node's owner."""
        self._events.append(event)

    @property
    def has_events(self) -> bool:
        """Whether `take_events` would return something."""
        return bool(self._events)

    def take_events(self) -> list[DhtEvent]:
        """The events reported since the last call."""
        events, self._events = self._events, []
        return events
