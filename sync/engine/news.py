"""What the engine tells whoever watches a profile, worked out from what changed: plain functions over two views.

Messages tell of themselves as their rows change (`Profile.commit`).  Here is what else a window shows: how far others
have opened and read, and what another device of mine did to my lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crdt.docs.facts import ABOUT_READING
from crdt.docs.personal import PersonalView
from crdt.space.record import Report
from sync.engine.effects import (
    DeliveryChanged,
    DeviceChanged,
    Event,
    ListChanged,
    MessageHidden,
    ReceiptsChanged,
)
from sync.space.delta import SpaceDelta
from sync.space.space import Space


def of_view(before: PersonalView, after: PersonalView, device: bytes) -> Iterator[Event]:
    """What my devices agree on now and did not before.  device: this one, in whose name its own changes are told."""
    if (before.profile, before.devices) != (after.profile, after.devices):
        yield DeviceChanged(device)
    cleared: set[bytes] = set()
    for key in dict.fromkeys((*before.hidden, *after.hidden)):
        space, message = key
        old, new = before.hidden.get(key), after.hidden.get(key)
        if old == new:
            continue
        if message is None:
            cleared.add(space)
        elif (old is None) != (new is None):
            yield MessageHidden(space, message, new is not None)
    for space, chat in after.chats.items():
        if space not in before.chats:
            continue  # a new chat is told of by whatever brought it
        if space in cleared or (before.chats[space], before.marks.get(space)) != (chat, after.marks.get(space)):
            yield ListChanged(space, space in cleared)


def of_receipts(deltas: Iterable[SpaceDelta]) -> Iterator[Event]:
    """Spaces in which somebody told how far they have read."""
    return (ReceiptsChanged(delta.space) for delta in deltas if ABOUT_READING in delta.topics)


def of_record(space: Space, identity: bytes, before: Report | None, after: Report) -> Iterator[Event]:
    """A device record says that its device opened more of my feeds (identity: mine) than the one before it."""
    old = {head.core8: head.length for head in before.opened} if before is not None else {}
    told = {head.core8: head.length for head in after.opened}
    state = space.state
    for core, writer in state.writers.items():
        member, new = state.members.get(writer.member), told.get(core[:8], 0)
        if member is not None and member.identity == identity and new > old.get(core[:8], 0):
            yield DeliveryChanged(space.id, core, old.get(core[:8], 0), new)
