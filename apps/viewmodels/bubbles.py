"""A message as it is drawn: one frozen bubble, fit to draw and cheap to compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.viewmodels.words import clock, cut, day, one_line, shade, shown_author
from sync.service import models

TOGETHER = timedelta(minutes=5)
"""Messages of one author within this time are drawn close together, with the name above the first."""
MAX_REACTIONS = 8
QUOTE = 90
DELETED = "This message was deleted"


@dataclass(frozen=True, slots=True)
class Reaction:
    """One emoji below a bubble.  `mine`: I am among those who chose it."""

    emoji: str
    count: int
    mine: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """The beginning of the message that this one replies to."""

    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Bubble:
    """`author` is "" where it is not shown.  `day` is the heading above it, where a day begins.  `joined`: drawn close
    below the one before.  `cut`: the text goes on.  `note`: a remark beside the time."""

    id: str
    text: str
    time: str
    state: models.MessageState
    mine: bool
    author: str = ""
    shade: int = 0
    day: str = ""
    joined: bool = False
    cut: bool = False
    edited: bool = False
    deleted: bool = False
    note: str = ""
    quote: Quote | None = None
    reactions: tuple[Reaction, ...] = ()
    files: tuple[str, ...] = ()


Find = Callable[[str], Quote | None]


def bubbles_of(
    messages: Sequence[models.Message], *, named: bool, me: str, find: Find, now: datetime
) -> tuple[Bubble, ...]:
    """The bubbles of messages in timeline order.

    named: authors are shown (in groups).  me: my identity, for reactions.  find: the quote of a message id, None while
    it is unknown.  now: the moment, for headings.
    """
    made: list[Bubble] = []
    before: models.Message | None = None
    for message in messages:
        made.append(_bubble(message, before, named, me, find, now))
        before = message
    return tuple(made)


def _bubble(
    message: models.Message, before: models.Message | None, named: bool, me: str, find: Find, now: datetime
) -> Bubble:
    heading = day(message.at, now)
    new_day = before is None or day(before.at, now) != heading
    joined = (
        not new_day
        and before is not None
        and (before.author, before.proved) == (message.author, message.proved)
        and before.source == message.source
        and abs(message.at - before.at) <= TOGETHER
    )
    text, cut_off = (DELETED, False) if message.deleted else cut(message.text)
    author = shown_author(message.author_name, message.source, mine=message.mine, proved=message.proved)
    if message.source is None and (message.mine or (not named and message.proved)):
        author = ""
    notes = [
        *(["imported"] if message.source and joined else []),
        *(["edited"] if message.edited and not message.deleted else []),
        *(["arrived late"] if message.late else []),
        *(["clock ahead"] if message.ahead else []),
        *([] if message.checked else ["not verified yet"]),
        *([] if message.erased is None else [gone_from(message.erased)]),
    ]
    return Bubble(
        id=message.id,
        text=text,
        time=clock(message.at),
        state=message.state,
        mine=message.mine,
        author="" if joined else author,
        shade=shade(one_line(message.author_name, 128)),
        day=heading if new_day else "",
        joined=joined,
        cut=cut_off,
        edited=message.edited,
        deleted=message.deleted,
        note=", ".join(notes),
        quote=None if message.reply_to is None or message.deleted else find(message.reply_to),
        reactions=() if message.deleted else reactions_of(message.reactions, me),
        files=tuple(one_line(file.name, 60) for file in message.files[:8]),
    )


def gone_from(erased: models.Erasure) -> str:
    """How many of the chat's devices say that a deleted message is gone there, as the command line says it."""
    return f"on {erased.devices} of {erased.of_devices} {'device' if erased.of_devices == 1 else 'devices'}"


def reactions_of(reactions: dict[str, list[str]], me: str) -> tuple[Reaction, ...]:
    """The most frequent first."""
    counted = [Reaction(one_line(emoji, 8), len(people), me in people) for emoji, people in reactions.items() if people]
    counted.sort(key=lambda reaction: (-reaction.count, reaction.emoji))
    return tuple(counted[:MAX_REACTIONS])


def quote_of(message: models.Message) -> Quote:
    """The message as a reply quotes it."""
    author = shown_author(message.author_name, message.source, mine=message.mine, proved=message.proved)
    return Quote(author, DELETED if message.deleted else one_line(message.text, QUOTE))
