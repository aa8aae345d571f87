"""One request and its repetitions; the window over many; time-outs that learn."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import pytest

from netstack.dht.datagram import PING, Request, Response, decode_datagram
from netstack.dht.limits import DhtLimits
from netstack.dht.rpc import Call, Rpc
from netstack.dht.timers import Timers
from netstack.udp.port import Address, Outgoing

BOB = ("198.18.0.2", 49737)
EVE = ("198.18.0.66", 49737)


@dataclass
class Harness:
    """An Rpc whose clock and wire are in the test's hands."""

    limits: DhtLimits = field(default_factory=DhtLimits)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.timers = Timers()
        self.sent: list[tuple[float, Outgoing]] = []
        self.gone: list[Address] = []
        self.told: list[object] = []
        rng = random.Random(1).randbytes
        self.rpc = Rpc(
            rng,
            self.timers,
            self.limits,
            lambda out: self.sent.append((self.now, out)),
            lambda call, now: self.gone.append(call.to),
        )

    def ask(self, to: Address = BOB, tries: int = 4) -> Call:
        return self.rpc.start(Request(0, to, PING, True), self.told.append, self.now, port=0, tries=tries)

    def answer(self, call: Call, source: Address = BOB, tid: int | None = None) -> bool:
        response = Response(call.tid if tid is None else tid, ("198.18.0.1", 1))
        settled = self.rpc.answered(response, source, 0, self.now)
        if settled is not None:
            settled.done(response)
        return settled is not None

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.timers.next()) <= end:
            self.now = at
            self.timers.fire(at)
        self.now = end

    @property
    def moments(self) -> list[float]:
        return [round(at - 100.0, 3) for at, _ in self.sent]


def test_request_is_sent_four_times_a_second_apart_and_then_fails() -> None:
    harness = Harness()
    harness.ask()
    harness.pass_time(10)
    assert harness.moments == [0, 1, 2, 3]
    assert len({out.data for _, out in harness.sent}) == 1
    assert harness.told == [None]
    assert harness.gone == [BOB]
    assert len(harness.rpc) == 0
    assert harness.timers.next() == inf


def test_node_that_missed_a_single_try_is_not_reported_as_gone() -> None:
    harness = Harness()
    harness.ask(tries=1)
    harness.pass_time(10)
    assert (harness.told, harness.gone) == ([None], [])


def test_only_first_answer_from_asked_address_with_matching_number_counts() -> None:
    harness = Harness()
    call = harness.ask()
    assert not harness.answer(call, source=EVE)
    assert not harness.answer(call, tid=call.tid ^ 1)
    harness.now += 0.02
    assert harness.answer(call)
    assert not harness.answer(call), "once"
    assert call.rtt == pytest.approx(0.02)
    assert len(harness.told) == 1
    harness.pass_time(10)
    assert len(harness.sent) == 1


def test_cancelled_request_calls_nobody_back() -> None:
    harness = Harness()
    call = harness.ask()
    call.cancel()
    call.cancel()
    assert not harness.answer(call)
    harness.pass_time(10)
    assert (harness.told, harness.moments) == ([], [0])


def test_timeout_follows_measured_round_trips_and_grows_with_each_try() -> None:
    harness = Harness(DhtLimits(retry_min=0.0))
    for _ in range(40):
        call = harness.ask()
        harness.now += 0.1
        harness.answer(call)
    start = harness.now
    del harness.sent[:]
    harness.ask()
    harness.pass_time(20)
    waits = [round(at - start, 1) for at, _ in harness.sent]
    jitter = 0.25
    assert waits[0] == 0
    assert 0.1 <= waits[1] <= 0.1 + jitter
    assert 0.2 <= waits[2] - waits[1] <= 0.25 + jitter
    assert 0.3 <= waits[3] - waits[2] <= 0.35 + jitter


def test_answer_to_repeated_request_does_not_count_as_round_trip() -> None:
    harness = Harness()
    call = harness.ask()
    harness.pass_time(1.5)
    harness.answer(call)
    assert harness.rpc.roundtrips.timeout(BOB, 1) == harness.limits.retry


def test_at_most_80_requests_are_sent_in_one_slot_and_160_in_four() -> None:
    harness = Harness(DhtLimits(retry=1000.0))
    harness.now = 99.75  # a slot begins
    for _ in range(300):
        harness.ask()
    assert len(harness.sent) == 80
    harness.pass_time(0.7)
    assert len(harness.sent) == 80
    harness.pass_time(0.1)
    assert len(harness.sent) == 160
    harness.pass_time(2.0)
    assert len(harness.sent) == 160
    harness.pass_time(0.25)
    assert len(harness.sent) == 240, "the first slot has left the window"


def test_answer_lets_a_waiting_request_go_out_at_once() -> None:
    harness = Harness()
    calls = [harness.ask() for _ in range(100)]
    assert len(harness.sent) == 80
    for call in calls[:7]:
        harness.answer(call)
    assert len(harness.sent) == 87


def test_requests_beyond_the_limit_in_flight_fail() -> None:
    harness = Harness(DhtLimits(inflight=5))
    calls = [harness.ask() for _ in range(7)]
    harness.timers.fire(harness.now)
    assert harness.told == [None, None]
    assert len(harness.rpc) == 5
    assert harness.answer(calls[0])


def test_request_numbers_cannot_be_guessed_from_earlier_ones() -> None:
    harness = Harness()
    tids = [harness.ask().tid for _ in range(50)]
    assert len(set(tids)) == 50
    assert not any((b - a) % 65536 == 1 for a, b in pairwise(tids))
    request = decode_datagram(harness.sent[0][1].data)
    assert request == Request(tids[0], BOB, PING, True)
