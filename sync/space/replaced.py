"""What a value that this device is about to write replaces: every value that may replace another names it (`over`).

`docs/protocol.md`, "What replaces what".  It names what this device knows at this moment, so that what it writes counts
over that whatever any clock says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from crdt.docs.chat import Edit, MemberProfile, Reaction
from crdt.docs.facts import ABOUT_PROFILES
from crdt.docs.over import Placed, over
from crdt.docs.own import ReadMark
from crdt.docs.schema import ChatValue, OwnValue, Value
from crdt.docs.timeline import newest_profiles
from sync.space import timeline
from sync.space.space import Space

V = TypeVar("V", bound=Value)


def naming(space: Space, value: V) -> V:
    """The value with `over` set, where it is one that may replace another."""
    mine = space.mine
    if mine is None or isinstance(value, ReadMark) or not hasattr(value, "over"):
        return value
    if isinstance(value, OwnValue):
        named = space.facts.registers.over(value, mine.core)
    else:
        named = over(_known(space, mine.core, value), mine.core)
    made: V = replace(value, over=named)  # type: ignore[arg-type]  # ReadMark alone has none
    return made


def _known(space: Space, mine: bytes, value: ChatValue) -> Mapping[bytes, Placed]:
    """core key -> the newest value of that feed of mine which this one replaces."""
    policy, store = space.policy(), space.context.store
    me = policy.member(mine)
    if me is None:
        return {}
    match value:
        case Edit(message=message):
            edits = timeline.edits_of(store, space.id, message, policy)
            return {fact.core: fact for fact in edits if policy.member(fact.core) == me}
        case Reaction(message=message, emoji=emoji):
            marks = timeline.marks_on(store, space.id, message)
            return {mark.core: mark for mark in marks if mark.emoji == emoji and policy.member(mark.core) == me}
        case MemberProfile():
            told = timeline.facts_of_kind(store, space.id, ABOUT_PROFILES)
            found: Mapping[bytes, Placed] = newest_profiles(told, policy).get(me, {})
            return found
    return {}
