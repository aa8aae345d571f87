"""In-order delivery with bounded parking, against a plain model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netstack.udx.packet import MAX_SACKS
from netstack.udx.reassembly import MAX_AHEAD, MAX_BYTES, Reassembly


def body(seq: int) -> bytes:
    return b"%d," % seq


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), max_size=80))
def test_runs_in_any_order_are_delivered_once_and_in_order(runs: list[tuple[int, int]]) -> None:
    parts = Reassembly()
    out: list[bytes] = []
    came: set[int] = set()
    for start, count in runs:
        numbers = range(start, start + count)
        out += parts.add_run(start, [body(number) for number in numbers])
        came |= set(numbers)
        complete = next(number for number in range(100) if number not in came)
        assert parts.next == complete
        beyond = {number for low, high in parts.ranges() for number in range(low, high)}
        assert beyond == {number for number in came if number > complete}
        assert parts.parked_bytes == sum(len(body(number)) for number in beyond)
    assert out == [body(number) for number in range(parts.next)]


def test_packets_too_far_ahead_are_dropped() -> None:
    parts = Reassembly()
    parts.add(MAX_AHEAD, b"x")
    parts.add(MAX_AHEAD - 1, b"y")
    assert parts.ranges() == [(MAX_AHEAD - 1, MAX_AHEAD)]


def test_parked_bytes_are_bounded() -> None:
    parts = Reassembly()
    for seq in range(1, 300):
        parts.add(seq, bytes(60_000))
    assert parts.parked_bytes <= MAX_BYTES
    assert parts.ranges()[0][0] == 1


def test_too_many_gaps_report_the_lowest_and_highest_ranges() -> None:
    parts = Reassembly()
    for seq in range(2, 1000, 2):
        parts.add(seq, b"")
    told = parts.ranges()
    assert len(told) == MAX_SACKS
    assert told[0] == (2, 3)
    assert told[-1] == (998, 999)
    assert told == sorted(told)


def test_packets_after_the_end_are_ignored() -> None:
    parts = Reassembly()
    parts.finish(2)
    assert parts.add(3, b"late") == []
    assert parts.add_run(0, [b"a", b"b", b"", b"d"]) == [b"a", b"b", b""]
    assert parts.ended
    assert parts.ranges() == []
