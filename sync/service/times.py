"""Times, bounded: the one place where a number or a text that others chose becomes a `datetime`, and back.

Python knows the years 1 to 9999 and refuses to shift their ends into another zone; peers may claim any number.  What is
beyond the bounds is drawn to them, so that every time here can be shown in every zone and compared with any other.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_MS = 253_402_300_799_999  # the end of the year 9999, the last that a message may quote
LAST_SHOWN_MS = MAX_MS - 2 * 86_400_000  # no zone is more than a day away
MAX_LIFETIME = 2**31 - 1  # seconds
_EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
_LATEST = EPOCH + timedelta(milliseconds=LAST_SHOWN_MS)


def moment(ms: int) -> datetime:
    """Unix milliseconds as an aware time that can be shown in any zone; what lies outside is the nearest such time."""
    return EPOCH + timedelta(milliseconds=min(max(ms, 0), LAST_SHOWN_MS))


def bounded(at: datetime) -> datetime:
    """The time in UTC; one without a zone means the local one."""
    try:
        return min(max(at.astimezone(UTC), _EARLIEST), _LATEST)
    except (OverflowError, ValueError, OSError):  # the ends of the years 1 and 9999 in some zones
        return _EARLIEST if at.year < 5000 else _LATEST


def milliseconds(at: datetime) -> int:
    """Unix milliseconds of a time; before 1970 they are negative."""
    since = bounded(at) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def local(at: datetime) -> datetime:
    """The time in the zone of whoever looks."""
    return bounded(at).astimezone()


def day_start(day: date) -> datetime:
    """The local midnight at which a day begins, in UTC."""
    return bounded(datetime.combine(day, time.min))


def day_end(day: date) -> datetime:
    """The last moment of a local day, in UTC."""
    return bounded(datetime.combine(day, time.max))


def show_time(ms: int) -> str:
    """ISO 8601 in UTC, exact up to the last that a message may quote."""
    ms = min(max(ms, 0), MAX_MS)
    at = EPOCH + timedelta(milliseconds=ms)
    fraction = f".{ms % 1000:03}" if ms % 1000 else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def parse_time(text: str) -> int:
    """ISO 8601 with a zone as Unix ms.  Raises ValueError for anything else, and outside 1970 to 9999."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    since = at - EPOCH
    ms = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    if not 0 <= ms <= MAX_MS:
        raise ValueError("a time out of range")
    return ms


def exact_lifetime(text: str) -> int | None:
    """Decimal seconds up to MAX_LIFETIME, None for anything else: what somebody here sets."""
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > len(str(MAX_LIFETIME)):
        return None
    seconds = int(text)
    return seconds if seconds <= MAX_LIFETIME else None


def claimed_lifetime(text: bytes) -> int | None:
    """A lifetime that somebody else has set: more than MAX_LIFETIME is that many; None for ever, and for no number."""
    if not text.isdigit():
        return None
    exact = exact_lifetime(text.decode("ascii"))
    return (MAX_LIFETIME if exact is None else exact) or None
