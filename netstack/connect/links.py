"""The connections of one node: their streams by id, which of them have something to send, and their timers."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from identity.keys import Random
from netstack.connect.sockets import Sockets
from netstack.events import Event, Reason
from netstack.limits import Limits
from netstack.link import Link, Phase
from netstack.ports import SERVER
from netstack.udp.port import Address, Outgoing
from netstack.udx.congestion import CongestionControl
from netstack.udx.stream import UdxStream

# (source, our port) -> True: the peer is there from now on; None: takes the packet; False: drops it
OnPacket = Callable[[Address, int], bool | None]


class Links:
    """`on_gone(link)` is called once when a link is over, `on_events(link, events)` with what it reports."""

    def __init__(
        self,
        rng: Random,
        limits: Limits,
        sockets: Sockets,
        congestion: Callable[[], CongestionControl] | None,
        on_events: Callable[[Link, list[Event]], None],
        on_gone: Callable[[Link], None],
    ) -> None:
        self.by_id: dict[int, Link] = {}
        self.streams: dict[int, UdxStream] = {}  # by local id, for `intake.dispatch`
        self.touched: dict[int, UdxStream] = {}  # have received something, by local id
        self.arriving = SERVER  # the port of the batch that is being received
        self.now = 0.0
        self.half_open: dict[int, Link] = {}
        self._rng = rng
        self._limits = limits
        self._sockets = sockets
        self._congestion = congestion
        self._on_events = on_events
        self._on_gone = on_gone
        self._owners: dict[int, Link] = {}  # by the stream's local id
        self._dirty: dict[int, Link] = {}  # may have something to send or to wait for, by link id
        self._wakes: list[tuple[float, int]] = []
        self._last_id = 0

    def __len__(self) -> int:
        return len(self.by_id)

    @property
    def full(self) -> bool:
        """Whether there are as many connections as the limits allow."""
        return len(self.by_id) >= self._limits.connections

    @property
    def too_many_strangers(self) -> bool:
        """Whether one more handshake of somebody who has not shown himself is too many."""
        return self.full or len(self.half_open) >= self._limits.half_open

    def free_id(self) -> int:
        """A stream id that nobody uses."""
        local_id = int.from_bytes(self._rng(4), "little")
        while local_id in self.streams:
            local_id = int.from_bytes(self._rng(4), "little")
        return local_id

    def new(self) -> Link:
        """A link that has no peer yet.  It is woken in this very turn."""
        local_id = self.free_id()
        self._last_id += 1
        stream = UdxStream(local_id, congestion=self._congestion() if self._congestion else None)
        link = Link(self._last_id, stream, self._limits, self.now)
        self.by_id[link.id] = link
        self.streams[local_id] = stream
        self._owners[local_id] = link
        self._dirty[link.id] = link
        return link

    def forget(self, link: Link) -> None:
        """The link is no more: its ids and its own port are free."""
        self.by_id.pop(link.id, None)
        self.streams.pop(link.stream.local_id, None)
        self._owners.pop(link.stream.local_id, None)
        self.half_open.pop(link.id, None)
        self._dirty.pop(link.id, None)
        if link.own_port is not None:
            self._sockets.close(link.own_port)

    def touch(self, id: int) -> Link | None:
        """The link, which is looked at again in this turn."""
        link = self.by_id.get(id)
        if link is not None:
            self._dirty[id] = link
        return link

    def fail(self, link: Link, reason: Reason) -> None:
        """Ends a link; its `Failed` or `Closed` follows."""
        link.abort(reason)
        self._dirty[link.id] = link

    def probe_liveness(self) -> None:
        """Every connection has to show that it still passes our router."""
        for link in self.by_id.values():
            link.probe_liveness(self.now)
            self._dirty[link.id] = link

    def watch(self, link: Link, on_packet: OnPacket | None) -> None:
        """Decides about packets that come from anywhere but the peer's address."""
        if on_packet is None:
            link.stream.adopt = None
        else:
            link.stream.adopt = lambda source: on_packet(source, self.arriving)

    # for the endpoint

    @property
    def busy(self) -> bool:
        """Whether a link may have something to tell or to send."""
        return bool(self._dirty or self.touched)

    def absorb_touched(self) -> None:
        """Tells what the links have received since the last call."""
        for local_id in self.touched:
            link = self._owners.get(local_id)
            if link is not None:
                self._dirty[link.id] = link
        self.touched.clear()
        for link in list(self._dirty.values()):
            self._absorb(link)

    def take_outgoing(self) -> list[Outgoing]:
        """Datagrams and runs of the links that did something."""
        out: list[Outgoing] = []
        for link in self._dirty.values():
            out += link.stream.take_outgoing(self.now)
        self._settle()
        return out

    def wake(self) -> None:
        """Timers of links that are due."""
        wakes = self._wakes
        while wakes and wakes[0][0] <= self.now:
            at, id = heappop(wakes)
            link = self.by_id.get(id)
            if link is not None and link.scheduled == at:
                link.scheduled = inf
                self._dirty[id] = link
                link.wake(self.now)

    def next_wake(self) -> float:
        """When `wake` is to be called, inf for never."""
        wakes = self._wakes
        while wakes:
            at, id = wakes[0]
            link = self.by_id.get(id)
            if link is not None and link.scheduled == at:
                return at
            heappop(wakes)
        return inf

    def _absorb(self, link: Link) -> None:
        events = link.absorb(self.now)
        if events:
            self._on_events(link, events)
        if link.phase is Phase.GONE:
            self._on_gone(link)
        if link.id in self.half_open and not link.half_open:
            del self.half_open[link.id]

    def _settle(self) -> None:
        """After sending: what that brought about, and when each link that did something is next to be woken."""
        dirty, self._dirty = self._dirty, {}
        for link in dirty.values():
            self._absorb(link)
            if link.finished:
                self.forget(link)
                continue
            at = link.next_wake()
            if at < link.scheduled:
                link.scheduled = at
                heappush(self._wakes, (at, link.id))
