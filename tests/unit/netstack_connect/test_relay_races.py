"""A blind relay tells two ends that they are tied by messages of two other connections: either may come late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netstack.events import Frame, Moved, Opened, PathKind
from netstack.limits import Limits
from netstack.link import Link
from netstack.ports import SERVER
from netstack.udp.port import Address, Datagram
from netstack.udx.intake import dispatch
from netstack.udx.stream import UdxStream
from netstack.wire.handshake import Agreement
from netstack.wire.messages import NoisePayload
from tests.support.streams import stream

RELAY: Address = ("198.51.100.7", 49737)
A_TO_B = Agreement(True, b"a" * 32, b"b" * 32, b"h" * 64, (b"1" * 32, b"2" * 32), NoisePayload())
B_TO_A = replace(A_TO_B, initiator=False, local_key=b"b" * 32, remote_key=b"a" * 32, keys=(b"2" * 32, b"1" * 32))


class End:
    """One end that has agreed on keys, and knows of no path yet."""

    def __init__(self, number: int, agreement: Agreement) -> None:
        self.link = Link(number, UdxStream(number), Limits(), 0.0)
        self.link.agree(agreement, stream(number))
        self.link.stream.adopt = lambda source: None  # as while a relay is asked: takes packets, adopts nobody
        self.events: list[object] = []

    def tied(self, other: End, now: float) -> None:
        """The relay's word has come."""
        self.link.take(other.link.stream.local_id, RELAY, SERVER, PathKind.RELAYED, now)
        self.events += self.link.absorb(now)

    def passes_to(self, other: End, now: float, *, lost: bool = False) -> int:
        """What is sent now reaches the other end through the relay, or a relay that knows no other end."""
        out = self.link.stream.take_outgoing(now)
        for item in out if not lost else ():
            datagram = Datagram(memoryview(item.data), RELAY, item.segment)
            dispatch(datagram, {other.link.stream.local_id: other.link.stream}, now, {})
            other.events += other.link.absorb(now)
        return len(out)


@pytest.fixture
def ends() -> tuple[End, End]:
    return End(1, A_TO_B), End(2, B_TO_A)


def kinds(end: End) -> list[type]:
    return [type(event) for event in end.events]


def test_packets_of_peer_that_arrive_before_relay_confirms_are_kept(ends: tuple[End, End]) -> None:
    ada, bob = ends
    bob.tied(ada, 0.0)
    bob.passes_to(ada, 0.0)
    assert ada.events == []
    ada.tied(bob, 0.1)
    assert kinds(ada) == [Opened]  # by what had come already, not by the keep-alive seconds later
    ada.passes_to(bob, 0.1)
    assert kinds(bob) == [Opened]
    ada.link.send(b"hello", 0.2)
    ada.passes_to(bob, 0.2)
    assert bob.events[1:] == [Frame(2, b"hello")]


def test_opening_dropped_by_relay_before_pairing_is_repeated_at_once(ends: tuple[End, End]) -> None:
    ada, bob = ends
    bob.tied(ada, 0.0)
    assert bob.passes_to(ada, 0.0, lost=True) == 1
    ada.tied(bob, 0.1)
    ada.passes_to(bob, 0.1)
    assert kinds(bob) == [Opened]
    bob.passes_to(ada, 0.1)  # once more at once, without a timer
    assert kinds(ada) == [Opened]


def test_connection_follows_only_packets_sealed_by_the_peer(ends: tuple[End, End]) -> None:
    ada, bob = ends
    ada.tied(bob, 0.0)
    ada.passes_to(bob, 0.0)
    bob.tied(ada, 0.0)
    bob.passes_to(ada, 0.0)
    elsewhere = RELAY[0], 7
    bob.link.stray = elsewhere, SERVER
    bob.events += bob.link.absorb(0.1)  # an acknowledgement, a heartbeat: anybody can make those
    assert bob.link.stream.remote == RELAY
    ada.link.send(b"from my new place", 0.2)
    bob.link.stray = elsewhere, SERVER
    ada.passes_to(bob, 0.2)
    assert bob.link.stream.remote == elsewhere
    assert kinds(bob)[-2:] == [Frame, Moved]
