"""The interface of a congestion control, which sets window and pacing rate, and the simplest implementation.

Units: bytes on the wire (headers included), seconds.  The stream reports what was delivered and what it believes lost;
the controller answers with a window and a pacing rate.  It keeps no timer and reads no clock.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Sample(NamedTuple):
    """The measurements of one acknowledgement, or of one batch of them."""

    now: float
    acked: int  # bytes newly delivered
    lost: int  # bytes newly marked lost
    inflight: int  # bytes still in flight, after this acknowledgement
    before: int  # bytes in flight before it
    delivered: int  # bytes delivered in all, after it
    rate: float  # delivery rate of the newest packet acknowledged, bytes/s; 0.0 = no sample
    app_limited: bool  # the rate was bounded by a lack of data, not by the path
    prior_delivered: int  # `delivered` when that newest packet was sent: tells rounds apart
    rtt: float  # of the newest packet sent once; 0.0 = no sample


class CongestionControl(Protocol):
    """Controls one direction of one stream."""

    @property
    def window(self) -> int:
        """Bytes that may be in flight."""
        ...

    @property
    def pacing_rate(self) -> float:
        """Bytes a second."""
        ...

    def on_acked(self, sample: Sample) -> None:
        """An acknowledgement delivered something or revealed a loss."""
        ...

    def on_loss_episode(self, now: float, inflight: int) -> None:
        """The first loss outside of a recovery: fast recovery begins; `inflight` bytes are in flight."""
        ...

    def on_recovered(self, now: float) -> None:
        """Everything in flight when the loss episode began is delivered."""
        ...

    def on_timeout(self, now: float, inflight: int) -> None:
        """A retransmission timeout expired."""
        ...

    def on_restart(self, now: float) -> None:
        """The first packet is sent after nothing was in flight."""
        ...

    def on_new_path(self, now: float) -> None:
        """Packets take another path from now on: the estimates of the old one do not apply to it."""
        ...


class FixedWindow:
    """A constant window in bytes and a constant pacing rate: for tests, benchmarks and paths of known size."""

    def __init__(self, window: int = 256 * 1024, pacing_rate: float = 1e12) -> None:
        self._window = window
        self._pacing_rate = pacing_rate

    @property
    def window(self) -> int:
        return self._window

    @property
    def pacing_rate(self) -> float:
        return self._pacing_rate

    def on_acked(self, sample: Sample) -> None:
        pass

    def on_loss_episode(self, now: float, inflight: int) -> None:
        pass

    def on_recovered(self, now: float) -> None:
        pass

    def on_timeout(self, now: float, inflight: int) -> None:
        pass

    def on_restart(self, now: float) -> None:
        pass

    def on_new_path(self, now: float) -> None:
        pass
