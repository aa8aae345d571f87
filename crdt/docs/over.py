"""Which of several values counts that replace one another: decided by cause first, by time last.

`docs/protocol.md`, "What replaces what".  A value names (`over`) the newest value of every other feed that its author
knew; what the same feed said before is replaced without being named.  So the newest value of each feed says everything:
one that another of them names is out, and of the rest the highest sort key counts.  A clock that was wrong decides only
between values whose authors did not know of each other.  An id is a hash over the value, its own `over` included, so
nobody can name what does not exist yet, and of any set of values at least one is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from crdt.docs.fields import MAX_OVER, VALUE_ID
from identity.digest import digest
from identity.labels import Label


class Placed(Protocol):
    """One value and the entry that says it."""

    @property
    def core(self) -> bytes: ...

    @property
    def seq(self) -> int: ...

    @property
    def place(self) -> int: ...

    @property
    def value(self) -> Any: ...

    def order(self) -> bytes:
        """Sorts as the timeline does."""
        ...

    def id(self) -> bytes:
        """`value_id` of it."""
        ...


P = TypeVar("P", bound=Placed)


def value_id(core: bytes, seq: int, place: int, stamp: int, raw: bytes) -> bytes:
    """16 bytes that name one value: of the entry (core key, seq, stamp), its put, and its JSON text."""
    where = seq.to_bytes(8, "little") + place.to_bytes(2, "little") + stamp.to_bytes(8, "little")
    return digest(Label.VALUE, core, where, raw)[:VALUE_ID]


def newest_of_feeds(values: Iterable[P]) -> dict[bytes, P]:
    """core key -> the last of its values."""
    found: dict[bytes, P] = {}
    for value in values:
        held = found.get(value.core)
        if held is None or (value.seq, value.place) > (held.seq, held.place):
            found[value.core] = value
    return found


def counting(newest: Mapping[bytes, P]) -> P | None:
    """The value that counts.  newest: as `newest_of_feeds` gives it, of values that may count at all."""
    if len(newest) < 2:
        return next(iter(newest.values()), None)
    named = {id_ for one in newest.values() for id_ in getattr(one.value, "over", ())}
    left = [one for one in newest.values() if one.id() not in named] if named else list(newest.values())
    return max(left or newest.values(), key=lambda one: one.order())


def over(newest: Mapping[bytes, Placed], mine: bytes) -> tuple[bytes, ...]:
    """What a value of the feed `mine` has to name: the newest of every other feed, at most 64, the latest of them."""
    others = sorted((one for core, one in newest.items() if core != mine), key=lambda one: one.order())
    return tuple(sorted(one.id() for one in others[-MAX_OVER:]))
