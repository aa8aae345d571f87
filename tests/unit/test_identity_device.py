"""Device keys, ids and prekeys; the safety number."""

from __future__ import annotations

import datetime

import pytest

from identity.device import (
    PREKEYS_KEPT,
    WEEK,
    decode_device_keys,
    device_id,
    encode_device_keys,
    new_device,
    rotate_prekeys,
    week_of,
    week_start,
)
from identity.errors import DecodeError
from identity.safety_number import safety_number
from tests.support.streams import stream

MONDAY = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC).timestamp()


def test_weeks_start_on_monday_in_utc() -> None:
    assert MONDAY % 86_400 == 0 and datetime.datetime.fromtimestamp(MONDAY, datetime.UTC).weekday() == 0
    assert week_of(MONDAY) == week_of(MONDAY + WEEK - 1) == week_of(MONDAY - 1) + 1
    assert week_of(0) == 0 and week_of(-3 * 86_400 - 1) == -1


def test_device_id_depends_on_both_keys() -> None:
    one, other = new_device(stream(1), MONDAY), new_device(stream(2), MONDAY)
    assert one.id == device_id(one.signing.public, one.agreement.public)
    assert len({one.id, other.id, device_id(one.signing.public, other.agreement.public)}) == 3


def test_prekeys_rotate_weekly_and_the_last_nine_are_kept() -> None:
    rng = stream(3)
    keys = new_device(rng, MONDAY)
    assert rotate_prekeys(keys, rng, MONDAY + WEEK - 1) is keys
    first = keys.prekey
    for week in range(1, 9):
        keys = rotate_prekeys(keys, rng, MONDAY + week * WEEK)
    assert len(keys.prekeys) == PREKEYS_KEPT and keys.prekeys[0].key == first
    keys = rotate_prekeys(keys, rng, MONDAY + 9 * WEEK)
    assert len(keys.prekeys) == PREKEYS_KEPT and first not in [p.key for p in keys.prekeys]
    assert rotate_prekeys(keys, rng, MONDAY) is keys, "a clock set back makes and forgets nothing"


def test_device_keys_decode_to_what_was_encoded() -> None:
    keys = rotate_prekeys(new_device(stream(4), MONDAY), stream(5), MONDAY + WEEK)
    data = encode_device_keys(keys)
    assert decode_device_keys(data) == keys
    for bad in (data[:-1], data + b"\0", b"\1" + data[1:], data[:66] + b"\0"):
        with pytest.raises(DecodeError):
            decode_device_keys(bad)
    assert keys.agreement.secret.hex() not in repr(keys)


def test_two_people_see_the_same_safety_number() -> None:
    one, other = b"\1" * 32, b"\2" * 32
    number = safety_number(one, other)
    assert number == safety_number(other, one) != safety_number(one, b"\3" * 32)
    assert [len(group) for group in number.split()] == [5] * 12 and number.replace(" ", "").isdigit()


def test_a_week_begins_on_monday_at_midnight() -> None:
    for now in (0.0, 4 * 86_400.0, 1_760_000_400.0):
        start = week_start(week_of(now))
        assert start <= now < start + 7 * 86_400 and week_of(start) == week_of(now) == week_of(start - 1) + 1
    assert week_start(week_of(4 * 86_400.0)) == 4 * 86_400.0  # 1970-01-05, a Monday
