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
class Desk:
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


def test_asked_four_times_a_second_apart_then_given_up() -> None:
    desk = Desk()
    desk.ask()
    desk.pass_time(10)
    assert desk.moments == [0, 1, 2, 3]
    assert len({out.data for _, out in desk.sent}) == 1
    assert desk.told == [None]
    assert desk.gone == [BOB]
    assert len(desk.rpc) == 0
    assert desk.timers.next() == inf


def test_a_single_try_proves_nothing_about_a_node() -> None:
    desk = Desk()
    desk.ask(tries=1)
    desk.pass_time(10)
    assert (desk.told, desk.gone) == ([None], [])


def test_answered_once_from_the_address_that_was_asked_under_its_number() -> None:
    desk = Desk()
    call = desk.ask()
    assert not desk.answer(call, source=EVE)
    assert not desk.answer(call, tid=call.tid ^ 1)
    desk.now += 0.02
    assert desk.answer(call)
    assert not desk.answer(call), "once"
    assert call.rtt == pytest.approx(0.02)
    assert len(desk.told) == 1
    desk.pass_time(10)
    assert len(desk.sent) == 1


def test_cancelled_calls_nobody_back() -> None:
    desk = Desk()
    call = desk.ask()
    call.cancel()
    call.cancel()
    assert not desk.answer(call)
    desk.pass_time(10)
    assert (desk.told, desk.moments) == ([], [0])


def test_what_is_known_of_a_node_shortens_the_wait_and_tries_lengthen_it() -> None:
    desk = Desk(DhtLimits(retry_min=0.0))
    for _ in range(40):
        call = desk.ask()
        desk.now += 0.1
        desk.answer(call)
    start = desk.now
    del desk.sent[:]
    desk.ask()
    desk.pass_time(20)
    waits = [round(at - start, 1) for at, _ in desk.sent]
    jitter = 0.25
    assert waits[0] == 0
    assert 0.1 <= waits[1] <= 0.1 + jitter
    assert 0.2 <= waits[2] - waits[1] <= 0.25 + jitter
    assert 0.3 <= waits[3] - waits[2] <= 0.35 + jitter


def test_a_repeated_request_says_nothing_about_the_round_trip() -> None:
    desk = Desk()
    call = desk.ask()
    desk.pass_time(1.5)
    desk.answer(call)
    assert desk.rpc.roundtrips.timeout(BOB, 1) == desk.limits.retry


def test_eighty_in_a_slot_and_a_hundred_and_sixty_in_four() -> None:
    desk = Desk(DhtLimits(retry=1000.0))
    desk.now = 99.75  # a slot begins
    for _ in range(300):
        desk.ask()
    assert len(desk.sent) == 80
    desk.pass_time(0.7)
    assert len(desk.sent) == 80
    desk.pass_time(0.1)
    assert len(desk.sent) == 160
    desk.pass_time(2.0)
    assert len(desk.sent) == 160
    desk.pass_time(0.25)
    assert len(desk.sent) == 240, "the first slot has left the window"


def test_an_answer_makes_room_at_once() -> None:
    desk = Desk()
    calls = [desk.ask() for _ in range(100)]
    assert len(desk.sent) == 80
    for call in calls[:7]:
        desk.answer(call)
    assert len(desk.sent) == 87


def test_more_calls_than_can_be_held_fail() -> None:
    desk = Desk(DhtLimits(inflight=5))
    calls = [desk.ask() for _ in range(7)]
    desk.timers.fire(desk.now)
    assert desk.told == [None, None]
    assert len(desk.rpc) == 5
    assert desk.answer(calls[0])


def test_numbers_are_not_guessed_from_the_last() -> None:
    desk = Desk()
    tids = [desk.ask().tid for _ in range(50)]
    assert len(set(tids)) == 50
    assert not any((b - a) % 65536 == 1 for a, b in pairwise(tids))
    request = decode_datagram(desk.sent[0][1].data)
    assert request == Request(tids[0], BOB, PING, True)
