"""Publishes messages again in a twin of their direct chat, for devices that write in no other."""

from __future__ import annotations

from crdt.docs.chat import Edit, Message
from crdt.docs.facts import FactKind
from crdt.docs.rows import at_moment
from sync.engine.profile import Profile
from sync.engine.twins import owed
from sync.space import timeline
from sync.space.space import Space


def share_with_twins(profile: Profile, space: Space, now_ms: int) -> None:
    """Messages of this device that a device of the chat cannot reach: with the same nonce, so they are the same ones;
    and their last edit."""
    for twin, message, home in owed(profile, space):
        row = timeline.find_row(profile.store, twin.id, message)
        if row is None or at_moment(row, now_ms).deleted or twin.mine is None:
            continue
        own = [f for f in timeline.facts_about(profile.store, twin.id, message) if f.core == twin.mine.core and f.value]
        copies = [fact.value for fact in own if fact.kind is FactKind.COPY and isinstance(fact.value, Message)]
        if not copies:
            continue
        profile.write(home, [[copies[0]]], now_ms)
        if any(fact.kind is FactKind.EDIT for fact in own) and row.edited:
            profile.write(home, [[Edit(message, row.text)]], now_ms)
