"""A simulated path between two hosts: virtual time, one seed, loss, reordering, duplication, a bottleneck with a queue.

The streams are the production cores; the link replaces shells and network.  A run is a function of its seed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from netstack.udp.port import Address, Datagram, Outgoing
from netstack.udx.congestion import CongestionControl
from netstack.udx.events import Closed, CloseReason, Data, Drained, End, Event
from netstack.udx.intake import cut, dispatch
from netstack.udx.stream import UdxStream

LEFT: Address = ("192.0.2.1", 4001)
RIGHT: Address = ("192.0.2.2", 4002)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of each direction: seconds, bytes/s, bytes, probabilities."""

    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    rate: float = inf
    queue: float = inf
    mtu: float = inf  # of IP packets: what is larger is lost


@dataclass(slots=True)
class Half:
    """One stream, what it still has to write, and what it received."""

    stream: UdxStream
    side: Address
    received: bytearray = field(default_factory=bytearray)
    seen: list[Event] = field(default_factory=list)
    to_write: memoryview = field(default_factory=lambda: memoryview(b""))
    end_after: bool = False
    end_back: bool = True  # end our side when the other side has ended
    arrived: int = 0
    closed_at: float = inf

    @property
    def reason(self) -> CloseReason | None:
        return self.stream.closed

    @property
    def story(self) -> list[str]:
        return [type(event).__name__ for event in self.seen if not isinstance(event, Drained)]


class Link:
    """`left` and `right` hold the halves by local id."""

    def __init__(self, seed: int, conditions: Conditions) -> None:
        self.now = 100.0
        self.conditions = conditions
        self.rng = random.Random(seed)
        self.halves: dict[Address, dict[int, Half]] = {LEFT: {}, RIGHT: {}}
        self.dropped = 0
        self.cut = False  # True: nothing passes
        self.lose: Callable[[Address, bytes], bool] = lambda side, packet: False  # beside random losses
        self.moved: dict[Address, Address] = {}  # an address that the other side sees as another one
        self._arrivals: list[tuple[float, int, Address, Address, bytes]] = []
        self._count = 0
        self._free_at = {LEFT: 0.0, RIGHT: 0.0}  # when each direction's bottleneck is idle again
        self._streams: dict[Address, dict[int, UdxStream]] = {LEFT: {}, RIGHT: {}}

    def pair(
        self, number: int = 1, congestion: Callable[[], CongestionControl | None] = lambda: None
    ) -> tuple[Half, Half]:
        """Two connected streams: ids 2n-1 on the left, 2n on the right."""
        left = Half(UdxStream(2 * number - 1, congestion=congestion()), LEFT)
        right = Half(UdxStream(2 * number, congestion=congestion()), RIGHT)
        for half in (left, right):
            self.halves[half.side][half.stream.local_id] = half
            self._streams[half.side][half.stream.local_id] = half.stream
        left.stream.connect(2 * number, RIGHT, self.now, rtt=2 * self.conditions.delay)
        right.stream.connect(2 * number - 1, LEFT, self.now, rtt=2 * self.conditions.delay)
        return left, right

    def send(self, half: Half, data: bytes, *, end: bool = True) -> None:
        half.to_write, half.end_after = memoryview(data), end
        self._pump(half)
        self.serve(half)

    def run(self, until: Callable[[], bool], limit: float = 600.0) -> bool:
        """Lets time pass until the condition holds; False when `limit` virtual seconds were not enough."""
        stop = self.now + limit
        while not until():
            wake, half = min(
                ((half.stream.next_wake(), half) for side in self.halves.values() for half in side.values()),
                key=lambda pair: pair[0],
            )
            arrival = self._arrivals[0][0] if self._arrivals else inf
            self.now = max(self.now, min(wake, arrival))
            if self.now > stop or min(wake, arrival) == inf:
                return until()
            if arrival <= wake:
                self._arrive()
            else:
                half.stream.wake(self.now)
                self.serve(half)
        return True

    def run_for(self, seconds: float) -> None:
        stop = self.now + seconds
        self.run(lambda: self.now >= stop, limit=seconds)
        self.now = stop

    def serve(self, half: Half) -> None:
        """What an owner does after every input."""
        self._events(half)
        for item in half.stream.take_outgoing(self.now):
            self._transmit(half.side, item)
        self._events(half)

    def _events(self, half: Half) -> None:
        for event in half.stream.take_effects():
            match event:
                case Data(data):
                    half.received += data
                    half.arrived += len(data)
                case _:
                    half.seen.append(event)
            if isinstance(event, Drained):
                self._pump(half)
            if isinstance(event, End) and half.end_back and not half.to_write:
                half.stream.end()
            if isinstance(event, Closed):
                half.closed_at = self.now

    def _pump(self, half: Half) -> None:
        while half.to_write and half.stream.closed is None:
            piece, half.to_write = half.to_write[:40_000], half.to_write[40_000:]
            if not half.stream.write(piece):
                break
        if not half.to_write and half.end_after:
            half.stream.end()

    def _transmit(self, side: Address, item: Outgoing) -> None:
        for piece in cut(memoryview(item.data), item.segment or len(item.data)):
            self._carry(side, item.address, bytes(piece))

    def _carry(self, side: Address, to: Address, packet: bytes) -> None:
        path = self.conditions
        if self.cut or self.lose(side, packet) or len(packet) + 28 > path.mtu or self.rng.random() < path.loss:
            self.dropped += 1
            return
        start = max(self._free_at[side], self.now)
        if (start - self.now) * path.rate > path.queue:
            self.dropped += 1
            return
        self._free_at[side] = start + (len(packet) + 28) / path.rate if path.rate < inf else self.now
        for _ in range(2 if self.rng.random() < path.duplicate else 1):
            at = self._free_at[side] + path.delay + self.rng.random() * path.jitter
            self._count += 1
            heapq.heappush(self._arrivals, (at, self._count, self.moved.get(side, side), to, packet))

    def _arrive(self) -> None:
        _, _, source, to, packet = heapq.heappop(self._arrivals)
        side = next((side for side, seen in self.moved.items() if seen == to), to)
        touched: dict[int, UdxStream] = {}
        dispatch(Datagram(memoryview(packet), source, 0), self._streams[side], self.now, touched)
        for name in touched:
            self.serve(self.halves[side][name])
