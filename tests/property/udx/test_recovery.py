"""Loss recovery on a simulated path, packet by packet: losses are detected soon and repeated once.

The path has a round trip of 50 ms and no randomness: each test decides which packets are lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from netstack.udp.port import Address
from netstack.udx.packet import DATA, decode_header
from netstack.udx.rtt import RTO_MIN
from tests.property.udx.link import LEFT, RIGHT, Conditions, Half, Link

DELAY = 0.025
ROUND_TRIP = 2 * DELAY
RATE = 1e6
DATA_BYTES = bytes(range(256)) * 1600  # about 350 packets, less than half a second


class Copies:
    """Counts the copies of every data packet from the left, and decides which of them are lost."""

    def __init__(self, link: Link, lost: Callable[[int, int], bool]) -> None:
        self.link = link
        self.sent: Counter[int] = Counter()
        self.times: dict[int, list[float]] = {}
        self._lost = lost
        link.lose = self.offer

    def offer(self, home: Address, packet: bytes) -> bool:
        header = decode_header(packet)
        if home != LEFT or not header.bits & DATA:
            return False
        self.sent[header.seq] += 1
        self.times.setdefault(header.seq, []).append(self.link.now)
        return self._lost(header.seq, self.sent[header.seq])


def transfer(lost: Callable[[int, int], bool]) -> tuple[Half, Copies]:
    """A transfer where the nth copy of packet seq is lost if `lost(seq, n)` says so, to its end."""
    link = Link(1, Conditions(delay=DELAY, rate=RATE))
    left, right = link.pair()
    copies = Copies(link, lost)
    link.send(left, DATA_BYTES)
    assert link.run(lambda: left.reason is not None, limit=30)
    assert bytes(right.received) == DATA_BYTES
    assert left.stream.timeouts == 0
    return left, copies


def again(copies: Copies) -> dict[int, int]:
    """Packets that were sent more than once, and how often."""
    return {seq: count for seq, count in copies.sent.items() if count > 1}


def test_lost_packet_is_repeated_after_little_more_than_a_round_trip() -> None:
    _, copies = transfer(lambda seq, copy: seq == 100 and copy == 1)
    assert again(copies) == {100: 2}
    first, second = copies.times[100]
    assert ROUND_TRIP < second - first < 2.5 * ROUND_TRIP  # start-up keeps a queue


def test_gap_of_forty_packets_is_repeated_once() -> None:
    _, copies = transfer(lambda seq, copy: 80 <= seq < 120 and copy == 1)
    assert again(copies) == dict.fromkeys(range(80, 120), 2)


def test_loss_of_every_third_packet_is_repeated_once() -> None:
    _, copies = transfer(lambda seq, copy: seq % 3 == 0 and copy == 1 and 60 <= seq < 300)
    assert again(copies) == dict.fromkeys(range(60, 300, 3), 2)


def test_lost_retransmissions_are_repeated() -> None:
    _, copies = transfer(lambda seq, copy: seq == 100 and copy <= 3)
    assert again(copies) == {100: 4}


@pytest.mark.parametrize("count", [1, 5])
def test_lost_tail_is_detected_by_a_probe(count: int) -> None:
    total = max(transfer(lambda seq, copy: False)[1].sent)
    left, copies = transfer(lambda seq, copy: seq > total - count and copy == 1)
    assert sum(again(copies).values()) <= 2 * count + 2
    assert left.closed_at - copies.times[total][0] < RTO_MIN


def test_lost_acknowledgements_cause_no_retransmission() -> None:
    link = Link(1, Conditions(delay=DELAY, rate=RATE))
    left, _ = link.pair()
    copies = Copies(link, lambda seq, copy: False)
    seen = 0

    def lose(home: Address, packet: bytes) -> bool:
        nonlocal seen
        seen += home == RIGHT
        return copies.offer(home, packet) or (home == RIGHT and seen % 2 == 0)

    link.lose = lose
    link.send(left, DATA_BYTES)
    assert link.run(lambda: left.reason is not None, limit=30)
    assert again(copies) == {}
    assert left.stream.timeouts == 0


def test_reordering_causes_few_retransmissions() -> None:
    link = Link(1, Conditions(delay=DELAY, jitter=0.004, rate=RATE))
    left, _ = link.pair()
    link.send(left, DATA_BYTES * 3)
    assert link.run(lambda: left.reason is not None, limit=30)
    assert left.stream.flight.retransmitted < 20


@pytest.mark.parametrize("loss", [0.01, 0.05])
def test_retransmissions_match_random_losses(loss: float) -> None:
    link = Link(5, Conditions(delay=DELAY, rate=RATE, loss=loss))
    left, _ = link.pair()
    link.send(left, bytes(3_000_000))
    assert link.run(lambda: left.reason is not None, limit=10)
    packets = left.stream.flight.next
    assert left.stream.timeouts == 0
    assert left.stream.flight.retransmitted < 1.4 * loss * packets + 10
