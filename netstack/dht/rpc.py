"""Requests under way: their numbers, repetition, time-outs that follow measured round trips, and how many at once.

An answer counts only from the address that was asked and under the number that it was asked with.  Numbers are random:
an attacker that does not see our datagrams has to guess 16 bits and an address.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from identity.keys import Random
from netstack.dht.ask import Done
from netstack.dht.datagram import Request, Response, encode_request
from netstack.dht.limits import DhtLimits
from netstack.dht.timers import Alarm, Timer, Timers
from netstack.udp.port import Address, Outgoing

SLOTS = 4
ENOUGH = 8  # measured nodes before their mean is used for unknown ones


class Call(Timer):
    """One request until its answer, its last time-out or `cancel`.  `done` is called once, or never after `cancel`."""

    __slots__ = (
        "_rpc",
        "data",
        "done",
        "heard",
        "port",
        "rtt",
        "sent",
        "sent_at",
        "slow",
        "started",
        "stranger",
        "tid",
        "timeout",
        "to",
        "tries",
        "ttl",
    )

    def __init__(
        self, rpc: Rpc, tid: int, to: Address, data: bytes, done: Done, port: int, tries: int, ttl: int, started: float
    ) -> None:
        super().__init__()
        self._rpc = rpc
        self.tid = tid
        self.to = to
        self.data = data
        self.done = done
        self.port = port
        self.tries = tries
        self.ttl = ttl
        self.started = started
        self.sent = 0
        self.sent_at = started
        self.timeout = 0.0  # 0: as the round trips to that node suggest
        self.slow: Callable[[], None] | None = None  # called at the first time-out
        self.stranger = False  # nobody has vouched for it: its silence does not count against the network
        self.heard: int | None = None  # the port of ours that the answer came to
        self.rtt = 0.0

    def cancel(self) -> None:
        """Withdraws the request: nothing is repeated, `done` is not called any more."""
        self._rpc.drop(self)
        self.done, self.slow = ignore, None

    def settle(self, response: Response | None) -> None:
        """Tells the owner, once.  A call and whoever waits for it often know each other: the circle is broken here, so
        that nothing is left for the garbage collector."""
        done, self.done, self.slow = self.done, ignore, None
        done(response)

    def fire(self, now: float) -> None:
        """The time for an answer is over."""
        self._rpc.expired(self, now)


def ignore(response: Response | None) -> None:
    """For a call whose answer nobody waits for."""


class Window:
    """At most 80 requests in 0.75 s and 160 in 3 s; an answer makes room again.  Slots pass as time does."""

    __slots__ = ("_limits", "_slot", "_slots", "total")

    def __init__(self, limits: DhtLimits) -> None:
        self._limits = limits
        self._slot = 0
        self._slots = [0] * SLOTS
        self.total = 0

    def full(self, now: float) -> bool:
        """Whether a request has to wait for room."""
        self._turn(now)
        return self.total >= self._limits.window or self._slots[self._slot % SLOTS] >= self._limits.per_slot

    def sent(self, now: float) -> None:
        """A request was sent."""
        self._turn(now)
        self._slots[self._slot % SLOTS] += 1
        self.total += 1

    def settled(self, now: float) -> None:
        """A request was answered or given up."""
        self._turn(now)
        if self._slots[self._slot % SLOTS] > 0:
            self._slots[self._slot % SLOTS] -= 1
            self.total -= 1

    def next_slot(self) -> float:
        """When room is looked for again (s)."""
        return (self._slot + 1) * self._limits.slot

    def _turn(self, now: float) -> None:
        slot = int(now / self._limits.slot)
        if slot == self._slot:
            return
        for past in range(self._slot + 1, min(slot, self._slot + SLOTS) + 1):
            self.total -= self._slots[past % SLOTS]
            self._slots[past % SLOTS] = 0
        self._slot = max(slot, self._slot)


class RoundTrips:
    """How long to wait for a node: smoothed round trip and deviation, longer with every try, with jitter.

    A node that we never heard is given what the others of this network need, at most the second that the family waits:
    a walk through dead or invented nodes waits for every one of them.
    """

    __slots__ = ("_all", "_known", "_limits")

    def __init__(self, limits: DhtLimits) -> None:
        self._limits = limits
        self._known: dict[Address, tuple[float, float]] = {}
        self._all: tuple[float, float] | None = None

    def measured(self, node: Address, rtt: float) -> None:
        """`node` answered its first try after `rtt` seconds."""
        self._known[node] = smoothed(self._known.pop(node, None), rtt)
        self._all = smoothed(self._all, rtt)
        if len(self._known) > self._limits.roundtrips:
            del self._known[next(iter(self._known))]

    def timeout(self, node: Address, attempt: int, draw: int = 0) -> float:
        """Seconds to wait after try number `attempt`, from 1.  `draw`: any number, for the jitter."""
        known = self._known.get(node)
        if known is None:
            if self._all is None or len(self._known) < ENOUGH or attempt > 1:
                return self._limits.retry
            mean, deviation = self._all
            return min(max(mean + 4 * deviation, self._limits.retry_min), self._limits.retry)
        mean, deviation = known
        jitter = (draw & 0xFF) / 1024
        return min(max((mean + 2 * deviation) * attempt, self._limits.retry_min) + jitter, self._limits.retry_max)


def smoothed(known: tuple[float, float] | None, rtt: float) -> tuple[float, float]:
    """Mean and deviation with another round trip in them (RFC 6298)."""
    if known is None:
        return rtt, rtt / 2
    mean, deviation = known
    return mean + (rtt - mean) / 8, deviation + (abs(rtt - mean) - deviation) / 4


class Rpc:
    """`send` takes each datagram; `gone(call)` hears of every call that nobody answered."""

    def __init__(
        self,
        rng: Random,
        timers: Timers,
        limits: DhtLimits,
        send: Callable[[Outgoing], None],
        gone: Callable[[Call, float], None],
    ) -> None:
        self._rng = rng
        self._timers = timers
        self._limits = limits
        self._send = send
        self._gone = gone
        self._inflight: dict[int, Call] = {}
        self._waiting: deque[Call] = deque()
        self._drain = Alarm(self._room)
        self.window = Window(limits)
        self.roundtrips = RoundTrips(limits)
        self.last_answer = float("-inf")
        self.sent = self.answers = self.timeouts = self.retries = 0

    def __len__(self) -> int:
        return len(self._inflight)

    def start(
        self,
        request: Request,
        done: Done,
        now: float,
        *,
        port: int,
        tries: int,
        ttl: int = 0,
        timeout: float = 0.0,
        slow: Callable[[], None] | None = None,
    ) -> Call:
        """Sends `request` (its tid is drawn here) to `request.to`.  Raises DecodeError where that is no address.

        With too many calls under way the call fails at the next `wake`.
        """
        tid = self._tid()
        data = encode_request(request)
        data = data[:2] + tid.to_bytes(2, "little") + data[4:]
        call = Call(self, tid, request.to, data, done, port, tries, ttl, now)
        call.timeout = timeout
        call.slow = slow
        self._inflight[tid] = call
        if len(self._inflight) > self._limits.inflight:
            call.tries = 0
            self._timers.set(call, now)
        else:
            self._try(call, now)
        return call

    def answered(self, response: Response, source: Address, port: int, now: float) -> Call | None:
        """The call that `response` settles, None if it settles none.  The owner calls its `done`."""
        call = self._inflight.get(response.tid)
        if call is None or call.to != source or call.sent == 0:
            return None
        call.heard = port
        call.rtt = max(now - call.sent_at, 0.0)
        if call.sent == 1:  # else nobody knows which try was answered
            self.roundtrips.measured(source, call.rtt)
        self.last_answer = now
        self.answers += 1
        self._settle(call, now)
        if self._waiting:
            self._room(now)
        return call

    def drop(self, call: Call) -> None:
        """Forgets a call; its `done` is not called."""
        if self._inflight.get(call.tid) is call:
            self._settle(call, call.sent_at)

    def expired(self, call: Call, now: float) -> None:
        """Repeats the call, or gives it up after its last try."""
        slow, call.slow = call.slow, None
        if call.sent < call.tries:
            self.retries += 1
            self._try(call, now)
            if slow is not None:
                slow()
            return
        if self._inflight.get(call.tid) is not call:
            return
        self._settle(call, now)
        if call.sent:
            self.timeouts += not call.stranger
            if call.sent >= self._limits.tries:  # a few tries prove nothing about a node
                self._gone(call, now)
        call.settle(None)

    def _try(self, call: Call, now: float) -> None:
        if self._waiting or self.window.full(now):
            self._waiting.append(call)
            if self._drain.due > self.window.next_slot():
                self._timers.set(self._drain, self.window.next_slot())
            return
        call.sent += 1
        call.sent_at = now
        self.sent += 1
        self.window.sent(now)
        self._send(Outgoing(call.to, call.data, 0, call.port, call.ttl))
        self._timers.set(call, now + (call.timeout or self.roundtrips.timeout(call.to, call.sent, call.tid)))

    def _room(self, now: float) -> None:
        """Sends what waited, as far as the window lets it."""
        waiting, self._waiting = self._waiting, deque()
        while waiting and not self.window.full(now):
            call = waiting.popleft()
            if self._inflight.get(call.tid) is call:
                self._try(call, now)
        self._waiting = waiting + self._waiting
        if self._waiting:
            self._timers.set(self._drain, self.window.next_slot())

    def _settle(self, call: Call, now: float) -> None:
        del self._inflight[call.tid]
        call.stop()
        if call.sent:
            self.window.settled(now)

    def _tid(self) -> int:
        tid = int.from_bytes(self._rng(2), "little")
        while tid in self._inflight:
            tid = (tid + 1) & 0xFFFF
        return tid
