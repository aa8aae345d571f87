"""Stamps: a clock that never goes back and ignores clocks far ahead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crdt.log.stamp import AHEAD_MS, LAST_LED, MAX_STAMP, make_stamp, next_stamp, stamp_may_lead, stamp_ms

NOW = 1_790_000_000_000


def test_stamp_follows_clock_and_peers_but_not_a_clock_far_ahead() -> None:
    first = next_stamp(0, 0, NOW)
    again = next_stamp(first, 0, NOW)
    clock_set_back = next_stamp(again, 0, NOW - 5000)
    after_theirs = next_stamp(again, make_stamp(NOW + 60_000, 7), NOW)
    not_after_a_liar = next_stamp(again, make_stamp(NOW + AHEAD_MS + 1), NOW)
    later = next_stamp(after_theirs, 0, NOW + 90_000)
    assert [first, again, clock_set_back, after_theirs, not_after_a_liar, later] == [
        make_stamp(NOW),
        make_stamp(NOW, 1),
        make_stamp(NOW, 2),
        make_stamp(NOW + 60_000, 8),
        make_stamp(NOW, 2),
        make_stamp(NOW + 90_000),
    ]
    assert stamp_ms(after_theirs) == NOW + 60_000


def test_stamp_follows_my_other_devices_however_far_ahead_they_are() -> None:
    in_2035 = make_stamp(NOW + 10 * 365 * 86_400_000)
    assert next_stamp(make_stamp(NOW), 0, NOW, in_2035) == in_2035 + 1


def test_no_clock_and_no_device_leads_a_stamp_to_the_ceiling() -> None:
    beyond = next_stamp(0, 0, 10**15)
    led = next_stamp(0, 0, NOW, MAX_STAMP)
    assert beyond == led == LAST_LED
    assert [next_stamp(LAST_LED + 7, 0, 10**15), next_stamp(LAST_LED + 7, 0, NOW, MAX_STAMP)] == [LAST_LED + 8] * 2
    assert MAX_STAMP - LAST_LED > 2**42, "more entries than a feed may have"


stamps = st.integers(0, LAST_LED)


@given(stamps, stamps, stamps, st.integers(0, 2**44))
def test_stamp_rises_strictly_and_exceeds_every_accepted_stamp(last: int, seen: int, own: int, now: int) -> None:
    stamp = next_stamp(last, seen, now, own)
    assert stamp > last
    assert stamp > seen or not stamp_may_lead(seen, now) or stamp == LAST_LED
    assert stamp > own or stamp == LAST_LED
    assert stamp in (make_stamp(now), LAST_LED) or stamp - 1 in (last, seen, own)
