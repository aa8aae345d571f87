"""Runs in flight: counts stay right when runs are split, lost and delivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netstack.udx.backlog import Backlog
from netstack.udx.extremes import WindowedMin
from netstack.udx.flight import Flight
from netstack.udx.packet import HEADER_SIZE
from netstack.udx.rtt import RTO_MIN, RttEstimator

SIZE = 10


def send(flight: Flight, count: int, now: float) -> None:
    flight.send_new(memoryview(bytes(SIZE * count)), SIZE, False, now)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 9), st.just(0)),
        st.tuples(st.just("ack"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("sack"), st.integers(0, 40), st.integers(1, 12)),
        st.tuples(st.just("lose"), st.just(0), st.just(0)),
        st.tuples(st.just("timeout"), st.just(0), st.just(0)),
        st.tuples(st.just("resend"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("probe"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(moves)
def test_packets_in_flight_agree_with_a_set_model(steps: list[tuple[str, int, int]]) -> None:
    flight = Flight(RttEstimator())
    delivered: set[int] = set()
    now = 1.0
    for what, first, second in steps:
        now += 0.05
        match what:
            case "send":
                send(flight, first, now)
            case "ack":
                ack = min(flight.first + first, flight.next)
                got = flight.acknowledge(ack, [], now)
                fresh = set(range(ack)) - delivered
                assert got.packets == len(fresh)
                delivered |= fresh
            case "sack":
                start, end = flight.first + first, flight.first + first + second
                got = flight.acknowledge(flight.first, [(start, end)], now)
                fresh = set(range(start, end)) - delivered if end <= flight.next else set()
                assert got.packets == len(fresh)
                delivered |= fresh
            case "lose":
                flight.detect_losses(now)
            case "timeout":
                flight.time_out(now)
            case "resend":
                run = flight.resend_lost(first, now)
                assert run is None or run.end - run.start <= first
            case "probe":
                flight.resend_last(now)
        weight = SIZE + HEADER_SIZE
        missing = flight.next - len(delivered)
        assert flight.packets == missing
        assert flight.outstanding == missing * weight
        assert flight.delivered == len(delivered) * weight
        assert flight.sacked == len([seq for seq in delivered if seq >= flight.first])
        assert 0 <= flight.inflight <= flight.outstanding
        assert flight.has_lost == (flight.inflight < flight.outstanding)


def test_every_lost_packet_is_sent_again_once() -> None:
    flight = Flight(RttEstimator())
    send(flight, 50, 1.0)
    flight.time_out(3.0)
    again: list[tuple[int, int]] = []
    while run := flight.resend_lost(7, 3.0):
        again.append((run.start, run.end))
    assert again == [(at, min(at + 7, 50)) for at in range(0, 50, 7)]
    assert not flight.has_lost


def test_gap_behind_newer_deliveries_counts_as_lost_after_a_reordering_window() -> None:
    flight = Flight(RttEstimator())
    send(flight, 1, 1.00)
    send(flight, 1, 1.01)
    flight.acknowledge(0, [(1, 2)], 1.11)
    assert flight.detect_losses(1.11)[0] == 0
    _, doubt = flight.detect_losses(1.11)
    assert 0.01 < doubt < 0.03  # a quarter of the round trip, less the head start
    assert flight.detect_losses(1.11 + doubt)[0] == 1


def test_three_deliveries_beyond_a_gap_end_the_reordering_window() -> None:
    flight = Flight(RttEstimator())
    for at in range(5):
        send(flight, 1, 1.0 + at / 1000)
    flight.acknowledge(0, [(1, 4)], 1.1)
    assert flight.detect_losses(1.1)[0] == 1


def test_delivery_rate_of_an_acknowledged_flight() -> None:
    flight = Flight(RttEstimator())
    rate = 0.0
    for at in range(40):
        if at >= 10:
            rate = flight.acknowledge(10 * (at - 9), [], 1.0 + at * 0.01).rate
        send(flight, 10, 1.0 + at * 0.01)
    assert abs(rate - 300 / 0.01) < 300  # ten packets of 30 bytes every 10 ms, a round trip of 100 ms


def test_round_trip_estimates_are_smoothed_and_bounded() -> None:
    rtt = RttEstimator()
    assert (rtt.known, rtt.rto) == (False, RTO_MIN)
    rtt.add(0.1, 1.0)
    assert (rtt.smoothed, rtt.variation, rtt.least) == (0.1, 0.05, 0.1)
    assert rtt.clamp(90.0) == rtt.smoothed + 5 * rtt.variation
    for at in range(50):
        rtt.add(rtt.clamp(8.0), 2.0 + at)
    assert RTO_MIN <= rtt.rto <= 30.0


@given(st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 50)), min_size=1, max_size=60))
def test_windowed_minimum_is_the_minimum_of_the_window(samples: list[tuple[float, float]]) -> None:
    least = WindowedMin(60.0)
    now = 0.0
    seen: list[tuple[float, float]] = []
    for value, step in samples:
        now += step
        least.add(value, now)
        seen.append((now, value))
        assert least.value == min(kept for at, kept in seen if at >= now - 60.0)


@given(st.lists(st.binary(max_size=30), max_size=20), st.lists(st.integers(1, 50), max_size=30))
def test_backlog_returns_the_bytes_written_in_order(writes: list[bytes], takes: list[int]) -> None:
    backlog = Backlog()
    for data in writes:
        backlog.append(data)
    out = b"".join(bytes(backlog.take(size)) for size in takes)
    out += bytes(backlog.take(10_000))
    assert out == b"".join(writes)
    assert backlog.size == 0
