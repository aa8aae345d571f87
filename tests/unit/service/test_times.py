"""Times that others choose: whatever they claim can be shown, compared and sent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import pytest
from hypothesis import given

from apps.cli.human import when
from apps.cli.parser import since, until
from crdt.docs import chat, fields
from sync.service import times
from sync.service.times import claimed_lifetime, exact_lifetime, milliseconds, moment, parse_time, show_time

ZONES = ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu"]
ENDS = [datetime.min, datetime.max, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))]
ENDS += [datetime.max.replace(tzinfo=timezone(-timedelta(hours=23, minutes=59)))]


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize("ms", [0, 1, -1, 2**48 - 1, 2**63, -(2**64), 10**300, times.MAX_MS, times.LAST_SHOWN_MS])
def test_any_number_is_a_time_that_every_zone_can_show(zone: None, ms: int) -> None:
    assert when(moment(ms)) == when(moment(ms).isoformat())
    assert 0 <= milliseconds(moment(ms)) <= times.LAST_SHOWN_MS
    datetime.fromisoformat(show_time(ms))


@given(st.integers(0, times.LAST_SHOWN_MS))
def test_times_within_the_bounds_are_exact(ms: int) -> None:
    assert milliseconds(moment(ms)) == ms == parse_time(show_time(ms))


@pytest.mark.parametrize("at", ENDS, ids=str)
def test_the_ends_of_the_calendar_can_be_asked_for_and_shown(zone: None, at: datetime) -> None:
    assert isinstance(milliseconds(at), int)
    assert len(when(at)) == 16


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_search_may_name_the_ends_of_the_calendar(zone: None, text: str) -> None:
    assert since(text).year in (1, 9999) and until(text) >= since(text)


def test_a_day_ends_with_its_last_moment() -> None:
    assert until("2026-11-24") == datetime(2026, 11, 24, 23, 59, 59, 999_999, tzinfo=UTC)
    assert since("2026-11-24") == datetime(2026, 11, 24, tzinfo=UTC) == until("2026-11-24T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1969-12-31T23:59:59Z", "2024-01-01T00:00:00", ""],
)
def test_an_import_takes_no_time_that_a_message_cannot_quote(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_the_last_time_that_a_message_quotes_is_exported_as_it_is() -> None:
    assert show_time(parse_time("9999-12-31T23:59:59.999Z")) == "9999-12-31T23:59:59.999Z"
    assert fields.MAX_MS == times.MAX_MS


def test_a_lifetime_of_any_length_is_bounded() -> None:
    assert [claimed_lifetime(text) for text in (b"", b"0", b"000", b"-1", b"\xc2\xb2", b"7", b"007")] == [
        *([None] * 5),
        *(7, 7),
    ]
    assert {claimed_lifetime(b"9" * digits) for digits in (10, 11, 300, 5000)} == {chat.MAX_LIFETIME}
    assert [exact_lifetime(text) for text in ("0", "007", str(chat.MAX_LIFETIME))] == [0, 7, chat.MAX_LIFETIME]
    assert {exact_lifetime(text) for text in ("9" * 10, "9" * 5000, "-1", "²", "", "1.5")} == {None}
