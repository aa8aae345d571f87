"""The wire: its lanes by virtual time, and once as a process between two namespaces."""

from __future__ import annotations

import subprocess
from random import Random

import pytest

from tests.network.namespaces import FOLDER, Namespace, sweep
from tests.network.wire import Condition, Lane, Path


def lane(condition: Condition) -> Lane:
    return Lane(condition, Random("lane").random)


def test_wire_delays_packets() -> None:
    way = lane(Condition(delay=0.025))
    way.offer(b"one", 1.0)
    way.offer(b"two", 1.010)
    assert way.next_due() == 1.025
    assert way.due(1.030) == [b"one"]
    assert way.due(1.036) == [b"two"]
    assert way.next_due() is None


def test_jitter_never_reorders_packets() -> None:
    way = lane(Condition(delay=0.010, jitter=0.050))
    for number in range(100):
        way.offer(bytes([number]), number / 1000)
    assert b"".join(way.due(1.0)) == bytes(range(100))


def test_rate_limits_throughput_and_a_full_queue_drops() -> None:
    way = lane(Condition(rate=1 << 20, queue=10 << 10))
    for _ in range(20):
        way.offer(bytes(1 << 10), 0.0)
    assert way.tally.dropped == 9  # ten wait and one is on its way out
    assert len(way.due(5 / 1024)) == 5  # one in 1/1024 s
    assert len(way.due(1.0)) == 6
    way.offer(bytes(1 << 10), 2.0)
    assert way.next_due() == 2 + 1 / 1024


def test_packets_are_lost_at_random() -> None:
    way = lane(Condition(loss=0.05))
    for _ in range(10_000):
        way.offer(b"x", 0.0)
    assert way.tally.lost == pytest.approx(500, rel=0.2)
    assert len(way.due(0.0)) + way.tally.lost == 10_000


def test_wire_connects_two_namespaces(namespaces: None) -> None:
    with Path(Condition(delay=0.005)) as path, path.left.space.socket() as one, path.right.space.socket() as other:
        one.settimeout(5)
        other.settimeout(5)
        there = (path.right.address, other.getsockname()[1])
        one.sendto(b"hello", there)
        said, back = other.recvfrom(64)
        assert said == b"hello" and back[0] == path.left.address
        path.wire.set(Condition(loss=1.0), Condition())
        one.sendto(b"lost", there)
        other.sendto(b"and back", back)
        assert one.recv(64) == b"and back"
        left, right = path.wire.tally()
        assert (left.lost, right.carried >= 1) == (1, True)


def test_leftovers_of_a_killed_run_are_removed(namespaces: None) -> None:
    alive = Namespace.make("alive")
    dead = Namespace(f"{alive.name.split('.')[0]}.1.0.left")
    subprocess.run(["ip", "netns", "add", dead.name], check=True)
    try:
        assert sweep() == [dead.name]
        assert not (FOLDER / dead.name).exists() and (FOLDER / alive.name).exists()
    finally:
        alive.remove()
        dead.remove()
