"""Stamps of entries: a hybrid logical clock in 64 bits, `ms << 16 | counter`.

They say where a message is drawn and nothing else: what replaces what follows from causes (`crdt.docs.over`).  A stamp
has a ceiling, so that every one of them can be shown as a time and followed by another.  `docs/protocol.md`, "Stamps".
"""

from __future__ import annotations

AHEAD_MS = 3_600_000  # a clock follows other people's stamps one hour, not further
CEILING_MS = 4_102_444_800_000  # the year 2100: no stamp is as late as that
MAX_STAMP = (CEILING_MS << 16) - 1
LAST_LED = CEILING_MS - 86_400_000 << 16  # neither a clock nor others lead further: the last day is left for counting


def make_stamp(ms: int, counter: int = 0) -> int:
    """The stamp of a wall-clock moment in Unix milliseconds."""
    return ms << 16 | counter


def stamp_ms(stamp: int) -> int:
    """Unix milliseconds of a stamp."""
    return stamp >> 16


def next_stamp(last: int, seen: int, now_ms: int, own: int = 0) -> int:
    """The stamp of a writer's next entry, above its own `last` whatever the clock does, and at most MAX_STAMP.

    seen: the highest stamp received from others, 0 if none; one further ahead of `now_ms` than an hour is ignored: a
    single wrong clock must not drag everybody's along.  own: the highest of my other devices, which is followed however
    far ahead it is: what I do later comes after what I did before.  `stamp_may_lead` tells which stamps to remember.
    """
    led = max(own, seen if stamp_may_lead(seen, now_ms) else 0)
    return max(last + 1, min(led + 1, LAST_LED), min(now_ms << 16, LAST_LED))


def stamp_may_lead(stamp: int, now_ms: int) -> bool:
    """Whether a stamp of somebody else advances the clock at this moment."""
    return stamp_ms(stamp) <= now_ms + AHEAD_MS
