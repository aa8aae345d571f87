"""Stamps of entries: a hybrid logical clock in 64 bits, `ms << 16 | counter`.

They order what people see and prove nothing.  `docs/protocol.md`, "Entry".
"""

from __future__ import annotations

AHEAD_MS = 3_600_000  # a clock follows other people's stamps one hour, not further


def make_stamp(ms: int, counter: int = 0) -> int:
    """The stamp of a wall-clock moment in Unix milliseconds."""
    return ms << 16 | counter


def stamp_ms(stamp: int) -> int:
    """Unix milliseconds of a stamp."""
    return stamp >> 16


def next_stamp(last: int, seen: int, now_ms: int) -> int:
    """The stamp of a writer's next entry, above its own `last` whatever the clock does.

    seen: the highest stamp received from others, 0 if none.  One further ahead of `now_ms` than an hour is ignored: a
    single wrong clock must not drag everybody's along.  `stamp_may_lead` tells which stamps to remember as seen.
    """
    floor = max(last, seen if stamp_may_lead(seen, now_ms) else 0)
    return max(now_ms << 16, floor + 1)


def stamp_may_lead(stamp: int, now_ms: int) -> bool:
    """Whether a received stamp advances the clock at this moment."""
    return stamp_ms(stamp) <= now_ms + AHEAD_MS
