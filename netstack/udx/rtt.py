"""Round-trip times: smoothed estimate, windowed minimum, retransmission timeout (RFC 6298 with UDX's bounds)."""

from __future__ import annotations

from netstack.udx.extremes import WindowedMin

RTO_MIN = 1.0
RTO_MAX = 30.0
_SUSPECT = 5.0  # seconds: a longer sample probably includes a sleep of the machine
MIN_WINDOW = 300.0


class RttEstimator:
    """Estimates from samples of packets that were sent only once (Karn); all values in seconds."""

    __slots__ = ("_least", "latest", "rto", "smoothed", "variation")

    def __init__(self) -> None:
        self.smoothed = 0.0  # 0.0: no sample yet
        self.variation = 0.0
        self.latest = 0.0
        self.rto = RTO_MIN
        self._least = WindowedMin(MIN_WINDOW)

    @property
    def known(self) -> bool:
        """Whether there is a sample."""
        return self.smoothed > 0.0

    @property
    def least(self) -> float:
        """The least sample of the last five minutes, 0.0 before the first."""
        return self._least.value

    def forget(self) -> None:
        """Forgets all samples: packets take another path."""
        self.smoothed = self.variation = self.latest = 0.0
        self.rto = RTO_MIN
        self._least = WindowedMin(MIN_WINDOW)

    def clamp(self, sample: float) -> float:
        """Bounds a sample that a sleep of the machine inflated: above 5 s and far above earlier ones."""
        if not self.known:
            return min(sample, RTO_MAX)
        bound = self.smoothed + 5 * self.variation
        if sample > bound and sample > _SUSPECT:
            return min(bound, RTO_MAX)
        return sample

    def add(self, sample: float, now: float) -> None:
        """Takes a sample, already bounded by `clamp`."""
        sample = max(sample, 1e-6)
        self.latest = sample
        self._least.add(sample, now)
        if not self.known:
            self.smoothed = sample
            self.variation = sample / 2
        else:
            self.variation += (abs(self.smoothed - sample) - self.variation) / 4
            self.smoothed += (sample - self.smoothed) / 8
        self.rto = min(max(self.smoothed + 4 * self.variation, RTO_MIN), RTO_MAX)
