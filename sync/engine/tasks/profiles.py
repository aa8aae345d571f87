"""Writes my profile into every chat with others, and notes theirs with my contacts."""

from __future__ import annotations

from crdt.docs.chat import MemberProfile
from crdt.docs.facts import ABOUT_PROFILES
from crdt.docs.own import OwnContact
from crdt.docs.timeline import fold_profiles
from crdt.space.control import SpaceKind
from sync.engine.effects import ContactChanged
from sync.engine.profile import Profile
from sync.space import timeline
from sync.space.space import Space


def exchange_profiles(profile: Profile, space: Space, now_ms: int) -> None:
    """My profile stands in every chat with others; theirs is noted with my contacts."""
    mine = space.mine
    if mine is None or not space.may_write or not mine.length or space.kind in (SpaceKind.PERSONAL, SpaceKind.SELF):
        return
    facts = timeline.facts_of_kind(profile.store, space.id, ABOUT_PROFILES)
    known = fold_profiles(facts, space.policy())
    state, own = space.state, profile.view.profile
    me = state.writers[mine.core].member
    want = MemberProfile(own.name or "", own.about or None)
    if own.name and known.get(me) != want:
        profile.write(space, [[want]], now_ms)
    if space.kind is SpaceKind.DIRECT:
        for member, told in known.items():
            identity = state.members[member].identity
            contact = profile.view.contacts.get(identity)
            if member != me and contact is not None and contact.profile != told.name:
                profile.note(now_ms, OwnContact(identity, profile=told.name))
                profile.effects.append(ContactChanged(identity))
