"""BBR on simulated paths: it fills them, shares them, and is not slowed by random loss.

The bounds are well below what it reaches.
"""

from __future__ import annotations

import pytest

from netstack.udx.bbr import MIN_WINDOW, RATE_ROUNDS, Bbr, State
from netstack.udx.congestion import Sample
from netstack.udx.extremes import WindowedMax
from tests.property.udx.link import Conditions, Half, Link

RATE = 1e6  # bytes/s of the bottleneck
DELAY = 0.025


def shares(
    conditions: Conditions, streams: int, *, apart: float = 0.0, warm: float = 2.0, seconds: float = 8.0
) -> list[float]:
    """The share of the bottleneck that each stream gets, as payload."""
    link = Link(7, conditions)
    receivers: list[Half] = []
    for number in range(1, streams + 1):
        left, right = link.pair(number)
        receivers.append(right)
        link.send(left, bytes(int(RATE * 40)), end=False)
        link.run_for(apart)
    link.run_for(warm)
    before = [half.arrived for half in receivers]
    link.run_for(seconds)
    return [(half.arrived - start) / seconds / RATE for half, start in zip(receivers, before, strict=True)]


@pytest.mark.parametrize(
    ("loss", "queue", "least"),
    [
        (0.0, 50e3, 0.9),
        (0.01, 50e3, 0.9),
        (0.05, 50e3, 0.8),
        (0.0, 500e3, 0.9),  # a bloated queue
        (0.0, 10e3, 0.7),  # a shallow one: a fifth of what the path holds
    ],
)
def test_one_stream_fills_the_bottleneck(loss: float, queue: float, least: float) -> None:
    (share,) = shares(Conditions(delay=DELAY, rate=RATE, queue=queue, loss=loss), 1)
    assert share > least


def test_reordering_does_not_count_as_loss() -> None:
    (share,) = shares(Conditions(delay=DELAY, jitter=0.005, rate=RATE, queue=50e3), 1)
    assert share > 0.85


def test_large_queue_is_not_filled() -> None:
    link = Link(7, Conditions(delay=DELAY, rate=RATE, queue=5e6))
    left, _ = link.pair()
    link.send(left, bytes(int(RATE * 20)), end=False)
    link.run_for(8.0)
    assert left.stream.rtt.smoothed < 0.2  # the queue would add 5 s
    assert link.dropped == 0


@pytest.mark.parametrize(("apart", "loss"), [(0.0, 0.0), (2.0, 0.0), (0.1, 0.01), (1.0, 0.05)])
def test_two_streams_share_the_bottleneck_fairly(apart: float, loss: float) -> None:
    path = Conditions(delay=DELAY, rate=RATE, queue=50e3, loss=loss)
    first, second = shares(path, 2, apart=apart, warm=3.0, seconds=10.0)
    assert first + second > 0.85
    assert min(first, second) / (first + second) > 0.42


def test_stream_with_too_low_an_estimate_catches_up() -> None:
    link = Link(7, Conditions(delay=DELAY, rate=RATE, queue=50e3))
    (left, slow), (_, fast) = link.pair(1), link.pair(2)
    for half in (left, link.halves[left.side][3]):
        link.send(half, bytes(int(RATE * 30)), end=False)
    link.run_for(3.0)
    held = left.stream.congestion
    assert isinstance(held, Bbr)
    for _ in range(60):  # as if the machine slept between two packets
        held._bandwidth = WindowedMax(RATE_ROUNDS)
        held._bandwidth.add(0.03 * RATE, held._round)
        link.run_for(0.005)
    link.run_for(5.0)
    before = slow.arrived, fast.arrived
    link.run_for(3.0)
    mine, others = slow.arrived - before[0], fast.arrived - before[1]
    assert mine / (mine + others) > 0.35


def sample(now: float, **changes: float) -> Sample:
    base = Sample(
        now=now, acked=12_000, lost=0, inflight=50_000, before=62_000, delivered=int(now * 1e6), rate=1e6,
        app_limited=False, prior_delivered=int((now - 0.05) * 1e6), rtt=0.05,
    )  # fmt: skip
    return base._replace(**changes)  # type: ignore[arg-type]


def settled() -> tuple[Bbr, float]:
    """A controller with estimates of 1 MB/s and 50 ms."""
    bbr, now = Bbr(), 10.0
    while bbr.state is not State.PROBE_BANDWIDTH:
        now += 0.012
        bbr.on_acked(sample(now))
    return bbr, now


def test_start_up_ends_when_the_rate_stops_growing() -> None:
    bbr, _ = settled()
    assert bbr.bandwidth == 1e6
    assert 0.7e6 < bbr.pacing_rate < 1.3e6


def test_pacing_rate_cycles_around_the_bandwidth() -> None:
    bbr, now = settled()
    paces = set()
    for _ in range(100):
        now += 0.012
        bbr.on_acked(sample(now, before=90_000))
        paces.add(round(bbr.pacing_rate / 0.99e6, 2))
    assert paces == {0.75, 1.0, 1.25}


def test_one_impossible_sample_does_not_double_the_bandwidth() -> None:
    bbr, now = settled()
    bbr.on_acked(sample(now + 0.012, rate=9e6))
    assert bbr.bandwidth == 1.25e6


def test_application_limited_samples_never_lower_the_bandwidth() -> None:
    bbr, now = settled()
    for at in range(100):
        bbr.on_acked(sample(now + at * 0.012, rate=1e5, app_limited=True))
    assert bbr.bandwidth == 1e6


def test_least_round_trip_is_measured_again_after_ten_seconds() -> None:
    bbr, now = settled()
    modes: list[State] = []
    for _ in range(1000):
        now += 0.012
        bbr.on_acked(sample(now, rtt=0.06, inflight=20_000))
        if not modes or modes[-1] is not bbr.state:
            modes.append(bbr.state)
    assert modes == [State.PROBE_BANDWIDTH, State.PROBE_RTT, State.PROBE_BANDWIDTH]


def test_timeout_shrinks_the_window_and_recovery_restores_it() -> None:
    bbr, now = settled()
    before = bbr.window
    bbr.on_timeout(now, 0)
    assert bbr.window == MIN_WINDOW
    bbr.on_recovered(now + 1)
    assert bbr.window == before


def test_heavy_loss_lowers_the_window_and_single_losses_do_not() -> None:
    bbr, now = settled()
    before = bbr.window
    for at in range(100):
        bbr.on_acked(sample(now + at * 0.012, lost=1_200))  # a tenth
    assert bbr.window >= before
    now += 2.0
    for at in range(100):
        bbr.on_acked(sample(now + at * 0.012, lost=12_000))  # a half
    assert bbr.window == 75_000  # 1.5 times what the path holds
    now += 2.0
    for at in range(2000):
        bbr.on_acked(sample(now + at * 0.012, rtt=0.05))
    assert bbr.window >= before


def test_windowed_maximum_forgets_by_rounds() -> None:
    greatest = WindowedMax(3)
    values = []
    for at, value in enumerate([5.0, 9.0, 1.0, 2.0, 3.0, 1.0]):
        greatest.add(value, at)
        values.append(greatest.value)
    assert values == [5.0, 9.0, 9.0, 9.0, 3.0, 3.0]
