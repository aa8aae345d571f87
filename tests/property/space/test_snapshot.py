"""Snapshots of states: what was put comes back, and no damage is more than a snapshot that does not count."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.space.snapshot import RULES, Admitted, Snapshot, Tip, decode_snapshot, encode_snapshot
from tests.property.space.random_group import RandomGroup, name32


def snapshot_of(seed: int) -> Snapshot:
    group = RandomGroup(seed)
    group.live(40)
    group.settle()
    device = group.devices[0]
    graph, state = device.graph, device.state
    tips = tuple(Tip(tip, name32("root", tip.seq)) for tip in graph.tips())
    admitted = tuple(Admitted(core, seed, 7 << 16) for core in state.writers)
    said = ((None, (b"revocation",)), (name32("c"), (b"one", b"other")))
    return Snapshot(len(graph), 12_345, tips, admitted, said, state)


@pytest.mark.parametrize("seed", range(15))
def test_snapshot_comes_back_as_it_was_put(seed: int) -> None:
    snapshot = snapshot_of(seed)
    assert decode_snapshot(encode_snapshot(snapshot), lambda *ends: True) == snapshot


ONE = encode_snapshot(snapshot_of(3))


@given(st.binary(max_size=400))
def test_bytes_that_are_no_snapshot_are_none(data: bytes) -> None:
    decode_snapshot(data, lambda *ends: True)
    decode_snapshot(RULES.to_bytes(2, "little") + data, lambda *ends: True)


@given(st.integers(0, len(ONE) - 1), st.integers(1, 255))
def test_damage_raises_nothing(at: int, other: int) -> None:
    decode_snapshot(ONE[:at] + bytes((ONE[at] ^ other,)) + ONE[at + 1 :], lambda *ends: True)
    assert decode_snapshot(ONE[:at], lambda *ends: True) is None


def test_snapshot_of_other_rules_is_none() -> None:
    for rules in (RULES - 1, RULES + 1):
        assert decode_snapshot(rules.to_bytes(2, "little") + ONE[2:], lambda *ends: True) is None


def test_size_of_a_snapshot_follows_its_values() -> None:
    """Each value of 32 bytes stands once, whatever names it how often."""
    snapshot = snapshot_of(random.Random(1).randrange(100))
    assert len(encode_snapshot(snapshot)) < 400 * (snapshot.entries + len(snapshot.state.writers)) + 4_000
