"""Windowed minimum and maximum: of round trips over seconds, of bandwidths over rounds."""

from __future__ import annotations

from collections import deque


class WindowedMin:
    """The least value of the last `window` seconds."""

    __slots__ = ("_samples", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        self._samples: deque[tuple[float, float]] = deque()  # (time, value), values rising

    def add(self, value: float, now: float) -> None:
        """Takes a sample at time `now`, in seconds."""
        samples = self._samples
        while samples and samples[-1][1] >= value:
            samples.pop()
        samples.append((now, value))
        while samples[0][0] < now - self._window:
            samples.popleft()
        if len(samples) > 64:  # a long rising sequence is thinned; the minimum stays
            del samples[1]

    @property
    def value(self) -> float:
        """The present extreme, 0.0 before the first sample."""
        return self._samples[0][1] if self._samples else 0.0


class WindowedMax:
    """The greatest value of the last `window` rounds."""

    __slots__ = ("_samples", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._samples: deque[tuple[int, float]] = deque()  # (round, value), values falling

    def add(self, value: float, at: int) -> None:
        """Takes a sample of round `at`."""
        samples = self._samples
        while samples and samples[-1][1] <= value:
            samples.pop()
        samples.append((at, value))
        while samples[0][0] <= at - self._window:
            samples.popleft()

    def scale(self, factor: float) -> None:
        """Multiplies every sample by `factor`."""
        self._samples = deque((at, value * factor) for at, value in self._samples)

    @property
    def value(self) -> float:
        """The present extreme, 0.0 before the first sample."""
        return self._samples[0][1] if self._samples else 0.0
