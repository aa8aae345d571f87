"""Reactions: what each member has put on a message, kept beside its row so that one more costs the same as the first.

`docs/protocol.md`, "Reactions".  A feed may put 20 different emoji on one message, the first by their place in the
feed; of each the last mark stands here.  Of a member's feeds the mark that counts decides (`over.py`).  The marks of
one feed are a function of the set of its reactions, whatever the order in which they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import NamedTuple

from crdt.docs.chat import MAX_EMOJI, Reaction
from crdt.docs.facts import Fact
from crdt.docs.fields import VALUE_ID
from crdt.docs.ids import sort_key
from crdt.docs.over import counting
from identity.errors import DecodeError

Reactions = tuple[tuple[str, tuple[bytes, ...]], ...]  # (emoji, member ids), both rising

_head = Struct(">QHQHQB16s")  # first seq and place, last seq and place, stamp, on, id


class Mark(NamedTuple):
    """The last mark of one feed with one emoji on one message.

    first: (seq, place) of the feed's first mark with this emoji; seq, place, stamp: of the last one; name: its value
    id; over: the values that it replaces.
    """

    core: bytes
    emoji: str
    first: tuple[int, int]
    seq: int
    place: int
    stamp: int
    on: bool
    name: bytes
    over: tuple[bytes, ...]

    @property
    def value(self) -> Mark:
        """Itself: it holds its `over`."""
        return self

    def id(self) -> bytes:
        """What a later mark names as replaced."""
        return self.name

    def order(self) -> bytes:
        """Sorts as the timeline does."""
        return sort_key(self.stamp, self.core, self.seq) + self.core + self.place.to_bytes(2, "big")

    def key(self) -> bytes:
        """core | emoji: behind the message's id it names the mark in the store."""
        return self.core + self.emoji.encode()

    def encode(self) -> bytes:
        """The rest, in the order of the fields."""
        return _head.pack(*self.first, self.seq, self.place, self.stamp, self.on, self.name) + b"".join(self.over)


def decode_mark(key: bytes, stored: bytes) -> Mark:
    """The mark of one stored pair.  Raises DecodeError."""
    tail = stored[_head.size :]
    if len(key) <= 32 or len(stored) < _head.size or len(tail) % VALUE_ID:
        raise DecodeError("not a stored mark")
    first, first_place, seq, place, stamp, on, name = _head.unpack_from(stored)
    over = tuple(tail[at : at + VALUE_ID] for at in range(0, len(tail), VALUE_ID))
    return Mark(key[:32], key[32:].decode(), (first, first_place), seq, place, stamp, bool(on), name, over)


def put_mark(held: dict[str, Mark], fact: Fact) -> bool:
    """Takes one more reaction of a feed on a message in; False where the feed's marks have to be made anew from all of
    its reactions: an earlier one came later, and pushes out what was among the first 20.

    held: emoji -> mark, of that feed and message.
    """
    value, at = fact.value, (fact.seq, fact.place)
    if not isinstance(value, Reaction):
        return True
    mark = held.get(value.emoji)
    if mark is None and len(held) >= MAX_EMOJI:
        return at > max(one.first for one in held.values())
    if mark is not None and at < (mark.seq, mark.place):
        held[value.emoji] = mark._replace(first=min(mark.first, at))
        return True
    first = at if mark is None else mark.first
    held[value.emoji] = Mark(
        fact.core, value.emoji, first, fact.seq, fact.place, fact.stamp, value.on, fact.id(), value.over
    )
    return True


def marks_of(facts: Iterable[Fact]) -> list[Mark]:
    """The marks of all feeds on one message, from all reactions on it that count."""
    held: dict[bytes, dict[str, Mark]] = {}
    for fact in sorted(facts, key=lambda fact: (fact.seq, fact.place)):
        put_mark(held.setdefault(fact.core, {}), fact)
    return [mark for marks in held.values() for mark in marks.values()]


def reactions(marks: Iterable[Mark], member: Callable[[bytes], bytes | None]) -> Reactions:
    """What is on a message.  Of one member's emoji the 20 with the lowest sort keys show.

    member: the member id that a feed's writer acts for.
    """
    put: dict[tuple[bytes, str], dict[bytes, Mark]] = {}
    for mark in marks:
        who = member(mark.core)
        if who is not None:
            put.setdefault((who, mark.emoji), {})[mark.core] = mark
    standing: dict[bytes, list[tuple[bytes, str]]] = {}
    for (who, emoji), newest in put.items():
        one = counting(newest)
        if one is not None and one.on:
            standing.setdefault(who, []).append((one.order(), emoji))
    found: dict[str, list[bytes]] = {}
    for who, emojis in standing.items():
        for _, emoji in sorted(emojis)[:MAX_EMOJI]:
            found.setdefault(emoji, []).append(who)
    return tuple((emoji, tuple(sorted(found[emoji]))) for emoji in sorted(found))
