"""The sending half of a stream: which packets to send when, driven by acknowledgements and timers.

It decides in runs (`flight.Run`); the stream writes headers before them.  Its timers, from the shortest to the longest:
pacing, RACK's reordering timer, a probe when nothing is heard for two round trips, the retransmission timeout.  A
closed window of the peer is probed with heartbeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from netstack.udx.backlog import Backlog
from netstack.udx.congestion import CongestionControl, Sample
from netstack.udx.flight import Delivery, Flight, Run
from netstack.udx.mtu import MtuSearch
from netstack.udx.packet import HEADER_SIZE, Buffer, unwrap
from netstack.udx.rtt import RttEstimator

FIRST_WINDOW = 4 << 20  # the peer's receive window until it states one: every implementation starts with it
HIGH_WATER = 256 << 10
MAX_TIMEOUTS = 6
RUN_BYTES = 65_000  # a run is one sendmsg: below the largest UDP payload ...
RUN_PACKETS = 64  # ... and at most the kernel's UDP_MAX_SEGMENTS
_PROBE_FLOOR = 0.010  # seconds: an earlier probe would detect a busy Python process, not a loss
_PROBE_SLACK = 0.002  # more for a single packet, as the peer may delay its acknowledgement
_PROBE_BACKOFF_MAX = 64
_PROBE_BLIND = 0.5  # without a round-trip sample
_PACE_STEP = 0.002  # seconds of the pacing rate sent at once: a wake-up costs as much as ten packets ...
_PACE_BURST = 0.010  # ... and at most, when a busy machine woke us late
_LEAST_BURST = 2_400.0
_MOST_STEP = 64_000.0
_REORDER_FLOOR = 0.001


class Outbound:
    """`overhead`: bytes of IP, UDP and UDX headers of a packet; `mtu`: how large packets may be."""

    def __init__(self, congestion: CongestionControl, overhead: int) -> None:
        self.rtt = RttEstimator()
        self.mtu = MtuSearch()
        self.overhead = overhead
        self.congestion = congestion
        self.flight = Flight(self.rtt)
        self.backlog = Backlog()
        self.ending = False  # no more writes
        self.end_acked = False
        self.timeouts = 0
        self.heartbeat_due = False
        self.peer_window = FIRST_WINDOW
        self._window_told = (0, 0)  # (seq, ack) of the packet that stated it
        self._end_sent = False
        self._full = False  # a write returned False and `take_drained` has not reported room since

        self._recover_until = -1  # number after the packets in flight when a loss was detected; -1 = none
        self._probe_due = False
        self._probe_backoff = 1
        self._rto_backoff = False
        self._tokens = 0.0
        self._refilled = 0.0
        self._pacing = False  # only pacing limits us

        self._rto_at = inf
        self._probe_at = inf
        self._reorder_at = inf
        self._silence_at = inf
        self._pace_at = inf

    @property
    def queued(self) -> int:
        """Bytes written and not acknowledged."""
        return self.backlog.size + self.flight.outstanding

    @property
    def payload(self) -> int:
        """Bytes of a full packet's payload."""
        return self.mtu.size - self.overhead

    @property
    def high_water(self) -> int:
        """Queued bytes above which `write` returns False."""
        return HIGH_WATER + min(self.congestion.window, self.peer_window)

    def start(self, now: float, rtt: float) -> None:
        """The path is known; `rtt` in seconds from the handshake, 0.0 = none."""
        if rtt > 0:
            self.rtt.add(self.rtt.clamp(rtt), now)
        self._refilled = now - 1.0  # the first flight is not paced

    def new_path(self, now: float, overhead: int) -> None:
        """New packets take another path, whose round trip, bandwidth and MTU are unknown."""
        self.flight.new_path()
        self.rtt.forget()
        self.mtu.reset()
        self.overhead = overhead
        self.congestion.on_new_path(now)
        if self.flight.packets:
            self._arm_rto(now)
            self._arm_probe(now)

    def probe_now(self) -> None:
        """Makes the next `take` send a probe, unless the peer has acknowledged something already."""
        if self.flight.packets and not self.flight.delivered:
            self._probe_due = True

    def write(self, data: Buffer) -> bool:
        """Queues bytes; False above the high-water mark."""
        self.backlog.append(data)
        if self.queued > self.high_water:
            self._full = True
        return not self._full

    def take_drained(self) -> bool:
        """True once when there is room again after a write returned False."""
        if not self._full or self.queued > self.high_water:
            return False
        self._full = False
        return True

    def next_wake(self) -> float:
        """When `wake` is due, in seconds of the same clock; math.inf: never."""
        return min(self._rto_at, self._probe_at, self._reorder_at, self._silence_at, self._pace_at)

    def wake(self, now: float) -> bool:
        """Runs the timers that are due.  False: a packet timed out too often, so that the peer counts as gone."""
        if now >= self._pace_at:
            self._pace_at = inf
        if now >= self._reorder_at:
            self._reorder_at = inf
            self._detect(now)
        if now >= self._probe_at:
            self._probe_at = inf
            if self.flight.packets:
                self._probe_due = True
                self._probe_backoff = min(2 * self._probe_backoff, _PROBE_BACKOFF_MAX)
                if self._recover_until < 0:
                    self._arm_rto(now)
        if now >= self._silence_at:
            self.heartbeat_due = True
            self._silence_at = now + 2 * self.rtt.rto
        return now < self._rto_at or self._time_out(now)

    def clear(self) -> None:
        """Forgets everything: the stream is closed."""
        self.backlog.clear()
        self.flight.clear()
        self._rto_at = self._probe_at = self._reorder_at = self._silence_at = self._pace_at = inf

    # -- acknowledgements -----------------------------------------------------------------------------------------

    def acknowledged(self, wire_ack: int, window: int, seq: int, sacks: Sequence[tuple[int, int]], now: float) -> bool:
        """Processes the acknowledgement of a packet numbered `seq` (unbounded); `wire_ack` and `sacks` as on the wire.

        True: it delivered something."""
        flight = self.flight
        near = flight.first
        ack = unwrap(wire_ack, near)
        if ack > flight.next:
            return False
        if ack >= near and (seq, ack) >= self._window_told:
            self.peer_window = window
            self._window_told = (seq, ack)
            if window:
                self._silence_at = inf
        if not flight.packets:
            return False
        before, lost_before = flight.inflight, flight.lost
        ranges = [(unwrap(start, near), unwrap(end, near)) for start, end in sacks]
        delivery = flight.acknowledge(ack, ranges, now)
        if not delivery.packets:
            return False
        self.mtu.base_works()
        self._learn(delivery, before, lost_before, now)
        return True

    def _learn(self, delivery: Delivery, before: int, lost_before: int, now: float) -> None:
        flight = self.flight
        if self._recover_until >= 0 and flight.first >= self._recover_until:
            self._recover_until = -1
            flight.recovering = False
            self.congestion.on_recovered(now)
        self._detect(now)
        self.congestion.on_acked(
            Sample(
                now,
                delivery.acked,
                flight.lost - lost_before,
                flight.inflight,
                before,
                flight.delivered,
                delivery.rate,
                delivery.limited,
                delivery.prior_delivered,
                delivery.rtt,
            )
        )
        self._rto_backoff = False
        self._probe_backoff = 1
        if flight.packets:
            self._arm_rto(now)
            self._arm_probe(now)
            return
        self._rto_at = self._probe_at = self._reorder_at = inf
        self.end_acked = self._end_sent

    def _detect(self, now: float) -> None:
        lost, reorder_wait = self.flight.detect_losses(now)
        self._note_mtu(now)
        self._reorder_at = now + max(reorder_wait, _REORDER_FLOOR) if reorder_wait > 0 else inf
        if lost:
            self._pace_at = min(self._pace_at, now)
            if self._recover_until < 0:
                self._recover_until = self.flight.next
                self.flight.recovering = True
                self.congestion.on_loss_episode(now, self.flight.inflight)

    def _note_mtu(self, now: float) -> None:
        """Passes the result of an MTU probe to the search."""
        probe, self.flight.probe = self.flight.probe, None
        if probe is True:
            self.mtu.delivered()
        elif probe is False:
            self.mtu.lost(now)

    # -- timers -----------------------------------------------------------------------------------------------------

    def _arm_rto(self, now: float) -> None:
        self._rto_at = now + self.rtt.rto * (2 if self._rto_backoff else 1)

    def _arm_probe(self, now: float) -> None:
        """Schedules a probe for when nothing is heard for two round trips: of the tail, or of a lost packet.

        RFC 8985 sends one probe and leaves the rest to the timeout, which lasts a second at least in UDX: too long.
        Each further probe waits twice as long, as in QUIC.
        """
        if not self.flight.packets:
            self._probe_at = inf
            return
        wait = _PROBE_BLIND
        if self.rtt.known:
            wait = max(2 * self.rtt.smoothed, _PROBE_FLOOR)
            if self.flight.packets == 1:
                wait += _PROBE_SLACK
        self._probe_at = now + wait * self._probe_backoff

    def _time_out(self, now: float) -> bool:
        self._rto_at = inf
        if not self.flight.packets:
            return True
        self.timeouts += 1
        if self.flight.time_out(now) > MAX_TIMEOUTS:
            return False
        self.mtu.reset()  # the path may have begun to drop large packets
        self.flight.probe = None
        self._recover_until = self.flight.next
        self.flight.recovering = True
        self._rto_backoff = True
        self.congestion.on_timeout(now, self.flight.inflight)
        self._arm_rto(now)
        self._pace_at = min(self._pace_at, now)
        return True

    # -- sending ----------------------------------------------------------------------------------------------------

    def take(self, now: float, budget: int) -> list[Run]:
        """The runs to send now, at most about `budget` bytes: a probe, lost ones, new ones.  All count as sent."""
        size = self.payload
        runs: list[Run] = []
        if not (self._probe_due or self.flight.has_lost or self._more()):
            self._pace_at = inf
            return runs
        self._refill(now)
        if self._probe_due:
            self._take_probe(runs, now, size)
        budget = self._take_lost(runs, now, budget, size)
        self._take_new(runs, now, budget, size)
        if runs:
            if self._rto_at == inf:
                self._arm_rto(now)
            if runs[-1].transmits == 1 or self._probe_at == inf:
                self._arm_probe(now)
        return runs

    def _more(self) -> bool:
        return self.backlog.size > 0 or (self.ending and not self._end_sent)

    def _refill(self, now: float) -> None:
        rate = self.congestion.pacing_rate
        burst = max(_LEAST_BURST, rate * _PACE_BURST)
        tokens = self._tokens + max(0.0, now - self._refilled) * rate
        if tokens > burst and self._pacing:
            self.flight.mark_limited()  # limited by this machine: delivery rates do not measure the path now
        self._tokens = min(burst, tokens)
        self._pacing = False
        self._refilled = now
        self._pace_at = inf

    def _take_probe(self, runs: list[Run], now: float, size: int) -> None:
        """One packet regardless of window and pacing: a lost one, else new data, else the last packet again."""
        self._probe_due = False
        flight = self.flight
        run = flight.resend_lost(1, now)
        if run is None and self._more() and self.peer_window > flight.outstanding + size:
            run = self._new_run(size, size, now)
        run = run or flight.resend_last(now)
        if run is not None:
            runs.append(run)
            self._arm_probe(now)

    def _take_lost(self, runs: list[Run], now: float, budget: int, size: int) -> int:
        """Lost packets go first, whatever the peer's window: it may have shrunk since they were sent."""
        flight = self.flight
        full = size + HEADER_SIZE
        while flight.has_lost:
            if self._held(now, budget):
                break
            room = self.congestion.window - flight.inflight
            if room <= 0:
                break
            limit = max(1, min(room, int(self._tokens), RUN_BYTES) // full)
            run = self._spend(flight.resend_lost(min(limit, RUN_PACKETS), now), runs, now)
            budget -= run.weight if run else 0
        return budget

    def _take_new(self, runs: list[Run], now: float, budget: int, size: int) -> None:
        flight = self.flight
        full = size + HEADER_SIZE
        most = min(RUN_BYTES // full, RUN_PACKETS)
        while self._more() and not flight.has_lost:
            if self._held(now, budget):
                return
            room = self.congestion.window - flight.inflight
            free = self.peer_window - flight.outstanding
            if room <= 0:
                return
            if free < full and (free <= 0 or flight.packets):
                if not flight.packets and self._silence_at == inf:
                    self._silence_at = now + self.rtt.rto
                return
            if (padded := self.mtu.wanted(now)) and self.backlog.size > size and free > full:
                self.mtu.sent(padded)
                run = self._spend(self._new_run(size, size, now, padded - self.mtu.size), runs, now)
            else:
                packets = max(1, min(room // full, free // full, max(2, int(self._tokens) // full), most))
                run = self._spend(self._new_run(min(packets * size, max(free, 1)), size, now), runs, now)
            budget -= run.weight if run else 0
        if not self._more() and not flight.has_lost and flight.inflight < self.congestion.window:
            flight.mark_limited()

    def _new_run(self, length: int, size: int, now: float, padding: int = 0) -> Run:
        payload = self.backlog.take(length)
        fin = self.ending and not self.backlog.size
        if fin:
            self._end_sent = True
        return self.flight.send_new(payload, size, fin, now, padding)

    def _spend(self, run: Run | None, runs: list[Run], now: float) -> Run | None:
        if run is not None:
            self._tokens -= run.weight
            if self.flight.inflight == run.weight:
                self.congestion.on_restart(now)
            runs.append(run)
        return run

    def _held(self, now: float, budget: int) -> bool:
        """Whether pacing or budget are used up; sets the time to go on."""
        if budget <= 0:
            self._pace_at = now
            return True
        if self._tokens <= 0:
            rate = self.congestion.pacing_rate
            self._pacing = True
            self._pace_at = now + max(-self._tokens, 1.0) / rate + min(_PACE_STEP, _MOST_STEP / rate)
            return True
        return False
