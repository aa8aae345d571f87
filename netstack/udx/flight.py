"""Packets sent and not acknowledged: runs of packets, loss detection (RACK, RFC 8985) and delivery rate.

A *run* is a sequence of consecutive packets sent at one moment, all of `size` payload bytes but the last.  State is
kept per run, not per packet: an acknowledgement of fifty packets costs as much as one of one.  Acknowledgements and
losses of a part of a run split it.  Sequence numbers are unbounded, times in seconds, weights in bytes with headers.

When the stream moves to another *path*, packets in flight still belong to the old one: they say nothing about the new
one, and a faster new path must not make them look lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from netstack.udx.packet import HEADER_SIZE
from netstack.udx.rtt import RttEstimator

_EPSILON = 1e-6  # seconds of tolerance when times are compared
_REORDERING_SACKS = 3


class Run:
    """Consecutive packets.  `state`: sent, lost or gone; `older`, `newer` link runs in flight by time of sending."""

    __slots__ = (
        "delivered",
        "delivered_at",
        "end",
        "fin",
        "first_sent",
        "limited",
        "newer",
        "older",
        "padding",
        "path",
        "payload",
        "sent",
        "size",
        "start",
        "state",
        "timeouts",
        "transmits",
        "weight",
    )

    def __init__(self, start: int, end: int, payload: memoryview, size: int, fin: bool) -> None:
        self.start = start
        self.end = end
        self.payload = payload
        self.size = size
        self.fin = fin  # the last packet is the stream's end
        self.weight = len(payload) + HEADER_SIZE * (end - start)
        self.state = _SENT
        self.sent = 0.0
        self.transmits = 0
        self.timeouts = 0
        self.padding = 0  # of a single packet that probes the MTU: zeros between header and payload
        self.path = 0
        self.delivered = 0
        self.delivered_at = 0.0
        self.first_sent = 0.0
        self.limited = False
        self.older: Run = self
        self.newer: Run = self


_SENT, _LOST, _GONE = range(3)


@dataclass(slots=True)
class Delivery:
    """What one acknowledgement delivered.  Rates in bytes/s, times in seconds."""

    acked: int = 0  # bytes
    packets: int = 0
    rate: float = 0.0
    limited: bool = False
    prior_delivered: int = 0
    rtt: float = 0.0  # 0.0: no packet among them was sent only once
    fin: bool = False  # the stream's end packet is among them
    _prior_at: float = field(default=0.0, repr=False)
    _send_elapsed: float = field(default=0.0, repr=False)
    _newest: float = field(default=-1.0, repr=False)


class Flight:
    """Packets in flight.  `first`: the lowest number not acknowledged; `next`: the number of the next packet."""

    def __init__(self, rtt: RttEstimator) -> None:
        self.first = 0
        self.next = 0
        self.inflight = 0  # bytes sent, neither delivered nor marked lost
        self.outstanding = 0  # bytes sent and not delivered, lost ones included
        self.delivered = 0
        self.lost = 0  # bytes ever marked lost
        self.retransmitted = 0  # packets
        self.recovering = False  # RACK then waits for no reordered packets
        self.path = 0  # number of the path that new packets take
        self.probe: bool | None = None  # the result of the last MTU probe, until the owner takes it
        self._rtt = rtt
        self._runs: list[Run] = []  # by number
        self._waiting: deque[Run] = deque()  # lost, to be sent again; some may be delivered by now
        self._packets = 0  # in self._runs
        self._clock = Run(0, 0, memoryview(b""), 1, False)  # ring by time of sending: the oldest is its `newer`
        self._delivered_at = 0.0
        self._first_sent = 0.0
        self._limited_until = 0
        self._rack_sent = -1.0
        self._rack_end = 0
        self._rack_rtt = 0.0
        self._highest = 0  # behind the highest number delivered
        self._reordering = False
        self._old_limit = 0.0  # seconds after which packets on older paths count as overdue

    @property
    def empty(self) -> bool:
        """Whether everything sent is delivered."""
        return not self._runs

    @property
    def sacked(self) -> int:
        """How many packets were delivered beyond a gap."""
        return self.next - self.first - self._packets

    @property
    def packets(self) -> int:
        """How many packets are not delivered."""
        return self._packets

    @property
    def has_lost(self) -> bool:
        """Whether a lost run waits to be sent again."""
        waiting = self._waiting
        while waiting and waiting[0].state != _LOST:
            waiting.popleft()
        return bool(waiting)

    def send_new(self, payload: memoryview, size: int, fin: bool, now: float, padding: int = 0) -> Run:
        """Registers the next packets as sent: `payload` cut every `size` bytes; an end packet may be empty."""
        count = -(-len(payload) // size) or 1
        run = Run(self.next, self.next + count, payload, size, fin)
        run.path, run.padding = self.path, padding
        self.next = run.end
        self._runs.append(run)
        self._packets += count
        self.outstanding += run.weight
        self._sent(run, now)
        return run

    def resend_lost(self, limit: int, now: float) -> Run | None:
        """Registers the next lost run as sent again, at most `limit` packets of it; None if nothing is lost."""
        if not self.has_lost:
            return None
        run = self._waiting.popleft()
        if run.end - run.start > limit:
            self._split(self._index(run.start), run.start + limit)
        self._resent(run, now)
        return run

    def resend_last(self, now: float) -> Run | None:
        """Registers the last packet as sent again: a tail loss probe.  None if it already waits as lost."""
        if not self._runs or self._runs[-1].state == _LOST:
            return None
        run = self._runs[-1]
        if run.end - run.start > 1:
            run = self._split(len(self._runs) - 1, run.end - 1)
        self._unlink(run)
        self.inflight -= run.weight
        self._resent(run, now)
        return run

    def new_path(self) -> None:
        """Packets take another, unknown path from now on.  Call before `rtt` forgets the old one."""
        self.path += 1
        self._old_limit = max(self._old_limit, 2 * self._rtt.smoothed + 4 * self._rtt.variation)
        self._rack_sent, self._rack_end, self._rack_rtt = -1.0, 0, 0.0
        self._reordering = False

    def mark_limited(self) -> None:
        """The sender has no more data: delivery rates of packets in flight do not measure the path."""
        self._limited_until = self.delivered + self.inflight or 1

    def acknowledge(self, ack: int, sacks: Sequence[tuple[int, int]], now: float) -> Delivery:
        """Processes an acknowledgement in unbounded numbers; sacks of unsent packets are skipped."""
        delivery = Delivery()
        runs = self._runs
        if ack > self.first:
            count = 0
            total = len(runs)
            while count < total and runs[count].end <= ack:
                count += 1
            if count < total and runs[count].start < ack:
                self._split(count, ack)
                count += 1
            taken = runs[:count]
            del runs[:count]
            self.first = ack
            for run in taken:
                self._deliver(run, delivery, now)
        for start, end in sacks:
            if self.first <= start < end <= self.next:
                self._take_range(start, end, delivery, now)
        if delivery.packets:
            self._finish(delivery, now)
        return delivery

    def detect_losses(self, now: float) -> tuple[int, float]:
        """RACK: (packets newly marked lost except MTU probes, seconds until the next one might be lost or 0.0)."""
        if self._rack_sent < 0:
            return 0, 0.0
        limit = self._rack_rtt + self._window()
        lost = 0
        reorder_wait = 0.0
        run = self._clock.newer
        while run is not self._clock and run.sent <= self._rack_sent:
            after = run.newer
            if run.sent < self._rack_sent or run.end < self._rack_end:
                remaining = run.sent + (limit if run.path == self.path else self._old_limit) - now
                if remaining <= _EPSILON:
                    if not run.padding:
                        lost += run.end - run.start
                    self._lose(run)
                elif remaining > reorder_wait:
                    reorder_wait = remaining
            run = after
        return lost, reorder_wait

    def time_out(self, now: float) -> int:
        """A retransmission timeout: marks the first run and every overdue one lost.

        Returns the highest number of timeouts among these runs.
        """
        limit = self._rack_rtt + self._window()
        worst = 0
        for at, run in enumerate(self._runs):
            if run.state == _LOST:
                continue
            if at == 0 or run.sent + limit < now:
                run.timeouts += 1
                worst = max(worst, run.timeouts)
                self._lose(run)
        return worst

    def clear(self) -> None:
        """Drops everything: the stream is closed."""
        self._runs.clear()
        self._waiting.clear()
        self._clock.newer = self._clock.older = self._clock
        self.inflight = self.outstanding = self._packets = 0

    def _window(self) -> float:
        """RACK's reordering window in seconds."""
        if not self._reordering and (self.recovering or self.sacked >= _REORDERING_SACKS):
            return 0.0
        return min(self._rtt.least / 4, self._rtt.smoothed)

    def _sent(self, run: Run, now: float) -> None:
        if not self.inflight:
            self._first_sent = self._delivered_at = now
        run.state = _SENT
        run.sent = now
        run.transmits += 1
        run.delivered = self.delivered
        run.delivered_at = self._delivered_at
        run.first_sent = self._first_sent
        run.limited = self._limited_until > 0
        self.inflight += run.weight
        newest = self._clock.older
        run.older, run.newer = newest, self._clock
        newest.newer = self._clock.older = run

    def _resent(self, run: Run, now: float) -> None:
        self.retransmitted += run.end - run.start
        self._give_up_probe(run)
        if run.timeouts:
            run.path = self.path  # the old path has failed it once
        self._sent(run, now)

    def _give_up_probe(self, run: Run) -> None:
        """Ends a probe of which a copy without padding is or will be sent: its acknowledgement would prove nothing."""
        if run.padding:
            run.padding = 0
            if run.path == self.path:
                self.probe = False

    def _unlink(self, run: Run) -> None:
        run.older.newer = run.newer
        run.newer.older = run.older

    def _lose(self, run: Run) -> None:
        self._unlink(run)
        run.state = _LOST
        self.inflight -= run.weight
        if run.padding:
            self._give_up_probe(run)
        else:
            self.lost += run.weight
        self._waiting.append(run)

    def _index(self, seq: int) -> int:
        """The index of the run that holds `seq`, or of the first one behind it."""
        return bisect_right(self._runs, seq, key=_end)

    def _split(self, index: int, seq: int) -> Run:
        """Cuts a run at `seq`: it keeps the front, the returned new run has the rest in the same state."""
        run = self._runs[index]
        cut = (seq - run.start) * run.size
        rest = Run(seq, run.end, run.payload[cut:], run.size, run.fin)
        run.end = seq
        run.payload = run.payload[:cut]
        run.fin = False
        run.weight -= rest.weight
        rest.state = run.state
        rest.sent, rest.transmits, rest.timeouts = run.sent, run.transmits, run.timeouts
        rest.delivered, rest.delivered_at = run.delivered, run.delivered_at
        rest.first_sent, rest.limited, rest.path = run.first_sent, run.limited, run.path
        self._runs.insert(index + 1, rest)
        if run.state == _SENT:
            rest.older, rest.newer = run, run.newer
            run.newer.older = rest
            run.newer = rest
        elif run.state == _LOST:
            self._waiting.appendleft(rest)
        return rest

    def _take_range(self, start: int, end: int, delivery: Delivery, now: float) -> None:
        runs = self._runs
        low = self._index(start)
        if low == len(runs) or runs[low].start >= end:
            return
        if runs[low].start < start:
            self._split(low, start)
            low += 1
        high = low
        while high < len(runs) and runs[high].end <= end:
            high += 1
        if high < len(runs) and runs[high].start < end:
            self._split(high, end)
            high += 1
        taken = runs[low:high]
        del runs[low:high]
        for run in taken:
            self._deliver(run, delivery, now)

    def _deliver(self, run: Run, delivery: Delivery, now: float) -> None:
        if run.state == _SENT:
            self._unlink(run)
            self.inflight -= run.weight
        run.state = _GONE
        count = run.end - run.start
        self._packets -= count
        self.outstanding -= run.weight
        self.delivered += run.weight
        self._delivered_at = now
        delivery.acked += run.weight
        delivery.packets += count
        delivery.fin = delivery.fin or run.fin
        if run.path != self.path:
            return
        if run.padding:
            self.probe = True
        if run.delivered >= delivery.prior_delivered and run.sent >= delivery._newest:
            delivery.prior_delivered = run.delivered
            delivery._prior_at = run.delivered_at
            delivery._send_elapsed = run.sent - run.first_sent
            delivery._newest = run.sent
            delivery.limited = run.limited
            self._first_sent = run.sent
        elapsed = self._rtt.clamp(now - run.sent)
        once = run.transmits == 1
        if once:
            delivery.rtt = elapsed if not delivery.rtt else min(delivery.rtt, elapsed)
        believable = once or elapsed >= self._rtt.least  # else the acknowledgement may be for an earlier copy
        if believable and (run.sent, run.end) > (self._rack_sent, self._rack_end):
            self._rack_sent, self._rack_end = run.sent, run.end
            self._rack_rtt = elapsed
        if run.end > self._highest:
            self._highest = run.end
        elif once:
            self._reordering = True

    def _finish(self, delivery: Delivery, now: float) -> None:
        if self._limited_until and self.delivered > self._limited_until:
            self._limited_until = 0
        if delivery.rtt:
            self._rtt.add(delivery.rtt, now)
        interval = max(delivery._send_elapsed, now - delivery._prior_at)
        if delivery._newest >= 0 and interval > 0 and interval >= self._rtt.least - _EPSILON:
            delivery.rate = (self.delivered - delivery.prior_delivered) / interval


def _end(run: Run) -> int:
    return run.end
