"""Texts of other people made fit to draw, and times as people read them."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta

MAX_SHOWN = 700  # characters of one message in a bubble
MAX_LINES = 24
MAX_TITLE = 128
MAX_SNIPPET = 160
# These marks change the direction of what follows: a name with one can reverse the text of somebody else.
_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def clean(text: str) -> str:
    """Without control characters, direction marks and unassigned code points; line ends stay, tabs become spaces."""
    return "".join(
        char
        for char in text.replace("\r\n", "\n").replace("\r", "\n")
        if char in "\n\t" or (char not in _MARKS and unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn"))
    ).replace("\t", "    ")


def one_line(text: str, limit: int) -> str:
    """The beginning of a text on one line."""
    line = " ".join(clean(text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shown_author(author: str, source: str | None, *, mine: bool = False, proved: bool = True) -> str:
    """The author of a message, and for an imported one the quoted author after it.

    Who wrote the text of an imported message is known from whoever imported it alone, so that name stands first; only
    what I imported myself begins with the quoted author.  Of an author who is not proved all is shown: the end of the
    name says who vouches.
    """
    name = "You" if mine else one_line(author, 40 if proved else MAX_TITLE)
    if source is None:
        return name
    return f"{one_line(source, 40)} (imported)" if mine else f"{name} (quoting {one_line(source, 40)})"


def cut(text: str) -> tuple[str, bool]:
    """(what a bubble shows, whether something is missing)."""
    short = text[:MAX_SHOWN]
    lines = short.split("\n")
    if len(lines) > MAX_LINES:
        short = "\n".join(lines[:MAX_LINES])
    cut_off = len(short) < len(text)
    return clean(short).rstrip() + ("…" if cut_off else ""), cut_off


def clock(at: datetime) -> str:
    """The time of day here, "14:05"."""
    return f"{at.astimezone():%H:%M}"


def day(at: datetime, now: datetime) -> str:
    """ "Today", "Yesterday", "Tuesday", "3 March", "3 March 2024"."""
    here, today = at.astimezone().date(), now.astimezone().date()
    if here == today:
        return "Today"
    if here == today - timedelta(days=1):
        return "Yesterday"
    if timedelta(0) < today - here < timedelta(days=7):
        return f"{here:%A}"
    return f"{here.day} {here:%B}" + ("" if here.year == today.year else f" {here.year}")


def brief(at: datetime | None, now: datetime) -> str:
    """The time beside a chat in the list: of day, of week, or the date."""
    if at is None:
        return ""
    here, today = at.astimezone().date(), now.astimezone().date()
    if here == today:
        return clock(at)
    if timedelta(0) < today - here < timedelta(days=7):
        return f"{here:%a}"
    return f"{here.day} {here:%b}" + ("" if here.year == today.year else f" {here.year}")


def initials(name: str) -> str:
    """One or two letters for a round picture."""
    words = [word for word in clean(name).split() if word[0].isalnum()]
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def shade(name: str) -> int:
    """One of eight colours for a name, so that a person has the same in every list."""
    return sum(name.encode(errors="replace")) % 8


def time_left(until: datetime, now: datetime) -> str:
    """ "7 days", "3 hours", "5 minutes": how long something is still valid."""
    seconds = max(0, int((until - now).total_seconds()))
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size - 1:
            count = round(seconds / size)
            return f"{count} {word}" + ("" if count == 1 else "s")
    return "less than a minute"
