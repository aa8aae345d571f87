"""BBR: congestion control from a model of the path (bandwidth and round trip), not from losses.

Version 1 (draft-cardwell-iccrg-bbr-congestion-control-00), which the C library runs too, so that our streams and those
of npm `udx-native` share a path fairly.  `docs/decisions/0011` says where this differs from the draft and why.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from netstack.udx.congestion import Sample
from netstack.udx.extremes import WindowedMax

PACKET = 1_200
HIGH_GAIN = 2.885  # 2/ln 2: doubles the rate every round
CYCLE = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
CALM = 2  # where the phases at the known rate begin
CALM_VARIES = 5
GROWN = 1.08  # growth of the bandwidth after which a probe is followed by another at once ...
BOLDER = 1.5  # ... with this gain
GIVEN_WAY = 0.93
STANDING = 0.2  # of the round trip: a queue that remains after we drained our part
JITTER = 0.004  # seconds of delay that do not count as a queue
WINDOW_GAIN = 2.0
INITIAL_WINDOW = 10 * PACKET
MIN_WINDOW = 4 * PACKET
INITIAL_RATE = 25e6
RATE_ROUNDS = 10
ROUND_TRIP_WINDOW = 10.0
PROBE_RTT_TIME = 0.2
FULL_GROWTH = 1.25
FULL_ROUNDS = 3
PACING_MARGIN = 0.99
RESOLUTION = 0.0005  # seconds: shorter round trips measure event loops, not the path
EXTRA_ROUNDS = 5
MAX_EXTRA_TIME = 0.1
MAX_QUANTUM = 64_000
FLOOD_LOSS = 0.35  # share of a round: more is not a noisy path but a queue much smaller than our window
FLOOD_ROUNDS = 3  # another flow's start-up floods a queue for fewer rounds
FLOOD_CUT = 0.7
FLOOD_HOLD = 1.5  # the ceiling stays above this many bandwidth-delay products
CEILING_GROWTH = 1.02


class State(Enum):
    """The states of the draft: grow, drain the queue, cycle around the bandwidth, measure the least round trip."""

    STARTUP = auto()
    DRAIN = auto()
    PROBE_BANDWIDTH = auto()
    PROBE_RTT = auto()


class Bbr:
    """A `congestion.CongestionControl`; its methods are documented there."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.state = State.STARTUP
        self._window = INITIAL_WINDOW
        self._rate = INITIAL_RATE
        self._bandwidth = WindowedMax(RATE_ROUNDS)
        self._round = 0
        self._round_ends = 0  # `delivered` at which the present round ends
        self._round_began = False
        self._round_acked = 0
        self._round_lost = 0
        self._flooded = 0  # rounds with heavy loss, minus rounds without since
        self._ceiling = inf  # of the window: what a small queue was found to hold

        self._round_trip = 0.0  # 0.0: none yet
        self._round_trip_at = 0.0
        self._probe_until = 0.0  # 0.0: the window has not shrunk to it yet
        self._probe_round_done = False

        self._full_bandwidth = 0.0
        self._full_rounds = 0
        self._full = False
        self._cycle = 2
        self._cycle_at = 0.0
        self._drained = inf  # least round trip during this drain
        self._bolder = False  # this probe follows one that found more bandwidth
        self._probed = 0.0  # the bandwidth estimate when the last probe began
        self._restarted = False

        self._conserving = False  # first round of a recovery: send only as much as was delivered
        self._recovering = False
        self._prior_window = 0

        self._extra = WindowedMax(EXTRA_ROUNDS)
        self._extra_acked = 0
        self._extra_at = 0.0

    @property
    def window(self) -> int:
        return self._window

    @property
    def pacing_rate(self) -> float:
        return self._rate

    @property
    def bandwidth(self) -> float:
        """The estimate of the path's bandwidth in bytes/s."""
        return self._bandwidth.value

    def on_acked(self, sample: Sample) -> None:
        self._count_round(sample)
        self._note_rate(sample)
        self._note_aggregation(sample)
        self._advance_cycle(sample)
        self._note_full(sample)
        self._drain(sample)
        self._note_round_trip(sample)
        self._set_rate(sample)
        self._set_window(sample)

    def on_loss_episode(self, now: float, inflight: int) -> None:
        if not self._recovering:
            self._save_window()
        self._recovering = self._conserving = True
        self._window = max(inflight, MIN_WINDOW)
        self._round_ends = 0  # conserve for one full round from here

    def on_recovered(self, now: float) -> None:
        if self._recovering:
            self._window = max(self._window, self._prior_window)
        self._recovering = self._conserving = False

    def on_timeout(self, now: float, inflight: int) -> None:
        if not self._recovering:
            self._save_window()
        self._recovering = True
        self._conserving = False
        self._full_bandwidth = 0.0
        self._window = max(inflight + PACKET, MIN_WINDOW)

    def on_restart(self, now: float) -> None:
        self._restarted = True
        self._extra_acked, self._extra_at = 0, now
        if self.state is State.PROBE_BANDWIDTH:
            self._rate = max(self._rate, self.bandwidth * PACING_MARGIN)

    def on_new_path(self, now: float) -> None:
        self._begin()

    # -- the model ----------------------------------------------------------------------------------------------

    def _count_round(self, sample: Sample) -> None:
        self._round_began = False
        self._round_acked += sample.acked
        self._round_lost += sample.lost
        if sample.prior_delivered >= self._round_ends:
            self._round_ends = sample.delivered
            self._round += 1
            self._round_began = True
            self._conserving = False
            self._note_flood()

    def _note_flood(self) -> None:
        """Lowers the window's ceiling after rounds of heavy loss, never below what the path holds; raises it slowly."""
        rate = self._round_lost / max(1, self._round_acked + self._round_lost)
        self._round_acked = self._round_lost = 0
        if rate <= FLOOD_LOSS:
            self._flooded = max(0, self._flooded - 1)
            self._ceiling *= CEILING_GROWTH
            return
        self._flooded = min(self._flooded + 1, FLOOD_ROUNDS)
        if self._flooded == FLOOD_ROUNDS:
            holds = max(FLOOD_HOLD * self.bandwidth * self._round_trip, MIN_WINDOW)
            self._ceiling = max(FLOOD_CUT * min(self._ceiling, self._window), holds)

    def _note_rate(self, sample: Sample) -> None:
        """Caps samples: after start-up nothing arrives faster than the probing pace; more is a late acknowledgement."""
        rate = sample.rate
        if self._full and rate > (most := self.bandwidth * (BOLDER if self._bolder else CYCLE[0])):
            rate = most
        if rate > 0 and (not sample.app_limited or rate >= self.bandwidth):
            self._bandwidth.add(rate, self._round)

    def _note_aggregation(self, sample: Sample) -> None:
        """Notes how much more than the bandwidth explains is acknowledged at once: the window must cover it."""
        expected = self.bandwidth * (sample.now - self._extra_at)
        if self._extra_acked <= expected:
            self._extra_acked, self._extra_at, expected = 0, sample.now, 0.0
        self._extra_acked += sample.acked
        self._extra.add(min(self._extra_acked - expected, float(self._window)), self._round)

    def _advance_cycle(self, sample: Sample) -> None:
        if self.state is not State.PROBE_BANDWIDTH:
            return
        if CYCLE[self._cycle] <= 1.0 and self.bandwidth >= GROWN * self._probed:
            self._probe(0, sample.now)  # more bandwidth was found: a flow that fell behind probes again at once
            self._bolder = True
            return
        elapsed = sample.now - self._cycle_at > self._round_trip
        gain = self._gain()
        if gain > 1.0:
            elapsed = sample.now - self._cycle_at > max(self._round_trip, sample.rtt)
            due = elapsed and (sample.lost > 0 or sample.before >= self._content(gain))
        elif gain < 1.0:
            if sample.rtt > 0:
                self._drained = min(self._drained, sample.rtt)
            due = sample.inflight <= self._content(1.0) or sample.now - self._cycle_at > 4 * self._round_trip
        else:
            due = elapsed
        if due:
            cycle = (self._cycle + 1) % len(CYCLE)
            if cycle == CALM:
                self._give_way()
                # its length varies, or flows that share a queue would probe together
                cycle += (sample.delivered >> 8) % CALM_VARIES
            self._probe(cycle, sample.now)

    def _give_way(self) -> None:
        """Lowers the bandwidth estimate if a queue remains after we drained ours: other flows share the path.

        All flows lower theirs by the same share; what becomes free goes to flows with less, whose probes find more.
        """
        if self._drained < inf and self._drained - self._round_trip > max(STANDING * self._round_trip, JITTER):
            self._bandwidth.scale(GIVEN_WAY)

    def _probe(self, cycle: int, now: float) -> None:
        """Begins this phase of the cycle."""
        self._cycle, self._cycle_at, self._bolder = cycle, now, False
        self._drained = inf
        if cycle == 0:
            self._probed = self.bandwidth

    def _note_full(self, sample: Sample) -> None:
        if self._full or not self._round_began or sample.app_limited:
            return
        if self.bandwidth >= self._full_bandwidth * FULL_GROWTH:
            self._full_bandwidth = self.bandwidth
            self._full_rounds = 0
            return
        self._full_rounds += 1
        self._full = self._full_rounds >= FULL_ROUNDS

    def _drain(self, sample: Sample) -> None:
        if self.state is State.STARTUP and self._full:
            self.state = State.DRAIN
        if self.state is State.DRAIN and sample.inflight <= self._content(1.0):
            self._enter_bandwidth(sample.now)

    def _enter_bandwidth(self, now: float) -> None:
        self.state = State.PROBE_BANDWIDTH
        # Flows that start together must not probe together: the phase follows from the bytes of the path, never 0.75.
        self._probed = self.bandwidth
        self._probe((0, 2, 3, 4, 5, 6, 7)[int(self.bandwidth) % 7], now)

    def _note_round_trip(self, sample: Sample) -> None:
        now = sample.now
        expired = self._round_trip > 0 and now > self._round_trip_at + ROUND_TRIP_WINDOW
        if sample.rtt > 0 and (not self._round_trip or sample.rtt <= self._round_trip or expired):
            self._round_trip = sample.rtt
            self._round_trip_at = now
        if expired and not self._restarted and self.state is not State.PROBE_RTT:
            self.state = State.PROBE_RTT
            self._save_window()
            self._probe_until = 0.0
        if self.state is State.PROBE_RTT:
            if not self._probe_until and sample.inflight <= self._probe_window():
                self._probe_until = now + PROBE_RTT_TIME
                self._probe_round_done = False
                self._round_ends = sample.delivered
            elif self._probe_until:
                self._probe_round_done = self._probe_round_done or self._round_began
                if self._probe_round_done and now > self._probe_until:
                    self._round_trip_at = now
                    self._window = max(self._window, self._prior_window)
                    if self._full:
                        self._enter_bandwidth(now)
                    else:
                        self.state = State.STARTUP
        self._restarted = False

    # -- what follows from it -----------------------------------------------------------------------------------

    def _gain(self) -> float:
        match self.state:
            case State.STARTUP:
                return HIGH_GAIN
            case State.DRAIN:
                return 1 / HIGH_GAIN
            case State.PROBE_BANDWIDTH:
                return BOLDER if self._bolder else CYCLE[self._cycle]
            case State.PROBE_RTT:
                return 1.0

    def _content(self, gain: float) -> float:
        """Bytes that the path holds, times gain."""
        if not self._round_trip:
            return float(INITIAL_WINDOW)
        return gain * self.bandwidth * max(self._round_trip, RESOLUTION) + 3 * self._quantum()

    def _quantum(self) -> float:
        """Bytes that are sent at once."""
        return min(max(self._rate * 0.001, 2.0 * PACKET), MAX_QUANTUM)

    def _probe_window(self) -> float:
        return max(self._content(0.5), MIN_WINDOW)

    def _set_rate(self, sample: Sample) -> None:
        if not self.bandwidth:
            if sample.rtt > 0:
                self._rate = max(self._rate, HIGH_GAIN * self._window / sample.rtt)
            return
        rate = self._gain() * self.bandwidth * PACING_MARGIN
        if self._full or rate > self._rate:
            self._rate = max(rate, 2.0 * PACKET)

    def _set_window(self, sample: Sample) -> None:
        window = self._window
        if sample.lost:
            window = max(window - sample.lost, PACKET)
        if self._conserving:
            window = max(window, sample.inflight + sample.acked)
        else:
            gain = HIGH_GAIN if self.state in (State.STARTUP, State.DRAIN) else WINDOW_GAIN
            target = int(self._content(gain) + (self._extra_bytes() if self._full else 0))
            if self._full:
                window = min(window + sample.acked, target)
            elif window < target or sample.delivered < INITIAL_WINDOW:
                window += sample.acked
        window = max(int(min(window, self._ceiling)), MIN_WINDOW)
        if self.state is State.PROBE_RTT:
            window = min(window, int(self._probe_window()))
        self._window = window

    def _extra_bytes(self) -> float:
        return min(self._extra.value, self.bandwidth * MAX_EXTRA_TIME)

    def _save_window(self) -> None:
        if self.state is not State.PROBE_RTT and not self._recovering:
            self._prior_window = self._window
        else:
            self._prior_window = max(self._prior_window, self._window)
